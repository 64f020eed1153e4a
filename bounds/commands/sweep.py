"""``soupcheck sweep``: many instances, every claim; nothing that is done is ever done again."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from toymdp.errors import InstanceError

from ..records.output import OutputFile
from ..records.parts import require_pyarrow
from ..records.store import Store
from ..report.console import status_console, tables_console, warm_up
from ..report.sweep_progress import line_at_the_end, sweep_progress
from ..runs.design import read_design
from ..runs.prepared import prepare as make_ready
from ..runs.prepared import prepared
from ..runs.sweep import Engine, load_plugins, local, plan_of, shard, tasks_of
from ..runs.sweep import sweep as do
from ..threads import cores
from .options import Json
from .pages import check_target
from .sweep_queries import compacted, show_gate, show_page, show_summary, show_worst

KERNELS = "numba"  # of a sweep's folder: what --prepare has compiled
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
    summary: Annotated[
        bool, typer.Option("--summary", help="Verdicts and quantiles of what is done, by claim.")
    ] = False,
    by: Annotated[
        str | None, typer.Option(help="With --summary: by these columns too, say family,p_beta.")
    ] = None,
    worst: Annotated[
        str | None, typer.Option(metavar="CLAIM", help="Its worst rows; --out: their instances.")
    ] = None,
    n: Annotated[int, typer.Option("--n", min=1, help="With --worst: how many.")] = 20,
    gate: Annotated[
        bool, typer.Option("--gate", help="Exit 1 if a proved claim is violated anywhere.")
    ] = False,
    html: Annotated[Path | None, typer.Option(help="A self-contained page of the summary.")] = None,
    json_path: Json = None,
    compact: Annotated[
        bool, typer.Option("--compact", help="Put the parts that are done into few files.")
    ] = False,
    prepare: Annotated[
        bool, typer.Option("--prepare", help="Compile the kernels into the folder, and plan.")
    ] = False,
) -> None:
    """Check claims on a grid of families and files, into Parquet; go on where a run has ended.

    With --summary, --worst, --gate, --html or --compact nothing is run: what is done is looked at.
    """
    require_pyarrow()
    share, engine_of = _shard(of), _engine(engine, workers)
    check_target(html, json_path, [target])
    looks = summary or gate or compact or worst is not None or html is not None
    if looks:
        store, plan = Store(target), Store(target).plan()
    else:
        store, plan = _asked(target, out)
    load_plugins(plan)
    tasks = tasks_of(plan)
    console = tables_console(json_path)
    if looks:
        done = f"{sum(map(store.has, tasks)):,} of {len(tasks):,} tasks are done"
        console.print(done, highlight=False)
        if compact:
            compacted(console, store, list(tasks))
        rows = store.rows(tasks)
        with OutputFile(json_path) as lines:
            if summary:
                show_summary(console, rows, [] if by is None else by.split(","), lines)
            if worst is not None:
                show_worst(console, rows, worst, n, out, plan, lines)
        if html is not None:
            show_page(rows, html, done)
        if gate:
            show_gate(console, rows, done)
        return
    ids = shard(list(tasks), *share)
    if prepare:
        make_ready(store.folder / KERNELS)
        console.print(f"{store.folder}: planned {len(tasks):,} tasks, kernels compiled")
        return
    for task, what in store.damaged(ids):
        status_console().print(f"damaged, done again: {what}", highlight=False, markup=False)
        store.path(task).unlink()
    with prepared(store.folder / KERNELS) as environment, sweep_progress() as on_part:
        if not environment:
            warm_up()
        now = do(store, tasks, ids, engine_of, float(plan["limit"]), on_part, environment)
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
    plan = plan_of(read_design(target))
    store = Store(out)
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
