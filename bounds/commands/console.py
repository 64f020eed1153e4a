"""Where output goes: tables to standard output, or to standard error when JSON takes it."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from toymdp.warmup import compile_kernels, kernels_are_cached

Item = TypeVar("Item")
WIDTH = 132  # of tables where there is no terminal to ask


def tables_console(json_path: str | None) -> Console:
    """Console for tables; with ``--json -`` standard output is JSON only."""
    out = sys.stderr if json_path == "-" else sys.stdout
    return Console(file=out, width=None if out.isatty() else WIDTH)


def status_console() -> Console:
    """Console for progress, always standard error."""
    return Console(stderr=True)


def warm_up() -> None:
    """Compile the kernels before the first instance, and say so if that takes a while."""
    if kernels_are_cached():
        return
    console = status_console()
    with console.status("compiling numerical kernels, once after installation ..."):
        compile_kernels()
    console.print("compiled the numerical kernels (cached for later runs)", style="dim")


def tracked(items: Sequence[Item], label: str) -> Iterable[Item]:
    """Iterate with a progress bar on standard error."""
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
    )  # fmt: skip
    with Progress(*columns, console=status_console(), transient=True) as progress:
        yield from progress.track(items, description=label)
