"""Features ψ((s, a)) of a token MDP: dense tables, or scaled one-hots that are never built.

Both kinds speak of *next contexts*: ``ψ[t, s']`` belongs to the step-``t`` action that leads to
context ``s'`` (token-mdp/1). Tabular features are one-hot times a positive scale, so their
least-norm coefficients are a division and their norms a weighted sum: nothing is materialised.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arrays import Array, IntArray, real_numbers
from ..errors import InstanceError
from ..validators import MOST, refuse_first

__all__ = ["Array", "Dense", "Features", "IntArray", "Tabular", "read_features"]


@dataclass(frozen=True, eq=False)
class Dense:
    """A feature table.

    values: [S, d] (the same at every step) or [T, S, d] (per step); unit-free.
    """

    values: Array

    @property
    def per_step(self) -> bool:
        """Whether the table carries the step of the action."""
        return self.values.ndim == 3

    @property
    def width(self) -> int:
        """Number of features d."""
        return int(self.values.shape[-1])

    def norms(self, steps: int) -> Array:
        """Return ``‖ψ((s,a))‖₂`` as [T, S]."""
        norms = np.sqrt(np.einsum("...d,...d->...", self.values, self.values))
        return np.broadcast_to(norms, (steps, norms.shape[-1]))

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"kind": "dense", "values": self.values}


@dataclass(frozen=True, eq=False)
class Tabular:
    """One-hot features times a positive scale: one coordinate for each (t, s') or each s'.

    per_step: whether steps have coordinates of their own.
    scale: a number, [S], or [T, S] (the last only if ``per_step``).
    """

    per_step: bool
    scale: Array

    def scales(self, steps: int, contexts: int) -> Array:
        """Return the scale, which is also the norm, as [T, S]."""
        return np.broadcast_to(self.scale, (steps, contexts))

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        scale = float(self.scale) if self.scale.ndim == 0 else self.scale
        return {"kind": "tabular", "per_step": self.per_step, "scale": scale}


Features = Dense | Tabular


def read_features(
    spec: Mapping[str, Any] | Features, contexts: int, horizon: int | None, used: NDArray[np.bool_]
) -> Features:
    """Validate a ``features`` entry against ``S`` contexts and ``T`` steps.

    used: [T, S], the reachable next contexts; entries elsewhere are ignored, whatever they hold.

    Raises InstanceError with the offending value, the rule and the remedy.
    """
    if isinstance(spec, Dense | Tabular):
        spec = spec.as_dict()
    if not isinstance(spec, Mapping):
        raise InstanceError.of(
            "features", type(spec).__name__, "must be an object", 'give {"kind": ...}'
        )
    kind = spec.get("kind")
    allowed = {"dense": {"kind", "values"}, "tabular": {"kind", "per_step", "scale"}}
    if not isinstance(kind, str) or kind not in allowed:
        raise InstanceError.of(
            "features.kind", kind, "unknown feature kind", "use 'dense' or 'tabular'"
        )
    unknown = set(spec) - allowed[kind]
    if unknown:
        raise InstanceError.of(
            f"features.{min(unknown)}",
            spec[min(unknown)],
            f"no such key for kind '{kind}'",
            f"the keys are {sorted(allowed[kind])}",
        )
    if kind == "dense":
        return _read_dense(spec, contexts, horizon, used)
    return _read_tabular(spec, contexts, horizon, used)


def _read_dense(
    spec: Mapping[str, Any], contexts: int, horizon: int | None, used: NDArray[np.bool_]
) -> Dense:
    if "values" not in spec:
        raise InstanceError.of(
            "features.values", None, "missing for kind 'dense'", "give [S][d] or [T][S][d]"
        )
    values = real_numbers("features.values", spec["values"])
    flat, stepped = (contexts,), (horizon, contexts)
    if values.ndim == 3 and horizon is None:
        raise InstanceError.of(
            "features.values",
            f"shape {values.shape}",
            "an instance without a horizon has no per-step features",
            "give [S][d]",
        )
    if values.shape[:-1] not in (flat, stepped) or values.ndim < 2 or values.shape[-1] == 0:
        raise InstanceError.of(
            "features.values",
            f"shape {values.shape}",
            f"must be [S][d] or [T][S][d] with S = {contexts}, T = {horizon}, d ≥ 1",
            "one row for each context A**L",
        )
    mask = np.asarray(used if values.ndim == 3 else used.any(axis=0))
    bad = ~np.isfinite(values).all(axis=-1) & mask
    name = "features.values"
    refuse_first(name, values, bad, "must be finite where reachable", "replace the entry", ", ")
    lengths = np.where(mask, np.abs(np.where(mask[..., None], values, 0.0)).max(axis=-1), 0.0)
    outside = (lengths > 0) & ((lengths < 1.0 / MOST) | (lengths > MOST))
    rule = f"the largest entry of a row must be 0 or from {1.0 / MOST:g} to {MOST:g}"
    refuse_first(name, values, outside, rule, "rescale", ", ")
    # ignored entries are zeroed so that whatever they held cannot leak into a product
    return Dense(np.where(mask[..., None], values, 0.0))


def _read_tabular(
    spec: Mapping[str, Any], contexts: int, horizon: int | None, used: NDArray[np.bool_]
) -> Tabular:
    per_step = spec.get("per_step")
    if not isinstance(per_step, bool | np.bool_):
        raise InstanceError.of(
            "features.per_step", per_step, "must be true or false", "say whether steps differ"
        )
    if per_step and horizon is None:
        raise InstanceError.of(
            "features.per_step",
            True,
            "an instance without a horizon has no per-step features",
            "use per_step false",
        )
    scale = real_numbers("features.scale", spec.get("scale", 1.0))
    shapes: list[tuple[int | None, ...]] = [(), (horizon, contexts) if per_step else (contexts,)]
    if scale.shape not in shapes:
        raise InstanceError.of(
            "features.scale",
            f"shape {scale.shape}",
            f"must be a number or {'[T][S]' if per_step else '[S]'} with S = {contexts}, "
            f"T = {horizon}",
            "one scale for each one-hot coordinate",
        )
    mask = np.asarray(used if per_step else used.any(axis=0))
    used_scale = mask if scale.ndim else np.asarray(mask.any())
    bad = ~(np.isfinite(scale) & (scale > 0)) & used_scale
    refuse_first("features.scale", scale, bad, "must be positive and finite", "rescale", ", ")
    outside = ~((scale >= 1.0 / MOST) & (scale <= MOST)) & used_scale
    rule = f"must be from {1.0 / MOST:g} to {MOST:g}"
    refuse_first("features.scale", scale, outside, rule, "rescale", ", ")
    return Tabular(bool(per_step), scale if scale.ndim == 0 else np.where(mask, scale, 1.0))
