"""What the options of a command stand for: numbers, a bank, λ learnt from a user's data.

Imported when a command runs, since it needs torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from toymdp import InstanceError
from toymdp.arrays import Array
from toymdp.validators import plain_number

from ..backend import quiet_transformers
from ..bank import Bank
from ..loading import load_bank
from ..measure.soups import SoupSettings
from ..methods.weights import (
    PRIOR,
    answer_rows,
    fit_batch,
    fit_sequential,
    into_domain,
    log_probs_of,
    pair_rows,
    prior,
)
from ..preferences import Labelled, Pair, truthfulqa
from ..training.default_bank import ATTRIBUTES, USER_WEIGHTS, load_default
from .data import FIT_PAIRS, Data, User


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


def open_bank(
    model: str | None, adapters: list[str] | None, bespoke: str | None, dtype: str, device: str,
    revision: str | None, any_base: bool, *, chat: bool | None, length: int | None, truncate: bool,
) -> Bank:  # fmt: skip
    """The bundled bank, or the one that the options name, with its way of writing texts."""
    quiet_transformers()
    if model is None:
        if adapters or bespoke:
            raise InstanceError.of("--model", None, "is missing", "name the adapters' base model")
        bank = load_default(device)
    else:
        bank = load_bank(
            model, adapters or [], bespoke=bespoke, dtype=dtype, device=device, revision=revision,
            any_base=any_base,
        )  # fmt: skip
    return replace(bank, chat=chat, length=length, truncate=truncate)


def check_lambda_or_pairs(lam: str | None, pairs: Path | None) -> None:
    """Raise InstanceError unless exactly one of the two ways to a λ is given."""
    if (lam is None) == (pairs is None):
        raise InstanceError.of("--lambda", lam, "give it or --pairs, one of the two", "choose")


def lambda_asked(
    bank: Bank, lam: str | None, user: User | None, beta: float, beta_prime: float, how: str
) -> tuple[Array, dict[str, Any]]:
    """The λ given, or one from the user's data with what to say of the fit. how: one of LEARNING."""
    if lam is not None:
        return numbers(lam, len(bank.names), "--lambda"), {}
    assert user is not None
    return lambda_from_data(user, beta, beta_prime, how)


def lambda_from_data(
    user: User, beta: float, beta_prime: float, how: str
) -> tuple[Array, dict[str, Any]]:
    """λ from a user's data, brought into the domain; and what to say of it. how: one of LEARNING."""
    K = len(user.bank.names)
    mean, covariance = prior(K, PRIOR)
    labelled = user.data.labels() if how == "binary" else []
    if labelled:
        some: Sequence[Labelled | Pair] = user.data.fitting(user.bank, labelled, FIT_PAIRS)
        log_probs = log_probs_of(user.bank, some)
    else:
        some, log_probs = user.pairs, user.log_probs
    if how == "binary":  # each answer by itself, good or bad
        rows = answer_rows(log_probs, K, beta)
        signs = np.array([2.0 * good - 1.0 for one in some for _, good in one.texts])
    else:
        rows = pair_rows(log_probs, K, beta)
        signs = np.ones(len(rows))
    if how == "sequential":
        posterior = fit_sequential(rows, mean, covariance)
    else:
        posterior = fit_batch(rows, signs, mean, covariance)
    lam, shrunk = into_domain(posterior.mean, beta, beta_prime)
    return lam, {
        "labels" if labelled else "pairs": len(some), "lambda": posterior.mean.tolist(),
        "standard deviation": np.sqrt(np.diag(posterior.covariance)).tolist(),
        "scaled into β|λ|₁ ≤ β'": shrunk,
        "ordered right": float((signs * (rows @ posterior.mean) > 0).mean()),
    }  # fmt: skip


def bundled_user(bank: Bank, seed: int) -> User:
    """The user whom the bundled bank's bespoke adapter is of."""
    w = ",".join(f"{name}={value}" for name, value in USER_WEIGHTS.items())
    return User(bank, Data(truthfulqa("train")), w, seed)


def soups_asked(
    user: User, lam: str | None, beta: float, beta_prime: float, *, bundled: bool
) -> tuple[SoupSettings, dict[str, Any]]:
    """The λ given; or one fitted to the user's pairs and the uniform one; and how the fit went.

    bundled: the user is that of the bundled bank, whose λ is known: then his as well.
    """
    K, full = len(user.bank.names), beta_prime / beta
    if lam is not None:
        given = numbers(lam, K, "--lambda")
        return SoupSettings(("given",), given[None], beta, beta_prime), {}
    lams = {}
    if bundled:
        share = np.array([USER_WEIGHTS[name] for name in ATTRIBUTES])
        lams["(β'/β)w"] = full * share / share.sum()
    lams["fitted"], fit = lambda_from_data(user, beta, beta_prime, "batch")
    lams["uniform"] = np.full(K, beta_prime / (beta * K))
    return SoupSettings(tuple(lams), np.stack(list(lams.values())), beta, beta_prime), fit
