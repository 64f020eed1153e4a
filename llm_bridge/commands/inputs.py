"""What the options of a command stand for: numbers, a bank, a user's pairs, λ learnt from them.

Imported when a command runs, since it needs torch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from toymdp import InstanceError
from toymdp.arrays import Array
from toymdp.validators import MOST, plain_number

from ..backend import quiet_transformers
from ..bank import Bank
from ..loading import load_bank
from ..measure.soups import SoupSettings
from ..methods.weights import (
    binary_rows,
    deltas_of,
    fit_batch,
    fit_sequential,
    into_domain,
    prior,
)
from ..preferences import Pair, ScoredSet, pairs_of, truthfulqa
from ..training.default_bank import ATTRIBUTES, USER_WEIGHTS, load_default

FIT_PAIRS = 200
PRIOR = 100.0  # variance of λ's prior: wide, since λ has units of 1


def check_choice(option: str, value: str, known: Sequence[str]) -> None:
    """Raise InstanceError unless the option's value is one of those known."""
    if value not in known:
        raise InstanceError.of(option, value, "unknown", f"choose from {tuple(known)}")


def numbers(text: str, K: int, what: str) -> Array:
    """K numbers by commas; InstanceError otherwise."""
    try:
        values = np.array([plain_number(x) for x in text.split(",")])
    except ValueError:
        raise InstanceError.of(what, text, "must be numbers by commas", "correct it") from None
    if len(values) != K or not np.isfinite(values).all():
        raise InstanceError.of(what, text, f"must be {K} finite numbers", "one a specialist")
    return values


def user_weights(text: str | None, data: ScoredSet) -> dict[str, float]:
    """``name=number`` by commas as user weights; InstanceError otherwise."""
    if text is None:
        raise InstanceError.of("--w", None, "scored answers need user weights",
                               f"say --w NAME=NUMBER,... with names of {data.names}")  # fmt: skip
    weights = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        try:
            weight = plain_number(value)
        except ValueError:
            weight = math.inf
        if not abs(weight) <= MOST or name.strip() in weights:
            rule = f"must be NAME=NUMBER, each name once, numbers up to {MOST:g}"
            raise InstanceError.of("--w", part, rule, f"names: {data.names}")
        weights[name.strip()] = weight
    return weights


def user_pairs(data: list[Pair] | ScoredSet, w: str | None, seed: int) -> list[Pair]:
    """Pairs of a user: as given, or from scored answers by ``--w``."""
    if isinstance(data, list):
        return data[:FIT_PAIRS]
    units = data.standardised()
    return pairs_of(units, user_weights(w, data), per_prompt=2, seed=seed)[:FIT_PAIRS]


def open_bank(
    model: str | None, adapters: list[str] | None, bespoke: str | None, dtype: str, device: str,
    revision: str | None, any_base: bool,
) -> Bank:  # fmt: skip
    """The bundled bank, or the one that the options name."""
    quiet_transformers()
    if model is None:
        if adapters or bespoke:
            raise InstanceError.of("--model", None, "is missing", "name the adapters' base model")
        return load_default(device)
    return load_bank(
        model, adapters or [], bespoke=bespoke, dtype=dtype, device=device, revision=revision,
        any_base=any_base,
    )  # fmt: skip


def lambda_from_pairs(
    bank: Bank, pairs: list[Pair], beta: float, beta_prime: float, how: str
) -> tuple[Array, dict[str, Any]]:
    """λ from pairs, brought into the domain; and what to say of it. how: one of LEARNING."""
    deltas = deltas_of(bank, pairs, beta)
    mean, covariance = prior(len(bank.names), PRIOR)
    if how == "batch":
        posterior = fit_batch(deltas, np.ones(len(deltas)), mean, covariance)
    elif how == "binary":  # each answer by itself, good or bad
        texts = [(p.prompt, text) for p in pairs for text in (p.chosen, p.rejected)]
        rows = binary_rows(bank, [p for p, _ in texts], [a for _, a in texts], beta)
        posterior = fit_batch(rows, np.tile([1.0, -1.0], len(pairs)), mean, covariance)
    else:
        posterior = fit_sequential(deltas, mean, covariance)
    lam, shrunk = into_domain(posterior.mean, beta, beta_prime)
    return lam, {
        "pairs": len(pairs), "lambda": posterior.mean.tolist(),
        "standard deviation": np.sqrt(np.diag(posterior.covariance)).tolist(),
        "scaled into β|λ|₁ ≤ β'": shrunk,
        "pairs ordered right": float((deltas @ posterior.mean > 0).mean()),
    }  # fmt: skip


def soups_asked(
    bank: Bank, data: list[Pair] | ScoredSet | None, w: str | None, lam: str | None, beta: float,
    beta_prime: float, seed: int,
) -> tuple[SoupSettings, dict[str, Any]]:  # fmt: skip
    """The λ given; or one fitted to the user's pairs and the uniform one; and how the fit went.

    data: None for the bundled bank on its own judgements, whose user is known: then his λ as well.
    """
    K, full = len(bank.names), beta_prime / beta
    if lam is not None:
        given = numbers(lam, K, "--lambda")
        return SoupSettings(("given",), given[None], beta, beta_prime), {}
    lams = {}
    if data is None:
        text = ",".join(f"{name}={value}" for name, value in USER_WEIGHTS.items())
        pairs = user_pairs(truthfulqa("train"), text, seed)
        share = np.array([USER_WEIGHTS[name] for name in ATTRIBUTES])
        lams["(β'/β)w"] = full * share / share.sum()
    else:
        pairs = user_pairs(data, w, seed)
    lams["fitted"], fit = lambda_from_pairs(bank, pairs, beta, beta_prime, "batch")
    lams["uniform"] = np.full(K, beta_prime / (beta * K))
    return SoupSettings(tuple(lams), np.stack(list(lams.values())), beta, beta_prime), fit
