"""``soupcheck sweep``: many instances, every claim; nothing that is done is ever done again."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from toymdp.errors import InstanceError

from ..records.output import OutputFile
from ..records.parts import require_pyarrow
from ..records.store import Store
from ..report.console import tables_console, warm_up
from ..runs.design import read_design
from ..runs.generations import generations
from ..runs.prepared import prepare as make_ready
from ..runs.prepared import prepared
from ..runs.sweep import load_plugins, plan_of, shard, tasks_of
from ..terminal import say
from .engines import EngineName, Share, Workers, engine_named, finish, share_of
from .options import Json
from .pages import check_target
from .sweep_queries import bred, compacted, show_gate, show_page, show_summary, show_worst

BARRIER = 2.0  # seconds between two looks at what other shards have done
KERNELS = "numba"  # of a sweep's folder: what --prepare has compiled


def sweep(
    target: Annotated[
        Path, typer.Argument(help="A design (TOML), or the folder of a sweep: go on with it.")
    ],
    out: Annotated[Path | None, typer.Option(help="Folder of the sweep.")] = None,
    engine: EngineName = "local",
    workers: Workers = None,
    of: Share = "0/1",
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
    share, engine_of = share_of(of), engine_named(engine, workers)
    check_target(html, json_path, [target])
    looks = summary or gate or compact or worst is not None or html is not None
    if looks:
        store, plan = Store(target), Store(target).plan()
    else:
        store, plan = _asked(target, out)
    load_plugins(plan)
    console = tables_console(json_path)
    if looks:
        tasks = {task: part for each in generations(store, plan) for task, part in each.items()}
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
            show_gate(console, rows, done, len(plan.get("refused", ())))
        return
    if prepare:
        make_ready(store.folder / KERNELS)
        planned = f"{store.folder}: planned {len(tasks_of(plan)):,} tasks, compiled the kernels"
        console.print(planned, highlight=False, soft_wrap=True)
        _close(plan)
        return
    with prepared(store.folder / KERNELS) as environment:
        if not environment:
            warm_up()
        for number, each in enumerate(generations(store, plan)):
            ids = shard(list(each), *share)
            finish(console, store, each, ids, engine_of, float(plan["limit"]), environment)
            if plan.get("adaptive") is not None:
                _await(store, each)
                console.print(bred(store, plan, number), highlight=False, markup=False)
    _close(plan)


def _close(plan: Mapping[str, Any]) -> None:
    """Exit 2 where files of the design were refused: what could be done is done."""
    if plan.get("refused"):
        raise typer.Exit(2)


def _await(store: Store, tasks: Iterable[str]) -> None:
    """Wait for the other shards: a generation has its parents when the one before is whole."""
    while not all(map(store.has, tasks)):
        time.sleep(BARRIER)


def _asked(target: Path, out: Path | None) -> tuple[Store, dict[str, Any]]:
    """The folder and its plan: written anew from a design, or as it is there."""
    if target.is_dir():
        if out is not None:
            raise InstanceError("--out: the folder is named already; leave it out")
        store = Store(target)
        plan = store.plan()
    else:
        if not target.exists():
            raise InstanceError(
                f"{target}: does not exist; name a design, or the folder of a sweep"
            )
        if out is None:
            raise InstanceError("--out: a design needs a folder for its parts; name one")
        plan = plan_of(read_design(target))
        store = Store(out)
    for line in plan.get("refused", ()):
        say(line)
    if not plan["sources"]:  # of nothing but files that are refused
        raise typer.Exit(2)
    if not target.is_dir():
        store.write_plan(plan)
    return store, plan
