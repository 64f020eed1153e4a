"""What an instance of every format is: its keys are checked, it is loaded, saved and changed.

A class of instances is a frozen dataclass whose constructor takes the keys of the file. Whatever
the file may leave out has its value in the object.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields
from inspect import signature
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from .archives import ArchivedKeys
from .arrays import Array
from .errors import InstanceError
from .files import DEEPEST, deeper, read_object, to_json, write_object
from .shown import html_table, short

EPS = float(np.finfo(np.float64).eps)
LONGEST = 80  # letters of a list that a notebook shows whole


class Instance:
    """Reading, writing and labels, the same for every format; subclasses are frozen dataclasses.

    format, name, meta: keys that every format has. NULLABLE: keys that a file must give and that
    may be null there; an NPZ archive holds no null and leaves them out.
    """

    NULLABLE: ClassVar[tuple[str, ...]] = ()

    format: str
    name: str | None
    meta: Mapping[str, Any]

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a file of this format, JSON or NPZ by its suffix.

        Raises InstanceError for a file that is missing, truncated, not of the format, or has keys
        the format does not know (a misspelt key must not be ignored).
        """
        return cls.from_file(read_object(Path(path)), Path(path))

    @classmethod
    def from_file(cls, keys: Mapping[str, Any], path: Path) -> Self:
        """Build from what ``path`` holds."""
        if isinstance(keys, ArchivedKeys):
            keys = {**dict.fromkeys(cls.NULLABLE), **keys}
        try:
            return cls.from_fields(keys)
        except InstanceError as error:
            raise InstanceError(f"{path}: {error}") from None

    @classmethod
    def from_fields(cls, keys: Mapping[str, Any]) -> Self:
        """Build from the keys of a file. Raises InstanceError for unknown or missing keys."""
        given = keys.get("format")
        if not isinstance(given, str) or given != cls.format:  # in an archive it may be a table
            remedy = f"this file must be '{cls.format}'"
            raise InstanceError.of("format", given, "not such an instance", remedy)
        known = signature(cls).parameters
        for key in keys:
            if key not in known:
                remedy = f"the keys are {sorted(known)}; free data goes in meta"
                raise InstanceError.of(str(key), keys[key], f"no such key in {cls.format}", remedy)
        required = tuple(key for key, p in known.items() if p.default is p.empty)
        for key in required:
            if key not in keys:
                raise InstanceError.of(key, None, "missing", f"a {cls.format} file has {required}")
        return cls(**keys)

    def fields(self) -> dict[str, Any]:
        """Return the keys of the file with arrays for tables."""
        held = {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]
        held["meta"] = dict(self.meta)
        return {k: v for k, v in held.items() if v is not None and not (k == "meta" and not v)}

    def _repr_html_(self) -> str:
        rows = [(key, _said(value)) for key, value in self.fields().items() if key != "name"]
        return html_table(self.name or "instance", rows)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the instance as JSON or NPZ by the suffix of ``path``."""
        write_object(self.fields(), Path(path))

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed, validated again."""
        return type(self)(**{**self.fields(), **changes})

    def put(self, **values: Any) -> None:
        """Set validated fields; arrays become read-only."""
        for key, value in values.items():
            if isinstance(value, np.ndarray):
                value.setflags(write=False)
            object.__setattr__(self, key, value)

    def check_labels(self, name: Any, meta: Any, format: Any) -> None:
        """Set the three labels, or refuse one of the wrong kind."""
        if not isinstance(format, str) or format != type(self).format:
            rule = f"must be '{type(self).format}'"
            raise InstanceError.of("format", format, rule, "convert the file")
        if name is not None and not isinstance(name, str):
            raise InstanceError.of("name", name, "must be a string", "quote it")
        if not isinstance(meta, Mapping):
            raise InstanceError.of("meta", meta, "must be an object", "use {...}")
        if meta:
            try:
                to_json(meta)
            except (TypeError, ValueError, RecursionError) as error:
                rule = f"must be plain JSON data ({error})"
                raise InstanceError.of("meta", type(meta), rule, "leave out the rest") from None
            if deeper(meta, DEEPEST):
                raise InstanceError.of("meta", "nested", f"at most {DEEPEST} deep", "flatten it")
        self.put(name=name, meta=meta, format=format)


def nudged(values: Array, seed: int) -> Array:
    """The same numbers, each moved by one unit in the last place or so, up or down at random.

    Two runs that differ by this differ by what rounding could have done.
    """
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=np.shape(values))
    return np.asarray(values * (1.0 + EPS * signs), dtype=np.float64)


def _said(value: Any) -> str:
    """A field in a few words: short lists whole, of long ones the length, of tables shape and range."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_said(inner)}" for key, inner in value.items())
    if isinstance(value, np.ndarray) and value.size > 6:
        shape = " × ".join(map(str, value.shape))
        return f"{shape} numbers from {short(float(value.min()))} to {short(float(value.max()))}"
    if isinstance(value, np.ndarray):
        return str(value.tolist())
    if isinstance(value, float):
        return short(value)
    if isinstance(value, list) and len(str(value)) > LONGEST:
        return f"{len(value)} entries"
    return str(value)
