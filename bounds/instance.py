"""What the small worlds beside token MDPs share: files, labels, and numbers nudged by rounding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, Self

import numpy as np

from toymdp import InstanceError
from toymdp.files import write_fields

from .sides import EPS, Array


class Stored:
    """Reading and writing that the small worlds share; subclasses are frozen dataclasses.

    Every field of the dataclass is a key of the file, None where it may be left out.
    """

    format: str
    name: str | None
    meta: Mapping[str, Any]

    @classmethod
    def from_fields(cls, found: Mapping[str, Any]) -> Self:
        """Build from the keys of a file. Raises InstanceError for unknown or missing keys."""
        if found.get("format") != cls.format:
            rule = f"must be '{cls.format}'"
            raise InstanceError.of("format", found.get("format"), rule, "convert the file")
        known = {f.name: f for f in fields(cls)}  # type: ignore[arg-type]  # a mixin
        for key in found:
            if key not in known:
                remedy = f"the keys are {sorted(known)}; free data goes in meta"
                raise InstanceError.of(str(key), found[key], f"no such key in {cls.format}", remedy)
        for key, f in known.items():
            if key not in found and f.default is MISSING and f.default_factory is MISSING:
                raise InstanceError.of(key, None, "missing", f"{cls.format} needs it")
        return cls(**found)

    def fields(self) -> dict[str, Any]:
        """Return the keys of the file with arrays for tables."""
        found = {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]
        found["meta"] = dict(self.meta)
        return {k: v for k, v in found.items() if v is not None and not (k == "meta" and not v)}

    def save(self, path: Path) -> None:
        """Write the instance as JSON."""
        write_fields(self.fields(), path)

    def put(self, **values: Any) -> None:
        """Set validated fields; arrays become read-only."""
        for key, value in values.items():
            if isinstance(value, np.ndarray):
                value.setflags(write=False)
            object.__setattr__(self, key, value)

    def check_labels(self) -> None:
        """Refuse a format, name or meta of the wrong kind."""
        if self.format != type(self).format:
            rule = f"must be '{type(self).format}'"
            raise InstanceError.of("format", self.format, rule, "convert the file")
        if self.name is not None and not isinstance(self.name, str):
            raise InstanceError.of("name", self.name, "must be a string", "quote it")
        if not isinstance(self.meta, Mapping):
            raise InstanceError.of("meta", self.meta, "must be an object", "use {...}")


def nudged(values: Array, seed: int) -> Array:
    """The same numbers, each moved by one unit in the last place or so, up or down at random.

    Two runs that differ by this differ by what rounding could have done.
    """
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=np.shape(values))
    return np.asarray(values * (1.0 + EPS * signs), dtype=np.float64)
