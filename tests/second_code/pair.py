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
    """The two sides. where: the worst place, None where rounding chooses it or there is one only.

    places: the sides at every place that was looked at, by the place's numbers in ``names``' order.
    """

    lhs: Number
    rhs: Number
    where: Mapping[str, int] | None = None
    terms: Mapping[str, Number] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    places: Mapping[tuple[int, ...], tuple[Number, Number]] = field(default_factory=dict)

    def at(self, where: Mapping[str, int] | None) -> tuple[Number, Number]:
        """The sides at another place, or these where there is one place only."""
        if not self.places or where is None:
            return self.lhs, self.rhs
        return self.places[tuple(where[name] for name in self.names)]

    @property
    def least(self) -> Number:
        """The least ``rhs − lhs`` of all places."""
        return min([y - x for x, y in self.places.values()], default=self.rhs - self.lhs)


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
    return Pair(*left[place], dict(zip(names, place, strict=True)), {}, names, sides)


def farthest(distances: Mapping[tuple[int, ...], Any], names: tuple[str, ...]) -> Pair:
    """The largest of some distances as an equality with 0.

    Raises Nothing if there is none.
    """
    if not distances:
        raise Nothing("no place to look at")
    place = max(distances, key=lambda at: distances[at])
    places = {at: (distance, mp.mpf(0)) for at, distance in distances.items()}
    where = dict(zip(names, place, strict=True))
    return Pair(distances[place], mp.mpf(0), where, {}, names, places)
