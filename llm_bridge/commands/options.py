"""What the commands of ``soupcheck llm`` share: options, the bank they open, progress, JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bounds.records.output import OutputFile, dump
from bounds.report.console import status_console
from toymdp import InstanceError
from toymdp.arrays import Array

if TYPE_CHECKING:
    from ..bank import Bank
    from ..preferences import ScoredSet

Model = Annotated[str | None, typer.Option(help="Folder or hub name; none: the bundled bank.")]
Adapters = Annotated[list[str] | None, typer.Option("--adapter", help="Specialist, a folder.")]
Bespoke = Annotated[str | None, typer.Option(help="Folder of the adapter taken for π_w.")]
Dtype = Annotated[str, typer.Option(help="float32, bfloat16, float16 or float64.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1 ...")]
Revision = Annotated[str | None, typer.Option(help="Of a hub name: a commit or tag.")]
AnyBase = Annotated[bool, typer.Option("--any-base", help="Accept adapters of another base name.")]
Json = Annotated[str | None, typer.Option("--json", help="JSON to PATH or '-'.")]
Beta = Annotated[float, typer.Option(min=1e-12, help="β, reward units per nat.")]
BetaPrime = Annotated[float | None, typer.Option(min=1e-12, help="β' (default β).")]
Lambda = Annotated[str | None, typer.Option("--lambda", help="λ, K numbers by commas.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of everything drawn.")]


@contextmanager
def bars() -> Iterator[Callable[[str, int], Callable[[int], None]]]:
    """Progress bars on standard error: a function from (stage, total) to its advance."""
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
    )  # fmt: skip
    with Progress(*columns, console=status_console(), transient=True) as progress:

        def stage(name: str, total: int) -> Callable[[int], None]:
            task = progress.add_task(name, total=total)
            return lambda n: progress.advance(task, n)

        yield stage


def numbers(text: str, K: int, what: str) -> Array:
    """K numbers by commas; InstanceError otherwise."""
    try:
        found = np.array([float(x) for x in text.split(",")])
    except ValueError:
        raise InstanceError.of(what, text, "must be numbers by commas", "correct it") from None
    if len(found) != K or not np.isfinite(found).all():
        raise InstanceError.of(what, text, f"must be {K} finite numbers", "one a specialist")
    return found


def weights_of(text: str | None, data: ScoredSet) -> dict[str, float]:
    """``name=number`` by commas as user weights; InstanceError otherwise."""
    if text is None:
        raise InstanceError.of("--w", None, "scored answers need user weights",
                               f"say --w NAME=NUMBER,... with names of {data.names}")  # fmt: skip
    found = {}
    for part in text.split(","):
        name, sign, value = part.partition("=")
        try:
            found[name.strip()] = float(value)
        except ValueError:
            sign = ""
        if not sign:
            raise InstanceError.of("--w", part, "must be NAME=NUMBER", f"names: {data.names}")
    return found


def hush() -> None:
    """Leave standard error to our own progress bars: transformers draws some while loading."""
    from ..backend import transformers

    transformers.utils.logging.disable_progress_bar()


def open_bank(
    model: str | None, adapters: list[str] | None, bespoke: str | None, dtype: str, device: str,
    revision: str | None, any_base: bool,
) -> Bank:  # fmt: skip
    """The bundled bank, or the one that the options name."""
    from ..loading import load_bank
    from ..training.default_bank import load_default

    hush()
    if model is None:
        if adapters or bespoke:
            raise InstanceError.of("--model", None, "is missing", "name the adapters' base model")
        return load_default(device)
    return load_bank(
        model, adapters or [], bespoke=bespoke, dtype=dtype, device=device, revision=revision,
        any_base=any_base,
    )  # fmt: skip


def finish(found: dict[str, Any], json_path: str | None) -> None:
    """Write one JSON object if asked for; exit 2 if the file cannot be written."""
    with OutputFile(json_path) as out:
        out.write([dump(found)])
    if out.failure:
        typer.echo(f"soupcheck: {out.failure}", err=True)
        raise typer.Exit(2)


def steps_of(
    stage: Callable[[str, int], Callable[[int], None]], name: str
) -> Callable[[int, int, float], None]:
    """Progress by step number, for a stage whose length is known at its first step."""
    state: dict[str, Any] = {}

    def progress(step: int, steps: int, loss: float) -> None:
        if not state:
            state["advance"], state["done"] = stage(name, steps), 0
        state["advance"](step - state["done"])
        state["done"] = step

    return progress
