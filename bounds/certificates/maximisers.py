"""Every maximiser of J, enclosed: branch and bound over the unit ℓ₁ ball of ``u = βλ/β'``.

In the orthant of signs σ write ``u = n·(σ_1 v_1, ..., σ_K v_K)`` with ``n = |u|₁ ∈ [0, 1]`` and v on
the simplex, ``v_K = 1 − Σ_{i<K} v_i``. With ``g = Σ σ_k v_k Q_k/β``, which is affine in v,

    J = E_π[Σ r_w] − β E_π Σ c,   π ∝ ref·e^{n g},   c = KL(π‖ref)/n ∈ [0, n·span(g)²/8]

(``KL = ∫_0^n x Var dx``; where n may be 0, that interval stands for c). J is smooth in (n, v) there:

    ∂J/∂n   = E Σ_t [Cov(g, r_w + J_{t+1}) − β (Var g − c/n)],   c/n ∈ [0, span(g)²/8]
    ∂J/∂v_i = n E Σ_t [Cov(h_i, r_w + J_{t+1}) − β Cov(g, h_i)],  h_i = (σ_i Q_i − σ_K Q_K)/β.

A box is pruned if its upper bound, by the mean value form, is below J at some point, or if J climbs
in a direction that the ball leaves open: along n, or from v_j to v_i. A maximiser in a box on which
J climbs along n has n = 1; one on which it climbs from v_j to v_i has v_j = 0.
"""

from __future__ import annotations

import heapq
import itertools
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from flint import arb, fmpq

from .values import ZERO, Tilt, Values, clip, total

Interval = tuple[fmpq, fmpq]
SMALLEST = fmpq(1, 2**50)  # a box this small that is neither pruned nor broken decides nothing
FINE = fmpq(1, 2**44)  # boxes that break the claim are split to this width, for narrow enclosures
SECONDS, NARROW = 120.0, 1e-9  # for the best u ≥ 0, and how narrow J is enclosed there
REFINING = 1000  # boxes that this splitting may take


def ball(x: Interval) -> arb:
    """The interval as a ball."""
    return arb(x[0]).union(arb(x[1]))


@dataclass(frozen=True)
class Box:
    """Signs σ [K], the interval of n, and those of v_1..v_{K−1}."""

    signs: tuple[int, ...]
    sides: tuple[Interval, ...]  # n first

    @property
    def n(self) -> arb:
        """``|u|₁``."""
        return ball(self.sides[0])

    @property
    def v(self) -> list[arb]:
        """``|u_k|/|u|₁`` [K], the last by subtraction."""
        low = max(1 - sum((x[1] for x in self.sides[1:]), fmpq(0)), fmpq(0))
        high = 1 - sum((x[0] for x in self.sides[1:]), fmpq(0))
        return [*map(ball, self.sides[1:]), ball((low, high))]

    @property
    def u(self) -> list[arb]:
        """``u = βλ/β'`` [K]."""
        return [s * self.n * v for s, v in zip(self.signs, self.v, strict=True)]

    @property
    def centre(self) -> Box:
        """Its midpoint, a box of width 0."""
        return Box(self.signs, tuple(((a + b) / 2, (a + b) / 2) for a, b in self.sides))

    def with_side(self, i: int, side: Interval) -> Box:
        """The box with one side replaced."""
        return Box(self.signs, (*self.sides[:i], side, *self.sides[i + 1 :]))

    def halves(self, slope: list[arb]) -> list[Box]:
        """Both halves across one of the longer sides, that along which J may vary most.

        Halves outside the simplex are left out.
        """
        long = [i for i, (a, b) in enumerate(self.sides) if 16 * (b - a) >= self.width]
        vary = [arb(b - a) * d.abs_upper() for (a, b), d in zip(self.sides, slope, strict=True)]
        i = max(long, key=lambda j: float(vary[j]) if vary[j].is_finite() else math.inf)
        (a, b), parts = self.sides[i], []
        for side in ((a, (a + b) / 2), ((a + b) / 2, b)):
            half = self.with_side(i, side)
            if sum((x[0] for x in half.sides[1:]), fmpq(0)) <= 1:
                parts.append(half)
        return parts

    @property
    def width(self) -> fmpq:
        """Its longest side."""
        return max(b - a for a, b in self.sides)


class Objective:
    """J and its gradient on boxes of one orthant, in reward units."""

    def __init__(self, values: Values, signs: tuple[int, ...]) -> None:
        self.values, self.K = values, len(signs)
        self.base: dict[tuple[int, int], list[list[list[arb]]]] = {}
        for t, states in enumerate(values.world.states):
            for s in states:
                q = [
                    [sg * x for x in values.at(t, s, Q)]
                    for sg, Q in zip(signs, values.Q, strict=False)
                ]
                last = q[-1]
                fields = [last, *([x - y for x, y in zip(k, last, strict=True)] for k in q[:-1])]
                self.base[t, s] = [[[x - y for y in f] for x in f] for f in fields]

    def at(self, box: Box, slopes: bool) -> tuple[arb, list[arb]]:
        """J and ``[∂J/∂n, ∂J/∂v_1, ...]`` over the box."""
        values, n, beta = self.values, box.n, self.values.beta
        world, v = values.world, [ball(x) for x in box.sides[1:]]
        n_high, positive = arb(box.sides[0][1]), box.sides[0][0] > 0
        U: dict[tuple[int, int], arb] = {}
        dU: dict[tuple[int, int], list[arb]] = {}
        flat = [ZERO] * self.K
        for t in reversed(range(world.steps)):
            for s in world.states[t]:
                nexts = values.next[s]
                worth = [values.reward_w[x] + U.get((t + 1, x), ZERO) for x in nexts]
                slope = [dU.get((t + 1, x), flat) for x in nexts]
                A = range(len(nexts))
                base, *h = self.base[t, s]
                g = [[base[a][b] + total([c * k[a][b] for c, k in zip(v, h, strict=True)]) for b in A]
                     for a in A]  # fmt: skip
                policy = Tilt(values.p[s], [[n * x for x in row] for row in g])
                top = arb(0)
                for row in g:
                    for x in row:
                        top = top.max(x.abs_upper())
                most = top * top / 8
                c = policy.divergence() / n if positive else arb.nan()
                c = clip(c, ZERO, n_high * most)
                U[t, s] = policy.mean(worth) - beta * c
                if not slopes:
                    continue
                X = [[x - y for y in worth] for x in worth]
                rate = clip(c / n, ZERO, most) if positive else ZERO.union(most)
                along_n = policy.covariance(g, X) - beta * (policy.covariance(g, g) - rate)
                along_v = [
                    n * (policy.covariance(k, X) - beta * policy.covariance(g, k)) for k in h
                ]
                dU[t, s] = [
                    d + policy.mean([y[i] for y in slope])
                    for i, d in enumerate([along_n, *along_v])
                ]
        begin = (0, world.start)
        return U[begin], dU.get(begin, [])


@dataclass
class Enclosure:
    """Where the maximisers are. kept: boxes that may hold one, with their upper bounds on J.

    best: the largest J evaluated, a lower bound of J(λ*). undecided: a box that could be neither
    pruned nor kept, if any, with J over it.
    """

    best: arb = field(default_factory=arb.neg_inf)
    kept: list[tuple[arb, Box]] = field(default_factory=list)
    boxes: int = 0
    undecided: tuple[arb, Box] | None = None


def tighten(box: Box, slope: list[arb]) -> Box | None:
    """The part of the box that can hold a maximiser, by the signs of the slopes; None if empty."""
    low, high = box.sides[0]
    if slope[0] > 0:
        if high < 1:
            return None
        box = box.with_side(0, (fmpq(1), fmpq(1)))
    elif low == 0:
        return box
    elif slope[0] < 0:
        return None
    K = len(box.signs)
    towards = [*slope[1:], ZERO]  # slope of J along v_i, while v_K falls by as much
    least = [x[0] for x in box.sides[1:]]
    least.append(1 - sum((x[1] for x in box.sides[1:]), fmpq(0)))
    for i, j in itertools.permutations(range(K), 2):
        if towards[i] - towards[j] > 0:
            if least[j] > 0:
                return None
            if j < K - 1:
                box = box.with_side(1 + j, (fmpq(0), fmpq(0)))
            elif K == 2:
                box = box.with_side(1, (fmpq(1), fmpq(1)))
    return box


class BoxSearch:
    """The best-first loop, with its result so far."""

    def __init__(
        self, values: Values, deadline: float, progress: Callable[[int, int], None],
        orthants: Iterable[tuple[int, ...]],
    ) -> None:  # fmt: skip
        self.values = values
        self.objectives = {signs: Objective(values, signs) for signs in orthants}
        self.deadline, self.progress = deadline, progress
        self.result = Enclosure()

    @property
    def whole(self) -> list[tuple[arb, Box]]:
        """The orthants, with nothing known of J: all are looked at before any is split."""
        sides = ((fmpq(0), fmpq(1)),) * self.values.world.K
        return [(arb.pos_inf(), Box(signs, sides)) for signs in self.objectives]

    def run(self, boxes: list[tuple[arb, Box]], done: Callable[[Box, arb], bool]) -> None:
        """Prune, tighten and split until ``done`` takes every box left; those are ``kept``."""
        result, count = self.result, itertools.count()
        heap = [(-float(upper), next(count), box) for upper, box in boxes]
        result.kept = []
        heapq.heapify(heap)
        while heap:
            _, _, box = heapq.heappop(heap)
            result.boxes += 1
            self.progress(result.boxes, len(heap))
            bounded = self.bound(box)
            if bounded is None:
                continue
            J, slope, smaller = bounded
            if smaller != box:
                parts = [smaller]
            elif done(box, J):
                result.kept.append((J.upper(), box))
                continue
            elif box.width < SMALLEST or time.monotonic() > self.deadline:
                result.undecided = (J, box)
                return
            else:
                parts = box.halves(slope)
            for part in parts:
                heapq.heappush(heap, (-float(J.upper()), next(count), part))
        result.kept = [(upper, box) for upper, box in result.kept if not upper < result.best]

    def bound(self, box: Box) -> tuple[arb, list[arb], Box] | None:
        """J and its slopes over the box, the part that may hold a maximiser; None if none may."""
        J, slope = self.objectives[box.signs].at(box, True)
        if not self.result.best > J:
            J = self.mean_value(box, J, slope)
        smaller = None if self.result.best > J else tighten(box, slope)
        return None if smaller is None else (J, slope, smaller)

    def mean_value(self, box: Box, J: arb, slope: list[arb]) -> arb:
        """J over the box from the slopes and J at its centre, which may become ``best``."""
        centre = box.centre
        middle, _ = self.objectives[box.signs].at(centre, False)
        inside = sum((x[0] for x in centre.sides[1:]), fmpq(0)) <= 1
        if inside and middle.lower() > self.result.best:
            self.result.best = middle.lower()
        moves = [ball(((a - b) / 2, (b - a) / 2)) for a, b in box.sides]
        spread = total([d * x for d, x in zip(slope, moves, strict=True)])
        return J.intersection(middle + spread) if spread.is_finite() else J


def best_nonnegative(values: Values) -> arb:
    """``max J`` over ``u ≥ 0`` of the ball, enclosed: the slopes that prune stay in their orthant.

    Infinite above where that takes too long.
    """
    K = values.world.K
    loop = BoxSearch(values, time.monotonic() + SECONDS, lambda done, left: None, [(1,) * K])

    def narrow(box: Box, J: arb) -> bool:
        return bool(J.rad() < NARROW * (1 + J.abs_upper()))

    loop.run(loop.whole, narrow)
    if loop.result.undecided is not None:
        return loop.result.best.union(arb.pos_inf())
    upper = loop.result.best
    for above, _ in loop.result.kept:
        upper = upper.max(above)
    return loop.result.best.union(upper)


def maximisers(
    values: Values,
    breaks: Callable[[Box, arb], bool],
    deadline: float,
    progress: Callable[[int, int], None],
) -> Enclosure:
    """Enclose the maximisers of J until every box that may hold one breaks the claim.

    breaks: whether the claim is false at every point of a box on which J lies in the ball. Then the
    boxes left are made smaller, so that the enclosures are narrow.
    """
    loop = BoxSearch(values, deadline, progress, itertools.product((1, -1), repeat=values.world.K))
    loop.run(loop.whole, breaks)
    result = loop.result
    if result.undecided is None:
        limit = result.boxes + REFINING

        def small(box: Box, J: arb) -> bool:
            late = time.monotonic() > deadline
            return box.width < FINE or result.boxes + len(result.kept) > limit or late

        loop.run(result.kept, small)
    return result
