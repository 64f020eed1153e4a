"""From an instance to verdicts: solve, find λ*, judge every claim where it is to be judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from toymdp import Solution, soup_optimum
from toymdp.optimum import SoupOptimum

from .claim import Array, Check, Claim, Subject
from .registry import select
from .soups import forget_soups, standard_lambdas
from .worlds import subject_of


def needs_optimum(claims: Sequence[Claim]) -> bool:
    """Whether any of the claims speaks of λ*."""
    return any(claim.at != "instance" or claim.needs_optimum for claim in claims)


def check(
    instance: Any,
    pattern: str = "*",
    *,
    optimum: SoupOptimum | None = None,
    lam: Array | Sequence[float] | None = None,
    seed: int = 0,
) -> list[Check]:
    """Judge the claims whose id matches ``pattern`` on an instance or its solution.

    instance: a TokenMDP, its Solution, or an instance of another world (bounds.worlds); claims of
    other worlds are passed over.
    optimum: a soup optimum found before (else it is computed where a claim needs one).
    lam: judge claims about λ at this λ [K] only. seed: of the starts and of the λ draws.

    Raises InstanceError for a pattern without a match, SolverError if no finite value exists.
    """
    world, subject = subject_of(instance)
    claims = [claim for claim in select(pattern) if claim.world == world]
    if optimum is None and isinstance(subject, Solution) and needs_optimum(claims):
        optimum = soup_optimum(subject.mdp, subject, seed=seed)
    try:
        return _judge(claims, subject, optimum, lam, seed)
    finally:
        if isinstance(subject, Solution):
            forget_soups(subject)


def _judge(
    claims: Sequence[Claim],
    subject: Subject,
    optimum: SoupOptimum | None,
    lam: Array | Sequence[float] | None,
    seed: int,
) -> list[Check]:
    """The outcomes of the claims, in their order."""
    if lam is not None:
        at = np.asarray(lam, dtype=np.float64)
        return [_evaluate(claim, subject, at, optimum) for claim in claims]
    everywhere = [claim for claim in claims if claim.at == "every"]
    found = {
        claim.id: _evaluate(claim, subject, None, optimum)
        for claim in claims
        if claim.at != "every"
    }
    if everywhere:
        assert optimum is not None
        assert isinstance(subject, Solution)
        found |= _at_worst_lambdas(everywhere, subject, optimum, seed)
    return [found[claim.id] for claim in claims]


def _evaluate(
    claim: Claim, subject: Subject, lam: Array | None, optimum: SoupOptimum | None
) -> Check:
    """Judge a claim at the given λ, or where it speaks of one λ or none."""
    if claim.at == "instance":
        return claim.evaluate(subject, None, optimum)
    assert optimum is not None
    if lam is not None:
        return claim.evaluate(subject, lam, optimum)
    found = claim.evaluate(subject, optimum.lam, optimum)
    return replace(found, lam_name="optimum", evidence=optimum.evidence)


def _at_worst_lambdas(
    claims: Sequence[Claim], sol: Solution, optimum: SoupOptimum, seed: int
) -> dict[str, Check]:
    """Judge claims about every λ, each at the λ of the standard set with the least margin.

    An undecidable λ counts as worse than any that is decided in the claim's favour. One λ after
    the other, for all claims: the tables of a soup are shared by the claims and then let go.
    """
    lambdas = standard_lambdas(sol, optimum, seed)
    margins: dict[str, dict[str, float]] = {claim.id: {} for claim in claims}
    outcomes: dict[str, list[Check]] = {claim.id: [] for claim in claims}
    for name, lam in lambdas.items():
        for claim in claims:
            if not (claim.zero or lam.any()):
                continue
            margin = claim.margin(sol, lam, optimum)
            if isinstance(margin, Check):
                outcomes[claim.id].append(replace(margin, lam_name=name))
            else:
                margins[claim.id][name] = margin
    least = {key: min(found, key=lambda n: found[n]) for key, found in margins.items() if found}
    found: dict[str, Check] = {}
    for name, lam in lambdas.items():
        for claim in claims:
            if least.get(claim.id) == name:
                found[claim.id] = replace(claim.evaluate(sol, lam, optimum), lam_name=name)
    return {claim.id: _worst(found.get(claim.id), outcomes[claim.id]) for claim in claims}


def _worst(decided: Check | None, others: Sequence[Check]) -> Check:
    """The outcome to report: a violation, else an undecided λ, else the least margin."""
    if decided is None:
        return others[0]
    if decided.verdict == "violated":
        return decided
    return next((check for check in others if check.verdict == "undecided"), decided)


def assert_claim(instance: Any, claim: str, *, seed: int = 0, undecided_ok: bool = True) -> Check:
    """Raise AssertionError unless the claim is not violated here, in the manner of numpy.testing.

    claim: one id. undecided_ok: whether a sign within rounding passes. Returns the check.
    """
    judged = check(instance, claim, seed=seed)
    if len(judged) != 1:
        raise ValueError(f"{claim}: names {len(judged)} claims of this instance's world, not one")
    (found,) = judged
    failed = found.verdict == "violated" or (found.verdict == "undecided" and not undecided_ok)
    if failed:
        raise AssertionError(
            f"{claim} is {found.verdict}: lhs = {found.lhs}, rhs = {found.rhs}, "
            f"slack = {found.slack}, error radius = {found.error}, at {found.where}, "
            f"λ = {found.lam} ({found.lam_name}); {found.reason}"
        )
    return found
