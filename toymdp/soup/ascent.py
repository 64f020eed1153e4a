"""One ascent of the soup objective (8): successive convex programs, then Newton on the face.

The objective is not concave and has convex kinks on the coordinate planes (toymdp.soup.objective), so a
local maximum lies inside an orthant, on the budget, or both. Each step fixes the orthant σ and
maximises a concave quadratic model of J over ``x = σ∘u ≥ 0, Σx ≤ 1`` inside a trust region
(toymdp.soup.step); it is accepted on the true J. The last digits come from Newton
steps on the face where the programs ended.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..worlds.features import Array
from .objective import Objective, SoupPoint
from .step import program

STEP = 1e-6  # forward difference of the exact gradient, for the model's curvature
TOLERANCE = 1e-10  # KKT residual asked for, relative to the size of J
SNAPS = (
    1e-3,
    1e-5,
    1e-7,
    1e-9,
)  # |u_k| below each is tried at 0, and kept there if J does not fall
NEAR_BUDGET = 0.999  # budget share from which the budget itself is tried
EASY_STEPS = 2  # programs solved before Newton steps are tried
MAX_STEPS = 60
ROUNDING = 1e-14  # values of J this close, relative to its size, cannot be told apart


@dataclass(frozen=True)
class Ascent:
    """One start and where it ended. u is [K], values in reward units."""

    start: str
    value_at_start: float
    value: float
    u: tuple[float, ...]
    steps: int
    residual: float


def _curvature(objective: Objective, point: SoupPoint, pattern: Array) -> Array:
    """Hessian [K, K] of J in x inside the orthant, by forward differences of the exact gradient."""
    x = pattern * point.u
    g = point.gradient(pattern)
    K = len(x)
    H = np.empty((K, K))
    for k in range(K):
        shifted = x.copy()
        shifted[k] += STEP
        # the smooth piece extends past the budget; its sign pattern is σ by construction
        beside = objective.at(pattern * shifted)
        H[k] = (beside.gradient(pattern) - g) / STEP
    return 0.5 * (H + H.T)


def _concave_root(H: Array) -> Array:
    """A square root [K, K] of the concave part of −H (positive eigenvalues of H dropped)."""
    values, vectors = np.linalg.eigh(-H)
    return np.asarray(np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T)


def ascend(objective: Objective, u: Array, name: str = "given") -> Ascent:
    """Climb from u ≠ 0 to a first-order point of J over the unit ℓ₁ ball."""
    start = point = objective.at(u)
    scale = objective.scale
    radius, steps = 0.5, 0
    while steps < MAX_STEPS and point.residual > TOLERANCE * scale:
        if steps >= EASY_STEPS:  # close enough, perhaps, for Newton steps to finish at once
            point = _polish(objective, point, scale)
            if point.residual <= TOLERANCE * scale:
                break
        steps += 1
        pattern = point.pattern()
        g, x = point.gradient(pattern), pattern * point.u
        H = _curvature(objective, point, pattern)
        root = _concave_root(H)
        accepted = False
        while not accepted and radius > 1e-12:
            move = program(len(x)).solve(g, root, x, radius)
            if move is None:
                radius *= 0.25
                continue
            predicted = float(g @ move - 0.5 * np.sum((root @ move) ** 2))
            ahead = x + move
            if predicted <= 1e-16 * scale or not ahead.any():
                break
            value = objective.value(pattern * ahead)
            gain = (value - point.value) / predicted
            accepted = gain > 1e-4
            if not gain >= 0.25:  # NaN shrinks too
                # solver noise can make a move longer than the radius: shrink for certain
                radius = 0.25 * min(radius, float(np.abs(move).max()))
            elif gain > 0.75:
                radius = min(2.0, 2.0 * radius)
        if not accepted:
            break
        # at exactly 0 a coordinate may leave to either side: the next step can cross orthants
        point = _snap(objective, objective.at(pattern * ahead))
    point = _polish(objective, _snap(objective, point), scale)
    if not no_worse(point, start, scale):
        point = start
    end = tuple(float(share) for share in point.u)
    return Ascent(name, start.value, point.value, end, steps, point.residual)


def no_worse(point: SoupPoint | Ascent, other: SoupPoint | Ascent, scale: float) -> bool:
    """Whether J is larger, or as large as a float can tell and nearer to first-order optimality.

    J is flat at a maximum: values there agree to rounding at u that differ by its square root, and
    the residual tells which is nearer.
    """
    if abs(point.value - other.value) <= ROUNDING * scale:
        return point.residual <= other.residual
    return point.value > other.value


def _snap(objective: Objective, point: SoupPoint) -> SoupPoint:
    """Put small coordinates, and what is nearly on the budget, exactly there if J allows.

    An interior point leaves a coordinate that belongs at 0 slightly beside it; what it holds of the
    budget is given to the others.
    """
    for small in SNAPS:
        u = np.where(np.abs(point.u) < small, 0.0, point.u)
        size = float(np.abs(u).sum())
        for candidate in (u / size if size > NEAR_BUDGET else u, u):
            moved = candidate.any() and not np.array_equal(candidate, point.u)
            if moved and objective.value(candidate) >= point.value - 1e-14 * objective.scale:
                point = objective.at(candidate)
                break
    return point


def _polish(objective: Objective, point: SoupPoint, scale: float) -> SoupPoint:
    """Newton steps on the active face, as far as J does not fall; the point of least KKT residual.

    A step that would leave the orthant goes to its boundary, and on with the smaller face: a
    coordinate that belongs at 0 is put there, which no interior point does.
    """
    best = point
    for _ in range(len(point.u) + 8):  # a face can lose each coordinate once
        if point.residual <= 1e-14 * scale:
            break
        pattern = point.pattern()
        x, move = pattern * point.u, _newton_move(objective, point, pattern)
        if move is None:
            break
        leaving = x + move < 0
        share = float((x[leaving] / -move[leaving]).min()) if leaving.any() else 1.0
        ahead = np.maximum(x + share * move, 0.0)
        ahead[leaving & (x <= -share * move)] = 0.0
        if ahead.sum() > 1.0 + 1e-12 or not ahead.any():
            break
        polished = objective.at(pattern * ahead / max(1.0, ahead.sum()))
        if polished.value < point.value - 1e-13 * scale:
            break
        if not leaving.any() and polished.residual >= point.residual:
            break
        point = polished
        best = point if point.residual < best.residual else best
    return best


def _newton_move(objective: Objective, point: SoupPoint, pattern: Array) -> Array | None:
    """Newton's step [K] in x = σ∘u on the face where the point lies; None if it has none."""
    x, g = pattern * point.u, point.gradient(pattern)
    free = np.flatnonzero(x > 0)
    full = x.sum() >= 1.0 - 1e-7 and g[free].mean() > 0
    n = len(free)
    system = np.zeros((n + full, n + full))
    system[:n, :n] = _curvature(objective, point, pattern)[np.ix_(free, free)]
    target = np.zeros(n + full)
    target[:n] = -g[free]
    if full:
        system[n, :n] = system[:n, n] = 1.0
        target[n] = 1.0 - x.sum()
    move = np.zeros(len(x))
    try:
        move[free] = np.linalg.solve(system, target)[:n]
    except np.linalg.LinAlgError:
        return None
    return move
