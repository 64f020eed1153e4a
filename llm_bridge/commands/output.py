"""What a command shows while it runs, and the one JSON object that it writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
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

EVERY = 30.0  # seconds between lines of a stage that lasts


class Stages:
    """Progress on standard error: bars on a terminal, elsewhere a line when a stage ends, or lasts.

    seconds: how long each stage has taken so far.
    """

    def __init__(self) -> None:
        columns = (
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        )  # fmt: skip
        self.console = status_console()
        self.bars = Progress(*columns, console=self.console, transient=True)
        self.tasks: dict[str, TaskID] = {}
        self.begun: dict[str, float] = {}
        self.said: dict[str, float] = {}
        self.seconds: dict[str, float] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Note that ``done`` of ``total`` parts of a stage are finished."""
        now = monotonic()
        begun = self.begun.setdefault(stage, now)
        self.seconds[stage] = now - begun
        if self.console.is_terminal:
            if not self.tasks:  # work that reports no progress leaves standard error alone
                self.bars.start()
            if stage not in self.tasks:
                self.tasks[stage] = self.bars.add_task(stage, total=total)
            self.bars.update(self.tasks[stage], completed=done, total=total)
        elif done == total or now - self.said.get(stage, begun) >= EVERY:
            self.said[stage] = now
            self.console.print(f"{stage}: {done} of {total}, {now - begun:.0f} s", highlight=False)

    def stop(self) -> None:
        """Take the bars away."""
        if self.tasks:
            self.bars.stop()


@contextmanager
def progress_bars() -> Iterator[Stages]:
    """Progress on standard error, one bar or line a stage."""
    stages = Stages()
    try:
        yield stages
    finally:
        stages.stop()


def write_json(content: dict[str, Any], output: OutputFile) -> None:
    """Write one JSON object if asked for. Raises OutputError if the file cannot be written."""
    with output as out:
        out.write([dump(content)])
