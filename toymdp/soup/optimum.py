"""The soup optimum λ* of (8): the best of several ascents, and what is known of it.

The starts are every one-hot vertex, the user weights, the projection of Q_w on the Q_k, and seeded
signed draws; for K = 2 a dense grid refined to 1e-8 adds one. λ* = 0 is a legitimate answer. Asked
for a tolerance, branch and bound (toymdp.soup.bound) proves how far above J any soup can be, and the
ascent starts again from any better point it meets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import SolverError
from ..exact.policy import Policy
from ..exact.solution import Solution, solve
from ..worlds.features import Array
from ..worlds.token_mdp import TokenMDP
from .ascent import ROUNDING, Ascent, ascend
from .bound import Bound, Report, branch_and_bound, why_no_bound
from .objective import SoupObjective

SCREENING = 2_000_000  # reachable triples times looks at J before the draws are chosen
GRID_SIZE = 2000  # T·S up to which the dense grid of K = 2 is the default


@dataclass(frozen=True, eq=False)
class SoupOptimum:
    """The best soup found.

    lam: [K] = λ*; mu: [K] = λ*/β'; J: its value; gap = V_w − J (reward units).
    kkt: first-order residual with the kinks, reward units (at λ* = 0: the largest directional
    derivative found). budget_used: β|λ*|₁/β'. start: the start that won. starts: all ascents.
    spread: largest minus smallest local optimum; local_optima: how many differ by more than 1e-6.
    status: "optimal" (kkt small), "zero" (λ* = 0), or "inaccurate".
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

    @property
    def upper_bound(self) -> float | None:
        """Proved bound of J over the whole budget, reward units; None without one."""
        return None if self.bound is None else self.bound.value


def default_starts(sol: Solution, seed: int = 0, draws: int | None = None) -> dict[str, Array]:
    """Named starts ν: one-hot vertices, the user weights, the projection of Q_w, signed draws."""
    K = len(sol.Q)
    draws = (6 if K < 4 else 12) if draws is None else draws
    starts = {f"one-hot {k}": np.eye(K)[k] for k in range(K)}
    if K > 1:
        starts["user weights"] = sol.mdp.w / sol.mdp.w.sum()
        starts["projection"] = projection(sol)
    for i, nu in enumerate(best_draws(SoupObjective(sol), seed, draws)):
        starts[f"draw {i}"] = nu
    return starts


def best_draws(objective: SoupObjective, seed: int, draws: int) -> list[Array]:
    """The best of many seeded signed draws ν, kept apart from each other by 0.3 in |·|₁.

    Values cost little beside an ascent, so many points are looked at and few are climbed from.
    """
    mdp = objective.sol.mdp
    K = mdp.n_rewards
    looks = int(np.clip(SCREENING / max(1, mdp.reach.n_triples), 4 * draws, 512))
    rng = np.random.default_rng(seed)
    shapes = rng.dirichlet(np.full(K, 0.7), size=looks)
    nus = shapes * rng.choice([-1.0, 1.0], size=(looks, K)) * rng.uniform(0.2, 1.0, (looks, 1))
    nus[::2] /= np.abs(nus[::2]).sum(axis=1, keepdims=True)  # half of them on the budget
    chosen: list[Array] = []
    for i in np.argsort(-objective.values(nus), kind="stable"):
        if len(chosen) < draws and all(np.abs(nus[i] - c).sum() > 0.3 for c in chosen):
            chosen.append(nus[i])
    return chosen


def projection(sol: Solution) -> Array:
    """ν [K] of the soup whose logits are nearest to π_w's, in mean square under π_w.

    Least squares of Q_w on the Q_k, both centred over the tokens' block, scaled into the ball.
    """
    mdp = sol.mdp
    n = Policy(mdp, sol.Q_w / mdp.beta).occupancy.nexts.ravel()
    root = np.sqrt(n)
    fields = np.vstack([sol.Q.reshape(len(sol.Q), -1), sol.Q_w.reshape(1, -1)])
    block = fields.reshape(len(fields), -1, mdp.vocab_size)
    mass = n.reshape(-1, mdp.vocab_size)
    total = mass.sum(axis=1)
    means = (block * mass).sum(axis=2) / np.where(total > 0, total, 1.0)
    centred = (block - means[..., None]).reshape(len(fields), -1) * root
    nu = np.linalg.lstsq(centred[:-1].T, centred[-1], rcond=1e-10)[0]
    size = np.abs(nu).sum()
    return np.asarray(nu / max(1.0, size)) if size > 0 else np.asarray(mdp.w / mdp.w.sum())


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
    report: Report | None = None,
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
    for name, nu in starts.items():
        if progress is not None:
            progress(name)
        if np.any(nu):
            ascents.append(ascend(objective, nu, name))
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
    values = sorted(ascent.value for ascent in ascents)
    distinct = 1 + int(np.sum(np.diff(values) > 1e-6 * objective.scale))
    at_zero = objective.value(np.zeros(len(sol.Q)))
    scale = objective.scale
    # the largest value met: beyond that of the best by rounding alone
    largest = max(max(a.value, a.value_at_start) for a in ascents)
    if at_zero >= largest:
        nu, J, start = np.zeros(len(sol.Q)), at_zero, "zero"
        kkt = _slope_at_zero(objective, ascents)
        status = "zero" if kkt <= 1e-7 * scale else "inaccurate"
    else:
        nu, J, kkt, start = np.array(best.nu), largest, best.residual, best.start
        status = "optimal" if kkt <= 1e-7 * scale else "inaccurate"
    mu = nu / mdp.beta
    return SoupOptimum(
        lam=mu * _beta_prime(mdp), mu=mu, J=J, gap=sol.value_w - J, kkt=kkt, status=status,
        budget_used=float(np.abs(nu).sum()), start=start, starts=tuple(ascents),
        spread=values[-1] - values[0], local_optima=distinct,
        evidence=_evidence(bound, grid), bound=bound, no_bound=no_bound,
    )  # fmt: skip


def _best(ascents: list[Ascent], scale: float) -> Ascent:
    best = max(ascents, key=lambda ascent: ascent.value)
    # among those that no float can tell apart from it, the one nearest to a first-order point
    tied = [a for a in ascents if a.value >= best.value - ROUNDING * scale]
    return min(tied, key=lambda ascent: ascent.residual)


def _evidence(bound: Bound | None, grid: bool) -> str:
    if bound is not None and bound.reached:
        return "certified"
    return "grid" if grid else "multistart"


def _beta_prime(mdp: TokenMDP) -> float:
    assert mdp.beta_prime is not None  # filled in at the door
    return mdp.beta_prime


def _slope_at_zero(objective: SoupObjective, ascents: list[Ascent]) -> float:
    """Largest one-sided derivative of J found at ν = 0 over |u|₁ = 1, floored at 0."""
    _, slope, fisher = objective.at_zero
    K = len(slope)
    rng = np.random.default_rng(0)
    draws = rng.dirichlet(np.ones(K), size=256) * rng.choice([-1.0, 1.0], size=(256, K))
    ends = [np.array(a.nu) / np.abs(a.nu).sum() for a in ascents]
    u = np.vstack([np.eye(K), -np.eye(K), draws, *ends])
    rates = u @ slope - 0.5 * np.einsum("ij,jk,ik->i", u, fisher, u)
    return float(max(rates.max(), 0.0))


def grid_search(objective: SoupObjective, points: int = 81, keep: int = 6) -> tuple[Array, float]:
    """Best ν and J over a dense grid of the ball for K = 2, refined around its peaks to 1e-8.

    The ball is the square (p, q) ∈ [−1, 1]² with ``ν = ((p+q)/2, (p−q)/2)``, so the grid ends on
    the budget and holds the vertices. Raises ValueError unless K = 2.
    """
    if len(objective.sol.Q) != 2:
        raise ValueError(f"K = {len(objective.sol.Q)}: the dense grid is for K = 2")

    def values(p: Array, q: Array) -> Any:
        nus = np.stack([(p + q) / 2, (p - q) / 2], axis=-1)
        return objective.values(nus.reshape(-1, 2)).reshape(p.shape)

    axis = np.linspace(-1.0, 1.0, points)
    P, Qs = np.meshgrid(axis, axis, indexing="ij")
    J = values(P, Qs)
    padded = np.pad(J, 1, constant_values=-np.inf)
    around = [padded[1 + i : points + 1 + i, 1 + j : points + 1 + j]
              for i in (-1, 0, 1) for j in (-1, 0, 1)]  # fmt: skip
    peaks = np.argwhere(np.max(around, axis=0) <= J)
    peaks = peaks[np.argsort(-J[tuple(peaks.T)])][:keep]
    best_nu, best = np.zeros(2), float(objective.value(np.zeros(2)))
    for i, j in peaks:
        p, q, width = axis[i], axis[j], axis[1] - axis[0]
        value = J[i, j]
        while width > 1e-8:
            local = np.linspace(-width, width, 9)
            P, Qs = np.meshgrid(np.clip(p + local, -1, 1), np.clip(q + local, -1, 1), indexing="ij")
            inner = values(P, Qs)
            at = np.unravel_index(np.argmax(inner), inner.shape)
            if inner[at] > value:
                p, q, value = P[at], Qs[at], inner[at]
            width *= 0.4
        if value > best:
            best_nu, best = np.array([(p + q) / 2, (p - q) / 2]), float(value)
    return best_nu, best
