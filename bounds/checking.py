"""From an instance to verdicts: solve, find λ*, judge every claim where it is to be judged."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from threading import Lock
from typing import Any, TypeVar

import numpy as np
from threadpoolctl import ThreadpoolController

from toymdp import InstanceError, Solution, soup_optimum
from toymdp.soup.optimum import SoupOptimum

from .claim import Array, Check, Claim, Sides, Subject
from .claims.catalogue import select
from .facts.kinds import subject_of
from .facts.soup import forget_soups, standard_lambdas

PARALLEL = 1 << 15  # entries of a table from which on two threads are worth their handing over
ONE_POOL = Lock()
Y = TypeVar("Y")


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

    instance: a TokenMDP, its Solution, or an instance of another world (toymdp.kinds); claims of
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
        with _pool(subject) as pool:
            return _judge(claims, subject, optimum, lam, seed, pool)
    finally:
        if isinstance(subject, Solution):
            forget_soups(subject)


@contextmanager
def _pool(subject: Subject) -> Iterator[Executor | None]:
    """A thread for a large instance, whose tables take longer than handing them over; else None."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    large = isinstance(subject, Solution) and subject.Q_w.size >= PARALLEL
    # two at once would set the threads of BLAS back in the wrong order: the later goes without
    if not large or (cores or 1) < 2 or not ONE_POOL.acquire(blocking=False):
        yield None
        return
    try:
        # a thread beside the caller's, for the second road; those of BLAS would be in their way
        with ThreadPoolExecutor(1) as pool, _blas().limit(limits=1, user_api="blas"):
            try:
                yield pool
            finally:  # what is still waiting is not asked for any more, least of all after Ctrl-C
                pool.shutdown(wait=False, cancel_futures=True)
    finally:
        ONE_POOL.release()


@lru_cache(maxsize=1)
def _blas() -> ThreadpoolController:
    """The thread pools of the linear algebra libraries in use; looking for them takes a while."""
    return ThreadpoolController()


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

    helper = None if pool is None else pool.submit(work)
    work()
    if helper is not None:
        helper.result()
    return [done[i] for i in sorted(done)]


def _judge(
    claims: Sequence[Claim],
    subject: Subject,
    optimum: SoupOptimum | None,
    lam: Array | Sequence[float] | None,
    seed: int,
    pool: Executor | None,
) -> list[Check]:
    """The outcomes of the claims, in their order."""
    at = None if lam is None else _weights(lam, subject)
    everywhere = [claim for claim in claims if claim.at == "every" and lam is None]
    begun = {
        claim.id: _begin(claim, subject, at, optimum, pool)
        for claim in claims
        if claim not in everywhere
    }
    found: dict[str, Check] = {}
    if everywhere:
        assert optimum is not None
        assert isinstance(subject, Solution)
        found = _at_worst_lambdas(everywhere, subject, optimum, seed, pool)
    return [found[claim.id] if claim.id in found else begun[claim.id]() for claim in claims]


def _weights(lam: Array | Sequence[float], subject: Subject) -> Array:
    """The given λ as an array [K]. Raises InstanceError unless it is K finite numbers."""
    found = np.array(lam, dtype=np.float64)
    K = subject.mdp.n_rewards if isinstance(subject, Solution) else found.size
    if found.shape != (K,) or not np.isfinite(found).all():
        rule = f"must be {K} finite numbers, one for each reward"
        raise InstanceError.of("lam", found.tolist(), rule, "give one weight for each reward")
    return found


def _begin(
    claim: Claim,
    subject: Subject,
    lam: Array | None,
    optimum: SoupOptimum | None,
    pool: Executor | None,
) -> Callable[[], Check]:
    """Begin to judge a claim at the given λ, or where it speaks of one λ or none."""
    if claim.at == "instance":
        return claim.begin(subject, None, optimum, pool=pool)
    assert optimum is not None
    if lam is not None:
        return claim.begin(subject, lam, optimum, pool=pool)
    rest = claim.begin(subject, optimum.lam, optimum, pool=pool)
    return lambda: replace(rest(), lam_name="optimum", evidence=optimum.evidence)


def _at_worst_lambdas(
    claims: Sequence[Claim], sol: Solution, optimum: SoupOptimum, seed: int, pool: Executor | None
) -> dict[str, Check]:
    """Judge claims about every λ, each at the λ of the standard set with the least margin.

    An undecidable λ counts as worse than any that is decided in the claim's favour. One λ after
    the other, for all claims: the tables of a soup are shared by the claims and then let go.
    """
    lambdas = standard_lambdas(sol, optimum, seed)

    def margins(name: str) -> list[tuple[float, Sides] | Check | None]:
        lam = lambdas[name]
        spoken_of = [claim.zero or lam.any() for claim in claims]
        return [
            claim.margin(sol, lam, optimum) if spoken else None
            for claim, spoken in zip(claims, spoken_of, strict=True)
        ]

    least: dict[str, tuple[float, str, Sides]] = {}
    others: dict[str, list[Check]] = {claim.id: [] for claim in claims}
    for name, row in zip(lambdas, _shared(margins, lambdas, pool), strict=True):
        for claim, margin in zip(claims, row, strict=True):
            if isinstance(margin, Check):
                others[claim.id].append(replace(margin, lam_name=name))
            elif margin and (claim.id not in least or margin[0] < least[claim.id][0]):
                least[claim.id] = margin[0], name, margin[1]

    def judged(name: str) -> dict[str, Check]:
        lam = lambdas[name]
        return {
            claim.id: replace(
                claim.evaluate(sol, lam, optimum, own=least[claim.id][2]), lam_name=name
            )
            for claim in claims
            if claim.id in least and least[claim.id][1] == name
        }

    found: dict[str, Check] = {}
    for part in _shared(judged, dict.fromkeys(name for _, name, _ in least.values()), pool):
        found |= part
    return {claim.id: _worst(found.get(claim.id), others[claim.id]) for claim in claims}


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
