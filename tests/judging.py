"""Judging one claim by itself, as the checker does for many."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from bounds import CLAIMS, Check, Claim, Facts, Sides, Soup
from bounds.facts.token_mdp import InstanceFacts
from toymdp import Solution, SoupOptimum


def facts_of(subject: Any, optimum: SoupOptimum | None = None) -> Any:
    """Facts of a solution; facts, and what claims about other worlds are judged on, as they are."""
    if isinstance(subject, Solution):
        return Facts(subject, instance=InstanceFacts(subject.mdp, optimum))
    return subject


def judged(claim: Claim | str, subject: Any, lam=None, optimum=None) -> Check:
    """The claim on a solution or on facts, at one λ [K] where it speaks of one."""
    claim = CLAIMS[claim] if isinstance(claim, str) else claim
    facts = facts_of(subject, optimum)
    return claim.evaluate(facts, None if claim.at == "instance" else Soup(facts, np.asarray(lam)))


def sides_of(claim: Claim | str, subject: Any, lam=None, optimum=None) -> Sides:
    """Both sides by the first method alone."""
    claim = CLAIMS[claim] if isinstance(claim, str) else claim
    facts = facts_of(subject, optimum)
    if claim.at == "instance":
        return claim.sides(facts)
    return claim.sides(facts, Soup(facts, np.asarray(lam)))


def agreed(sol: Solution, **changes: Any) -> Facts:
    """Facts of a solution with some tables replaced, which its second solution agrees with."""
    bent = replace(sol, **changes)
    return Facts(bent, other=bent)


def outcome_of(claim: str, hypothesis: str, facts: Any) -> tuple[bool | None, str]:
    """What one hypothesis of a claim says of facts."""
    (found,) = [h for h in CLAIMS[claim].hypotheses if h.id == hypothesis]
    return found.evaluate(facts)
