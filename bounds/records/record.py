"""The ledger's record: one check on one instance, as plain values (bounds.records.formats)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..claim import Check
from ..verdicts import decided
from .output import Record, number, versions


def record(
    instance: str, sha256: str | None, check: Check, seed: int, *, family: str | None = None
) -> Record:
    """Return the record of a check: plain JSON numbers, null with a reason for what is missing.

    instance: the name or file stem. sha256: of the instance's content. family: where it is from.
    """
    return {
        "instance": instance,
        "family": family,
        "sha256": sha256,
        **plain(check),
        "seed": seed,
        "versions": versions(),
    }


def plain(check: Check) -> Record:
    """What a record says of the check itself, without the instance it was made on.

    ratio: ``lhs / rhs`` where the sides are told apart (holds or violated) and rhs > 0, else None:
    the quotient of two roundings says nothing.
    """
    return {
        "claim": check.claim,
        "status": check.status,
        "kind": check.kind,
        "verdict": check.verdict,
        "lhs": number(check.lhs),
        "rhs": number(check.rhs),
        "slack": number(check.slack),
        "ratio": number(decided(check)),
        "error": number(check.error),
        "hypotheses": dict(check.hypotheses),
        "reason": check.reason,
        "terms": {name: number(value) for name, value in check.terms.items()},
        "where": None if check.where is None else dict(check.where),
        "lambda": None if check.lam is None else [number(x) for x in check.lam],
        "lambda_name": check.lam_name,
        "evidence": check.evidence,
        "assumed": list(check.assumed),
    }


def is_check(row: Mapping[str, Any]) -> bool:
    """Whether a record is the ledger's, of a check; others say in ``record`` what they are."""
    return "record" not in row


def rank(row: Mapping[str, Any]) -> tuple[bool, float] | None:
    """How much a record is to be looked at: a violation first, then the largest ratio or distance.

    None where the sides were not compared.
    """
    if row["slack"] is None or row["verdict"] == "undecided":
        return None
    tight = row["ratio"] if row["kind"] == "inequality" else abs(row["slack"])
    return row["verdict"] == "violated", -row["slack"] if tight is None else tight
