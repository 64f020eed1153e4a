"""The page of an experiment: findings, pictures and tables of its records, in one file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ..experiments.experiment import Experiment
from ..experiments.findings import SAME, WORDS, Held
from ..records.output import Record
from . import curves
from . import experiments as report
from .page import filled


def render(chosen: Experiment, records: Sequence[Record], seen: Sequence[Held]) -> str:
    """The page of a run's records; what comes from a file of records is text there, never markup."""
    counted = Counter(row.word for row in seen)
    axis, sizes = report.axis_of(records)
    by_method = report.groups(records, "test")
    domains = []
    for name, grids in report.grids(records):
        own = {key: rows for key, rows in by_method.items() if key[0] == name}
        domains.append({
            "name": name, "grids": grids, "pictures": curves.pictures(name, own, axis, sizes),
        })  # fmt: skip
    says = chosen.says[0].upper() + chosen.says[1:]
    return filled(
        "experiment.html.j2", title=f"soupcheck experiment {chosen.name}", says=says,
        heading=report.heading(records), findings=report.findings(seen), same=SAME,
        counts=[(word, counted[word]) for word in WORDS.values()], domains=domains,
        problems=report.problems(records), notes=report.notes(chosen),
    )  # fmt: skip
