"""Running sums of the measures: what a report needs of any number of tokens, in constant memory.

Tallies of disjoint chunks add up, so finished chunks survive a killed run as small JSON objects.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bounds import formulas
from bounds.records.output import number
from bounds.sides import NotApplicable, Sides, worst
from toymdp.arrays import Array

from .measures import Measures

SUMS = ("delta", "renyi", "kl", "span", "gram")
MAXIMA = ("log_upper", "neg_log_lower", "delta", "renyi", "kl", "span")


@dataclass
class Tally:
    """Sums and maxima over states; ``sides``: per claim the worst place so far.

    sums: of Δ_k and D₂ [K'], KL [R+1, R+1], spans [M], the Gram matrix [K', K'].
    maxima: of the same and of the log-ratios' extremes. scale: largest rounding scale.
    """

    states: int = 0
    scale: float = 0.0
    sums: dict[str, Array] = field(default_factory=dict)
    maxima: dict[str, Array] = field(default_factory=dict)
    sides: dict[str, Sides] = field(default_factory=dict)

    def add(self, other: Tally) -> None:
        """Take in the tally of other states."""
        self.states += other.states
        self.scale = max(self.scale, other.scale)
        for key, value in other.sums.items():
            self.sums[key] = self.sums[key] + value if key in self.sums else value
        for key, value in other.maxima.items():
            here = self.maxima.get(key)
            self.maxima[key] = value if here is None else np.maximum(here, value)
        for key, found in other.sides.items():
            if key not in self.sides or found.slack < self.sides[key].slack:
                self.sides[key] = found

    def mean(self, key: str) -> Array:
        """Mean of a summed measure over states."""
        return np.asarray(self.sums[key] / max(self.states, 1))

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "states": self.states,
            "scale": self.scale,
            "sums": {k: v.tolist() for k, v in self.sums.items()},
            "maxima": {k: v.tolist() for k, v in self.maxima.items()},
            "sides": {
                k: {"lhs": number(s.lhs), "rhs": number(s.rhs), "scale": s.scale, "where": s.where}
                for k, s in self.sides.items()
            },
        }

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Tally:
        """Read what ``as_dict`` wrote."""
        sides = {
            k: Sides(s["lhs"], s["rhs"], s["scale"], where=s["where"])
            for k, s in found["sides"].items()
        }
        sums, maxima = (
            {k: np.array(v) for k, v in found[key].items()} for key in ("sums", "maxima")
        )
        return cls(found["states"], found["scale"], sums, maxima, sides)


@dataclass(frozen=True)
class SoupSettings:
    """Soups λ [M, K] by name, with the temperatures of (7); which lie in ``β|λ|₁ ≤ β'``."""

    names: tuple[str, ...]
    lams: Array
    beta: float
    beta_prime: float

    def temperature(self, m: int) -> float:
        """``β'/|λ|₁``, infinite at λ = 0."""
        size = float(np.abs(self.lams[m]).sum())
        return self.beta_prime / size if size > 0 else float("inf")

    def in_domain(self, m: int) -> bool:
        """Whether soup m keeps to the budget, up to rounding of the sum."""
        return self.beta * float(np.abs(self.lams[m]).sum()) <= self.beta_prime * (1 + 1e-12)


def tally_of(
    found: Measures, row: Array, place: Array, settings: SoupSettings, bespoke: bool, eps: float
) -> Tally:
    """Tally N states that were measured together; row, place: [N], where each state is."""
    arrays = {
        key: np.asarray(getattr(found, key).double().cpu())
        for key in ("log_upper", "log_lower", *SUMS, "inner", "scale")
    }
    arrays["neg_log_lower"] = -arrays.pop("log_lower")
    N = len(row)
    scale = float(arrays["scale"].max())
    sums = {k: arrays[k].sum(axis=-1) if k != "gram" else arrays[k] for k in SUMS}
    maxima = {k: arrays[k].max(axis=-1) for k in MAXIMA}
    tally = Tally(N, scale, sums, maxima)

    # with a two-valued ratio ss.delta is an equality, whose sign no float can see
    tolerance = 32 * eps * (1.0 + arrays["scale"])
    width = arrays["log_upper"] + arrays["neg_log_lower"]
    two_valued = (arrays["inner"] <= tolerance) & (width > 1e3 * tolerance)
    _keep(tally, "ss.delta", arrays["renyi"], arrays["delta"], ~two_valued, row, place, "k")
    if bespoke:
        K = settings.lams.shape[1]
        inside = [m for m in range(len(settings.names)) if settings.in_domain(m)]
        lhs, rhs = np.zeros((2, len(inside), N))
        for i, m in enumerate(inside):
            kl, beta = arrays["kl"], settings.beta
            to_w, to_ref = kl[K + 2 + m, K + 1], kl[K + 2 + m, 0]
            temperature = settings.temperature(m)
            lhs[i] = formulas.gap_rate(to_w, to_ref, beta, temperature)
            rhs[i] = formulas.gap_rate(
                formulas.hoeffding(arrays["span"][m]), to_ref, beta, temperature
            )
        if inside:
            every = np.ones(lhs.shape, dtype=bool)
            _keep(tally, "ss.thm1.gap.sharp", lhs, rhs, every, row, place, "soup")
    return tally


def _keep(
    tally: Tally, claim: str, lhs: Array, rhs: Array, mask: Array, row: Array, place: Array,
    axis: str,
) -> None:  # fmt: skip
    try:
        found = worst(lhs, rhs, mask.astype(bool), 1.0 + tally.scale, (axis, "n"))
    except NotApplicable:
        return
    assert found.where is not None
    n = found.where["n"]
    where = {axis: found.where[axis], "sequence": int(row[n]), "token": int(place[n])}
    tally.sides[claim] = Sides(found.lhs, found.rhs, found.scale, where=where)
