"""``soupcheck experiment``: the papers' experiments in miniature, every value exact."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from toymdp.errors import InstanceError
from toymdp.learning.feedback import MODES

from ..experiments.catalogue import EXPERIMENTS, named
from ..experiments.experiment import Experiment, Settings
from ..experiments.findings import Held, evaluate
from ..experiments.papers import of_papers
from ..experiments.parts import parts_of, records_in
from ..records.output import OutputFile, Record, dump
from ..records.parts import require_pyarrow
from ..records.resume import finished, marked
from ..records.store import Store
from ..report import experiments as report
from ..report.console import progress_bar, tables_console, warm_up
from ..runs.engine import run
from ..runs.sweep import Engine, shard
from ..threads import cores
from .engines import EngineName, Share, Workers, engine_named, finish, share_of
from .options import Json
from .pages import check_target, write_page

COMMA = re.compile(r",(?![^\[]*\])")  # between patterns, not in a variant's name


def experiment(
    name: Annotated[str | None, typer.Argument(help="Which one; none: the list.")] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Under a minute: few seeds, sizes.")
    ] = False,
    seeds: Annotated[int | None, typer.Option(min=1, help="How many worlds.")] = None,
    users: Annotated[int | None, typer.Option(min=1, help="How many users of each world.")] = None,
    labels: Annotated[
        str | None,
        typer.Option(help="How users answer: bt (pairs, by chance), rank, or binary (one answer)."),
    ] = None,
    outside: Annotated[
        float | None, typer.Option(help="Share of the users' norm that no attribute knows, 0 to 1.")
    ] = None,
    methods: Annotated[
        str | None, typer.Option(help="Ids or shell patterns, by commas; all by default.")
    ] = None,
    json_path: Json = None,
    html: Annotated[
        Path | None, typer.Option(help="A self-contained page: findings, pictures, tables.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run that --json PATH holds.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of parts (Parquet), as of a sweep: goes on by itself."),
    ] = None,
    engine: EngineName = "local",
    workers: Workers = None,
    of: Share = "0/1",
) -> None:
    """Run one of the papers' experiments on worlds where every value is exact; no name: the list."""
    if name is None:
        tables_console(None).print(listing())
        return
    chosen = named(name)
    settings = asked(chosen, quick, seeds, users, labels, outside, methods)
    check_target(html, json_path)
    console = tables_console(json_path)
    if out is None:
        if (engine, of) != ("local", "0/1"):
            raise InstanceError("--engine, --shard: need a folder of parts; name one with --out")
        records = _into_lines(chosen, settings, json_path, resume, workers)
    else:
        if resume:
            raise InstanceError("--resume: is of --json; a folder of --out goes on by itself")
        share, by = share_of(of), engine_named(engine, workers)
        records = _into_parts(console, chosen, settings, Store(out), share, by)
        with OutputFile(json_path) as lines:
            lines.write(map(dump, records))
        if not records:
            return
    seen = evaluate(of_papers(settings.labels), records)
    show(console, chosen, records, seen)
    if html is not None:
        from ..report import experiment_page  # with it come jinja2 and matplotlib

        write_page(html, experiment_page.render(chosen, records, seen))


def _into_lines(
    chosen: Experiment, settings: Settings, json_path: str | None, resume: bool, workers: int | None
) -> list[Record]:
    """The records of all units, each written as soon as it is done."""
    known = _known(json_path, resume)
    tasks = chosen.tasks(settings)
    warm_up()
    with OutputFile(json_path, append=resume) as out, progress_bar() as on_progress:
        rest = [task for task in tasks if task.id not in known]
        n = cores() if workers is None else workers
        for task, rows in run(rest, chosen.name, on_progress, n):
            known[task.id] = marked(task.id, rows)
            out.write([dump(row) for row in known[task.id]])
    # in the order of the tasks, so that no sum hangs on which was done first
    return [row for task in tasks for row in known[task.id]]


def _into_parts(
    console: Console, chosen: Experiment, settings: Settings, store: Store, share: tuple[int, int],
    engine: Engine,
) -> list[Record]:  # fmt: skip
    """The records of all units that are done, of this run and of others in the folder."""
    require_pyarrow()
    tasks = parts_of(chosen, settings)
    warm_up()
    finish(console, store, tasks, shard(list(tasks), *share), engine, math.inf, {})
    return records_in(store, list(tasks))


def listing() -> Table:
    """The experiments: name, and what it is about."""
    table = Table(title="Experiments", title_justify="left", header_style="bold")
    table.add_column("name", no_wrap=True)
    table.add_column("what it shows")
    for row in EXPERIMENTS.values():
        table.add_row(row.name, row.says)
    return table


def asked(
    chosen: Experiment, quick: bool, seeds: int | None, users: int | None, labels: str | None,
    outside: float | None, methods: str | None,
) -> Settings:  # fmt: skip
    """The settings of a run. Raises InstanceError for a value that it cannot have."""
    settings = chosen.quick if quick else chosen.full
    if labels is not None and labels not in MODES:
        raise InstanceError.of("--labels", labels, f"must be one of {MODES}", "choose one")
    if outside is not None and not 0.0 <= outside < 1.0:
        rule = "is a share of a norm: at least 0, below 1"
        raise InstanceError.of("--outside", outside, rule, "correct it")
    if users is not None and users > chosen.people:
        rule = f"the worlds of {chosen.name} have {chosen.people} users"
        raise InstanceError.of("--users", users, rule, "ask for fewer")
    given: dict[str, Any] = {
        "seeds": seeds, "users": users, "labels": labels, "outside": outside,
        "methods": None if methods is None else tuple(x.strip() for x in COMMA.split(methods)),
    }  # fmt: skip
    return replace(settings, **{k: v for k, v in given.items() if v is not None})


def _known(json_path: str | None, resume: bool) -> dict[str, list[Record]]:
    """The units that a file to go on with holds whole."""
    if not resume:
        return {}
    if json_path in (None, "-"):
        rule = "needs a file to go on with"
        raise InstanceError.of("--resume", json_path, rule, "add --json PATH")
    return finished(Path(str(json_path)))


def show(console: Console, chosen: Experiment, records: list[Record], seen: list[Held]) -> None:
    """The tables, what failed, how open details are read, and what the numbers are not."""
    for table in report.tables(records):
        console.print(table)
    if seen:
        grid = report.findings(seen)
        console.print(grid.title)
        console.print(grid.rich)
    for line in report.problems(records):
        console.print(line, style="yellow", highlight=False, markup=False)
    for line in report.notes(chosen):
        console.print(line, style="dim", highlight=False, markup=False)
