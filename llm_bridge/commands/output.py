"""What a command shows while it runs, and the one JSON object that it writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from bounds.records.output import OutputFile, dump
from bounds.report.console import status_console
from bounds.runs.progress import OnProgress


@contextmanager
def progress_bars() -> Iterator[OnProgress]:
    """Progress on standard error, one bar a stage."""
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
    )  # fmt: skip
    tasks: dict[str, TaskID] = {}
    progress = Progress(*columns, console=status_console(), transient=True)

    def show(stage: str, done: int, total: int) -> None:
        if not tasks:  # work that reports no progress leaves standard error alone
            progress.start()
        if stage not in tasks:
            tasks[stage] = progress.add_task(stage, total=total)
        progress.update(tasks[stage], completed=done)

    try:
        yield show
    finally:
        if tasks:
            progress.stop()


def write_json(content: dict[str, Any], output: OutputFile) -> None:
    """Write one JSON object if asked for. Raises OutputError if the file cannot be written."""
    with output as out:
        out.write([dump(content)])
