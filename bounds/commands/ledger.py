"""``soupcheck ledger diff``: two ledgers compared."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from toymdp import InstanceError

from ..records.ledger import compare
from ..records.output import OutputFile, dump
from ..report.console import tables_console
from ..report.tables import changes
from .options import Json


def ledger(
    what: Annotated[str, typer.Argument(metavar="diff", help="What to do: diff.")],
    a: Annotated[Path, typer.Argument(help="A ledger, as `verify --json` writes it: before.")],
    b: Annotated[Path, typer.Argument(help="Another: after.")],
    gate: Annotated[
        bool, typer.Option("--gate", help="Exit 1 if a verdict turned, or a check of A is gone.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Also each check of an instance that changed.")
    ] = False,
    json_path: Json = None,
) -> None:
    """Compare two ledgers (`ledger diff A B`): verdicts that turned, numbers that moved, rows gone."""
    if what != "diff":
        raise InstanceError.of(
            "ledger", what, "is nothing that can be done", "say `ledger diff A B`"
        )
    output = OutputFile(json_path, [a, b])
    found = compare(a, b)
    console = tables_console(json_path)
    for line in found.instances():
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    shown = found if verbose else found.told
    if shown:
        console.print(changes(shown))
    console.print(found.says(), highlight=False)
    with output as out:
        out.write(dump(vars(change)) for change in found)
    if gate and any(change.what in ("verdict", "only in A") for change in found):
        raise typer.Exit(1)
