"""Text files of one entry a line: plain lines, and JSON Lines."""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .errors import InstanceError
from .files import parse_value, read_bytes


def read_lines(path: Path, starts: tuple[bytes, ...] = ()) -> list[str]:
    """The lines of a UTF-8 file, one byte-order mark and a last line break allowed.

    starts: as of ``read_bytes``. Raises InstanceError for what cannot be read, is empty or no UTF-8.
    """
    # not str.splitlines, which also breaks at form feeds and U+2028 inside a text
    content = text_of(read_bytes(path, starts), str(path))
    return content.replace("\r\n", "\n").removesuffix("\n").split("\n")


def text_of(data: bytes, source: str) -> str:
    """The UTF-8 text that bytes hold, one byte-order mark left out.

    Raises InstanceError, with the line, for what is empty or no UTF-8.
    """
    try:
        content = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InstanceError(
            f"{source}, line {line}: byte 0x{data[error.start]:02x} is not UTF-8 text; save it as UTF-8"
        ) from None
    if not content.strip():
        raise InstanceError(f"{source}: the file is empty; give one text or row per line")
    return content


def rows_in(text: str, source: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of JSON Lines with their places, "source, line n"; blank lines are left out.

    Raises InstanceError for a line that holds no object, with its place.
    """
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            place = f"{source}, line {number}"
            yield place, row_of(line.encode(), place)


def row_of(line: bytes, place: str) -> dict[str, Any]:
    """The object that a line holds. Raises InstanceError if it is none."""
    try:
        if line.startswith(BOM_UTF8):  # one stands before the first line, which has none any more
            raise InstanceError("the row: begins with a byte-order mark")
        row = parse_value(line, "the row")
    except InstanceError as error:
        raise InstanceError(f"{place}: not JSON ({error}); give one object per line") from None
    if not isinstance(row, dict):
        raise InstanceError(f"{place}: holds a {type(row).__name__}, not an object; see README")
    return row
