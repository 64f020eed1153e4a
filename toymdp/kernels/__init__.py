"""Compiled arithmetic: arrays in, arrays written. Imported by exact/ and soup/ alone.

A module of kernels is imported when it is first asked for, as in ``kernels.rows.divergences``:
whoever only reads the catalogue or an instance does not wait for numba.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from .limits import NEAR, ROW_FLOOR

if TYPE_CHECKING:
    from . import (  # noqa: I001
        backward, blocks, boxes, compiled, curvature, elementary, envelopes, ratios, rows, sampling,
        scans, soups, sparse, tiles,
    )  # fmt: skip

__all__ = [
    "NEAR",
    "ROW_FLOOR",
    "backward",
    "blocks",
    "boxes",
    "compiled",
    "curvature",
    "elementary",
    "envelopes",
    "ratios",
    "rows",
    "sampling",
    "scans",
    "soups",
    "sparse",
    "tiles",
]


def __getattr__(name: str) -> ModuleType:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module(f".{name}", __name__)
