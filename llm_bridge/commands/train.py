"""``soupcheck llm train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import (
    Beta,
    Chat,
    Device,
    Dtype,
    Format,
    Json,
    MaxLength,
    Model,
    Revision,
    Seed,
    Split,
    Truncate,
)


def train(
    out: Annotated[Path, typer.Argument(help="Folder of the adapter; its name is the adapter's.")],
    data: Annotated[Path | None, typer.Option(help="Preferences in any known format.")] = None,
    w: Annotated[str | None, typer.Option(help="User weights, NAME=NUMBER by commas.")] = None,
    model: Model = None,
    loss: Annotated[str, typer.Option(help="bt or binary.")] = "bt",
    target: Annotated[str, typer.Option(help="all linear layers, or the output layer.")] = "all",
    layers: Annotated[
        str | None, typer.Option(help="Of --target all: 20-29, or 0,5,20-29 (from 0); none: all.")
    ] = None,
    rank: Annotated[int, typer.Option(min=1, help="Of the LoRA factors (paper: 100).")] = 100,
    beta: Beta = 0.1,
    rate: Annotated[float, typer.Option(min=0.0, help="Learning rate.")] = 2e-4,
    steps: Annotated[int, typer.Option(min=1)] = 400,
    batch: Annotated[int, typer.Option(min=1, help="Pairs a step.")] = 16,
    per_prompt: Annotated[int, typer.Option(min=1, help="Pairs a prompt of scored answers.")] = 8,
    contentious: Annotated[
        bool, typer.Option("--contentious", help="Only pairs on which attributes conflict.")
    ] = False,
    dtype: Dtype = "float32",
    device: Device = "cpu",
    revision: Revision = None,
    format: Format = None,
    split: Split = None,
    chat: Chat = None,
    max_length: MaxLength = None,
    truncate: Truncate = False,
    seed: Seed = 0,
    json_path: Json = None,
) -> None:
    """Train one specialist; a killed run goes on from its last checkpoint."""
    from dataclasses import replace

    from bounds.records.output import OutputFile
    from bounds.report.console import tables_console
    from toymdp import InstanceError

    from ..backend import quiet_transformers
    from ..base_content import content_of, folder_of
    from ..loading import add_adapters, end_tokens, load_model, save_adapter
    from ..preferences import truthfulqa
    from ..training.adapter import Recipe, accuracy, train_adapter
    from ..training.default_bank import BASE, folder
    from .data import Data
    from .inputs import check_choice, layer_numbers
    from .output import progress_bars, write_json

    output = OutputFile(json_path, [data] if data else [])
    quiet_transformers()
    check_choice("--loss", loss, ("bt", "binary"))
    check_choice("--target", target, ("all", "output"))
    chosen = layer_numbers(layers)
    if chosen and target == "output":
        raise InstanceError.of("--layers", layers, "is of --target all", "leave one out")
    preferences = Data(truthfulqa("train")) if data is None else Data.read(data, format, split)
    labels = preferences.labels() if loss == "binary" else []
    found = [] if labels else preferences.pairs(
        w, seed, per_prompt=per_prompt, contentious=contentious
    )  # fmt: skip
    place = str(folder() / BASE) if model is None else model
    base, tokenizer = load_model(place, dtype=dtype, device=device, revision=revision)
    recipe = Recipe(loss, beta, rate, steps, batch, rank, target, seed, chosen)  # type: ignore[arg-type]
    bank = add_adapters(
        base, [out.name], recipe.lora(base), tokenizer=tokenizer, eos=end_tokens(base), seed=seed
    )
    bank = replace(bank, chat=chat, length=max_length, truncate=truncate)
    labels, pairs = preferences.fitting(bank, labels), preferences.fitting(bank, found)
    with progress_bars() as on_progress:
        course = train_adapter(
            bank, out.name, labels or pairs, recipe, checkpoint=out / "checkpoint.safetensors",
            on_progress=on_progress,
        )  # fmt: skip
    held = folder_of(place, revision)
    record = None if held is None else content_of(held)
    save_adapter(bank, out.name, out, place, record=record)
    report = {
        "adapter": str(out), "pairs": len(pairs), "labels": len(labels), "steps": steps,
        "loss": course.losses[-1] if course.losses else None,
        "log-ratio, rms nats": course.rms[-1] if course.rms else None,
        "steps begin at layer": course.begins,
        "accuracy on its own pairs": None if labels else float(accuracy(bank, pairs[:200])[0]),
        "data": preferences.about(),
    }  # fmt: skip
    for key, entry in report.items():
        tables_console(json_path).print(f"{key}: {entry}", highlight=False)
    write_json(report | {"losses": course.losses, "log-ratios": course.rms}, output)
