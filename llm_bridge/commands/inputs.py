"""What the options of a command stand for: numbers, a bank, λ learnt from a user's data.

Imported when a command runs, since it needs torch.
"""

from __future__ import annotations

import re
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
from ..preferences import Labelled, Pair
from ..training.bundled import Bundled, bundled
from .data import FIT_PAIRS, User


def check_choice(option: str, value: str, known: Sequence[str]) -> None:
    """Raise InstanceError unless the option's value is one of those known."""
    if value not in known:
        raise InstanceError.of(option, value, "unknown", f"choose from {tuple(known)}")


def layer_numbers(text: str | None) -> tuple[int, ...]:
    """Numbers of layers, each once and in order, from ``0,5,20-29``; none for None.

    Raises InstanceError for anything else.
    """
    chosen: set[int] = set()
    for part in [] if text is None else text.split(","):
        ends = re.fullmatch(r"\s*(\d{1,4})\s*(?:-\s*(\d{1,4})\s*)?", part)
        first, last = (int(ends[1]), int(ends[2] or ends[1])) if ends else (1, 0)
        if last < first:
            raise InstanceError.of(
                "--layers",
                text,
                f"{part.strip()!r} is no number or range",
                "write 20-29 or 0,5,20-29",
            )
        chosen |= {*range(first, last + 1)}
    return tuple(sorted(chosen))


def numbers(text: str, K: int, what: str) -> Array:
    """K numbers by commas; InstanceError otherwise."""
    try:
        values = np.array([plain_number(x) for x in text.split(",")])
    except ValueError:
        raise InstanceError.of(what, text, "must be numbers by commas", "correct it") from None
    if len(values) != K or not np.isfinite(values).all():
        raise InstanceError.of(what, text, f"must be {K} finite numbers", "one a specialist")
    return values


def bank_named(
    name: str | None, model: str | None, adapters: list[str] | None, bespoke: str | None
) -> Bundled | None:
    """The bundled bank that the options mean; None where they name a model and adapters of their own.

    Raises InstanceError for both, or adapters without a model.
    """
    if name is not None and (adapters or bespoke):
        raise InstanceError.of("--bank", name, "has its own adapters", "leave --adapter out")
    if name is not None or model is None:
        if adapters or bespoke:
            raise InstanceError.of("--model", None, "is missing", "name the adapters' base model")
        return bundled(name or "default")
    return None


def open_bank(
    own: Bundled | None, model: str | None, adapters: list[str] | None, bespoke: str | None,
    dtype: str, device: str, revision: str | None, any_base: bool, *, chat: bool | None,
    length: int | None, truncate: bool,
) -> Bank:  # fmt: skip
    """The bundled bank, or the one that the options name, with its way of writing texts."""
    quiet_transformers()
    if own is not None:
        bank = own.load(model, dtype=dtype, device=device)
    else:
        assert model is not None
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


def soups_asked(
    user: User, lam: str | None, beta: float, beta_prime: float, share: Array | None
) -> tuple[SoupSettings, dict[str, Any]]:
    """The λ given; or one fitted to the user's pairs and the uniform one; and how the fit went.

    share: the user's weights [K] of the specialists where they are known: then their λ as well.
    """
    K, full = len(user.bank.names), beta_prime / beta
    if lam is not None:
        given = numbers(lam, K, "--lambda")
        return SoupSettings(("given",), given[None], beta, beta_prime), {}
    lams = {}
    if share is not None:
        lams["(β'/β)w"] = full * share / share.sum()
    lams["fitted"], fit = lambda_from_data(user, beta, beta_prime, "batch")
    lams["uniform"] = np.full(K, beta_prime / (beta * K))
    return SoupSettings(tuple(lams), np.stack(list(lams.values())), beta, beta_prime), fit
