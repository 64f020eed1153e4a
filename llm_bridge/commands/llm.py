"""``soupcheck llm``: the bridge on the command line.

Everything that needs torch is imported inside the commands, so that the command line stands without
the ``llm`` extra and says which extra to install.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bounds.report.console import tables_console
from toymdp import InstanceError

from .options import (
    Beta,
    Device,
    Dtype,
    Json,
    Model,
    Revision,
    Seed,
    bars,
    finish,
    hush,
    steps_of,
    weights_of,
)
from .run import diagnose, soup

if TYPE_CHECKING:
    from ..preferences import Pair, ScoredSet

llm = typer.Typer(
    help="The same diagnostics on language models with LoRA adapters (extra: soupcheck[llm]).",
    no_args_is_help=True,
)
llm.command()(diagnose)
llm.command()(soup)


@llm.command("make-default")
def make_default(
    out: Annotated[Path | None, typer.Option(help="Folder; default: inside the package.")] = None,
    work: Annotated[Path, typer.Option(help="Folder of checkpoints.")] = Path("llm-default-work"),
    seed: Seed = 0,
    device: Device = "cpu",
    json_path: Json = None,
) -> None:
    """Rebuild the bundled bank: pretrain, train four specialists and a user, judge them."""
    from ..training import default_bank
    from . import tables

    hush()
    with bars() as stage:
        found = default_bank.make_default(
            out or default_bank.folder(), work=work, seed=seed, device=device,
            report=lambda name: steps_of(stage, name),
        )  # fmt: skip
    tables_console(json_path).print(tables.accuracies(found["accuracy"]))
    finish(found, json_path)


@llm.command()
def train(
    out: Annotated[Path, typer.Argument(help="Folder of the adapter; its name is the adapter's.")],
    data: Annotated[Path | None, typer.Option(help="Pairs or scored answers, JSON Lines.")] = None,
    w: Annotated[str | None, typer.Option(help="User weights, NAME=NUMBER by commas.")] = None,
    model: Model = None,
    loss: Annotated[str, typer.Option(help="bt or binary.")] = "bt",
    target: Annotated[str, typer.Option(help="all linear layers, or the output layer.")] = "all",
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
    seed: Seed = 0,
    json_path: Json = None,
) -> None:
    """Train one specialist; a killed run goes on from its last checkpoint."""
    from ..loading import add_adapters, load_model, save_adapter
    from ..preferences import pairs_of, read_preferences, truthfulqa
    from ..training.adapter import Recipe, accuracy, train_adapter
    from ..training.default_bank import BASE, folder

    hush()
    choices: tuple[tuple[str, str, tuple[str, ...]], ...] = (
        ("--loss", loss, ("bt", "binary")),
        ("--target", target, ("all", "output")),
    )
    for name, value, known in choices:
        if value not in known:
            raise InstanceError.of(name, value, "unknown", f"choose from {known}")
    found: list[Pair] | ScoredSet = truthfulqa("train") if data is None else read_preferences(data)
    if isinstance(found, list):
        pairs = found
    else:
        units = found.standardised()
        pairs = pairs_of(
            units, weights_of(w, found), per_prompt=per_prompt, seed=seed, contentious=contentious
        )
    place = str(folder() / BASE) if model is None else model
    base, tokenizer = load_model(place, dtype=dtype, device=device, revision=revision)
    recipe = Recipe(loss, beta, rate, steps, batch, rank, target, seed)  # type: ignore[arg-type]
    ids = base.generation_config.eos_token_id
    eos = () if ids is None else (ids,) if isinstance(ids, int) else tuple(ids)
    bank = add_adapters(base, [out.name], recipe.lora(), tokenizer=tokenizer, eos=eos)
    with bars() as stage:
        losses = train_adapter(
            bank, out.name, pairs, recipe, checkpoint=out / "checkpoint.safetensors",
            progress=steps_of(stage, f"training {out.name}"),
        )  # fmt: skip
    save_adapter(bank, out.name, out, Path(place).name)
    report = {
        "adapter": str(out), "pairs": len(pairs), "steps": steps,
        "loss": losses[-1] if losses else None,
        "accuracy on its own pairs": float(accuracy(bank, pairs[:200])[0]),
    }  # fmt: skip
    for key, entry in report.items():
        tables_console(json_path).print(f"{key}: {entry}", highlight=False)
    finish(report, json_path)
