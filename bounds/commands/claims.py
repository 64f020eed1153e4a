"""``soupcheck claims``: the catalogue."""

from __future__ import annotations

import sys
from collections import defaultdict
from typing import Annotated

import typer

from ..claims.catalogue import select
from ..records.output import OutputFile, dump
from ..records.witness import stored_witness_claims
from ..report import tables
from ..report.console import tables_console
from ..terminal import standard_stream
from .options import Json, Plugin


def claims(
    pattern: Annotated[
        str,
        typer.Argument(metavar="[PATTERN]", help="An id, or patterns by commas, say ss.thm1.*."),
    ] = "*",
    markdown: Annotated[bool, typer.Option("--markdown", help="A Markdown table.")] = False,
    latex: Annotated[bool, typer.Option("--latex", help="A LaTeX longtable.")] = False,
    plugin: Plugin = None,
    json_path: Json = None,
) -> None:
    """List claims: statement, source, status, when a refuted one is true, hypotheses, witnesses."""
    chosen = select(pattern)
    witnesses: dict[str, list[str]] = defaultdict(list)
    for name, claim in stored_witness_claims().items():
        witnesses[claim].append(name)
    if json_path is not None:
        with OutputFile(json_path) as out:
            out.write(
                dump({
                    "id": c.id, "source": c.source, "title": c.title, "statement": c.statement,
                    "status": c.status, "kind": c.kind, "reason": c.reason,
                    "hypotheses": [h.id for h in c.hypotheses],
                    "reported": [h.id for h in c.reported], "true_when": c.true_when,
                    "true_by": list(c.true_by), "blames": c.blames, "witnesses": witnesses.get(c.id, []),
                })
                for c in chosen
            )  # fmt: skip
        if standard_stream(json_path) is sys.stdout:
            return
    if markdown:
        typer.echo(
            "| id | source | status | statement | why | true when |\n|---|---|---|---|---|---|"
        )
        for c in chosen:
            statement = c.statement.replace("|", r"\vert ")
            why, when = (text.replace("|", r"\|") for text in (tables.why(c), tables.condition(c)))
            typer.echo(f"| `{c.id}` | {c.source} | {c.status} | ${statement}$ | {why} | {when} |")
    elif latex:
        typer.echo("\\begin{longtable}{llll}\nid & source & status & statement \\\\ \\hline")
        for c in chosen:
            typer.echo(f"\\texttt{{{c.id}}} & {c.source} & {c.status} & ${c.statement}$ \\\\")
        typer.echo("\\end{longtable}")
    else:
        tables_console(None).print(tables.catalogue(chosen, witnesses))
