"""``soupcheck certify``: a witness re-checked in ball arithmetic."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from toymdp import InstanceError

from ..records.output import OutputFile, dump
from ..report.console import status_console, tables_console
from .options import Json

if TYPE_CHECKING:
    from ..certificates import Certificate


def certify(
    witness: Annotated[Path, typer.Argument(help="A soup-witness/1 file.")],
    bits: Annotated[int, typer.Option(min=64, max=4096, help="Working precision.")] = 128,
    seconds: Annotated[float, typer.Option(min=0.0, help="Time for enclosing λ*.")] = 300.0,
    json_path: Json = None,
) -> None:
    """Prove in ball arithmetic that a witness breaks its claim: exit 0 PROVED, 1 NOT PROVED."""
    from .. import certificates  # with it comes python-flint

    output = OutputFile(json_path, [witness])
    with status_console().status("enclosing ...") as status:
        try:
            found = certificates.certify(
                witness, bits=bits, seconds=seconds,
                progress=lambda done, waiting: status.update(
                    f"enclosing λ*: {done} boxes done, {waiting} waiting ..."
                ),
            )  # fmt: skip
        except certificates.WitnessError as error:
            raise InstanceError(f"{witness}: {error}") from None
    tables_console(json_path).print(table(witness.stem, found))
    with output as out:
        out.write([dump(found.as_dict())])
    if not found.proved:
        raise typer.Exit(1)


def table(name: str, found: Certificate) -> Table:
    """The verdict, the enclosures and every hypothesis."""
    shown = Table(title=escape(f"{name}: {found.claim}"), title_justify="left", show_header=False)
    shown.add_column(style="bold")
    shown.add_column()
    style = "bold green" if found.proved else "bold red"
    shown.add_row("verdict", f"[{style}]{found.verdict}[/]: {found.reason}")
    sides = (("lhs", found.lhs), ("rhs", found.rhs))
    weights = [(f"λ_{k + 1}", x) for k, x in enumerate(found.weights or ())]
    for label, side in (*sides, *weights):
        if side is not None:
            shown.add_row(f"{label} in", f"\\[{side[0]:.17g}, {side[1]:.17g}]")
    if found.where is not None:
        shown.add_row("at", ", ".join(f"{k} = {x}" for k, x in found.where.items()))
    words = {True: "holds", False: "fails", None: "could not be decided"}
    for group, note in ((found.hypotheses, ""), (found.reported, " (reported, not needed)")):
        for hypothesis, holds in group.items():
            why = f": {found.notes[hypothesis]}" if found.notes[hypothesis] else ""
            shown.add_row(hypothesis, f"{words[holds]}{note}{why}")
    if found.boxes:
        shown.add_row("boxes", f"{found.boxes} examined, {found.kept} left, all of which break it"
                      if found.proved else f"{found.boxes} examined")  # fmt: skip
    shown.add_row("precision", f"{found.bits} bits, {found.seconds:.2f} s")
    return shown
