"""The calls of a run that judges claims: an instance to its records, a violation to its walk.

Beside the ledger's records of checks there are two kinds, which say so in their key ``record``:
``instance`` (what it is, and whether a stored witness still breaks its claim) and ``walk`` (the
proof of a claim, walked on the instance).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from toymdp.errors import ClaimError, SolverError

from ..checking import Lambda, check
from ..claim import Check
from ..claims.catalogue import CLAIMS, claim_named, select
from ..proofs.walk import explain, has_proof
from ..records.output import Record, content_hash
from ..records.record import is_check, rank, record
from ..records.witness import Witness
from .cases import Case, check_lambda, corpus_lines
from .rows import one_by_one
from .task import Task


def judge(
    case: Case,
    claims: str,
    seed: int,
    plugins: Sequence[str] = (),
    lam: Lambda = None,
) -> list[Record]:
    """The instance's own record, then one for each check.

    lam: judge claims about λ at this one [K] only, or at "optimum".
    plugins: modules whose claims the catalogue of this process may not know yet.
    A claim whose code fails has a row with the verdict "error"; where the instance has no solution its
    own record says so ("refused"), and there are no others.
    """
    for name in plugins:
        CLAIMS.add_module(name)
    instance = case.build()
    check_lambda(case.name, instance, lam)
    digest, refused = content_hash(instance), ""
    checks: list[Check] = []
    try:
        checks = check(instance, claims, lam=lam, seed=seed)
        rows = [record(case.name, digest, c, seed, family=case.family) for c in checks]
    except ClaimError:  # of one claim: each is asked alone
        rows = list(one_by_one(case, seed, select(claims), lambda name: None, lam))
    except SolverError as error:
        rows, refused = [], str(error)
    witness = None if refused else case.witness()
    about = {
        "record": "instance",
        "instance": case.name,
        "family": case.family,
        "sha256": digest,
        "notes": corpus_lines(instance),
        "refused": refused,
        "witness": None if witness is None else _outcome(witness, checks if lam is None else []),
    }
    return [about, *rows]


def _outcome(witness: Witness, checks: Iterable[Check]) -> dict[str, Any]:
    """Claim and verdict of a witness at the λ it names; checks: made where each claim says."""
    claim = claim_named(witness.claim).id
    judged = [c for c in checks if c.claim == claim and witness.lam is None]
    try:
        judged = judged or check(witness.instance, claim, lam=witness.lam)
    except ClaimError:
        return {"claim": claim, "verdict": "error"}
    return {"claim": claim, "verdict": judged[0].verdict}


def walk(case: Case, claim: str, lam: Sequence[float] | None) -> list[Record]:
    """The printed proof of a claim, walked on the case's instance at the λ [K] it was judged at."""
    instance = case.build()
    return [{
        "record": "walk", "instance": case.name, "sha256": content_hash(instance), "claim": claim,
        "explanation": explain(instance, claim, lam=lam).as_dict(),
    }]  # fmt: skip


class WorstCases:
    """Where each claim whose proof has steps is violated most; of equals, the first."""

    def __init__(self) -> None:
        self._worst: dict[str, tuple[tuple[bool, float], Case, Any]] = {}

    def add(self, case: Case, records: Iterable[Record]) -> None:
        """Take in what was found on a case."""
        for row in filter(is_check, records):
            if row["verdict"] == "violated" and has_proof(row["claim"]):
                size = rank(row)
                before = self._worst.get(row["claim"])
                if size is not None and (before is None or size > before[0]):
                    self._worst[row["claim"]] = size, case, row["lambda"]

    def tasks(self) -> list[Task[list[Record]]]:
        """A walk for each of them."""
        worst = self._worst.items()
        return [Task.of(walk, case=case, claim=c, lam=lam) for c, (_, case, lam) in worst]
