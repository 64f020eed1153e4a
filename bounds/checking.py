"""From an instance to verdicts: solve, find λ*, judge every claim where it is to be judged."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from typing import Any, Literal, TypeVar
from unittest import SkipTest

import numpy as np

from toymdp import InstanceError, SoupOptimum, TokenMDP
from toymdp.arrays import real_numbers
from toymdp.threads import one_blas_thread

from .claim import Check, Claim, Margin
from .claims.catalogue import Asked, select
from .facts.kinds import facts_of
from .facts.soup import Soup, standard_lambdas
from .facts.token_mdp import Facts
from .sides import Array, Sides
from .subject import Subject
from .threads import helper
from .verdicts import Checks

PARALLEL = 1 << 15  # entries of a table from which on two threads are worth their handing over
Y = TypeVar("Y")
Lambda = Array | Sequence[float] | Literal["optimum"] | None  # where claims about λ are judged


def needs_optimum(claims: Sequence[Claim]) -> bool:
    """Whether any of the claims speaks of λ*."""
    return any(claim.at != "instance" or claim.needs_optimum for claim in claims)


def check(
    instance: Any,
    pattern: Asked = "*",
    *,
    optimum: SoupOptimum | None = None,
    lam: Lambda = None,
    seed: int = 0,
) -> Checks:
    """Judge claims on an instance, its solution or its facts.

    instance: a TokenMDP, its Solution or Facts, or an instance of another world (toymdp.kinds);
    claims of other worlds are passed over.
    pattern: ids or shell patterns by commas, a Claim of your own, or a list of either.
    optimum: a soup optimum found before (else it is computed where a claim needs one).
    lam: judge claims about λ at this λ [K] only (what compares with λ* still
    finds it), or at "optimum", λ* itself. seed: of the starts and of the λ draws.

    Raises InstanceError for a pattern without a match, SolverError if no finite value exists.
    """
    return Checks(judge(select(pattern), instance, optimum=optimum, lam=lam, seed=seed))


def judge(
    claims: Sequence[Claim],
    instance: Any,
    *,
    optimum: SoupOptimum | None = None,
    lam: Lambda = None,
    seed: int = 0,
) -> list[Check]:
    """The same for claims that are given, in the catalogue or not, in their order."""
    with one_blas_thread():
        world, facts = facts_of(instance, optimum=optimum, seed=seed)
        claims = [claim for claim in claims if claim.world == world]
        if isinstance(facts, Facts) and needs_optimum(claims):
            _ = facts.optimum  # before two threads could ask for it at once
        with helper(_is_large(facts)) as pool:
            return _judge(claims, facts, lam, seed, pool)


def _is_large(facts: Subject) -> bool:
    """Whether tables take longer than handing them to another thread."""
    return isinstance(facts, Facts) and facts.sol.Q_w.size >= PARALLEL


def _shared(run: Callable[[str], Y], items: Iterable[str], pool: Executor | None) -> list[Y]:
    """``[run(x) for x in items]``, of which the pool takes its share."""
    todo = deque(enumerate(items))
    done: dict[int, Y] = {}

    def work() -> None:
        while True:
            try:
                i, item = todo.popleft()
            except IndexError:  # asking first whether any is left would race
                return
            try:
                done[i] = run(item)
            except BaseException:
                todo.clear()  # for the other thread as well
                raise

    other = None if pool is None else pool.submit(work)
    work()
    if other is not None:
        other.result()
    return [done[i] for i in sorted(done)]


def _judge(
    claims: Sequence[Claim],
    facts: Subject,
    lam: Lambda,
    seed: int,
    pool: Executor | None,
) -> list[Check]:
    """The outcomes of the claims, in their order."""
    at_worst: dict[str, Check] = {}
    begun: dict[str, Callable[[], Check]] = {}
    given = best = None
    if isinstance(facts, Facts) and needs_optimum(claims):
        best = Soup(facts, facts.optimum.lam)
        if isinstance(lam, str):
            given = best
        elif lam is not None:
            given = Soup(facts, lambda_of(facts.mdp, lam))
    for claim in claims:
        if claim.at == "instance":
            begun[claim.id] = claim.begin(facts, pool=pool)
        elif claim.at == "optimum" and (given is None or claim.needs_optimum):
            begun[claim.id] = _at_optimum(claim, facts, best, pool)
        elif given is not None:
            name = "optimum" if given is best else "given"
            begun[claim.id] = _named(name, claim.begin(facts, given, pool=pool))
    del given, best  # the tables of a soup go before those of the next are made
    everywhere = [claim for claim in claims if claim.id not in begun]
    if everywhere:
        assert isinstance(facts, Facts)
        at_worst = _at_worst_lambdas(everywhere, facts, seed, pool)
    return [begun[c.id]() if c.id in begun else at_worst[c.id] for c in claims]


def lambda_of(mdp: TokenMDP, lam: Array | Sequence[float]) -> Array:
    """The given λ as an array [K]. Raises InstanceError unless it is K finite numbers."""
    weights = real_numbers("lam", lam)
    K = mdp.n_rewards
    if weights.shape != (K,) or not np.isfinite(weights).all():
        rule = f"must be {K} finite numbers, one for each reward"
        raise InstanceError.of("lam", weights.tolist(), rule, "give one weight for each reward")
    return weights


def _at_optimum(
    claim: Claim, facts: Subject, best: Soup | None, pool: Executor | None
) -> Callable[[], Check]:
    """Begin to judge a claim at λ*."""
    assert best is not None
    rest = claim.begin(facts, best, pool=pool)
    return _named("optimum", rest, evidence=best.facts.optimum.evidence)


def _named(name: str, rest: Callable[[], Check], **more: Any) -> Callable[[], Check]:
    """The same judgement, which also says what λ it was made at."""
    return lambda: replace(rest(), lam_name=name, **more)


def _at_worst_lambdas(
    claims: Sequence[Claim], facts: Facts, seed: int, pool: Executor | None
) -> dict[str, Check]:
    """Judge claims about every λ, each at the λ of the standard set with the least margin.

    An undecidable λ counts as worse than any that is decided in the claim's favour. One λ after
    the other, for all claims: the tables of a soup are shared by the claims and then let go.
    """
    lambdas = standard_lambdas(facts, seed)

    def margins(name: str) -> list[tuple[Margin, Sides] | Check | None]:
        soup = Soup(facts, lambdas[name])
        speaks = [claim.zero or bool(soup.lam.any()) for claim in claims]
        return [
            claim.margin(facts, soup) if at_all else None
            for claim, at_all in zip(claims, speaks, strict=True)
        ]

    least: dict[str, tuple[Margin, str, Sides]] = {}
    others: dict[str, list[Check]] = {claim.id: [] for claim in claims}
    for name, row in zip(lambdas, _shared(margins, lambdas, pool), strict=True):
        for claim, margin in zip(claims, row, strict=True):
            if isinstance(margin, Check):
                others[claim.id].append(replace(margin, lam_name=name))
            elif margin and (claim.id not in least or margin[0] < least[claim.id][0]):
                least[claim.id] = margin[0], name, margin[1]

    def judged(name: str) -> dict[str, Check]:
        soup = Soup(facts, lambdas[name])
        return {
            claim.id: replace(claim.evaluate(facts, soup, known=least[claim.id][2]), lam_name=name)
            for claim in claims
            if claim.id in least and least[claim.id][1] == name
        }

    decided: dict[str, Check] = {}
    for part in _shared(judged, dict.fromkeys(name for _, name, _ in least.values()), pool):
        decided |= part
    return {claim.id: _worst(decided.get(claim.id), others[claim.id]) for claim in claims}


def _worst(decided: Check | None, others: Sequence[Check]) -> Check:
    """The outcome to report: a violation, else an undecided λ, else the least margin."""
    if decided is None:
        return others[0]
    if decided.verdict == "violated":
        return decided
    return next((check for check in others if check.verdict == "undecided"), decided)


def assert_claim(
    instance: Any,
    claim: str | Claim,
    *,
    seed: int = 0,
    lam: Lambda = None,
    undecided_ok: bool = True,
    not_applicable_ok: bool = False,
) -> Check:
    """Raise AssertionError where the claim is violated, in the manner of numpy.testing.

    Where a hypothesis is false nothing was checked: then ``unittest.SkipTest`` is raised with the
    reason, which unittest and pytest report as a skip, not as a pass.

    claim: one id, or a Claim of your own. lam: the λ [K] to judge it at; None: as in ``check``.
    undecided_ok: whether a sign within rounding passes. not_applicable_ok: whether to return such a
    check instead of skipping. Returns the check.
    """
    __tracebackhide__ = True  # of pytest: what failed is the claim, not these lines
    outcome = check_one(instance, claim, lam=lam, seed=seed)
    return passed(outcome, undecided_ok=undecided_ok, not_applicable_ok=not_applicable_ok)


def check_one(instance: Any, claim: str | Claim, *, lam: Lambda = None, seed: int = 0) -> Check:
    """``check`` of one claim. Raises ValueError if the id is a pattern, or of another world."""
    __tracebackhide__ = True
    judged = check(instance, claim, lam=lam, seed=seed)
    if len(judged) != 1:
        name = claim.id if isinstance(claim, Claim) else claim
        raise ValueError(f"{name}: names {len(judged)} claims of this instance's world, not one")
    return judged[0]


def passed(outcome: Check, *, undecided_ok: bool = True, not_applicable_ok: bool = False) -> Check:
    """The check, unless ``assert_claim`` raises on it: see there for what."""
    __tracebackhide__ = True
    if outcome.verdict == "not-applicable" and not not_applicable_ok:
        raise SkipTest(f"{outcome.claim} is not applicable: {outcome.reason}")
    failed = outcome.verdict == "violated" or (outcome.verdict == "undecided" and not undecided_ok)
    if failed:
        numbers = (
            f"lhs = {outcome.lhs}, rhs = {outcome.rhs}, slack = {outcome.slack}, "
            f"error radius = {outcome.error}"
        )
        at = "" if outcome.where is None else f", at {outcome.where}"
        at += "" if outcome.lam is None else f", λ = {outcome.lam} ({outcome.lam_name})"
        why = f"; {outcome.reason}" if outcome.reason else ""
        raise AssertionError(f"{outcome.claim} is {outcome.verdict}: {numbers}{at}{why}")
    return outcome
