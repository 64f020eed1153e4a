"""What the second code returns of a claim: two sides, where they are, and what they are made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .instance import Number, mp

VANISHES = mp.mpf(10) ** -12  # sides below this at a place leave nothing to compare there


class Nothing(Exception):  # noqa: N818
    """The statement says nothing here."""


@dataclass(frozen=True)
class Pair:
    """The two sides. where: the worst place, None where rounding chooses it or there is one only."""

    lhs: Number
    rhs: Number
    where: Mapping[str, int] | None = None
    terms: Mapping[str, Number] = field(default_factory=dict)


SidesAt = Callable[..., Pair]


def tightest(sides: Mapping[tuple[int, ...], tuple[Any, Any]], names: tuple[str, ...]) -> Pair:
    """The sides of least ``rhs − lhs`` among the places where there is anything to compare.

    Raises Nothing if there is no such place.
    """
    left = {
        place: (lhs, rhs)
        for place, (lhs, rhs) in sides.items()
        if max(abs(lhs), abs(rhs)) > VANISHES
    }
    if not left:
        raise Nothing("both sides vanish everywhere")
    place = min(left, key=lambda at: left[at][1] - left[at][0])
    return Pair(*left[place], dict(zip(names, place, strict=True)))


def farthest(distances: Mapping[tuple[int, ...], Any], names: tuple[str, ...]) -> Pair:
    """The largest of some distances as an equality with 0.

    Raises Nothing if there is none.
    """
    if not distances:
        raise Nothing("no place to look at")
    place = max(distances, key=lambda at: distances[at])
    return Pair(distances[place], mp.mpf(0), dict(zip(names, place, strict=True)))
