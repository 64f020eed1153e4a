"""``soupcheck certify``: a witness re-checked in ball arithmetic."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from toymdp import InstanceError
from toymdp.errors import OutputError
from toymdp.files import write_whole

from ..records.output import OutputFile, dump
from ..report.console import status_console, tables_console
from .options import Json

if TYPE_CHECKING:
    from ..certificates import Certificate

IDENTIFIER = re.compile("[A-Za-z][A-Za-z0-9_]*")


def certify(
    witness: Annotated[Path, typer.Argument(help="A soup-witness/1 file.")],
    bits: Annotated[int, typer.Option(min=64, max=4096, help="Working precision.")] = 128,
    seconds: Annotated[float, typer.Option(min=0.0, help="Time for enclosing λ*.")] = 300.0,
    program: Annotated[
        Path | None,
        typer.Option(
            "--standalone",
            metavar="OUT.py",
            help="Write a program of the standard library alone that proves it too.",
        ),
    ] = None,
    coq: Annotated[
        Path | None,
        typer.Option(metavar="OUT.v", help="Also the proof as a file for `coqc`; not about λ*."),
    ] = None,
    json_path: Json = None,
) -> None:
    """Prove in ball arithmetic that a witness breaks its claim: exit 0 PROVED, 1 NOT PROVED.

    Files of the proof are written when it is PROVED.
    """
    from .. import certificates  # with python-flint, which only this command needs

    if witness.is_dir():
        rule = "is a folder, and certify takes one witness"
        raise InstanceError.of("WITNESS", str(witness), rule, "name a file in it")
    output = OutputFile(json_path, [witness])
    text = ""
    if program is not None:
        with _named(witness):
            text = certificates.standalone(witness)
    if coq is not None:
        _refuse_coq(witness, coq)
    with status_console().status("enclosing ...") as status, _named(witness):
        certificate = certificates.certify(
            witness, bits=bits, seconds=seconds,
            progress=lambda done, waiting: status.update(
                f"enclosing λ*: {done} boxes done, {waiting} waiting ..."
            ),
        )  # fmt: skip
    tables_console(json_path).print(table(witness.stem, certificate))
    with output as out:
        out.write([dump(certificate.as_dict())])
    if not certificate.proved:
        raise typer.Exit(1)
    if program is not None:
        _write(program, text)
        status_console().print(f"{escape(str(program))}: the proof; any Python runs it")
    if coq is not None:
        _write(coq, certificates.coq_file(witness, certificate))
        status_console().print(f"{escape(str(coq))}: the proof; `coqc` checks it")


def _refuse_coq(witness: Path, coq: Path) -> None:
    """Raise InstanceError where no such file could be written, before any work is done."""
    from .. import certificates

    if coq.suffix != ".v" or not IDENTIFIER.fullmatch(coq.stem):
        raise InstanceError.of("--coq", str(coq), "coqc reads NAME.v, NAME of letters, digits, _",
                               "name another")  # fmt: skip
    with _named(witness):
        certificates.require_coq(witness)


@contextmanager
def _named(witness: Path) -> Iterator[None]:
    """What the checker refuses, as bad input of that file."""
    from ..certificates import WitnessError

    try:
        yield
    except WitnessError as error:
        raise InstanceError(f"{witness}: {error}") from None


def _write(path: Path, text: str) -> None:
    try:
        write_whole(path, text.encode())
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror})") from None


def table(name: str, certificate: Certificate) -> Table:
    """The verdict, the enclosures and every hypothesis."""
    shown = Table(
        title=escape(f"{name}: {certificate.claim}"), title_justify="left", show_header=False
    )
    shown.add_column(style="bold")
    shown.add_column()
    style = "bold green" if certificate.proved else "bold red"
    shown.add_row("verdict", f"[{style}]{certificate.verdict}[/]: {certificate.reason}")
    sides = (("lhs", certificate.lhs), ("rhs", certificate.rhs))
    weights = [(f"λ_{k + 1}", x) for k, x in enumerate(certificate.weights or ())]
    for label, side in (*sides, *weights):
        if side is not None:
            shown.add_row(f"{label} in", f"\\[{side[0]:.17g}, {side[1]:.17g}]")
    if certificate.where is not None:
        shown.add_row("at", ", ".join(f"{k} = {x}" for k, x in certificate.where.items()))
    words = {True: "holds", False: "fails", None: "could not be decided"}
    for group, note in (
        (certificate.hypotheses, ""),
        (certificate.reported, " (reported, not needed)"),
    ):
        for hypothesis, holds in group.items():
            why = f": {certificate.notes[hypothesis]}" if certificate.notes[hypothesis] else ""
            shown.add_row(hypothesis, f"{words[holds]}{note}{why}")
    if certificate.boxes:
        left = f", {certificate.kept} left, all of which break it" if certificate.proved else ""
        shown.add_row("boxes", f"{certificate.boxes} examined{left}")
    shown.add_row("precision", f"{certificate.bits} bits, {certificate.seconds:.2f} s")
    return shown
