"""``soupcheck verify``: every claim on every instance of a run."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from toymdp.errors import InstanceError, OutputError
from toymdp.files import write_whole
from toymdp.kinds import ALL_FAMILIES

from ..claims.catalogue import select
from ..records.output import OutputFile, Record, dump
from ..records.witness import stored_certificates
from ..report import tables
from ..report.console import progress_bar, tables_console, warm_up
from ..report.summary import Summary
from ..runs import cases as instances
from ..runs.cases import CORPUS_FAMILIES, Case
from ..runs.engine import run
from ..runs.judging import WorstCases, judge
from ..runs.progress import OnProgress
from ..runs.task import Task
from .options import Plugin, Seed

DETAIL_LIMIT = 3  # instances up to which every check is shown


def verify(
    files: Annotated[
        list[Path] | None, typer.Argument(help="token-mdp/1 files; none: the bundled default.")
    ] = None,
    claims: Annotated[str, typer.Option(help="Ids or shell patterns, by commas.")] = "*",
    family: Annotated[
        str | None, typer.Option(help=f"A seeded family: {', '.join(ALL_FAMILIES)}.")
    ] = None,
    n: Annotated[int, typer.Option("--n", min=1, help="Instances of a family.")] = 20,
    seed: Seed = 0,
    text: Annotated[
        Path | None, typer.Option(help="Your own text: one a line, or .jsonl with labels.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="CSV of its human labels, a column an attribute.")
    ] = None,
    vocab_size: Annotated[int, typer.Option(help="Vocabulary of --text, 8 to 64.")] = 32,
    order: Annotated[int, typer.Option(help="Context length of --text.")] = 2,
    json_path: Annotated[
        str | None, typer.Option("--json", help="Ledger (JSON Lines) to PATH or '-'.")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="A self-contained report.")] = None,
    gate: Annotated[
        bool,
        typer.Option("--gate", help="Exit 1 if a proved claim fails or a witness breaks nothing."),
    ] = False,
    plugin: Plugin = None,
) -> None:
    """Check claims on files, on a family, on your own text, or on the bundled default."""
    select(claims)  # a misspelt pattern must not cost a run
    _check_target(html, [*(files or []), *(p for p in (text, labels) if p is not None)])
    cases = list(_cases(files, family, n, seed, text, labels, vocab_size, order))
    warm_up()
    summary, worst = Summary(), WorstCases()
    shown: list[Table] = []
    failures: list[str] = []
    console = tables_console(json_path)
    with OutputFile(json_path, files or []) as ledger:
        with progress_bar() as on_progress:
            tasks = [
                Task.of(judge, case=case, claims=claims, seed=seed, plugins=plugin or [])
                for case in cases
            ]
            for task, (about, *checks) in run(tasks, "checking", on_progress):
                ledger.write(map(dump, checks))
                for record in checks if html is None else [about, *checks]:
                    summary.add(record)
                case = task.args["case"]
                worst.add(case, checks)
                failures.extend(_failures(about, checks))
                if len(cases) <= DETAIL_LIMIT or case.family in CORPUS_FAMILIES:
                    shown.append(tables.detail("\n".join([case.name, *about["notes"]]), checks))
        for table in [*shown, *([tables.summary(summary)] if len(cases) > 1 else [])]:
            console.print(table)
        for line in failures:
            console.print(line, style="bold red", highlight=False)
        if html is not None:
            with progress_bar() as on_progress:
                _write_page(html, summary, worst, on_progress)
    if gate:
        console.print("gate: failed" if failures else "gate: passed", highlight=False)
    if gate and failures:
        raise typer.Exit(1)


def _cases(
    files: list[Path] | None, family: str | None, n: int, seed: int, text: Path | None,
    labels: Path | None, vocab_size: int, order: int,
) -> Iterator[Case]:  # fmt: skip
    asked = [bool(files), family is not None, text is not None]
    if sum(asked) > 1:
        raise InstanceError("FILES, --family and --text: give one of the three, not more")
    if labels is not None and text is None:
        raise InstanceError("--labels: belongs to --text; give that file too")
    if files:
        return instances.from_files(files)
    if family is not None:
        if family not in ALL_FAMILIES:
            raise InstanceError.of(
                "--family", family, "unknown", f"choose from {list(ALL_FAMILIES)}"
            )
        return instances.from_family(family, n, seed)
    if text is not None:
        return instances.from_text(text, labels, vocab_size=vocab_size, order=order, seed=seed)
    return instances.default_suite(n, seed)


def _failures(about: Record, checks: Iterable[Record]) -> list[str]:
    """What must not be: a proved claim that is violated, a stored witness that breaks nothing."""
    lines = [
        f"{c['instance']}: {c['claim']} is proved but violated here: lhs {c['lhs']}, rhs {c['rhs']}"
        for c in checks
        if c["status"] == "proved" and c["verdict"] == "violated"
    ]
    witness = about["witness"]
    if witness is not None and witness["verdict"] != "violated":
        lines.append(
            f"witness {about['instance']} no longer breaks {witness['claim']}: {witness['verdict']}"
        )
    return lines


def _check_target(html: Path | None, inputs: Sequence[Path]) -> None:
    if html is not None and os.path.realpath(html) in map(os.path.realpath, inputs):
        raise InstanceError.of("--html", str(html), "is an input of this run", "name another")
    if html is not None and html.is_dir():  # at once: a run must not end in this
        raise InstanceError.of("--html", str(html), "is a folder", "name a file in it")
    if html is not None and not html.parent.is_dir():
        raise InstanceError.of("--html", str(html), "its folder does not exist", "create it")


def _write_page(path: Path, summary: Summary, worst: WorstCases, on_progress: OnProgress) -> None:
    """Walk the proofs of what is violated, and write the page."""
    from ..report import page  # with it come jinja2 and latex2mathml

    for _, walks in run(worst.tasks(), "proofs", on_progress):
        for record in walks:
            summary.add(record)
    text = page.render(summary, certificates=stored_certificates(), on_progress=on_progress)
    try:
        write_whole(path, text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror})") from None
