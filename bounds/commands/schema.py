"""``soupcheck schema``: the formats, and the JSON Schema of one."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from ..records.formats import FORMATS
from ..records.formats import schema as schema_of
from ..records.output import OutputFile
from ..report.console import tables_console
from ..report.tables import table


def schema(
    name: Annotated[str | None, typer.Argument(help="Say token-mdp/1; none: the list.")] = None,
    out: Annotated[str, typer.Option(help="File to write, or '-'.")] = "-",
) -> None:
    """Print the JSON Schema of a file format, which editors and other programs can check against."""
    if name is None:
        rows = ({"format": f.name, "what it holds": f.says} for f in FORMATS.values())
        tables_console(None).print(table("Formats", rows))
        return
    with OutputFile(out) as output:
        output.write([json.dumps(schema_of(name), ensure_ascii=False, indent=1)])
