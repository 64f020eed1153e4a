"""``read_preferences``: a file in any of the formats, as pairs or scored answers with a count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from toymdp import InstanceError

from ..preferences import Pair, ScoredSet
from .catalogue import FORMATS, Format
from .gathered import Gathered, Row
from .rows import rows_of


@dataclass(frozen=True)
class Reading:
    """What a file held: pairs or scored answers, its format, rows, and what was left out, by reason."""

    data: list[Pair] | ScoredSet
    format: str
    rows: int
    left_out: Mapping[str, int]


def read_preferences(
    path: str | Path, format: str | None = None, split: str | None = None
) -> Reading:
    """Read preferences from a file, a pipe or a folder of ``save_to_disk``.

    format: one of FORMATS; by default the first that the first row fits. split: part of a folder.
    Raises InstanceError with file and line, and the formats that were tried.
    """
    if format is not None and format not in FORMATS:
        raise InstanceError.of("--format", format, "unknown", f"choose from {tuple(FORMATS)}")
    known = None if format is None else FORMATS[format]
    out, number = Gathered(), 0
    for place, fields in rows_of(Path(path), split):
        if known is None:
            known = _format_of(place, fields)
        number += 1
        missing = [key for key in known.keys if key not in fields]
        if missing:
            raise InstanceError.of(
                f"{place}: {missing[0]}", None, f"is missing, in a file of format {known.name}",
                "add it, or say --format",
            )  # fmt: skip
        known.read(Row(place, fields), out)
    if known is None:
        raise InstanceError(f"{path}: the file is empty; give one text or row per line")
    data: list[Pair] | ScoredSet = out.scored() if known.scores else out.pairs
    if not (data.items if isinstance(data, ScoredSet) else data):
        raise InstanceError.of(
            str(path), dict(out.left_out), f"{number} rows of format {known.name} hold no preference",
            "check the file",
        )  # fmt: skip
    return Reading(data, known.name, number, dict(out.left_out))


def _format_of(place: str, fields: dict[str, object]) -> Format:
    for known in FORMATS.values():
        if known.knows(fields):
            return known
    tried = "; ".join(
        f"{known.name} ({', '.join(key for key in known.keys if key not in fields)} missing)"
        for known in FORMATS.values()
        if not all(key in fields for key in known.keys)
    )
    raise InstanceError(
        f"{InstanceError.of(f'{place}: keys', sorted(map(str, fields)), 'not a known format', 'tried')}: "
        f"{tried}"
    )
