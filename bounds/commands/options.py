"""Options that several commands declare alike."""

from __future__ import annotations

from typing import Annotated

import typer

Json = Annotated[str | None, typer.Option("--json", help="JSON to PATH or '-'.")]
Seed = Annotated[int, typer.Option(min=0, help="First seed.")]
