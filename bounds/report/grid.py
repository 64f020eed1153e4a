"""A table as it is shown anywhere."""

from __future__ import annotations

from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from .named_rows import NamedRows

STYLES = {  # of verdicts and statuses
    "holds": "green", "does not": "bold red", "undecided": "yellow", "violated": "bold red",
    "proved": "green", "refuted": "red", "open": "yellow",
}  # fmt: skip


@dataclass(frozen=True)
class Grid:
    """A table as it is shown anywhere: on a terminal, on a page.

    numbers: the heads of the columns that are set to the right. names: those that are never broken,
    beside numbers.
    """

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: tuple[str, ...]
    names: tuple[str, ...] = ()

    @property
    def rich(self) -> Table:
        """The table of a terminal; names and numbers are never broken."""
        table = NamedRows(header_style="bold", box=SIMPLE_HEAD, padding=0, pad_edge=False)
        for i, head in enumerate(self.heads):
            number = head in self.numbers
            fixed = (
                number
                or head in self.names
                or (i == 0 and len(self.numbers) == len(self.heads) - 1)
            )
            table.add_column(head, justify="right" if number else "left", no_wrap=fixed)
        for row in self.rows:
            table.add_row(*(Text(x, STYLES.get(x, "")) for x in row))
        return table
