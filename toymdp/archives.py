"""NPZ archives: nothing is unpacked before its declared size is known to be true and to fit.

A member is a file of NumPy's own format; an archive may also hold anything else, declare sizes that
it does not have, be encrypted, or name a member twice.
"""

from __future__ import annotations

import io
import math
import sys
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib import format as npy

from .errors import InstanceError
from .validators import memory_limit

ARCHIVE = b"PK\x03\x04"  # how an archive begins
_KINDS = "biufU"  # booleans, integers, floats, text
_ENCRYPTED = 0x1  # flag bit of the ZIP format


class ArchivedKeys(dict[str, Any]):
    """Keys that come from an archive, where what is null is left out."""


ParseJson = Callable[[bytes, str], dict[str, Any]]


def read_archive(data: bytes, source: str, parse_json: ParseJson) -> ArchivedKeys:
    """Return the keys of an archive, dots in their names undone; ``meta`` is a JSON object as text.

    source: what a message begins with. Raises InstanceError for what is no archive of plain arrays.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            flat = _members(archive, source)
    except InstanceError:
        raise
    except Exception as error:  # of a damaged archive zipfile and NumPy raise nearly everything
        reason = str(error) or type(error).__name__
        raise InstanceError(
            f"{source}: not an NPZ archive of plain arrays ({reason}); is the file truncated?"
        ) from None
    keys = ArchivedKeys()
    for key, value in flat.items():
        plain = value.item() if value.ndim == 0 else value
        if key == "meta":
            text = str(plain).encode("utf-8", "surrogatepass")
            plain = parse_json(text, f"{source}: meta is not a JSON string")
        outer, dot, inner = key.partition(".")
        inside = keys.setdefault(outer, {}) if dot else keys
        if not isinstance(inside, dict) or (inner if dot else outer) in inside:
            raise InstanceError.of(
                f"{source}: {outer!r}", "given twice", "a key stands once", "drop one"
            )
        inside[inner if dot else outer] = plain
    return keys


def _members(archive: zipfile.ZipFile, source: str) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays by name. Raises InstanceError, or whatever NumPy says of what it cannot read."""

    def refuse(name: str, value: object, rule: str, remedy: str) -> InstanceError:
        return InstanceError.of(f"{source}: member {name!r}", value, rule, remedy)

    limit, total = memory_limit(), 0
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    for member in archive.infolist():
        name, key = member.filename, member.filename.removesuffix(".npy")
        if key == name:
            raise refuse(name, "no .npy", "an NPZ archive holds .npy arrays alone", "drop it")
        if member.flag_bits & _ENCRYPTED:
            raise refuse(name, "encrypted", "cannot be read", "save it without a password")
        if key in arrays:
            raise refuse(name, "given twice", "a key stands once", "drop one")
        total += member.file_size
        if total > limit:
            size = f"{total / 2**30:.1f} GiB unpacked"
            raise refuse(name, size, f"over the {limit / 2**30:.1f} GiB allowed here", "shrink it")
        with archive.open(member) as file:
            shape, dtype, header = _header(file)
        if dtype.kind not in _KINDS or dtype.itemsize == 0:
            raise refuse(name, dtype, "must be numbers, booleans or text", "save plain arrays")
        if dtype.kind == "U" and shape:
            raise refuse(name, f"text {shape}", "only single strings are read", "save numbers")
        declared = math.prod(shape) * dtype.itemsize
        if declared != member.file_size - header:
            size = f"shape {shape}"
            rule = f"takes {declared} bytes, the member has {member.file_size - header}"
            raise refuse(name, size, rule, "save it again")
        with archive.open(member) as file:
            array = npy.read_array(file, allow_pickle=False)
        if dtype.kind == "U" and _no_characters(array):
            raise refuse(name, "text", "holds what is no character", "save it again")
        arrays[key] = array
    return arrays


def _no_characters(text: np.ndarray[Any, Any]) -> bool:
    """Whether numbers that are no code point, or half a surrogate pair, stand in an array of text."""
    codes = np.atleast_1d(text).view(np.dtype("u4").newbyteorder(text.dtype.byteorder))
    return bool(((codes > sys.maxunicode) | ((codes >= 0xD800) & (codes <= 0xDFFF))).any())


def _header(file: Any) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Shape, type and length of what stands before the numbers of a .npy member."""
    version = npy.read_magic(file)
    # version 3 differs from 2 in the encoding of field names alone, and plain arrays have none
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read(file)
    return shape, dtype, file.tell()
