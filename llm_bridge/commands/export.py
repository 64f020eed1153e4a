"""``soupcheck llm export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import (
    DEFAULT_BETA,
    Adapters,
    AnyBase,
    BankName,
    Beta,
    BetaPrime,
    Chat,
    Device,
    Dtype,
    Format,
    Json,
    Lambda,
    MaxLength,
    Model,
    Revision,
    Seed,
    Split,
    Truncate,
)


def export(
    out: Annotated[Path, typer.Argument(help="Folder of the adapter.")],
    lam: Lambda = None,
    pairs: Annotated[Path | None, typer.Option(help="A user's data, to learn λ from.")] = None,
    w: Annotated[str | None, typer.Option(help="User weights for scored --pairs.")] = None,
    items: Annotated[
        int, typer.Option(min=1, help="Prompts at whose answers it is measured.")
    ] = 40,
    bank_name: BankName = None,
    model: Model = None,
    adapters: Adapters = None,
    beta: Beta = DEFAULT_BETA,
    beta_prime: BetaPrime = None,
    dtype: Dtype = "float32",
    device: Device = "cpu",
    revision: Revision = None,
    any_base: AnyBase = False,
    format: Format = None,
    split: Split = None,
    chat: Chat = None,
    max_length: MaxLength = None,
    truncate: Truncate = False,
    seed: Seed = 0,
    json_path: Json = None,
) -> None:
    """Write one adapter for a soup: exact for adapters on the output layer, else the nearest merge."""
    from dataclasses import asdict

    from bounds.records.output import OutputFile
    from bounds.report.console import tables_console

    from ..base_content import content_of, folder_of
    from ..comparison.export import export as write
    from ..measure.diagnosis import answers_of
    from ..measure.soups import soup_weights
    from ..preferences import truthfulqa
    from .data import Data, User
    from .inputs import bank_named, check_lambda_or_pairs, lambda_asked, open_bank
    from .output import write_json

    output = OutputFile(json_path, [pairs] if pairs else [])
    check_lambda_or_pairs(lam, pairs)
    data = Data(truthfulqa("test")) if pairs is None else Data.read(pairs, format, split)
    own = bank_named(bank_name, model, adapters, None)
    bank = open_bank(
        own, model, adapters, None, dtype, device, revision, any_base, chat=chat, length=max_length,
        truncate=truncate,
    )  # fmt: skip
    prime = beta if beta_prime is None else beta_prime
    vector, _ = lambda_asked(bank, lam, User(bank, data, w, seed), beta, prime, "batch")
    answers = answers_of(bank, data.held, items, seed, data.counts)
    place = model if own is None else own.place(model)
    assert place is not None
    held = folder_of(place, revision)
    record = None if held is None else content_of(held)
    found = write(bank, soup_weights(vector, beta, prime), answers, out, place, record)
    report = {"adapter": str(out), "lambda": vector.tolist(), **asdict(found)}
    console = tables_console(json_path)
    how = "is the soup" if found.exact else "is the nearest merge"
    console.print(
        f"{out}: {found.merge} {how}; KL(soup‖it) {found.kl[found.merge]:.2e} nats a token in the mean, "
        f"{found.worst:.2e} at most, of {found.tokens} tokens; the reference's is {found.reference:.2e}",
        highlight=False,
    )
    for name, value in found.kl.items():
        console.print(f"{name}: {value:.3e}", highlight=False)
    write_json(report, output)
