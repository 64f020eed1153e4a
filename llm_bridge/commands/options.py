"""Options that several commands of ``soupcheck llm`` share.

This file and those of the commands import nothing heavy at their top: every ``soupcheck --help``
reads them.
"""

from __future__ import annotations

from typing import Annotated

import typer

DEFAULT_BETA = 0.2  # that of the bundled bank's recipe
LEARNING = ("batch", "sequential", "binary")  # ways to learn λ from pairs

Model = Annotated[str | None, typer.Option(help="Folder or hub name; none: the bundled bank.")]
BankName = Annotated[
    str | None,
    typer.Option(
        "--bank",
        help="default, smollm or smollm-output; --model then names its base's folder.",
    ),
]
Adapters = Annotated[
    list[str] | None, typer.Option("--adapter", help="Specialist: FOLDER or NAME=FOLDER.")
]
Bespoke = Annotated[str | None, typer.Option(help="Adapter taken for π_w, likewise.")]
Dtype = Annotated[str, typer.Option(help="float32, bfloat16, float16 or float64.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1 ...")]
Revision = Annotated[str | None, typer.Option(help="Of a hub name: a commit or tag.")]
AnyBase = Annotated[bool, typer.Option("--any-base", help="Accept adapters of another base model.")]
Format = Annotated[str | None, typer.Option(help="Of the data; by default known by its keys.")]
Split = Annotated[str | None, typer.Option(help="Part of a folder that save_to_disk wrote.")]
Chat = Annotated[
    bool | None,
    typer.Option("--chat-template/--no-chat-template", help="Default: for prompts that are turns."),
]
MaxLength = Annotated[
    int | None,
    typer.Option(min=2, help="Tokens of a prompt with its answer (default: the context)."),
]
Truncate = Annotated[
    bool, typer.Option("--truncate", help="Cut what is longer, instead of leaving it out.")
]
Json = Annotated[str | None, typer.Option("--json", help="JSON to PATH or '-'.")]
Beta = Annotated[float, typer.Option(min=1e-12, help="β, reward units per nat.")]
BetaPrime = Annotated[float | None, typer.Option(min=1e-12, help="β' (default β).")]
Lambda = Annotated[str | None, typer.Option("--lambda", help="λ, K numbers by commas.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of everything drawn.")]
