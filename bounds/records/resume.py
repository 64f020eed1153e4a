"""Going on with a run: which units of work a file of records holds whole.

Each record of a unit says which it is and of how many, ``"unit": id, "part": [i, n]``, so that a unit
whose end was never written is known for what it is, and done again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from toymdp.errors import InstanceError
from toymdp.files import read_bytes, write_whole

from .output import Record, dump


def marked(unit: str, records: Sequence[Record]) -> list[Record]:
    """The records of a unit, each with its place in it."""
    n = len(records)
    return [r | {"unit": unit, "part": [i, n]} for i, r in enumerate(records, 1)]


def finished(path: Path) -> dict[str, list[Record]]:
    """The units that a file holds whole, in its order; none if there is no file.

    What is left of other units is taken out of the file, which is replaced whole or not at all. Raises
    InstanceError for a file that holds anything else than such records.
    """
    if not path.exists():
        return {}
    units: dict[str, list[Record]] = {}
    lines = read_bytes(path).decode("utf-8", "replace").split("\n")
    for i, line in enumerate(lines, 1):
        if not line:
            continue
        try:
            record = json.loads(line)
            units.setdefault(record["unit"], []).append(record)
            record["part"][1]
        except (ValueError, KeyError, TypeError, IndexError):
            if i == len(lines):  # a line that was being written when the run ended
                continue
            rule = "is no record of an experiment's unit"
            raise InstanceError.of(f"{path}:{i}", line[:60], rule, "name another file") from None
    whole = {unit: rows for unit, rows in units.items() if len(rows) == rows[0]["part"][1]}
    kept = "".join(dump(record) + "\n" for rows in whole.values() for record in rows)
    if kept != "\n".join(lines):
        write_whole(path, kept.encode("utf-8"))
    return whole
