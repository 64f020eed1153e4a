"""How far a sweep has come: a line that is written over on a terminal, one now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.status import Status

from ..runs.progress import Estimate
from ..runs.sweep import OnPart, Progress
from .console import status_console

EVERY = 60.0  # seconds between two lines of a log


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def line_at_the_end(now: Progress, folder: Path) -> str:
    """What a run did, and where it is."""
    done = f"{folder}: {now.done:,} of {now.tasks:,} tasks are done, {now.instances:,} instances by this run"
    return done + (f"; {now.by_others:,} tasks by others" if now.by_others else "")


def line(now: Progress, elapsed: float, estimate: Estimate) -> str:
    """Tasks done of all, instances a second of this run, and what the rest will take."""
    text = f"{now.done:,} of {now.tasks:,} tasks"
    if now.instances:
        text += f"; {now.instances:,} instances in {duration(elapsed)}"
        text += f" ({now.instances / max(elapsed, 1e-9):.1f} a second)"
    rest = estimate.rest(now.tasks - now.done - now.by_others)
    if rest is not None and rest[0] > 0:
        text += f"; about {duration(rest[0])} left (± {duration(rest[1])})"
    return text


@contextmanager
def sweep_progress() -> Iterator[OnPart]:
    """Shows each part that is done on standard error."""
    console = status_console()
    began = told = time.monotonic()
    estimate = Estimate(began)
    status = Status("planning ...", console=console) if console.is_terminal else None
    before: int | None = None

    def on_part(now: Progress) -> None:
        nonlocal told, before
        at = time.monotonic()
        if before is not None and now.instances > before:
            estimate.add(at)
        before = now.instances
        text = line(now, at - began, estimate)
        if status is not None:
            status.update(text)
        elif at - told >= EVERY:
            told = at
            console.print(text, highlight=False, soft_wrap=True)

    if status is None:
        yield on_part
    else:
        with status:
            yield on_part
