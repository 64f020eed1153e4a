"""``soupcheck sweep``: many instances, every claim; nothing that is done is ever done again."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from toymdp.errors import InstanceError

from ..records.parts import require_pyarrow
from ..records.store import Store
from ..report.console import status_console, tables_console, warm_up
from ..report.sweep_progress import line_at_the_end, sweep_progress
from ..runs.design import read_design
from ..runs.sweep import Engine, load_plugins, local, plan_of, shard, tasks_of
from ..runs.sweep import sweep as do
from ..threads import cores

SHARD = re.compile(r"(\d+)/(\d+)")


def sweep(
    target: Annotated[
        Path, typer.Argument(help="A design (TOML), or the folder of a sweep: go on with it.")
    ],
    out: Annotated[Path | None, typer.Option(help="Folder of the sweep.")] = None,
    engine: Annotated[str, typer.Option(help="local, or dask://host:port.")] = "local",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes of this machine; default: one a core.")
    ] = None,
    of: Annotated[
        str, typer.Option("--shard", help="i/n: the i-th of n shares of the tasks, i from 0.")
    ] = "0/1",
) -> None:
    """Check claims on a grid of families and files, into Parquet; go on where a run has ended."""
    require_pyarrow()
    store, plan = _asked(target, out)
    load_plugins(plan)
    tasks = tasks_of(plan)
    ids = shard(list(tasks), *_shard(of))
    for task, what in store.damaged(ids):
        status_console().print(f"damaged, done again: {what}", highlight=False, markup=False)
        store.path(task).unlink()
    warm_up()
    with sweep_progress() as on_part:
        now = do(store, tasks, ids, _engine(engine, workers), float(plan["limit"]), on_part)
    console = tables_console(None)
    console.print(line_at_the_end(now, store.folder), highlight=False, markup=False)


def _asked(target: Path, out: Path | None) -> tuple[Store, dict[str, Any]]:
    """The folder and its plan: written anew from a design, or as it is there."""
    if target.is_dir():
        if out is not None:
            raise InstanceError("--out: the folder is named already; leave it out")
        store = Store(target)
        return store, store.plan()
    if out is None:
        raise InstanceError("--out: a design needs a folder for its parts; name one")
    store = Store(out)
    plan = plan_of(read_design(target))
    store.write_plan(plan)
    return store, plan


def _shard(text: str) -> tuple[int, int]:
    found = SHARD.fullmatch(text)
    if not found or not int(found[1]) < int(found[2]):
        rule = "must be i/n with 0 ≤ i < n"
        raise InstanceError.of("--shard", text, rule, "say 0/4, 1/4, 2/4, 3/4")
    return int(found[1]), int(found[2])


def _engine(name: str, workers: int | None) -> Engine:
    if name == "local":
        return local(cores() if workers is None else workers)
    raise InstanceError.of("--engine", name, "unknown", "local, or dask://host:port")
