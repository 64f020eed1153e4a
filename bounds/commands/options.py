"""Options that several commands declare alike."""

from __future__ import annotations

from typing import Annotated

import typer

from ..claims.catalogue import CLAIMS


def _add_claims(modules: list[str] | None) -> list[str]:
    for name in modules or ():
        CLAIMS.add_module(name)
    return modules or []


Json = Annotated[str | None, typer.Option("--json", help="JSON to PATH or '-'.")]
Seed = Annotated[int, typer.Option(min=0, help="First seed.")]
Plugin = Annotated[
    list[str] | None,
    typer.Option(
        "--plugin",
        metavar="MODULE",
        callback=_add_claims,
        is_eager=True,  # the other options may name its claims
        help="A module, or a .py file, whose CLAIMS to add; several times for several.",
    ),
]
