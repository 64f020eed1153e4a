"""A table of a terminal whose first column holds names, such as ids of claims, that are never broken."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from dataclasses import replace

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.style import Style
from rich.table import Column, Table
from rich.text import Text


class NamedRows(Table):
    """A table with one space between columns: names stand first, what gives way to them stands last.

    The first column is as wide as its longest name while the last keeps its ``min_width``; a name for
    which that leaves no room has a line of its own, above what is said of it.
    """

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        """The lines of the table, and before some of them a name."""
        names, *others = self.columns
        room = options.max_width - sum(map(_width, others)) - len(self.columns) - 1
        shown = copy(self)
        shown.columns = [replace(names, _cells=[_short(x, room) for x in names.cells]), *others]
        parts = Table.__rich_console__(shown, console, options)
        for line in Segment.split_lines(part for part in parts if isinstance(part, Segment)):
            for segment in line:
                if segment.style is not None and "name" in segment.style.meta:
                    yield Segment(f" {segment.style.meta['name']}")
                    yield Segment.line()
            yield from line
            yield Segment.line()


def _short(name: RenderableType, room: int) -> RenderableType:
    """The name, or an empty cell that knows it."""
    return name if _length(name) <= room else Text(" ", Style(meta={"name": _plain(name)}))


def _width(column: Column) -> int:
    """Characters that a column needs: its own minimum, or its longest cell."""
    return column.min_width or max(map(_length, (column.header, *column.cells)))


def _length(cell: RenderableType) -> int:
    return cell_len(_plain(cell))


def _plain(cell: RenderableType) -> str:
    return cell.plain if isinstance(cell, Text) else str(cell)
