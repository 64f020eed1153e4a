"""The soup optimum λ* of (8): the best of several ascents, and what is known of it.

The starts are in toymdp.soup.starts; for K = 2 a dense grid refined to 1e-8 adds one. λ* = 0 is a
legitimate answer. Asked for a tolerance, branch and bound (toymdp.soup.bound) proves how far above J
any soup can be, and the ascent starts again from any better point it meets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ..errors import SolverError
from ..exact.solution import Solution, solve
from ..shown import html_table, short
from ..threads import one_blas_thread
from ..worlds.features import Array
from ..worlds.token_mdp import TokenMDP
from .ascent import ROUNDING, Ascent, ascend
from .bound import Bound, OnProgress, branch_and_bound, why_no_bound
from .objective import SoupObjective
from .starts import default_starts, grid_search

GRID_SIZE = 2000  # T·S up to which the dense grid of K = 2 is the default
STATIONARY = 1e-7  # KKT residual, as a share of the scale of J, up to which a point is stationary


@dataclass(frozen=True, eq=False)
class SoupOptimum:
    """The best soup found.

    lam: [K] = λ*; mu: [K] = λ*/β'; J: its value; gap = V_w − J (reward units).
    kkt: first-order residual with the kinks, reward units (at λ* = 0: the largest directional
    derivative found). budget_used: β|λ*|₁/β'. start: the start that won. starts: all ascents.
    local_optima: how many stationary ends of ascents differ by more than 1e-6 of the scale of J.
    spread: the largest of their values minus the smallest.
    status: "stationary" (kkt small: what evidence says of it being global stands apart), "zero"
    (λ* = 0), or "inaccurate".
    evidence: "multistart"; "grid" where a dense grid agreed (K = 2); "certified" where an upper bound
    of J is within the tolerance asked for. bound: the proof, None if not asked for or not possible
    (no_bound then says why).
    """

    lam: Array
    mu: Array
    J: float
    gap: float
    kkt: float
    status: str
    budget_used: float
    start: str
    starts: tuple[Ascent, ...]
    spread: float
    local_optima: int
    evidence: str = "multistart"
    bound: Bound | None = None
    no_bound: str | None = None

    def _repr_html_(self) -> str:
        proved = "not asked for" if self.upper_bound is None else short(self.upper_bound)
        rows = [
            ("λ*", "  ".join(map(short, self.lam))), ("J(λ*)", short(self.J)),
            ("gap V_w − J(λ*)", short(self.gap)), ("budget used", short(self.budget_used)),
            ("proved bound of J", proved),
            ("status", f"{self.status} ({self.evidence}), KKT residual {self.kkt:.1e}"),
        ]  # fmt: skip
        return html_table("The best soup found", rows)

    @property
    def upper_bound(self) -> float | None:
        """Proved bound of J over the whole budget, reward units; None without one."""
        return None if self.bound is None else self.bound.value


@one_blas_thread()
def soup_optimum(
    mdp: TokenMDP,
    sol: Solution | None = None,
    *,
    seed: int = 0,
    draws: int | None = None,
    grid: bool | None = None,
    tolerance: float | None = None,
    seconds: float = 60.0,
    threads: int | None = None,
    progress: Callable[[str], None] | None = None,
    report: OnProgress | None = None,
) -> SoupOptimum:
    """Maximise (8) over ``β|λ|₁ ≤ β'`` from the start context.

    grid: for K = 2, also search a dense grid refined to 1e-8 and climb from its best point; by
    default where T·S is at most 2,000, since it then costs less than the programs.
    tolerance: also bound J from above over the whole budget, until within this share of
    ``max(1, V_w − J(0))`` of the best J or until ``seconds`` have passed; threads, report: see
    toymdp.soup.bound.branch_and_bound. progress: called with the name of each start.
    Returns a SoupOptimum whose J is at least that of every start and of λ = 0 (the value of ref).
    """
    sol = solve(mdp) if sol is None else sol
    objective = SoupObjective(sol)
    ascents: list[Ascent] = []
    starts = default_starts(sol, seed, draws)
    small = mdp.horizon is not None and mdp.steps * mdp.n_contexts <= GRID_SIZE
    if grid is None:
        grid = len(sol.Q) == 2 and small
    if grid:
        starts["grid"] = grid_search(objective)[0]
    for name, u in starts.items():
        if progress is not None:
            progress(name)
        if np.any(u):
            ascents.append(ascend(objective, u, name, ascents))
    # a start without a value (until eos, a soup that hardly ends) is no ascent
    ascents = [ascent for ascent in ascents if np.isfinite(ascent.value)]
    if not ascents:
        raise SolverError("no start has a soup that ends: raise beta, or set a finite horizon")
    best = _best(ascents, objective.scale)
    bound, no_bound = None, None
    if tolerance is not None:
        no_bound = why_no_bound(mdp)
        if no_bound is None:
            bound = branch_and_bound(
                sol, best.value, tolerance=tolerance, seconds=seconds, threads=threads,
                report=report,
            )  # fmt: skip
            ascents.extend(bound.ascents)
            best = _best(ascents, objective.scale)
    place = ascents.index(best)
    ascents[place] = best = _to_the_last_digits(objective, best)
    # an ascent that ran out of steps is no local optimum; there may be none at all
    ends = [a.value for a in ascents if a.residual <= STATIONARY * objective.scale]
    values = np.sort(ends)
    distinct = len(ends) and 1 + int(np.sum(np.diff(values) > 1e-6 * objective.scale))
    at_zero = objective.value(np.zeros(len(sol.Q)))
    scale = objective.scale
    # largest value seen; it exceeds best.value by rounding only
    largest = max(max(a.value, a.value_at_start) for a in ascents)
    if at_zero >= largest:
        u, J, start = np.zeros(len(sol.Q)), at_zero, "zero"
        kkt = _slope_at_zero(objective, ascents)
        status = "zero" if kkt <= STATIONARY * scale else "inaccurate"
    else:
        u, J, kkt, start = np.array(best.u), largest, best.residual, best.start
        status = "stationary" if kkt <= STATIONARY * scale else "inaccurate"
    mu = u / mdp.beta
    return SoupOptimum(
        lam=mu * mdp.beta_prime, mu=mu, J=J, gap=sol.value_w - J, kkt=kkt, status=status,
        budget_used=float(np.abs(u).sum()), start=start, starts=tuple(ascents),
        spread=float(np.ptp(values)) if ends else 0.0, local_optima=distinct,
        evidence=_evidence(bound, grid), bound=bound, no_bound=no_bound,
    )  # fmt: skip


def _best(ascents: list[Ascent], scale: float) -> Ascent:
    best = max(ascents, key=lambda ascent: ascent.value)
    # among those that no float can tell apart from it, the one nearest to a first-order point
    tied = [a for a in ascents if a.value >= best.value - ROUNDING * scale]
    return min(tied, key=lambda ascent: ascent.residual)


def _to_the_last_digits(objective: SoupObjective, end: Ascent) -> Ascent:
    """The ascent with its end climbed from once more, as far as floats can tell points apart."""
    more = ascend(objective, np.array(end.u), end.start, tolerance=ROUNDING)
    steps, evaluations = end.steps + more.steps, end.evaluations + more.evaluations
    return replace(
        more, value_at_start=end.value_at_start, steps=steps, evaluations=evaluations
    )  # fmt: skip


def _evidence(bound: Bound | None, grid: bool) -> str:
    if bound is not None and bound.reached:
        return "certified"
    return "grid" if grid else "multistart"


def _slope_at_zero(objective: SoupObjective, ascents: list[Ascent]) -> float:
    """Largest one-sided derivative of J found at u = 0 over |y|₁ = 1, floored at 0."""
    _, slope, fisher = objective.at_zero
    K = len(slope)
    rng = np.random.default_rng(0)
    draws = rng.dirichlet(np.ones(K), size=256) * rng.choice([-1.0, 1.0], size=(256, K))
    ends = [np.array(a.u) / np.abs(a.u).sum() for a in ascents]
    y = np.vstack([np.eye(K), -np.eye(K), draws, *ends])
    rates = y @ slope - 0.5 * np.einsum("ij,jk,ik->i", y, fisher, y)
    return float(max(rates.max(), 0.0))
