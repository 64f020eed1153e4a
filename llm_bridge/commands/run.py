"""``soupcheck llm diagnose`` and ``soupcheck llm soup``."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from platformdirs import user_cache_path
from rich.console import Console

from bounds.report.console import tables_console
from toymdp import InstanceError
from toymdp.arrays import Array

from .options import (
    Adapters,
    AnyBase,
    Bespoke,
    Beta,
    BetaPrime,
    Device,
    Dtype,
    Json,
    Lambda,
    Model,
    Revision,
    Seed,
    bars,
    finish,
    numbers,
    open_bank,
    weights_of,
)

if TYPE_CHECKING:
    from ..bank import Bank
    from ..preferences import Pair, ScoredSet

DEFAULT_BETA = 0.2  # that of the bundled bank's recipe
FIT_PAIRS = 200
PRIOR = 100.0  # variance of λ's prior: wide, since λ has units of 1
METHODS = ("explicit", "weight-space", "implicit", "p-soups", "pad")
BY_STATE = "pad-sf"
PROMPTED = ("exact", "drift")  # by attribute words in the prompt, not by adapters
LEARNING = ("batch", "sequential", "binary")


def fitted(
    bank: Bank, pairs: list[Pair], beta: float, beta_prime: float, how: str
) -> tuple[Array, dict[str, Any]]:
    """λ from pairs, brought into the domain; and what to say of it."""
    from ..methods.weights import (
        binary_rows,
        deltas_of,
        fit_batch,
        fit_sequential,
        into_domain,
        prior,
    )

    deltas = deltas_of(bank, pairs, beta)
    mean, covariance = prior(len(bank.names), PRIOR)
    if how == "batch":
        found = fit_batch(deltas, np.ones(len(deltas)), mean, covariance)
    elif how == "binary":  # each answer by itself, good or bad
        texts = [(p.prompt, text) for p in pairs for text in (p.chosen, p.rejected)]
        rows = binary_rows(bank, [p for p, _ in texts], [a for _, a in texts], beta)
        found = fit_batch(rows, np.tile([1.0, -1.0], len(pairs)), mean, covariance)
    else:
        found = fit_sequential(deltas, mean, covariance)
    lam, shrunk = into_domain(found.mean, beta, beta_prime)
    return lam, {
        "pairs": len(pairs), "lambda": found.mean.tolist(),
        "standard deviation": np.sqrt(np.diag(found.covariance)).tolist(),
        "scaled into β|λ|₁ ≤ β'": shrunk,
        "pairs ordered right": float((deltas @ found.mean > 0).mean()),
    }  # fmt: skip


def scored(
    bank: Bank, texts: list[str], pairs: list[Pair], beta: float, tokens: int, seed: int
) -> dict[str, Any]:
    """Answers by PAD-SF, its scorer learnt from the user's pairs."""
    from ..methods.scorer import fit_scorer, pad_sf_answers

    scorer, told = fit_scorer(bank, pairs, beta)
    encoded = [bank.encode(text) for text in texts]
    drawn = pad_sf_answers(bank, encoded, scorer, tokens=tokens, seed=seed)
    answers = [bank.tokenizer.decode(a, skip_special_tokens=True) for a in drawn]
    rows = [{"prompt": p, "answer": a} for p, a in zip(texts, answers, strict=True)]
    return {"scorer from pairs": told, "answers": rows}


def user_pairs(data: list[Pair] | ScoredSet, w: str | None, seed: int) -> list[Pair]:
    """Pairs of a user: as given, or from scored answers by ``--w``."""
    from ..preferences import pairs_of

    if isinstance(data, list):
        return data[:FIT_PAIRS]
    units = data.standardised()
    return pairs_of(units, weights_of(w, data), per_prompt=2, seed=seed)[:FIT_PAIRS]


def diagnose(
    data: Annotated[
        Path | None, typer.Argument(help="Pairs or scored answers (JSON Lines); none: TruthfulQA.")
    ] = None,
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
        Path | None, typer.Option(help="Keep per-token records and finished chunks here.")
    ] = None,
    precision: Annotated[
        str, typer.Option(help="Of the arithmetic: float32 or float64.")
    ] = "float32",
    dtype: Dtype = "float32",
    device: Device = "cpu",
    revision: Revision = None,
    any_base: AnyBase = False,
    seed: Seed = 0,
    json_path: Json = None,
) -> None:
    """Say what the theory says of a bank's soup, token by token and over whole answers.

    A killed run goes on after its last finished chunk when it is called again.
    """
    from ..loading import dtype_of
    from ..measure.diagnose import fingerprint
    from ..measure.diagnosis import Effort, lines_of, overview
    from ..measure.totals import SoupSettings
    from ..preferences import read_preferences, truthfulqa
    from ..training.default_bank import ATTRIBUTES, USER_WEIGHTS
    from . import tables

    if precision not in ("float32", "float64"):
        raise InstanceError.of("--precision", precision, "float32 or better", "say float64")
    found_data = truthfulqa("test") if data is None else read_preferences(data)
    bank = open_bank(model, adapters, bespoke, dtype, device, revision, any_base)
    K, prime = len(bank.names), beta if beta_prime is None else beta_prime
    lams: dict[str, Array] = {}
    told: dict[str, Any] = {}
    if lam is not None:
        lams["given"] = numbers(lam, K, "--lambda")
    else:
        if data is None and model is None:
            text = ",".join(f"{name}={value}" for name, value in USER_WEIGHTS.items())
            pairs = user_pairs(truthfulqa("train"), text, seed)
            share = np.array([USER_WEIGHTS[name] for name in ATTRIBUTES])
            lams["(β'/β)w"] = prime / beta * share / share.sum()
        else:
            pairs = user_pairs(found_data, w, seed)
        lams["fitted"], told = fitted(bank, pairs, beta, prime, "batch")
        lams["uniform"] = np.full(K, prime / (beta * K))
    settings = SoupSettings(tuple(lams), np.stack(list(lams.values())), beta, prime)
    lines = lines_of(bank, found_data, items, seed)
    run = hashlib.sha256((fingerprint(bank, lines, settings) + precision).encode()).hexdigest()
    effort = Effort(prompts=prompts, rollouts=rollouts, tokens=tokens, top=top)
    with own(chunks or _cache() / f"{run[:24]}.jsonl") as place, bars() as track:
        found = overview(
            bank, lines, settings, effort=effort, seed=seed, precision=dtype_of(precision),
            chunks=place, tokens=chunks is not None, track=track,
        )  # fmt: skip
        if chunks is None:
            place.unlink()
    found["lambda from pairs"] = told
    console = tables_console(json_path)
    for table in tables.overview_tables(found):
        console.print(table)
    finish(found, json_path)


def _cache() -> Path:
    return Path(user_cache_path("soupcheck", appauthor=False)) / "llm"


@contextmanager
def own(path: Path) -> Iterator[Path]:
    """The path while no other run works on it, else a path of this run alone, never resumed."""
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(f"{path}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield path.with_name(f"{path.stem}-{os.getpid()}{path.suffix}")
        return
    try:
        yield path
    finally:
        lock.release()


def soup(
    prompt: Annotated[list[str] | None, typer.Argument(help="Prompts, verbatim.")] = None,
    question: Annotated[
        list[str] | None, typer.Option(help="A question, in the bundled bank's form.")
    ] = None,
    method: Annotated[
        str, typer.Option(help=f"{', '.join((*METHODS, BY_STATE, *PROMPTED))}.")
    ] = "explicit",
    attributes: Annotated[
        str | None, typer.Option(help="Words by commas, for exact and drift.")
    ] = None,
    budget: Annotated[int, typer.Option(min=1, help="Words a prompt takes (exact).")] = 2,
    lam: Lambda = None,
    pairs: Annotated[Path | None, typer.Option(help="A user's pairs to learn λ from.")] = None,
    learn: Annotated[str, typer.Option(help=f"{', '.join(LEARNING)}.")] = "batch",
    w: Annotated[str | None, typer.Option(help="User weights for scored --pairs.")] = None,
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
    seed: Seed = 0,
    json_path: Json = None,
) -> None:
    """Answer prompts with a soup of the specialists."""
    from ..measure.measures import soup_weights
    from ..methods.souping import answers_by
    from ..preferences import question_prompt, read_preferences

    choices = (*METHODS, BY_STATE, *PROMPTED)
    if method not in choices:
        raise InstanceError.of("--method", method, "unknown", f"choose from {choices}")
    if learn not in LEARNING:
        raise InstanceError.of("--learn", learn, "unknown", f"choose from {LEARNING}")
    texts = [*(prompt or []), *(question_prompt(q) for q in question or [])]
    if not texts:
        raise InstanceError.of("prompt", "none", "there is nothing to answer", "give a prompt")
    bank = open_bank(model, adapters, None, dtype, device, revision, any_base)
    K, prime = len(bank.names), beta if beta_prime is None else beta_prime
    console = tables_console(json_path)
    if method in PROMPTED:
        if pairs is None or attributes is None:
            raise InstanceError.of("--method", method, "needs --pairs and --attributes", "add them")
        history = user_pairs(read_preferences(pairs), w, seed)
        words = tuple(word.strip() for word in attributes.split(","))
        asked = prompted(method, bank, texts, history, words, budget, tokens, seed)
        _print(console, asked["answers"])
        finish({"method": method, **asked}, json_path)
        return
    if method == BY_STATE:
        if pairs is None:
            raise InstanceError.of("--method", method, "needs --pairs to learn from", "add them")
        history = user_pairs(read_preferences(pairs), w, seed)
        by_state = scored(bank, texts, history, beta, tokens, seed)
        _print(console, by_state["answers"])
        finish({"method": method, **by_state}, json_path)
        return
    told: dict[str, Any] = {}
    if (lam is None) == (pairs is None):
        raise InstanceError.of("--lambda", lam, "give it or --pairs, one of the two", "choose")
    if lam is not None:
        weights = numbers(lam, K, "--lambda")
    else:
        assert pairs is not None
        weights, told = fitted(
            bank, user_pairs(read_preferences(pairs), w, seed), beta, prime, learn
        )
    mu = np.asarray(soup_weights(weights, beta, prime))
    encoded = [bank.encode(text) for text in texts]
    drawn, report = answers_by(method, bank, encoded, mu, tokens=tokens, seed=seed, cap=cap)
    answers = [bank.tokenizer.decode(a, skip_special_tokens=True) for a in drawn]
    found = {
        "method": method, "lambda": weights.tolist(), "mu": mu.tolist(), "lambda from pairs": told,
        "answers": [{"prompt": p, "answer": a} for p, a in zip(texts, answers, strict=True)],
        **report,
    }  # fmt: skip
    _print(console, found["answers"])
    for key, value in report.items():
        console.print(f"{key}: {value:.4g}", highlight=False)
    finish(found, json_path)


def _print(console: Console, answers: list[dict[str, str]]) -> None:
    for found in answers:
        console.print(found["prompt"] + found["answer"], highlight=False, markup=False)


def prompted(
    method: str, bank: Bank, texts: list[str], history: list[Pair], words: tuple[str, ...],
    budget: int, tokens: int, seed: int,
) -> dict[str, Any]:  # fmt: skip
    """Answers of EXACT or Drift, with the words or the weights they used."""
    from ..methods.prompting import Drift, Memory

    if method == "drift":
        drift = Drift.learned(bank, history, words)
        drawn = [drift.answer(bank, text, tokens=tokens, seed=seed) for text in texts]
        used: dict[str, Any] = {"weights": dict(zip(words, drift.weights.tolist(), strict=True))}
    else:
        memory = Memory(bank, words, budget)
        with bars() as track:
            advance = track("indexing preferences", len(history))
            for pair in history:
                memory.add(pair)
                advance(1)
        drawn = [memory.answer(text, tokens=tokens, seed=seed) for text in texts]
        used = {"words": {text: list(memory.retrieve(text)) for text in texts}}
    answers = [bank.tokenizer.decode(a, skip_special_tokens=True) for a in drawn]
    rows = [{"prompt": p, "answer": a} for p, a in zip(texts, answers, strict=True)]
    return {"answers": rows, **used}
