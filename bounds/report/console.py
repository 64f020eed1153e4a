"""Where output goes: tables to standard output, or to standard error when JSON takes it."""

from __future__ import annotations

import errno
import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.segment import Segment
from rich.text import Text

from toymdp.errors import printable

from ..runs.progress import OnProgress
from ..terminal import spelt, standard_stream

if TYPE_CHECKING:
    from toymdp.soup import bound as branch

WIDTH = 100  # of tables where there is no terminal to ask


def tables_console(json_path: str | None) -> Console:
    """Console for tables; with ``--json -`` standard output is JSON only."""
    json_there = json_path is not None and standard_stream(json_path) is sys.stdout
    out = sys.stderr if json_there else sys.stdout
    return PlainConsole(file=out, width=None if out.isatty() else WIDTH)


def status_console() -> Console:
    """Console for progress, always standard error."""
    return PlainConsole(stderr=True)


class PlainConsole(Console):
    """A console to which nothing comes from a file as an order: control characters are spelt out.

    Whatever is shown goes through here, so that no table need think of what its texts hold.
    """

    def render_str(self, text: str, **options: Any) -> Text:
        """Text of a string; escaped before it is measured, so that columns are wide enough."""
        return super().render_str(self._plain(text.expandtabs()), **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterator[Segment]:
        """The pieces that are written; those that are text, and not rich's own orders, are escaped."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(self._plain(segment.text), segment.style)

    def _plain(self, text: str) -> str:
        return spelt(printable(text), self.encoding)

    def on_broken_pipe(self) -> None:
        """Nobody reads any more: an error like any other of standard output."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def warm_up(*, claims: bool = True) -> None:
    """Compile the kernels before the first instance, and say so if that takes a while.

    claims: those of every claim, or else those of a solution and its λ* alone.
    """
    from toymdp.warm_up import compile_kernels, kernels_are_cached  # with them comes numba

    if kernels_are_cached(claims):
        return
    console = status_console()
    text = "compiling numerical kernels, once after installation ..."
    if not console.is_terminal:  # where a status would not be seen, as in the log of a CI
        console.print(text, style="dim")
    with console.status(text):
        compile_kernels(claims)
    if kernels_are_cached(claims):  # else it was said why not
        console.print("compiled the numerical kernels (cached for later runs)", style="dim")


def warm_up_bounds() -> None:
    """Compile the kernels of branch and bound, which only some runs ask for."""
    from toymdp.soup.bound import prepare
    from toymdp.warm_up import bounds_are_cached

    if not bounds_are_cached():
        with status_console().status("compiling the kernels of branch and bound, once ..."):
            prepare()


def _bars(*columns: ProgressColumn) -> Progress:
    """Bars on standard error where a person looks at it; elsewhere they would leave blank lines."""
    console = status_console()
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


class BoundProgress:
    """A bar that first names the starts, then shows how far the proof of the bound has come.

    It fills with the logarithm of the gap, from that of the first batch to the one allowed.
    """

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.task = progress.add_task("solving ...", total=None)
        self.first = 0.0

    def start(self, name: str) -> None:
        """Say which start is climbed from."""
        self.progress.update(self.task, description=f"climbing from {name} ...")

    def report(self, now: branch.BoundSoFar) -> None:
        """Show the pieces bounded and the gap that is left."""
        gap = max(now.value - now.J, now.allowed)
        self.first = self.first or gap
        left = math.log(gap / now.allowed)
        total = math.log(self.first / now.allowed) or 1.0
        text = f"{now.pieces} pieces, gap {gap:.3g} of {now.allowed:.3g} allowed"
        self.progress.update(self.task, description=text, total=total, completed=total - left)


@contextmanager
def bound_progress() -> Iterator[BoundProgress]:
    """Progress of one solve on standard error."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with _bars(*columns) as progress:
        yield BoundProgress(progress)


@contextmanager
def progress_bar() -> Iterator[OnProgress]:
    """A bar on standard error for each stage of a run, gone when the stage is done."""
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
    )  # fmt: skip
    with _bars(*columns) as progress:
        bars: dict[str, TaskID] = {}

        def on_progress(stage: str, done: int, total: int) -> None:
            if stage not in bars:
                bars[stage] = progress.add_task(stage)
            progress.update(bars[stage], completed=done, total=total, visible=done < total)

        yield on_progress
