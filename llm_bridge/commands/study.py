"""``soupcheck llm study``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Json, Seed

STUDIES = {
    "merging": "peft's add_weighted_adapter and P-SOUPS against the exact soup",
    "kl": "k1, k2, k3, which trainers log, against the exact sequence KL",
}


def study(
    name: Annotated[
        str | None, typer.Argument(help=f"{', '.join(STUDIES)}; none: the list.")
    ] = None,
    instance: Annotated[
        Path | None,
        typer.Option(help="An instance file with a finite horizon; default: a random one."),
    ] = None,
    draws: Annotated[int, typer.Option(min=2, help="Answers drawn (kl).")] = 4000,
    seed: Seed = 0,
    json_path: Json = None,
) -> None:
    """Put others' tools to the test on a model whose exact values are known; no name: the list."""
    from bounds.records.output import OutputFile
    from bounds.report.console import tables_console
    from toymdp import TokenMDP

    from . import tables
    from .inputs import check_choice
    from .output import write_json

    output = OutputFile(json_path, [instance] if instance else [])
    console = tables_console(json_path)
    if name is None:
        console.print(
            tables.plain("Studies", ["name", "what"], [[*row] for row in STUDIES.items()])
        )
        return
    check_choice("STUDY", name, tuple(STUDIES))
    mdp = None if instance is None else TokenMDP.load(instance)
    if name == "merging":
        from ..studies.merging import merging

        report = merging(mdp, seed)
        console.print(tables.merges(report))
    else:
        from ..studies.kl_estimators import kl_estimators

        report = kl_estimators(mdp, draws=draws, seed=seed)
        console.print(tables.estimators(report))
    write_json(report, output)
