"""``soupcheck verify``: every claim on every instance of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from toymdp.errors import InstanceError
from toymdp.kinds import ALL_FAMILIES

from ..checking import Lambda
from ..claims.catalogue import asked_by_name, select
from ..records.loading import files_of
from ..records.output import OutputFile, Record, dump
from ..records.witness import stored_certificates
from ..report import tables
from ..report.console import progress_bar, tables_console, warm_up
from ..report.summary import Summary
from ..runs import cases as instances
from ..runs.cases import Case
from ..runs.engine import run
from ..runs.gate import Gate
from ..runs.judging import WorstCases, judge
from ..runs.progress import OnProgress
from ..runs.task import Task
from ..terminal import say
from .options import Plugin, Seed, Settings, family_options, numbers
from .pages import check_target, write_page

MORE = "each check: -v; every number: --json LEDGER; as a page: --html PAGE"


def verify(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Instance and witness files, and folders of them; none: the bundled default."
        ),
    ] = None,
    claims: Annotated[str, typer.Option(help="Ids or shell patterns, by commas.")] = "*",
    family: Annotated[
        str | None, typer.Option(help=f"A seeded family: {', '.join(ALL_FAMILIES)}.")
    ] = None,
    n: Annotated[int, typer.Option("--n", min=1, help="Instances of a family.")] = 20,
    seed: Seed = 0,
    settings: Settings = None,
    lam: Annotated[
        str | None,
        typer.Option(
            "--lambda", help="Your own λ, K numbers by commas, to judge all claims at; or optimum."
        ),
    ] = None,
    text: Annotated[
        Path | None,
        typer.Option(
            help="Your own text: one a line, or .jsonl with labels; 'bundled': TruthfulQA."
        ),
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="CSV of its human labels, a column an attribute.")
    ] = None,
    vocab_size: Annotated[
        int, typer.Option(help="Tokens of --text: to 64 classes of words, to 32768 words.")
    ] = 32,
    order: Annotated[int, typer.Option(help="Context length of --text.")] = 2,
    subwords: Annotated[
        bool, typer.Option("--subwords", help="Tokens of --text are byte pairs (extra llm).")
    ] = False,
    json_path: Annotated[
        str | None, typer.Option("--json", help="Ledger (JSON Lines) to PATH or '-'.")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="A self-contained report.")] = None,
    gate: Annotated[
        bool,
        typer.Option(
            "--gate", help="Exit 1 if a proved claim is violated or a witness breaks nothing."
        ),
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="--gate, and exit 1 if a proved claim is undecided.")
    ] = False,
    require_applicable: Annotated[
        bool,
        typer.Option(
            "--require-applicable",
            help="--gate, and exit 1 if a proved claim was applicable on no instance.",
        ),
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Also every check of every instance.")
    ] = False,
    plugin: Plugin = None,
) -> None:
    """Check claims on files, on a family, on your own text, or on the bundled default."""
    select(claims)  # a misspelt pattern must not cost a run
    weights: Lambda = "optimum" if lam == "optimum" else None
    if weights is None and lam is not None:
        weights = numbers(lam, "--lambda")
    paths = [path for given in files or [] for path in files_of(given)]
    inputs = [*paths, *(p for p in (text, labels) if p is not None)]
    check_target(html, json_path, inputs)
    ledger_file = OutputFile(json_path, inputs)
    fitting = {"vocab_size": vocab_size, "order": order, "tokens": "bpe" if subwords else "words"}
    cases, refused = _cases(paths, family, n, seed, settings, text, labels, fitting, weights)
    for line in refused:
        say(line)
    if not cases:
        raise typer.Exit(2)
    warm_up()
    summary, worst = Summary(), WorstCases()
    result = Gate(strict, require_applicable, asked_by_name(claims), refused=len(refused))
    shown: list[Table | Text] = []
    failed = False
    console = tables_console(json_path)
    with ledger_file as ledger:
        with progress_bar() as on_progress:
            tasks = [
                Task.of(
                    judge, case=case, claims=claims, seed=seed, plugins=plugin or [], lam=weights
                )
                for case in cases
            ]
            for task, (about, *checks) in run(tasks, "checking", on_progress):
                ledger.write(map(dump, checks))
                faults = _faults(about, checks)
                for line in faults:
                    say(line)
                failed |= bool(faults)
                for record in checks if html is None else [about, *checks]:
                    summary.add(record)
                case = task.args["case"]
                worst.add(case, checks)
                result.add(about, checks)
                if verbose or len(cases) == 1:
                    shown.append(tables.detail(_title(about), checks))
                elif about["notes"]:  # how well a text was fitted
                    shown.append(Text(_title(about)))
        for table in [*([tables.summary(summary)] if len(cases) > 1 else []), *shown]:
            console.print(table)
        if len(cases) > 1 and not verbose:
            console.print(MORE, style="dim", highlight=False)
        if html is not None:
            with progress_bar() as on_progress:
                write_page(html, _page(summary, worst, on_progress))
    _close(console, result, gate or strict or require_applicable, failed)


def _faults(about: Record, checks: Sequence[Record]) -> list[str]:
    """A line for an instance that has no solution, or for each claim whose code failed on it."""
    reasons = [about["refused"]] if about["refused"] else []
    reasons += [c["reason"] for c in checks if c["verdict"] == "error"]
    return [f"{about['instance']}: {reason}" for reason in dict.fromkeys(reasons)]


def _close(console: Console, result: Gate, gate: bool, failed: bool) -> None:
    """Say what failed and, with a gate, how much was checked; exit 1 if it is shut.

    Exit 2 for files that were refused and where the code of a claim failed: what could be done is done.
    """
    shut_by = result.shut_by() if gate or result.failures or result.refused else []
    for line in shut_by:
        console.print(line, style="bold red", highlight=False, markup=False)
    if gate:
        for line in result.lines():
            console.print(f"gate: {line}", highlight=False, markup=False)
        console.print(f"gate: {'failed' if shut_by else 'passed'}", highlight=False)
    if result.refused or failed:
        raise typer.Exit(2)
    if gate and shut_by:
        raise typer.Exit(1)


def _title(about: Record) -> str:
    """Name of an instance, what a witness says of its claim, and how well a text was fitted."""
    lines, witness = [about["instance"], *about["notes"]], about["witness"]
    if witness is not None:
        lines.insert(1, f"a witness: at its λ {witness['claim']} is {witness['verdict']}")
    return "\n".join(lines)


def _cases(
    files: list[Path], family: str | None, n: int, seed: int, settings: list[str] | None,
    text: Path | None, labels: Path | None, fitting: Mapping[str, Any], lam: Lambda,
) -> tuple[list[Case], list[str]]:  # fmt: skip
    """The instances of the run, and a line for each file that is none."""
    asked = [bool(files), family is not None, text is not None]
    if sum(asked) > 1:
        raise InstanceError("FILES, --family and --text: give one of the three, not more")
    if labels is not None and text is None:
        raise InstanceError("--labels: belongs to --text; give that file too")
    if settings and family is None:
        raise InstanceError("--set: belongs to --family; name one")
    if files:
        return instances.from_files(files, lam)
    if family is not None:
        if family not in ALL_FAMILIES:
            raise InstanceError.of(
                "--family", family, "unknown", f"choose from {list(ALL_FAMILIES)}"
            )
        made = instances.from_family(family, n, seed, **family_options(settings, family))
    elif text is not None:
        made = instances.from_text(text, labels, seed, fitting)
    else:
        made = instances.default_suite(n, seed)
    return list(made), []


def _page(summary: Summary, worst: WorstCases, on_progress: OnProgress) -> str:
    """Walk the proofs of what is violated, and draw the page."""
    from ..report import page  # with it come jinja2 and latex2mathml

    for _, walks in run(worst.tasks(), "proofs", on_progress):
        for record in walks:
            summary.add(record)
    return page.render(summary, certificates=stored_certificates(), on_progress=on_progress)
