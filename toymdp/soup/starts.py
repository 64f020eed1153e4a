"""Where ascents of the soup's objective start, and the dense grid of K = 2.

The starts are every one-hot vertex, the user weights, the projection of Q_w on the Q_k, and seeded
signed draws.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import scipy  # whose parts are imported when they are first asked for

from ..arrays import Array
from ..exact.solution import Solution
from .objective import SoupObjective

SCREENING = 2_000_000  # reachable triples times looks at J before the draws are chosen


def default_starts(sol: Solution, seed: int = 0, draws: int | None = None) -> dict[str, Array]:
    """Named starts u: one-hot vertices, the user weights, the projection of Q_w, signed draws."""
    K = len(sol.Q)
    draws = (6 if K < 4 else 12) if draws is None else draws
    starts = {f"one-hot {k}": np.eye(K)[k] for k in range(K)}
    if K > 1:
        starts["user weights"] = sol.mdp.w / sol.mdp.w.sum()
        starts["projection"] = projection(sol)
    for i, u in enumerate(best_draws(SoupObjective(sol), seed, draws)):
        starts[f"draw {i}"] = u
    return starts


def best_draws(objective: SoupObjective, seed: int, draws: int) -> list[Array]:
    """The best of many seeded signed draws u, kept apart from each other by 0.3 in |·|₁.

    Values cost little beside an ascent, so many points are looked at and few are climbed from.
    """
    mdp = objective.sol.mdp
    K = mdp.n_rewards
    looks = int(np.clip(SCREENING / max(1, mdp.reach.n_triples), 4 * draws, 512))
    rng = np.random.default_rng(seed)
    shapes = rng.dirichlet(np.full(K, 0.7), size=looks)
    us = shapes * rng.choice([-1.0, 1.0], size=(looks, K)) * rng.uniform(0.2, 1.0, (looks, 1))
    us[::2] /= np.abs(us[::2]).sum(axis=1, keepdims=True)  # half of them on the budget
    chosen: list[Array] = []
    for i in np.argsort(-objective.values(us), kind="stable"):
        if len(chosen) < draws and all(np.abs(us[i] - c).sum() > 0.3 for c in chosen):
            chosen.append(us[i])
    return chosen


def projection(sol: Solution) -> Array:
    """u [K] of the soup whose logits are nearest to π_w's, in mean square under π_w.

    Least squares of Q_w on the Q_k, both centred over the tokens' block, scaled into the ball.
    """
    mdp, K = sol.mdp, len(sol.Q)
    # π_w is the soup of Q_w alone
    visits = SoupObjective(replace(sol, Q=sol.Q_w[None])).visits(np.ones(1))
    starts = mdp.block_starts
    sizes = np.diff(starts, append=mdp.n_contexts)
    triangle: Array = np.zeros((0, K + 1))
    for t, n in enumerate(visits):  # step by step: the factors of what is above, of no more rows
        fields = np.vstack([sol.Q[:, t], sol.Q_w[t]])
        total = np.add.reduceat(n, starts)
        sums = np.add.reduceat(fields * n, starts, axis=1)
        means = sums / np.where(total > 0, total, 1.0)
        centred = (fields - np.repeat(means, sizes, axis=1)) * np.sqrt(n)
        triangle = scipy.linalg.qr(np.vstack([triangle, centred.T]), mode="r")[0][: K + 1]
    # what is spread less than the means are rounded says nothing: π_w may choose one token, always
    rounding = 8.0 * np.finfo(float).eps * SoupObjective(sol).scale
    spread = float(np.linalg.norm(triangle[:, :K], 2))
    u = np.zeros(K)
    if spread > rounding:
        least = max(1e-10, rounding / spread)
        u[:] = np.linalg.lstsq(triangle[:, :K], triangle[:, K], rcond=least)[0]
    size = np.abs(u).sum()
    return np.asarray(u / max(1.0, size)) if size > 0 else np.asarray(mdp.w / mdp.w.sum())


def grid_search(
    objective: SoupObjective, points: int = 81, n_peaks: int = 6
) -> tuple[Array, float]:
    """Best u and J over a dense grid of the ball for K = 2, refined around its peaks to 1e-8.

    The ball is the square (p, q) ∈ [−1, 1]² with ``u = ((p+q)/2, (p−q)/2)``, so the grid ends on
    the budget and holds the vertices. Raises ValueError unless K = 2.
    """
    if len(objective.sol.Q) != 2:
        raise ValueError(f"K = {len(objective.sol.Q)}: the dense grid is for K = 2")

    def values(p: Array, q: Array) -> Any:
        us = np.stack([(p + q) / 2, (p - q) / 2], axis=-1)
        return objective.values(us.reshape(-1, 2)).reshape(p.shape)

    axis = np.linspace(-1.0, 1.0, points)
    P, Qs = np.meshgrid(axis, axis, indexing="ij")
    J = values(P, Qs)
    padded = np.pad(J, 1, constant_values=-np.inf)
    around = [padded[1 + i : points + 1 + i, 1 + j : points + 1 + j]
              for i in (-1, 0, 1) for j in (-1, 0, 1)]  # fmt: skip
    peaks = np.argwhere(np.max(around, axis=0) <= J)
    peaks = peaks[np.argsort(-J[tuple(peaks.T)])][:n_peaks]
    best_u, best = np.zeros(2), float(objective.value(np.zeros(2)))
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
            best_u, best = np.array([(p + q) / 2, (p - q) / 2]), float(value)
    return best_u, best
