"""One ascent of the soup objective (8): successive convex programs with the exact curvature.

The objective is not concave and has convex kinks on the coordinate planes (toymdp.soup.objective), so a
local maximum lies inside an orthant, on the budget, or both. Each step fixes the orthant σ and
maximises a concave quadratic model of J over ``x = σ∘u ≥ 0, Σx ≤ 1`` inside a trust region
(toymdp.soup.step); it is accepted on the true J. A step ends exactly on the bounds that it meets, and
at exactly 0 a coordinate may leave to either side: the next step can cross orthants.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..worlds.features import Array
from .objective import Objective, SoupPoint
from .step import best_move

TOLERANCE = 1e-10  # KKT residual asked for, as a share of the size of J
FLATTEST = 1e-11  # least curvature of a model, as a share of its largest
MAX_STEPS = 60
MOST_REFUSED = 8  # trials in a row that J does not allow, after which no digit is left to gain
ROUNDING = 1e-14  # values of J this close, relative to its size, cannot be told apart
UNSEEN = 1e-12  # a gain promised below this, relative to the size of J, is judged by the residual
AGREEMENT = 0.5  # of a step's length: how near to a known end it must lead to be taken there


@dataclass(frozen=True)
class Ascent:
    """One start and where it ended. u is [K], values in reward units.

    steps: convex programs solved. evaluations: of J with its gradient.
    """

    start: str
    value_at_start: float
    value: float
    u: tuple[float, ...]
    steps: int
    evaluations: int
    residual: float


def _concave_part(H: Array) -> Array:
    """−H without its negative eigenvalues [K, K]: the model is concave, and no direction is flat."""
    values, vectors = np.linalg.eigh(-H)
    least = max(FLATTEST * float(np.abs(values).max()), 1e-300)
    if values[0] >= least:
        return -H
    return np.asarray((vectors * np.maximum(values, least)) @ vectors.T)


def ascend(
    objective: Objective, u: Array, name: str = "given", known: Sequence[Ascent] = (),
    tolerance: float = TOLERANCE,
) -> Ascent:  # fmt: skip
    """Climb from u ≠ 0 to a first-order point of J over the unit ℓ₁ ball.

    tolerance: the KKT residual asked for, as a share of the size of J.

    known: earlier ascents on this objective. A step that leads close to the end of one is taken
    there, if J allows as it must for every step: that end need not be approached again.
    """
    start = point = objective.at(_without_rounding(u))
    scale, radius = objective.scale, 0.5
    ends = [a for a in known if a.residual <= tolerance * scale]
    steps, evaluations, refused = 0, 1, 0
    bend: Array | None = None
    while steps < MAX_STEPS and refused < MOST_REFUSED and point.residual > tolerance * scale:
        pattern = point.pattern()
        g, x = point.gradient(pattern), pattern * point.u
        if bend is None:
            bend = _concave_part(point.curvature(pattern))
        steps += 1
        move = best_move(g, bend, x, radius)
        if move is None:
            refused, radius = refused + 1, 0.25 * radius
            continue
        ahead = _without_rounding(np.maximum(x + move, 0.0))
        ahead /= max(1.0, float(ahead.sum()))
        move = ahead - x
        predicted = _gain(g, bend, move)
        if not move.any() or not ahead.any():
            break
        end = _end_near(ends, pattern * ahead, point, float(np.abs(move).sum()), radius)
        if end is not None:
            promised = _gain(g, bend, pattern * np.array(end.u) - x)
            if promised > 0.0 and end.value - point.value > 0.1 * promised:
                return Ascent(name, start.value, end.value, end.u, steps, evaluations, end.residual)
        trial = objective.at(pattern * ahead)
        evaluations += 1
        gain = (trial.value - point.value) / predicted
        if predicted > UNSEEN * scale:
            accepted, good, poor = gain > 1e-4, gain > 0.75, not gain >= 0.25  # NaN is poor
        else:
            accepted = good = trial.residual < point.residual
            poor = not accepted
        longest = float(np.abs(move).max())
        if poor:
            # solver noise can make a move longer than the radius: shrink for certain
            radius = 0.25 * min(radius, longest)
        elif good:
            radius = min(2.0, max(radius, 2.0 * longest))
        refused = 0 if accepted else refused + 1
        if accepted:
            point, bend = trial, None
    if not no_worse(point, start, scale):
        point = start
    end_u = tuple(float(share) for share in point.u)
    return Ascent(name, start.value, point.value, end_u, steps, evaluations, point.residual)


def no_worse(point: SoupPoint | Ascent, other: SoupPoint | Ascent, scale: float) -> bool:
    """Whether J is larger, or as large as a float can tell and nearer to first-order optimality.

    J is flat at a maximum: values there agree to rounding at u that differ by its square root, and
    the residual tells which is nearer.
    """
    if abs(point.value - other.value) <= ROUNDING * scale:
        return point.residual <= other.residual
    return point.value > other.value


def _without_rounding(u: Array) -> Array:
    """The same weights [K], with 0 for those that are rounding beside the largest: they have no sign."""
    size = np.abs(u)
    return np.where(size <= np.finfo(float).eps * size.max(), 0.0, u)


def _gain(g: Array, B: Array, move: Array) -> float:
    """What the model promises of a move [K], reward units."""
    return float(g @ move - 0.5 * move @ B @ move)


def _end_near(
    ends: Sequence[Ascent], target: Array, point: SoupPoint, length: float, radius: float
) -> Ascent | None:
    """The known end nearest to a step's target [K], if close enough and in the trust region."""
    if not ends:
        return None
    places = np.array([end.u for end in ends])
    apart = np.abs(places - target).sum(axis=1)
    nearest = int(apart.argmin())
    close = apart[nearest] <= AGREEMENT * length
    inside = np.abs(places[nearest] - point.u).max() <= radius
    return ends[nearest] if close and inside else None
