"""The global soup optimum: a rigorous upper bound of J over the whole ball, by branch and bound.

The ball ``|u|₁ ≤ 1`` is cut into its 2^K orthants, each a simplex with vertices 0 and ±e_k; the
pieces with the largest bounds are halved across their longest edge (in the metric of the soup's
Fisher information) until no bound exceeds the best J known by more than the gap allowed. Corners
are dyadic rationals and midpoints exact, so the pieces cover the ball exactly. The bound of a piece
is in ``toymdp.kernels.envelopes``; what it takes for granted of the solver's floats is in
``toymdp.soup.rounding``.
"""

from __future__ import annotations

import heapq
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np

from .. import kernels
from ..errors import InstanceError
from ..exact.policy import Policy
from ..exact.solution import Solution
from ..worlds.features import Array
from ..worlds.token_mdp import TokenMDP
from .ascent import Ascent, ascend
from .objective import SoupObjective
from .rounding import LEAST_WEIGHT, BoundInputs, lightest

BATCH = 128  # pieces halved before the time is checked again
MOST_SPECIALISTS = 5  # 2^K orthants and K² coefficients: beyond, only the identity's bound is given
ISOTROPIC = 0.01  # share of the plain metric in the one that picks the edge to halve
FINEST = 2.0**46  # corners are multiples of 1/FINEST
ACCURACY = 0.02  # of the allowed gap: how closely the last quadratic of a piece is maximised

OnProgress = Callable[["BoundSoFar"], None]
Signs = Literal["any", "nonnegative"]


@dataclass(frozen=True)
class BoundSoFar:
    """Where a branch and bound stands: bound and best J, reward units; pieces bounded so far."""

    value: float
    J: float
    allowed: float
    pieces: int


@dataclass(frozen=True, eq=False)
class Bound:
    """A proved upper bound of J over the whole budget.

    value: ``J(u) ≤ value`` for every u. J: the best value known at the end, reward units.
    point: the best u found that did not climb (signs "nonnegative"), or 0.
    method: "branch and bound", or "identity" (``J ≤ V_w``: all that is given for large K).
    allowed: the gap asked for, reward units. stopped: "tolerance", "time", "interrupt",
    "resolution" (pieces too small to halve exactly), "pieces" or "identity". pieces: simplices bounded.
    ascents: climbs from points found above the J that was given.
    """

    value: float
    J: float
    method: str
    allowed: float
    stopped: str
    pieces: int
    seconds: float
    ascents: tuple[Ascent, ...] = ()
    point: Array | None = None

    @property
    def gap(self) -> float:
        """value − J, reward units."""
        return self.value - self.J

    @property
    def reached(self) -> bool:
        """Whether the gap asked for was reached."""
        return self.gap <= self.allowed


def why_no_bound(mdp: TokenMDP) -> str | None:
    """The reason for which no bound can be proved on this instance, or None."""
    if mdp.horizon is None:
        return "no bound: the recursion that proves one needs a finite horizon"
    if not mdp.dense:
        return (
            "no bound: the kernels that prove one read a table of every token after every context"
        )
    if lightest(mdp) < LEAST_WEIGHT:
        return f"no bound: a reference probability below {LEAST_WEIGHT:g} has no accurate logarithm"
    return None


def prepare() -> None:
    """Compile the kernel (cached on disk), so that the clock measures the search."""
    one = np.zeros((1, 1))
    ref = np.ones((1, 1))
    ref.setflags(write=False)  # as an instance's is: another type to the compiler
    kernels.envelopes.envelopes(
        ref, one == 0, np.zeros((1, 1, 1)), one[0], 1.0, np.zeros((2, 1)), 0, orthants(1), 0.0,
        0.0, 0.0, 1.0, np.empty(2), np.empty((2, 1)),
    )  # fmt: skip


def metric(sol: Solution) -> Array:
    """[K, K]: Fisher information of u in nats, averaged over ref and the signed specialists."""
    mdp = sol.mdp
    K = mdp.n_rewards
    q = sol.Q / mdp.beta
    pairs = [(i, j) for i in range(K) for j in range(i, K)]
    fields = np.stack([*q, *(q[i] * q[j] for i, j in pairs)])
    total = np.zeros((K, K))
    for u in np.vstack([np.zeros(K), np.eye(K), -np.eye(K)]):
        G = np.tensordot(u, q, axes=1)
        policy = Policy(mdp, G)
        d = policy.occupancy.states
        means = np.stack([policy.mean(f) for f in fields])
        for row, (i, j) in enumerate(pairs):
            total[i, j] += float(((means[K + row] - means[i] * means[j]) * d).sum())
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
    """Two halves of a simplex [K+1, K], or none where the midpoint is finer than FINEST."""
    edges = corners[:, None] - corners[None]
    i, j = divmod(int(np.argmax(np.einsum("ijk,kl,ijl->ij", edges, metric, edges))), len(corners))
    middle = 0.5 * (corners[i] + corners[j])
    if np.any(middle * FINEST != np.round(middle * FINEST)):
        return []
    first, second = corners.copy(), corners.copy()
    first[i] = second[j] = middle
    return [first, second]


class _Search:
    """The queue of one branch and bound."""

    def __init__(
        self, sol: Solution, J: float, allowed: float, threads: int, *, climbs: bool
    ) -> None:
        self.sol, self.J, self.allowed, self.threads = sol, J, allowed, threads
        self.climbs, self.point = climbs, np.zeros(sol.mdp.n_rewards)
        self.inputs = BoundInputs.of(sol)
        self.objective = SoupObjective(sol)
        self.metric = metric(sol)
        self.heap: list[tuple[float, int, Array]] = []
        self.closed = -np.inf  # bound of pieces that cannot be halved
        self.taken = float(self.inputs.cap[0, sol.mdp.start_context])  # of pieces being halved
        self.pieces = 0
        self.ascents: list[Ascent] = []

    @property
    def value(self) -> float:
        """The bound as it stands, whatever is in hand."""
        return max(self.closed, self.taken, -self.heap[0][0] if self.heap else -np.inf)

    @property
    def open(self) -> float:
        """Bounds above this are still too large."""
        return self.J + self.allowed

    def add(self, simplices: Array, ceilings: Array, pool: ThreadPoolExecutor) -> None:
        """Bound new pieces, each at most its parent's bound, and queue them."""
        bounds, points, values = self._bounds(simplices, pool)
        best = int(np.argmax(values))
        if not self.climbs and values[best] > self.J:
            self.J, self.point = float(values[best]), points[best].copy()
        elif values[best] > self.J + 1e-9 * self.objective.scale and points[best].any():
            climbed = ascend(self.objective, points[best], "branch and bound")
            self.ascents.append(climbed)
            self.J = max(self.J, climbed.value)
        # NaN bounds nothing: the parent's bound holds
        least = np.where(bounds < ceilings, bounds, ceilings)
        for bound, corners in zip(least, simplices, strict=True):
            self.pieces += 1
            heapq.heappush(self.heap, (-float(bound), self.pieces, corners))
        self.taken = -np.inf

    def _bounds(self, simplices: Array, pool: ThreadPoolExecutor) -> tuple[Array, Array, Array]:
        """Bound [N], a promising point [N, K] and the value there [N], in threads."""
        mdp, tab = self.sol.mdp, self.inputs
        N = len(simplices)
        bounds, values, points = np.empty(N), np.empty(N), np.empty((N, mdp.n_rewards))

        def work(part: slice) -> None:
            kernels.envelopes.envelopes(
                mdp.ref, mdp.reach.states, tab.q, tab.reward, mdp.beta, tab.cap, mdp.start_context,
                simplices[part], tab.near, tab.eps, tab.kappa, ACCURACY * self.allowed,
                bounds[part], points[part],
            )  # fmt: skip
            values[part] = self.objective.values(points[part])

        size = max(1, -(-N // (4 * self.threads)))
        list(pool.map(work, [slice(i, i + size) for i in range(0, N, size)]))
        return bounds, points, values

    def step(self, pool: ThreadPoolExecutor) -> None:
        """Halve the pieces with the largest bounds."""
        halves: list[Array] = []
        ceilings: list[float] = []
        self.taken = self.value
        while self.heap and len(halves) < 2 * BATCH and -self.heap[0][0] > self.open:
            negative, _, corners = heapq.heappop(self.heap)
            pair = halve(corners, self.metric)
            if not pair:
                self.closed = max(self.closed, -negative)
            halves += pair
            ceilings += [-negative] * len(pair)
        if halves:
            self.add(np.stack(halves), np.array(ceilings), pool)
        self.taken = -np.inf


def branch_and_bound(
    sol: Solution, J: float, *, tolerance: float, seconds: float = 60.0,
    threads: int | None = None, report: OnProgress | None = None, signs: Signs = "any",
    pieces: int | None = None,
) -> Bound:  # fmt: skip
    """Bound J over the whole budget from above, until within the tolerance of the best J known.

    J: the best value known, reward units. tolerance: the gap asked for, relative to
    ``max(1, V_w − J(0))``. seconds: when time runs out the bound reached is returned; so it is on
    an interrupt. threads: by default the processors there are. report: called after each batch.
    signs: "nonnegative" bounds J over the λ ≥ 0 of the budget; nothing climbs from there, for a climb
    may leave them. pieces: simplices after which it stops as well ("pieces"), whatever the time.
    For more than MOST_SPECIALISTS specialists the bound is V_w, by the identity ``V_w − J(u) = E_u
    Σ [β KL(π_u‖π_w) + (β/|u|₁ − β) KL(π_u‖ref)] ≥ 0``.

    Raises InstanceError for a tolerance or a time that is not positive, or an instance on which no
    bound can be proved (why_no_bound).
    """
    mdp = sol.mdp
    for name, given in (("tolerance", tolerance), ("seconds", seconds)):
        if not 0 < given < np.inf:
            raise InstanceError.of(name, given, "must be positive and finite", "correct it")
    reason = why_no_bound(mdp)
    if reason is not None:
        raise InstanceError(reason)
    K = mdp.n_rewards
    at_zero = SoupObjective(sol).value(np.zeros(K))
    allowed = tolerance * max(1.0, sol.value_w - at_zero)
    prepare()
    began = time.perf_counter()
    threads = threads or min(os.cpu_count() or 1, 16)
    search = _Search(sol, max(J, at_zero), allowed, threads, climbs=signs == "any")
    if K > MOST_SPECIALISTS:
        passed = time.perf_counter() - began
        return Bound(search.value, search.J, "identity", allowed, "identity", 0, passed)
    stopped = "tolerance"
    with ThreadPoolExecutor(threads) as pool:
        try:
            simplices = orthants(K)[: 2**K if signs == "any" else 1]  # the first has no sign
            search.add(simplices, np.full(len(simplices), search.value), pool)
            while search.value > search.open:
                if search.closed > search.open:
                    stopped = "resolution"
                    break
                if time.perf_counter() - began > seconds:
                    stopped = "time"
                    break
                if pieces is not None and search.pieces >= pieces:
                    stopped = "pieces"
                    break
                search.step(pool)
                if report is not None:
                    report(BoundSoFar(search.value, search.J, allowed, search.pieces))
        except KeyboardInterrupt:
            stopped = "interrupt"
    passed = time.perf_counter() - began
    return Bound(
        search.value, search.J, "branch and bound", allowed, stopped, search.pieces, passed,
        tuple(search.ascents), search.point,
    )  # fmt: skip
