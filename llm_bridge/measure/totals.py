"""Running sums of the measures: what a report needs of any number of tokens, in constant memory.

Tallies of disjoint chunks add up, so finished chunks survive a killed run as small JSON objects.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bounds import formulas
from bounds.records.output import number
from bounds.sides import NotApplicable, Sides, worst
from toymdp import InstanceError, validators
from toymdp.arrays import Array, real_numbers

from ..backend import torch
from .measures import Measures
from .soups import SoupSettings

SUMS = ("delta", "renyi", "kl", "span", "gram")
REMEDY = "drop the line: its chunk is measured again"
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
        """Take in the tally of other states. Raises InstanceError if it is of other sizes."""
        for mine, theirs in ((self.sums, other.sums), (self.maxima, other.maxima)):
            for key in mine.keys() & theirs.keys():
                if mine[key].shape != theirs[key].shape:
                    shape = f"shape {theirs[key].shape}"
                    rule = f"must be {mine[key].shape}, as in other chunks"
                    raise InstanceError.of(f"a chunk's {key}", shape, rule, "delete the file")
        self.states += other.states
        self.scale = max(self.scale, other.scale)
        for key, value in other.sums.items():
            self.sums[key] = self.sums[key] + value if key in self.sums else value
        for key, value in other.maxima.items():
            known = self.maxima.get(key)
            self.maxima[key] = value if known is None else np.maximum(known, value)
        for claim, sides in other.sides.items():
            if claim not in self.sides or sides.slack < self.sides[claim].slack:
                self.sides[claim] = sides

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
    def from_dict(cls, fields: Any) -> Tally:
        """Read what ``as_dict`` wrote. Raises InstanceError for anything else."""
        whole = _keys("tally", fields, ("states", "scale", "sums", "maxima", "sides"))
        if not isinstance(whole["sides"], dict):
            raise InstanceError.of("sides", whole["sides"], "must be an object", REMEDY)
        sides = {claim: _sides(f"sides.{claim}", of) for claim, of in whole["sides"].items()}
        sums, maxima = (
            {k: _finite(f"{group}.{k}", v) for k, v in _keys(group, whole[group], names).items()}
            for group, names in (("sums", SUMS), ("maxima", MAXIMA))
        )
        states = validators.integer("states", whole["states"], 1)
        return cls(states, validators.number("scale", whole["scale"]), sums, maxima, sides)


def _keys(label: str, fields: Any, names: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(fields, dict) or set(fields) != set(names):
        raise InstanceError.of(label, fields, f"must have keys {sorted(names)}", REMEDY)
    return fields


def _finite(label: str, values: Any) -> Array:
    numbers = real_numbers(label, values)
    validators.refuse_first(label, numbers, ~np.isfinite(numbers), "must be finite", REMEDY)
    return numbers


def _sides(label: str, fields: Any) -> Sides:
    whole = _keys(label, fields, ("lhs", "rhs", "scale", "where"))
    where = whole["where"]
    if where is not None and not isinstance(where, dict):
        raise InstanceError.of(f"{label}.where", where, "must be an object or null", REMEDY)
    places = {k: validators.integer(f"{label}.where.{k}", x, 0) for k, x in (where or {}).items()}
    lhs, rhs, scale = (
        validators.number(f"{label}.{key}", whole[key]) for key in ("lhs", "rhs", "scale")
    )
    return Sides(lhs, rhs, scale, where=None if where is None else places)


def tally_of(
    measures: Measures, row: Array, place: Array, settings: SoupSettings, bespoke: bool, eps: float
) -> Tally:
    """Tally N states that were measured together; row, place: [N], where each state is.

    In ``where`` of a claim's sides "soup" counts all soups of the settings, also those outside the
    budget, which ss.thm1.gap.sharp does not speak of.
    """
    tensors = {k: getattr(measures, k) for k in ("log_upper", "log_lower", *SUMS, "inner", "scale")}
    # one transfer for all: a GPU waits at each
    flat = torch.cat([each.double().flatten() for each in tensors.values()]).cpu().numpy()
    ends = np.cumsum([each.numel() for each in tensors.values()])[:-1]
    arrays = {
        key: part.reshape(each.shape)
        for (key, each), part in zip(tensors.items(), np.split(flat, ends), strict=True)
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
    _note_worst(tally, "ss.delta", arrays["renyi"], arrays["delta"], ~two_valued, row, place, "k")
    if bespoke:
        K = settings.lams.shape[1]
        M = len(settings.names)
        lhs, rhs = np.zeros((2, M, N))
        inside = np.zeros((M, N), dtype=bool)
        for m in filter(settings.in_domain, range(M)):
            kl, beta = arrays["kl"], settings.beta
            to_w, to_ref = kl[K + 2 + m, K + 1], kl[K + 2 + m, 0]
            temperature = settings.temperature(m)
            inside[m] = True
            lhs[m] = formulas.gap_rate(to_w, to_ref, beta, temperature)
            rhs[m] = formulas.gap_rate(
                formulas.hoeffding(arrays["span"][m]), to_ref, beta, temperature
            )
        _note_worst(tally, "ss.thm1.gap.sharp", lhs, rhs, inside, row, place, "soup")
    return tally


def _note_worst(
    tally: Tally, claim: str, lhs: Array, rhs: Array, mask: Array, row: Array, place: Array,
    axis: str,
) -> None:  # fmt: skip
    """Set the claim's sides to those of the place with the least slack, if the mask leaves any."""
    try:
        sides = worst(lhs, rhs, mask.astype(bool), 1.0 + tally.scale, (axis, "n"))
    except NotApplicable:
        return
    assert sides.where is not None
    n = sides.where["n"]
    where = {axis: sides.where[axis], "sequence": int(row[n]), "token": int(place[n])}
    tally.sides[claim] = Sides(sides.lhs, sides.rhs, sides.scale, where=where)


def effective_rank(gram: Array) -> float:
    """``exp`` of the entropy of the eigenvalues' shares: how many fields there are, in effect."""
    values = np.clip(np.linalg.eigvalsh(gram), 0.0, None)
    share = values / max(values.sum(), np.finfo(float).tiny)
    share = share[share > 0]
    return float(np.exp(-(share * np.log(share)).sum()))


def explained_shares(gram: Array) -> list[float]:
    """Share of the bespoke field's variance that the first 1..K specialists' fields explain.

    gram: [K+1, K+1], the bespoke last. ``g_wᵀ G⁺ g_w / G_ww``, centred under ref at each state.
    """
    K = len(gram) - 1
    total = max(float(gram[K, K]), np.finfo(float).tiny)
    shares = []
    for k in range(1, K + 1):
        g = gram[:k, K]
        shares.append(float(g @ np.linalg.lstsq(gram[:k, :k], g, rcond=1e-10)[0]) / total)
    return shares
