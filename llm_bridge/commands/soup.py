"""``soupcheck llm soup``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..methods.catalogue import METHODS
from .options import (
    DEFAULT_BETA,
    LEARNING,
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


def soup(
    prompt: Annotated[list[str] | None, typer.Argument(help="Prompts, verbatim.")] = None,
    question: Annotated[
        list[str] | None, typer.Option(help="A question, in the bundled bank's form.")
    ] = None,
    method: Annotated[str, typer.Option(help=f"{', '.join(METHODS)}.")] = "explicit",
    attributes: Annotated[
        str | None, typer.Option(help="Words by commas, for exact and drift.")
    ] = None,
    budget: Annotated[int, typer.Option(min=1, help="Words a prompt takes (exact).")] = 2,
    lam: Lambda = None,
    pairs: Annotated[Path | None, typer.Option(help="A user's pairs to learn λ from.")] = None,
    learn: Annotated[str, typer.Option(help=f"{', '.join(LEARNING)}.")] = "batch",
    w: Annotated[str | None, typer.Option(help="User weights for scored --pairs.")] = None,
    bank_name: BankName = None,
    model: Model = None,
    adapters: Adapters = None,
    beta: Beta = DEFAULT_BETA,
    beta_prime: BetaPrime = None,
    tokens: Annotated[int, typer.Option(min=1, help="Longest answer.")] = 40,
    cap: Annotated[int, typer.Option(min=1, help="Trials a token of implicit souping.")] = 64,
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
    """Answer prompts with a soup of the specialists."""
    from bounds.records.output import OutputFile
    from bounds.report.console import tables_console
    from toymdp import InstanceError

    from ..backend import torch
    from ..measure.soups import soup_mu, soup_weights
    from ..methods.request import Request
    from ..preferences import question_prompt
    from .data import Data, User
    from .inputs import bank_named, check_choice, check_lambda_or_pairs, lambda_asked, open_bank
    from .output import progress_bars, write_json

    output = OutputFile(json_path, [pairs] if pairs else [])
    check_choice("--method", method, tuple(METHODS))
    check_choice("--learn", learn, LEARNING)
    texts = [*(prompt or []), *(question_prompt(q) for q in question or [])]
    if not texts:
        raise InstanceError.of("prompt", "none", "there is nothing to answer", "give a prompt")
    row = METHODS[method]
    given = {"pairs": pairs, "attributes": attributes}
    if any(given[need] is None for need in row.needs if need != "lambda"):
        options = " and ".join(f"--{need}" for need in row.needs)
        raise InstanceError.of("--method", method, f"needs {options}", "add what is missing")
    if "lambda" in row.needs:
        check_lambda_or_pairs(lam, pairs)
    own = bank_named(bank_name, model, adapters, None)
    bank = open_bank(
        own, model, adapters, None, dtype, device, revision, any_base, chat=chat, length=max_length,
        truncate=truncate,
    )  # fmt: skip
    prime = beta if beta_prime is None else beta_prime
    words = () if attributes is None else tuple(word.strip() for word in attributes.split(","))
    data = None if pairs is None else Data.read(pairs, format, split)
    user = None if data is None else User(bank, data, w, seed)
    about: dict[str, Any] = {"method": method}
    weights = None
    if "lambda" in row.needs:
        vector, fit = lambda_asked(bank, lam, user, beta, prime, learn)
        weights = torch.as_tensor(soup_weights(vector, beta, prime), dtype=torch.float64)
        about |= {
            "lambda": vector.tolist(), "mu": soup_mu(vector, prime).tolist(),
            "weights": weights.tolist(), "lambda from pairs": fit,
        }  # fmt: skip
    history = []
    if user is not None and "pairs" in row.needs:
        history = user.pairs
    with progress_bars() as on_progress:
        request = Request(
            [bank.encode(text) for text in texts], tokens, seed, texts=texts, weights=weights,
            pairs=history, beta=beta, words=words, budget=budget, cap=cap,
            on_progress=on_progress,
        )  # fmt: skip
        drawn, report = row.answers(bank, request)
    answers = [
        {"prompt": text, "answer": bank.tokenizer.decode(ids, skip_special_tokens=True)}
        for text, ids in zip(texts, drawn, strict=True)
    ]
    console = tables_console(json_path)
    if data is not None:
        about["data"] = data.about()
        console.print(data.line(), highlight=False)
    for answer in answers:
        console.print(answer["prompt"] + answer["answer"], highlight=False, markup=False)
    for key, value in report.items():
        if isinstance(value, float):
            console.print(f"{key}: {value:.4g}", highlight=False)
    write_json(about | {"answers": answers} | report, output)
