"""The global soup optimum: a rigorous upper bound of J over the whole ball, by branch and bound.

The ball ``|ν|₁ ≤ 1`` is cut into its 2^K orthants, each a simplex with vertices 0 and ±e_k; the
piece with the largest bound is halved across its longest edge (in the metric of the soup's Fisher
information) until no bound exceeds the best J known by more than the tolerance. Corners are dyadic
rationals and midpoints exact, so the pieces cover the ball exactly. The bound of a piece is in
``toymdp.envelope_kernels``.

**What the bound is about.** J is defined through the exact Q of the instance's exact numbers
(reference weights normalised by definition). The floats of the solver stand in for them, with radii:

- soft values are non-expansive, ``|V̂_t − V_t| ≤ max |V̂_t − β log E_ref exp(Q̂_t/β)| + max |V̂_{t+1} −
  V_{t+1}|``, so the Bellman residuals add up to a radius of Q, each enlarged by the rounding of the
  residual itself;
- a logit at c is then off by at most ``eps = 2·radius/β`` plus its own rounding, and the reference
  rows by a few units in the last place of each entry;
- every sum of n terms is off by at most ``γ_n`` times the sum of absolute values; kappa is several
  times γ of the longest chain of operations.

Assumed: IEEE binary64 in round-to-nearest, exp and log of the library within 4 units in the last
place (glibc and LLVM's vector library state less), no flush of subnormals.
"""

from __future__ import annotations

import heapq
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from .ascent import ascend
from .envelope_kernels import make_envelope
from .features import Array
from .mdp import TokenMDP
from .policies import log_partition, occupancy, tilted_means
from .solver import Solution
from .soup import SoupObjective

UNIT = 2.0**-53
BATCH = 128  # pieces halved between two looks at the clock
MOST_SPECIALISTS = 3
ISOTROPIC = 0.01  # share of the plain metric in the one that picks the edge to halve
LEAST_WEIGHT = 1e-280  # reference probabilities below this have no relative accuracy


@dataclass(frozen=True, eq=False)
class Bound:
    """A proved upper bound of J over the whole budget.

    value: J ≤ value, reward units. J, nu [K]: the best point known at the end. gap = value − J.
    method: "branch and bound", or "identity" (``J ≤ V_w``, all that is known for large K).
    allowed: the gap asked for, reward units. reached: gap ≤ allowed. stopped: "tolerance", "time",
    "interrupted", "resolution" (the pieces are as small as floats allow) or "one piece".
    pieces: simplices bounded. improved: the search found a point above the J it was given.
    """

    value: float
    J: float
    nu: Array
    method: str
    allowed: float
    stopped: str
    pieces: int
    seconds: float
    improved: bool

    @property
    def gap(self) -> float:
        """value − J ≥ 0, reward units."""
        return self.value - self.J

    @property
    def reached(self) -> bool:
        """Whether the gap asked for was reached."""
        return self.gap <= self.allowed


Report = Callable[[float, float, int], None]


def value_radius(mdp: TokenMDP, Q: Array, V: Array, reward_error: float) -> Array:
    """Radius [T+1] of V [T+1, S] around the exact soft values, at the reachable states.

    Q = r + V[1:], reward units; reward_error: radius of r itself.
    """
    A = mdp.vocab_size
    residual = np.abs(mdp.beta * log_partition(mdp, Q / mdp.beta) - V[:-1])
    worst = np.where(mdp.reach.states, residual, 0.0).max(axis=1)
    used = np.where(mdp.reach.nexts, np.abs(Q), 0.0).max()
    # forming Q and Q/β, the exponentials (relative error grows with the argument), the sum, the
    # logarithm, and the reference row: all bounded by the operands
    rounding = UNIT * (64.0 * used + (16.0 * A + 4096.0) * mdp.beta)
    radius = np.zeros(len(V))
    for t in range(len(worst) - 1, -1, -1):
        radius[t] = radius[t + 1] + 1.001 * worst[t] + rounding + reward_error
    return radius


@dataclass(frozen=True, eq=False)
class Tables:
    """What the kernel reads, and the radii that make its bound rigorous."""

    q: Array
    reward: Array
    cap: Array
    eps: float
    kappa: float

    @classmethod
    def of(cls, sol: Solution) -> Tables:
        """Collect the tables of a finite-horizon solution."""
        mdp = sol.mdp
        K, A = mdp.n_rewards, mdp.vocab_size
        sizes = np.abs(mdp.w)[:, None] * np.abs(mdp.rewards)
        reward_error = 4.0 * K * UNIT * float(sizes.sum(axis=0).max())
        radius = max(
            float(value_radius(mdp, Q, V, 0.0)[0]) for Q, V in zip(sol.Q, sol.V, strict=True)
        )
        cap_radius = value_radius(mdp, sol.Q_w, sol.V_w, reward_error)
        cap = sol.V_w + (cap_radius + 8 * UNIT * np.abs(sol.V_w).max(axis=1))[:, None]
        q = np.ascontiguousarray(np.moveaxis(sol.Q, 0, 2) / mdp.beta)
        largest = float(np.abs(q[mdp.reach.nexts]).max())
        # |ν|₁ ≤ 1: the logit Σ ν_k q_k is off by the radius of q and by K + 2 roundings of it; the
        # exponent, its sum and its logarithm add a few, and 750 bounds |log ref|
        eps = 2.0 * radius / mdp.beta + UNIT * ((8.0 * K + 64.0) * largest + 8.0 * A + 16.0 * 750)
        kappa = UNIT * 16.0 * (A + 64.0)
        return cls(q, mdp.reward_w + reward_error, cap, eps, kappa)


@lru_cache(maxsize=4)
def _kernels(K: int) -> Any:
    return make_envelope(K)


def metric(sol: Solution) -> Array:
    """[K, K]: the Fisher information of ν, averaged over ref and the signed specialists."""
    mdp = sol.mdp
    K = mdp.n_rewards
    q = sol.Q / mdp.beta
    pairs = [(i, j) for i in range(K) for j in range(i, K)]
    fields = np.stack([*q, *(q[i] * q[j] for i, j in pairs)])
    total = np.zeros((K, K))
    for nu in np.vstack([np.zeros(K), np.eye(K), -np.eye(K)]):
        G = np.tensordot(nu, q, axes=1)
        d = occupancy(mdp, G).states
        means = tilted_means(mdp, G, fields)[1]
        for row, (i, j) in enumerate(pairs):
            cov = float(((means[K + row] - means[i] * means[j]) * d).sum())
            total[i, j] += cov
            total[j, i] = total[i, j]
    size = np.trace(total) / K
    return np.asarray(total + ISOTROPIC * (size if size > 0 else 1.0) * np.eye(K))


def orthants(K: int) -> Array:
    """[2^K, K+1, K]: the ball's simplices, one for each pattern of signs."""
    signs = np.stack(np.meshgrid(*[[1.0, -1.0]] * K, indexing="ij"), axis=-1).reshape(-1, K)
    corners = np.zeros((len(signs), K + 1, K))
    corners[:, 1:] = signs[:, :, None] * np.eye(K)
    return corners


def halve(corners: Array, metric: Array) -> list[Array]:
    """Two halves of one simplex, or none where its longest edge has no exact midpoint."""
    best, ends = -1.0, (0, 1)
    for i in range(len(corners)):
        for j in range(i + 1, len(corners)):
            edge = corners[i] - corners[j]
            length = float(edge @ metric @ edge)
            if length > best:
                best, ends = length, (i, j)
    i, j = ends
    middle = 0.5 * (corners[i] + corners[j])
    if np.any(middle - corners[i] != corners[j] - middle) or np.abs(corners[i] - corners[j]).max() < 2.0**-38:
        return []
    first, second = corners.copy(), corners.copy()
    first[i] = middle
    second[j] = middle
    return [first, second]


class _Search:
    """The queue of one branch and bound."""

    def __init__(self, sol: Solution, J: float, nu: Array, allowed: float, threads: int) -> None:
        self.sol, self.J, self.nu, self.allowed = sol, J, nu, allowed
        self.tables = Tables.of(sol)
        self.objective = SoupObjective(sol)
        self.metric = metric(sol)
        self.threads = threads
        self.heap: list[tuple[float, int, Array]] = []
        self.closed = -np.inf  # bound of pieces that cannot be halved
        self.pieces = 0
        self.improved = False

    def bounds(self, simplices: Array, pool: ThreadPoolExecutor) -> tuple[Array, Array]:
        """Bounds [N] of the simplices and, for each, the value at a promising point."""
        mdp, tab = self.sol.mdp, self.tables
        kernel = _kernels(mdp.n_rewards)[1]
        found = np.empty(len(simplices))
        points = np.empty((len(simplices), mdp.n_rewards))
        values = np.empty(len(simplices))

        def work(part: slice) -> None:
            kernel(
                mdp.ref, mdp.reach.states, tab.q, tab.reward, mdp.beta, tab.cap, mdp.start_context,
                simplices[part], tab.eps, tab.kappa, 0.02 * self.allowed, found[part], points[part],
            )  # fmt: skip
            values[part] = self.objective.values(points[part])

        size = max(1, -(-len(simplices) // (4 * self.threads)))
        list(pool.map(work, [slice(i, i + size) for i in range(0, len(simplices), size)]))
        self._look(points, values)
        return found, values

    def _look(self, points: Array, values: Array) -> None:
        """Climb from the best point met, if it beats the best J known."""
        best = int(np.argmax(values))
        if values[best] > self.J + 1e-9 * self.objective.scale and points[best].any():
            climbed = ascend(self.objective, points[best], "branch and bound")
            self.J, self.nu, self.improved = climbed.value, np.array(climbed.nu), True

    def add(self, simplices: Array, ceilings: Array, pool: ThreadPoolExecutor) -> None:
        """Bound new pieces, each at most its parent's bound, and queue them."""
        found, _ = self.bounds(simplices, pool)
        for bound, ceiling, corners in zip(found, ceilings, simplices, strict=True):
            self.pieces += 1
            least = ceiling if not bound < ceiling else bound
            heapq.heappush(self.heap, (-float(least), self.pieces, corners))

    @property
    def value(self) -> float:
        """The bound as it stands."""
        return max(self.closed, -self.heap[0][0] if self.heap else -np.inf)

    def step(self, pool: ThreadPoolExecutor) -> None:
        """Halve the pieces with the largest bounds."""
        halves: list[Array] = []
        ceilings: list[float] = []
        while self.heap and len(halves) < 2 * BATCH and -self.heap[0][0] > self.J + self.allowed:
            negative, _, corners = heapq.heappop(self.heap)
            pair = halve(corners, self.metric)
            if not pair:
                self.closed = max(self.closed, -negative)
            halves += pair
            ceilings += [-negative] * len(pair)
        if halves:
            self.add(np.stack(halves), np.array(ceilings), pool)


def branch_and_bound(
    sol: Solution, J: float, nu: Array, *, tolerance: float, seconds: float = 60.0,
    threads: int | None = None, report: Report | None = None,
) -> Bound:  # fmt: skip
    began = time.perf_counter()
    mdp = sol.mdp
    K = mdp.n_rewards
    allowed = tolerance * max(1.0, sol.value_w - SoupObjective(sol).value(np.zeros(K)))
    threads = threads or min(os.cpu_count() or 1, 16)
    search = _Search(sol, J, nu, allowed, threads)
    stopped = "tolerance"
    ceiling = float(search.tables.cap[0, mdp.start_context])
    with ThreadPoolExecutor(threads) as pool:
        try:
            search.add(orthants(K), np.full(2**K, ceiling), pool)
            while search.value > search.J + allowed:
                if search.closed > search.J + allowed:
                    stopped = "resolution"
                    break
                if time.perf_counter() - began > seconds:
                    stopped = "time"
                    break
                search.step(pool)
                if report is not None:
                    report(search.value, search.J, search.pieces)
        except KeyboardInterrupt:
            stopped = "interrupted"
    return Bound(
        value=search.value, J=search.J, nu=search.nu, method="branch and bound", allowed=allowed,
        stopped=stopped, pieces=search.pieces, seconds=time.perf_counter() - began, improved=search.improved,
    )
