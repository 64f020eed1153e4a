"""What a run has written, read back: a ledger, an experiment's records, the folder of a sweep."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toymdp.errors import InstanceError
from toymdp.kinds import KINDS
from toymdp.lines import read_lines, rows_in
from toymdp.shown import html_table, short

from .output import Record
from .parts import DamagedPartError, read_part, records_of, rows_of
from .store import Store
from .witness import FORMAT as WITNESS

if TYPE_CHECKING:
    import pandas

SEEN = 8  # rows and columns that a notebook shows


class Records(list[Record]):
    """Records as they were written, plain values by name; a list of dictionaries like any other."""

    def __init__(self, records: Iterable[Record], source: str) -> None:
        super().__init__(records)
        self.source = source

    def _repr_html_(self) -> str:
        shown = self[:SEEN]
        plain = [
            key for key in (shown[0] if shown else ())
            if any(isinstance(row.get(key), str | int | float) for row in shown)
        ][:SEEN]  # fmt: skip
        rows = [[_cell(row.get(key)) for key in plain] for row in shown]
        title = f"{self.source}: {len(self):,} records"
        return html_table(title, rows, plain or ["nothing"])

    def to_frame(self) -> pandas.DataFrame:
        """A pandas frame, a row a record; needs pandas, which soupcheck does not install."""
        import pandas

        return pandas.DataFrame(list(self))


def _cell(value: Any) -> str:
    return short(value) if isinstance(value, float) or value is None else str(value)


def read(path: str | Path) -> Records:
    """What ``verify --json``, ``experiment --json`` or ``--out``, or ``sweep --out`` has written.

    path: a file of JSON Lines, or the folder of a sweep or an experiment: all parts that lie there,
    those of an earlier plan too. Raises InstanceError for what is neither, or damaged.
    """
    path = Path(path)
    if not path.is_dir():
        lines = [row for _, row in rows_in("\n".join(read_lines(path)), str(path))]
        if lines and lines[0].get("format") in (*KINDS, WITNESS):
            rule = "is an instance or a witness, not what a run has written"
            raise InstanceError.of(
                f"{path}: format", lines[0]["format"], rule, "load it, say by TokenMDP.load"
            )
        return Records(lines, str(path))
    rows: list[Record] = []
    try:
        for file in Store(path).files():
            table = read_part(file)
            rows += records_of(table) if "record" in table.column_names else rows_of(table)
    except DamagedPartError as error:
        raise InstanceError(f"{path}: {error}; go on with the run, which does it again") from None
    if not rows:
        raise InstanceError(f"{path}: holds no part of a sweep or an experiment")
    return Records(rows, str(path))
