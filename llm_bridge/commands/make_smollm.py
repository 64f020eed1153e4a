"""``soupcheck llm make-smollm``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Json, Seed


def make_smollm(
    model: Annotated[
        Path | None, typer.Option(help="Folder of fetch-smollm; default: where it writes.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder; default: inside the package.")] = None,
    work: Annotated[Path, typer.Option(help="Folder of checkpoints.")] = Path("llm-smollm-work"),
    workers: Annotated[int, typer.Option(min=1, help="Processes, a thread each.")] = 2,
    seed: Seed = 0,
    json_path: Json = None,
) -> None:
    """Rebuild both banks on SmolLM2: train four policies for each, judge them, write the card."""
    from bounds.records.output import OutputFile
    from bounds.report.console import tables_console

    from ..backend import quiet_transformers
    from ..training import smollm_bank, smollm_card
    from ..training.bundled import bundled
    from . import tables
    from .output import progress_bars, write_json

    output = OutputFile(json_path)
    quiet_transformers()
    own = bundled("smollm")
    place = own.checked(None if model is None else str(model))
    folder = out or own.folder.parent
    with progress_bars() as on_progress:
        facts = smollm_card.make_banks(
            place,
            folder,
            work,
            smollm_bank.Plan(seed=seed),
            workers=workers,
            on_progress=on_progress,
        )
    for kind, found in facts["banks"].items():
        tables_console(json_path).print(kind, tables.accuracies(found["accuracy"]))
    write_json(facts, output)
