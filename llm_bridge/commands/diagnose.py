"""``soupcheck llm diagnose``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import (
    DEFAULT_BETA,
    Adapters,
    AnyBase,
    BankName,
    Bespoke,
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


def diagnose(
    data: Annotated[
        Path | None, typer.Argument(help="Preferences in any known format; none: TruthfulQA.")
    ] = None,
    bank_name: BankName = None,
    model: Model = None,
    adapters: Adapters = None,
    bespoke: Bespoke = None,
    w: Annotated[str | None, typer.Option(help="User weights, NAME=NUMBER by commas.")] = None,
    lam: Lambda = None,
    beta: Beta = DEFAULT_BETA,
    beta_prime: BetaPrime = None,
    items: Annotated[int | None, typer.Option(min=1, help="Prompts to take at most.")] = None,
    rollouts: Annotated[int, typer.Option(min=1, help="Answers drawn for each prompt.")] = 2,
    prompts: Annotated[int, typer.Option(min=0, help="Prompts of the gap; 0: none.")] = 48,
    tokens: Annotated[int, typer.Option(min=1, help="Longest answer drawn.")] = 40,
    top: Annotated[int, typer.Option(min=2, help="Tokens whose after-states are taken.")] = 16,
    chunks: Annotated[
        Path | None, typer.Option(help="File of per-token records and finished chunks.")
    ] = None,
    precision: Annotated[
        str, typer.Option(help="Of the arithmetic: float32 or float64.")
    ] = "float32",
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
    """Say what the theory says of a bank's soup, token by token and over whole answers.

    A killed run goes on after its last finished chunk when it is called again.
    """
    import hashlib

    from platformdirs import user_cache_path

    from bounds.records.output import OutputFile
    from bounds.report.console import tables_console
    from toymdp import InstanceError

    from ..comparison.finished import Finished
    from ..loading import dtype_of
    from ..measure.chunks import exclusive_path, fingerprint
    from ..measure.diagnosis import Effort, answers_of, diagnose_bank
    from ..preferences import truthfulqa
    from . import tables
    from .data import Data, User
    from .inputs import bank_named, open_bank, soups_asked
    from .output import progress_bars, write_json
    from .pages import of_given, page_of

    output = OutputFile(json_path, [x for x in (data, chunks) if x])
    if precision not in ("float32", "float64"):
        raise InstanceError.of("--precision", precision, "float32 or better", "say float64")
    preferences = Data(truthfulqa("test")) if data is None else Data.read(data, format, split)
    own = bank_named(bank_name, model, adapters, bespoke)
    bank = open_bank(
        own, model, adapters, bespoke, dtype, device, revision, any_base, chat=chat, length=max_length,
        truncate=truncate,
    )  # fmt: skip
    # the user of a bundled bank is known, and was trained on other questions than those measured
    held, share = preferences, None
    if own is not None and data is None:
        held = Data(truthfulqa("train"))
        w, share = (own.w, own.share) if w is None else (w, None)
    prime = beta if beta_prime is None else beta_prime
    user = User(bank, held, w, seed)
    settings, fit = soups_asked(user, lam, beta, prime, share)
    answers = answers_of(bank, preferences.held, items, seed, preferences.counts)
    run = hashlib.sha256((fingerprint(bank, answers, settings) + precision).encode()).hexdigest()
    cache = user_cache_path("soupcheck", appauthor=False) / "llm"
    effort = Effort(prompts=prompts, rollouts=rollouts, tokens=tokens, top=top)
    with (
        exclusive_path(chunks or cache / f"{run[:24]}.jsonl") as place,
        progress_bars() as on_progress,
    ):
        report = diagnose_bank(
            bank, answers, settings, effort=effort, seed=seed, precision=dtype_of(precision),
            chunks=place, tokens=chunks is not None, on_progress=on_progress,
        )  # fmt: skip
        steps = place.with_suffix(".steps")
        page = page_of(
            user, report, effort, beta, prime,
            finished=Finished(steps, f"{run} {w} {seed} {effort}"), on_progress=on_progress,
        )  # fmt: skip
    if lam is not None:
        page["says"].append(of_given(settings))
    report |= {
        "lambda from pairs": fit,
        "data": preferences.about(),
        "first page": page,
        "seconds": on_progress.seconds,
    }
    console = tables_console(json_path)
    if data is not None:
        console.print(preferences.line(), highlight=False)
    for line in page.get("says", []):
        console.print(f"• {line}", highlight=False)
    for table in tables.page_tables(page):
        console.print(table)
    for table in tables.diagnosis_tables(report):
        console.print(table)
    write_json(report, output)
    steps.unlink()
    if chunks is None:
        place.unlink()
