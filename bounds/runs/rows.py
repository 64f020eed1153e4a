"""The rows of one instance, claim by claim: one whose code fails has the verdict ``error`` and the reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from toymdp.errors import ClaimError

from ..checking import Lambda, judge, needs_optimum
from ..claim import Check, Claim
from ..facts.kinds import facts_of
from ..facts.token_mdp import Facts
from ..records.output import Record, content_hash
from ..records.record import record
from .cases import Case

Step = Callable[[str], None]  # told before each step where the work is; raises where not to take it


def one_by_one(
    case: Case, seed: int, claims: Sequence[Claim], step: Step, lam: Lambda = None
) -> Iterator[Record]:
    """A row for each claim of the instance's world, in their order: each is judged alone.

    step: called with "" before the instance is made, then with each claim's id.
    """
    digest, subject, reason = None, None, ""
    try:
        step("")
        instance = case.build()
        digest = content_hash(instance)
        world, facts = facts_of(instance, seed=seed)
        claims = [claim for claim in claims if claim.world == world]
        subject = instance
        if isinstance(facts, Facts):
            subject = facts
            if needs_optimum(claims):
                _ = facts.optimum
    except Exception as error:
        reason, subject = said(error), None
    for claim in claims:
        try:
            if subject is None:
                check = _failed(claim, reason)
            else:
                step(claim.id)
                (check,) = judge([claim], subject, lam=lam, seed=seed)
        except Exception as error:
            check = _failed(claim, said(error))
        yield record(case.name, digest, check, seed, family=case.family)


def _failed(claim: Claim, reason: str) -> Check:
    return Check(claim.id, claim.status, claim.kind, "error", reason=reason)


def said(error: Exception) -> str:
    """An error as the reason of a row; those two say themselves what they are."""
    known = isinstance(error, TimeoutError | ClaimError)
    return str(error) if known else f"{type(error).__name__}: {error}"
