"""``soupcheck explain``: the proof walked on one instance, to the first step that breaks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from toymdp.shown import short

from ..claims.catalogue import CLAIMS, numbered
from ..proofs.walk import Explanation
from ..proofs.walk import explain as walk
from ..records.loading import load_token_mdp
from ..records.output import OutputFile, dump
from ..records.record import plain
from ..report import tables
from ..report.console import status_console, tables_console, warm_up
from ..report.summary import weights
from .options import Json, Plugin

TURNED = (
    "Every inequality is turned to lhs ≤ rhs, whichever side is printed first; "
    "both sides of ss.proof.A are divided by |λ|₁, those of other steps may be scaled by β/β'."
)


def explain(
    file: Annotated[Path, typer.Argument(help="A token-mdp/1 instance or a stored witness.")],
    claim: Annotated[
        str, typer.Argument(help="A claim's id, or the number of its equation: ss.thm1.gap, (10).")
    ],
    plugin: Plugin = None,
    json_path: Json = None,
) -> None:
    """Show each step's two sides here, the first that breaks, and what is true instead."""
    output = OutputFile(json_path, [file])
    instance, witness = load_token_mdp(file, "explain")
    claim = numbered(claim) or claim
    lam = None if witness is None or witness.claim != claim else witness.lam
    warm_up(claims=False)
    with status_console().status("walking the proof ..."):
        explanation = walk(instance, claim, lam=lam)
    console = tables_console(json_path)
    for table in _tables(explanation):
        console.print(table)
    with output as out:
        out.write([dump(explanation.as_dict())])


def _tables(explanation: Explanation) -> list[Table | str]:
    claim = CLAIMS[explanation.claim.claim]
    parts: list[Table | str] = [
        escape(f"{claim.named} ({claim.status}, {claim.source})\n{claim.statement}\n"),
        tables.detail("On this instance", [plain(explanation.claim)]),
    ]
    if explanation.reading:
        parts.append(f"Reading: {explanation.reading}.")
    if explanation.steps:
        t, s = explanation.place
        at = "" if explanation.claim.lam is None else f"λ = {weights(explanation.claim.lam)} and "
        table = Table(
            title=f"Its proof, at {at}t = {t}, s = {s}", title_justify="left",
            caption=TURNED, caption_justify="left",
        )  # fmt: skip
        for name in ("", "step", "says", "verdict", "lhs", "rhs", "why"):
            table.add_column(name, no_wrap=name == "step", overflow="fold")
        for i, (step, c) in enumerate(explanation.steps):
            mark = "✗" if c.verdict == "violated" else "✓" if c.verdict == "holds" else "·"
            style = "bold red" if i == explanation.first_broken else ""
            table.add_row(
                mark, step.claim, step.says, c.verdict, short(c.lhs), short(c.rhs),
                escape(c.reason), style=style,
            )  # fmt: skip
        parts.append(table)
    if explanation.first_broken is not None:
        step, _ = explanation.steps[explanation.first_broken]
        saved = {True: "holds here", False: "does not hold here", None: ""}[explanation.saved]
        remedy = step.remedy if step.saved_by is None else step.saved_by.statement
        saviour = f"; true where {remedy}" if remedy else ""
        saviour += f" ({saved})" if saved else ""
        parts.append(f"first step that breaks: {step.claim} ({step.says}){saviour}")
        if explanation.claim.verdict == "holds":
            parts.append(
                "The statement holds here all the same: what a broken step led to may be true."
            )
    if explanation.true_when:
        parts.append(f"true as printed when {tables.condition(CLAIMS[explanation.claim.claim])}")
    if explanation.repairs:
        place = "at t = {}, s = {}".format(*explanation.place)
        parts.append(
            tables.detail(f"What is true instead, {place}", map(plain, explanation.repairs))
        )
    if explanation.rungs:
        table = Table(title="Bounds on the gap", title_justify="left")
        for name in ("bound", "value", "times the gap", "claim, or why"):
            table.add_column(name, overflow="fold")
        for r in explanation.rungs:
            says = escape(": ".join(part for part in (r.claim, r.note) if part))
            table.add_row(r.name, short(r.value), short(r.ratio), says)
        parts.append(table)
    return parts
