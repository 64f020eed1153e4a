"""The two sides of a claim, and the verdict they give.

A claim's function returns two sides in floating point. It runs twice, on two solutions of the same
instance that share no recursion; what differs between the runs is rounding, and that (with a floor
of a few units in the last place of everything that was subtracted) is the error radius. A sign
inside the radius is ``undecided``; rounding never decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from toymdp.exact.scans import tightest

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
# error: the code of a claim failed; no claim returns it, a row of a run may have it
Verdict = Literal["holds", "violated", "not-applicable", "undecided", "error"]
Kind = Literal["inequality", "equality"]

EPS = float(np.finfo(np.float64).eps)
# an equality is only "seen" if its error radius resolves it to this share of its size
RESOLUTION = 1e-6


class Undecidable(Exception):  # noqa: N818  # an outcome, not an error
    """Raised by a claim's function when a quantity it needs could not be computed."""


class NotApplicable(Exception):  # noqa: N818
    """Raised by a claim's function when its statement says nothing on this instance."""


@dataclass(frozen=True)
class Sides:
    """Both sides of a claim at its worst place, on one solution and one λ.

    scale: size of what was added and subtracted to get them, for the rounding floor.
    error: error radius that the computation itself knows of (a fit, a solver), if any.
    where: {"t", "s", "a", "k"} as far as they apply. terms: what makes up the right side.
    """

    lhs: float
    rhs: float
    scale: float
    terms: Mapping[str, float] = field(default_factory=dict)
    where: Mapping[str, int] | None = None
    error: float = 0.0
    note: str = ""

    def __post_init__(self) -> None:
        put = object.__setattr__  # records hold plain numbers
        for name in ("lhs", "rhs", "scale", "error"):
            put(self, name, float(getattr(self, name)))
        put(self, "terms", {str(key): float(value) for key, value in self.terms.items()})
        if self.where is not None:
            put(self, "where", {str(key): int(place) for key, place in self.where.items()})

    @property
    def slack(self) -> float:
        """``rhs − lhs``."""
        return self.rhs - self.lhs


def rounding_floor(sides: Sides, depth: int) -> float:
    """A few units in the last place of everything that was added up."""
    return float(32 * EPS * np.sqrt(depth) * (sides.scale + abs(sides.lhs) + abs(sides.rhs)))


def error_radius(sides: Sides, second: Sides, depth: int) -> float:
    """Radius around the slack within which rounding could move it."""
    moved = 4.0 * abs(sides.slack - second.slack)
    return rounding_floor(sides, depth) + moved + sides.error


def decide(kind: Kind, sides: Sides, error: float) -> tuple[Verdict, str]:
    """Return verdict and reason from the two sides and the error radius."""
    slack = sides.slack
    if kind == "inequality":
        if slack > error:
            return "holds", ""
        if slack < -error:
            return "violated", ""
        return "undecided", f"slack {slack:.3g} is inside the error radius {error:.3g}"
    if abs(slack) > 8 * error:
        return "violated", ""
    if abs(slack) > error:
        return "undecided", f"|slack| {abs(slack):.3g} is close to the error radius {error:.3g}"
    size = max(abs(sides.lhs), abs(sides.rhs), sides.scale)
    if error > RESOLUTION * size:
        return "undecided", f"error radius {error:.3g} is too wide to see an equality"
    return "holds", ""


def worst(
    lhs: Array,
    rhs: Array,
    mask: Mask,
    scale: float,
    names: tuple[str, ...],
    error: Array | None = None,
) -> Sides:
    """Pick the place of least slack among the marked ones where there is anything to compare.

    lhs, rhs, mask: arrays of one shape whose axes are ``names``. Places where both sides vanish
    within rounding (a single allowed token, equal policies) compare 0 with 0 and are passed over.
    error: radius of the slack at each place beyond rounding, in that shape. Then a place that is
    violated beyond its radius counts most, and else the one that may be violated most.

    Raises NotApplicable if no place is left.
    """
    floor = 64 * EPS * scale
    least = tightest(lhs, rhs, mask, floor)
    if least < 0:
        raise NotApplicable("both sides vanish at every reachable state: nothing to compare")
    if error is not None:
        mask = mask & ~((np.abs(lhs) <= floor) & (np.abs(rhs) <= floor))
        least = tightest(lhs, rhs + error, mask, 0.0)
        if not (rhs - lhs + error).flat[least] < 0:
            least = tightest(lhs + error, rhs, mask, 0.0)
    place = np.unravel_index(least, lhs.shape)
    where = {name: int(i) for name, i in zip(names, place, strict=True)}
    radius = 0.0 if error is None else float(error[place])
    return Sides(float(lhs[place]), float(rhs[place]), scale, where=where, error=radius)
