"""``soupcheck instance``: an instance of a family, a classic, a stored witness or a text, as a file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from inspect import getdoc
from pathlib import Path
from typing import Annotated, Any

import typer

from toymdp import InstanceError
from toymdp.errors import OutputError
from toymdp.families.options import MEANINGS, defaults_of, options_of
from toymdp.files import to_plain, write_object
from toymdp.instance import Instance
from toymdp.kinds import ALL_FAMILIES, KINDS

from ..records.output import OutputFile
from ..records.witness import Witness, stored_witness_claims
from ..report.console import status_console, tables_console
from ..report.tables import table
from ..runs.cases import text_instance
from ..runs.named import family_of, named
from .options import Settings, family_options

SUFFIXES = (".json", ".npz")


def instance(
    name: Annotated[
        str | None,
        typer.Argument(
            help="FAMILY-SEED, say softmax-12, a classic or a witness; FAMILY alone: its "
            "parameters; none: the list."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="File to write, .json or .npz; none: standard output.")
    ] = None,
    settings: Settings = None,
    witness: Annotated[
        bool, typer.Option("--witness", help="The whole witness, with its claim and λ.")
    ] = False,
    text: Annotated[
        Path | None, typer.Option(help="Instead of NAME your own text: one a line, or .jsonl.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="CSV of its human labels, a column an attribute.")
    ] = None,
    vocab_size: Annotated[int, typer.Option(help="Vocabulary of --text, 8 to 64.")] = 32,
    order: Annotated[int, typer.Option(help="Context length of --text.")] = 2,
    one_hot: Annotated[
        bool, typer.Option("--one-hot", help="One-hot features a step for --text, not n-grams.")
    ] = False,
) -> None:
    """Write an instance to a file: of a family, a classic, a stored witness, or your own text."""
    if name is None and text is None:
        if out is not None:
            raise InstanceError("--out: there is no instance to write; give NAME or --text")
        tables_console(None).print(table("Instances by name", _list()))
        return
    if name in ALL_FAMILIES and (out, settings, text, labels) == (None,) * 4 and not witness:
        title = f"{name}: parameters for --set, as in `soupcheck instance {name}-0 --set ...`"
        tables_console(None).print(table(title, parameters(name)))
        return
    if name is not None and text is not None:
        raise InstanceError("NAME and --text: give one of the two, not both")
    if labels is not None and text is None:
        raise InstanceError("--labels: belongs to --text; give that file too")
    if out is not None and out.suffix not in SUFFIXES:
        raise InstanceError.of("--out", str(out), "must end in .json or .npz", "rename it")
    if text is not None:
        given: Instance | Witness = text_instance(
            text, labels, vocab_size=vocab_size, order=order, one_hot=one_hot
        )
    else:
        seeded = family_of(str(name))
        if settings and seeded is None:
            raise InstanceError(
                f"--set: belongs to FAMILY-SEED; {name} has no parameters: write its file, and change that"
            )
        given = named(str(name), **(family_options(settings, seeded[0]) if seeded else {}))
    if isinstance(given, Witness):
        _write(given.as_dict() if witness else given.instance.fields(), out)
    elif witness:
        rule = "is no stored witness"
        raise InstanceError.of("--witness", name or str(text), rule, "leave the option out")
    else:
        _write(given.fields(), out)


def _write(fields: dict[str, Any], out: Path | None) -> None:
    if out is None:
        with OutputFile("-") as output:
            output.write([json.dumps(to_plain(fields), ensure_ascii=False, allow_nan=False)])
        return
    try:
        write_object(fields, out)
    except OSError as error:
        raise OutputError(f"{out}: cannot be written ({error.strerror})") from None
    status_console().print(f"wrote {out}", markup=False, highlight=False)


def _list() -> Iterator[dict[str, str]]:
    for format, kind in KINDS.items():
        for name, make in kind.families.items():
            yield {"name": f"{name}-SEED", "format": format, "what it is": _says(make)}
        for name, maker in kind.classics.items():
            yield {"name": name, "format": format, "what it is": _says(maker)}
    for name, claim in stored_witness_claims().items():
        yield {"name": name, "format": "token-mdp/1", "what it is": f"a witness: breaks {claim}"}


def parameters(family: str) -> Iterator[dict[str, str]]:
    """A row for each number that a family takes beside its seed, or one that says there is none."""
    make = ALL_FAMILIES[family]
    defaults = defaults_of(make)
    for name, kind in options_of(make).items():
        takes = "a whole number from 1" if kind is int else "a number from 0"
        yield {"name": name, "takes": takes, "default": defaults[name], "means": MEANINGS[name]}
    if not defaults:
        yield {"name": "none", "takes": "", "default": "", "means": "its seed says it all"}


def _says(make: Callable[..., Any]) -> str:
    return (getdoc(make) or "").split("\n", 1)[0].replace("``", "")
