"""Options and the course of commands whose tasks are parts of a folder: who does them, which share."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated

import typer
from rich.console import Console

from toymdp.errors import InstanceError

from ..records.store import Store
from ..report.console import status_console
from ..report.sweep_progress import line_at_the_end, sweep_progress
from ..runs.on_dask import on_dask
from ..runs.sweep import Engine, Part, local, sweep
from ..threads import cores

SHARD = re.compile(r"(\d+)/(\d+)")
EngineName = Annotated[str, typer.Option("--engine", help="local, or dask://host:port.")]
Workers = Annotated[
    int | None, typer.Option(min=1, help="Processes of this machine; default: one a core.")
]
Share = Annotated[
    str, typer.Option("--shard", help="i/n: the i-th of n shares of the tasks, i from 0.")
]


def finish(
    console: Console, store: Store, tasks: Mapping[str, Part], ids: Sequence[str], engine: Engine,
    limit: float, environment: Mapping[str, str],
) -> None:  # fmt: skip
    """Do what is left of these tasks, damaged parts too, and say how far it has come."""
    store.tidy()
    for task, what in store.damaged(ids):
        said = f"damaged, done again: {what}"
        status_console().print(said, highlight=False, markup=False, soft_wrap=True)
        store.path(task).unlink()
    with sweep_progress() as on_part:
        now = sweep(store, tasks, ids, engine, limit, on_part, environment)
    text = line_at_the_end(now, store.folder)
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def share_of(text: str) -> tuple[int, int]:
    """``i/n`` as numbers. Raises InstanceError for what is none."""
    found = SHARD.fullmatch(text)
    if not found or not int(found[1]) < int(found[2]):
        rule = "must be i/n with 0 ≤ i < n"
        raise InstanceError.of("--shard", text, rule, "say 0/4, 1/4, 2/4, 3/4")
    return int(found[1]), int(found[2])


def engine_named(name: str, workers: int | None) -> Engine:
    """Who does the tasks. Raises InstanceError for a name that is none."""
    if name == "local":
        return local(cores() if workers is None else workers)
    if name.startswith("dask://"):
        return on_dask(name)
    raise InstanceError.of("--engine", name, "unknown", "local, or dask://host:port")
