"""What can be asked of a sweep's folder: a summary, the worst of a claim, the gate, a page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from toymdp.errors import InstanceError, OutputError
from toymdp.shown import short

from ..claims.catalogue import claim_named
from ..records.output import OutputFile, Record, content_hash, dump
from ..records.queries import GATE, Rows, summary, tightest, worst
from ..records.store import Store
from ..report import sweeps
from ..runs.chunk import case_of_row
from ..runs.gate import Gate
from ..runs.generations import generations
from .pages import write_page


def show_summary(console: Console, rows: Rows, by: list[str], out: OutputFile) -> None:
    """Verdicts and quantiles by claim."""
    found = summary(rows, by)
    grid = sweeps.counts(found, by, wide=False)
    console.print(grid.title)
    console.print(grid.rich)
    out.write(dump(row) for row in sweeps.ordered(found))


def show_worst(
    console: Console, rows: Rows, claim: str, n: int, folder: Path | None, plan: Mapping[str, Any],
    out: OutputFile,
) -> None:  # fmt: skip
    """The rows of a claim to look at first; their instances as files, where a folder is named."""
    claim_named(claim)
    found = worst(rows, claim, n)
    if not found:
        raise InstanceError(f"{claim}: its sides are told apart nowhere in this sweep")
    grid = sweeps.worst_rows(found)
    console.print(f"{claim}: {grid.title}", highlight=False)
    console.print(grid.rich)
    out.write(dump({**row, "sha256": row["sha256"].hex()}) for row in found)
    if folder is not None:
        for i, row in enumerate(found, 1):
            console.print(str(_written(row, folder, i, plan)), highlight=False, soft_wrap=True)


def _written(row: Record, folder: Path, i: int, plan: Mapping[str, Any]) -> Path:
    """The instance of a row as a file. Raises InstanceError if it is not, now, what was judged."""
    instance = case_of_row(row, plan["paths"]).build()
    if content_hash(instance) != row["sha256"].hex():
        rule = "is made otherwise by this version than by the sweep's"
        raise InstanceError(f"{row['instance']}: {rule}; ask with the version that swept")
    path = folder / f"{row['claim']}-{i:03d}-{Path(row['instance']).stem}.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        instance.save(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror})") from None
    return path


def gate_of(rows: Rows, refused: int = 0) -> Gate:
    """The gate over all rows: shut by a proved claim that is violated, or whose code failed.

    refused: how many files of the design were no instances.
    """
    gate = Gate(refused=refused)
    for row in rows.ask(GATE):
        gate.count(row["claim"], "proved", row["verdict"], row["reason"] or "", row["n"])
        if row["verdict"] in ("violated", "error"):
            why = f", on {row['instance']} first"
            why += f": {row['reason']}" if row["verdict"] == "error" else ""
            how = "violated" if row["verdict"] == "violated" else "was not judged"
            gate.failures.append(f"{row['claim']} is proved but {how} {row['n']} times{why}")
    return gate


def show_gate(console: Console, rows: Rows, done: str, refused: int) -> None:
    """What was checked of the proved claims; exit 1 if one is violated, or a file was refused."""
    gate = gate_of(rows, refused)
    shut_by = gate.shut_by()
    for line in shut_by:
        console.print(line, style="bold red", highlight=False, markup=False)
    for line in [done, *gate.lines()]:
        console.print(f"gate: {line}", highlight=False, markup=False)
    console.print(f"gate: {'failed' if shut_by else 'passed'}", highlight=False)
    if shut_by:
        raise typer.Exit(1)


def show_page(rows: Rows, html: Path, done: str) -> None:
    """The aggregates on one self-contained page."""
    gate = gate_of(rows)
    write_page(html, sweeps.page(summary(rows), [*gate.shut_by(), *gate.lines()], done))


def compacted(console: Console, store: Store, tasks: list[str]) -> None:
    """Many parts into few files."""
    parts, files = store.compact(tasks)
    console.print(f"{store.folder}: {parts:,} parts are now {files:,} files", highlight=False)


def bred(store: Store, plan: Mapping[str, Any], number: int) -> str:
    """The tightest world after a generation."""
    claim = plan["adaptive"]["claim"]
    done = [task for each in generations(store, plan) for task in each if store.has(task)]
    found = tightest(store.rows(done), claim, 1)
    if not found:
        return f"generation {number}: {claim} is told apart nowhere, so there are no parents"
    row = found[0]
    return (
        f"generation {number}: {claim} {row['verdict']}, {short(row['size'])} on {row['instance']}"
    )
