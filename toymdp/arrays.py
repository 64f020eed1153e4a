"""Array types, and the one way in which outside data becomes an array."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import InstanceError

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]


def real_numbers(name: str, value: Any) -> Array:
    """Return ``value`` as a float64 array.

    Refused: strings, nulls, true and false, ragged rows and huge integers.
    """
    try:
        numbers = np.array(value)
    except (TypeError, ValueError, OverflowError):
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


def _holds_boolean(value: Any) -> bool:
    """Whether true or false stands somewhere in lists of lists, where NumPy takes it for 1 or 0."""
    if not isinstance(value, list | tuple):
        return False
    kinds = set(map(type, value))
    return bool in kinds or (
        not kinds.isdisjoint((list, tuple)) and any(_holds_boolean(row) for row in value)
    )
