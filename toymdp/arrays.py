"""Array types, and the one way in which outside data becomes an array."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import InstanceError

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]
DEEPEST = 4  # lists in lists of any field


def real_numbers(name: str, value: Any) -> Array:
    """Return ``value`` as a float64 array.

    Refused: strings, nulls, true and false, ragged rows and huge integers.
    """
    try:
        numbers = np.array(value)
    except (TypeError, ValueError, OverflowError):
        refuse_lengths(name, value, (None,) * DEEPEST)
        raise InstanceError.of(
            name, type(value).__name__, "must be numbers in a rectangular table",
            "check row lengths and types",
        ) from None  # fmt: skip
    if numbers.dtype.kind not in "iuf" or _holds_boolean(value):
        for place, entry in np.ndenumerate(np.array(value, dtype=object)):
            number = isinstance(entry, int | float | np.number) and not isinstance(entry, bool)
            if not number or abs(entry) > sys.float_info.max:
                shown = entry if not isinstance(entry, int) else "an integer beyond any double"
                label = name + "".join(f"[{i}]" for i in place)
                raise InstanceError.of(label, shown, "must be a number", "replace the entry")
    return np.array(numbers, dtype=np.float64, order="C")


def refuse_lengths(name: str, value: Any, shape: tuple[int | None, ...]) -> None:
    """Refuse the first list in lists whose length is not its axis's: that of the first, where it is None."""
    level = [(name, value)]
    for axis, wanted in enumerate(shape):
        level = [(label, row) for label, row in level if isinstance(row, list | tuple)]
        if not level:
            return
        length = len(level[0][1]) if wanted is None else wanted
        for label, row in level:
            if len(row) != length:
                rule = f"must have {length}" + ("" if wanted is not None else f", as {level[0][0]}")
                count = f"{len(row)} entries"
                raise InstanceError.of(label, count, rule, "add or drop some of that list")
        if axis + 1 < len(shape):
            level = [(f"{label}[{i}]", part) for label, row in level for i, part in enumerate(row)]


def _holds_boolean(value: Any) -> bool:
    """Whether true or false stands somewhere in lists of lists, where NumPy takes it for 1 or 0."""
    if not isinstance(value, list | tuple):
        return False
    kinds = set(map(type, value))
    return bool in kinds or (
        not kinds.isdisjoint((list, tuple)) and any(_holds_boolean(row) for row in value)
    )
