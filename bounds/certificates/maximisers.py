"""Every maximiser of J, enclosed: branch and bound over the unit ℓ₁ ball of ``u = βλ/β'``.

A box is pruned if its upper bound, by the mean value form, is below J at some point, or if J climbs
in a direction that the ball leaves open (coordinates (n, v): bounds.certificates.objective): along n,
or from v_j to v_i. On small boxes the slopes are those at the centre and what the second derivatives
make of the distance: near a maximiser the slopes of a box are as wide as they are large. A maximiser
in a box on which J climbs along n has n = 1; one on which it climbs from v_j to v_i has v_j = 0.
"""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from flint import arb, fmpq

from .objective import Box, Objective, ball
from .values import ZERO, Values, total

CURVED = fmpq(1, 32)  # on boxes this small second derivatives are worth their time,
CURVED_FROM = fmpq(1, 8)  # from this n on: they divide by it
SMALLEST = fmpq(1, 2**50)  # a box this small that is neither pruned nor broken decides nothing
FINE = fmpq(1, 2**44)  # boxes that break the claim are split to this width, for narrow enclosures
SECONDS, NARROW = 120.0, 1e-10  # for the best u ≥ 0, and how narrow J is enclosed there
REFINING = 1000  # boxes that this splitting may take


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
        J, slope = self.first_order(box)
        if self.result.best > J:
            return None
        smaller = tighten(box, slope)
        if smaller == box and box.width <= CURVED and box.sides[0][0] >= CURVED_FROM:
            J, slope = self.second_order(box, J, slope)
            smaller = None if self.result.best > J else tighten(box, slope)
        return None if smaller is None else (J, slope, smaller)

    def first_order(self, box: Box) -> tuple[arb, list[arb]]:
        """J and its slopes; J from the slopes and J at the centre, which may become ``best``."""
        objective, centre = self.objectives[box.signs], box.centre
        over = objective.at(box, 1)
        if self.result.best > over.J:
            return over.J, over.slope
        middle = objective.at(centre, 0).J
        inside = sum((x[0] for x in centre.sides[1:]), fmpq(0)) <= 1
        if inside and middle.lower() > self.result.best:
            self.result.best = middle.lower()
        return meet(over.J, middle + dot(over.slope, moves(box))), over.slope

    def second_order(self, box: Box, J: arb, slope: list[arb]) -> tuple[arb, list[arb]]:
        """The same from J and its slopes at the centre, and the second derivatives over the box."""
        objective, away = self.objectives[box.signs], moves(box)
        centre, bend = objective.at(box.centre, 1), objective.at(box, 2).bend
        change = [dot(row, away) for row in bend]
        J = meet(J, centre.J + dot(centre.slope, away) + dot(change, away) / 2)
        slopes = zip(slope, centre.slope, change, strict=True)
        return J, [meet(x, y + z) for x, y, z in slopes]


def moves(box: Box) -> list[arb]:
    """From the centre to any point of the box, by coordinate."""
    return [ball(((a - b) / 2, (b - a) / 2)) for a, b in box.sides]


def dot(x: list[arb], y: list[arb]) -> arb:
    """``Σ x_i y_i``."""
    return total([a * b for a, b in zip(x, y, strict=True)])


def meet(x: arb, y: arb) -> arb:
    """What two enclosures of one number have in common."""
    return x.intersection(y) if y.is_finite() else x


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
