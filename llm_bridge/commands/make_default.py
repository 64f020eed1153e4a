"""``soupcheck llm make-default``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Device, Json, Seed


def make_default(
    out: Annotated[Path | None, typer.Option(help="Folder; default: inside the package.")] = None,
    work: Annotated[Path, typer.Option(help="Folder of checkpoints.")] = Path("llm-default-work"),
    seed: Seed = 0,
    device: Device = "cpu",
    json_path: Json = None,
) -> None:
    """Rebuild the bundled bank: pretrain, train four specialists and a user, judge them."""
    from bounds.records.output import OutputFile
    from bounds.report.console import tables_console

    from ..backend import quiet_transformers
    from ..training import default_bank
    from . import tables
    from .output import progress_bars, write_json

    output = OutputFile(json_path)
    quiet_transformers()
    with progress_bars() as on_progress:
        card = default_bank.make_default(
            out or default_bank.folder(), work=work, seed=seed, device=device,
            on_progress=on_progress,
        )  # fmt: skip
    tables_console(json_path).print(tables.accuracies(card["accuracy"]))
    write_json(card, output)
