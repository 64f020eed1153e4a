"""Validators of single fields: each returns the value it checked, or says what is wrong with it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .arrays import Array, real_numbers
from .errors import InstanceError

LARGEST = 2**31 - 1  # of any count
SIMPLEX_TOLERANCE = 1e-9  # DESIGN: a w whose sum is further from 1 is refused


def integer(name: str, value: Any, least: int) -> int:
    """Return ``value`` as an int of at least ``least``."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or not least <= value <= LARGEST:
        shown = value if not whole or abs(value) < 1e18 else "an integer beyond 1e18"
        rule = f"must be an integer from {least} to {LARGEST}"
        raise InstanceError.of(name, shown, rule, "correct it")
    return int(value)


def token(name: str, value: Any, A: int) -> int:
    """Return ``value`` as a token id below A."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or not 0 <= value < A:
        raise InstanceError.of(name, value, f"must be a token 0..{A - 1}", "correct it")
    return int(value)


def start_tokens(start: Any, A: int, L: int, eos: int | None) -> tuple[int, ...]:
    """Return the start context as L token ids, oldest first."""
    tokens = list(start) if isinstance(start, Sequence | np.ndarray) else None
    if tokens is None or isinstance(start, str) or len(tokens) != L:
        raise InstanceError.of("start", start, f"must list L = {L} tokens", "pad it with bos")
    for i, given in enumerate(tokens):
        tokens[i] = token(f"start[{i}]", given, A)
    if eos is not None and tokens[-1] == eos:
        raise InstanceError.of("start", tokens, "ends in eos: nothing follows", "pad with bos")
    return tuple(tokens)


def positive(name: str, value: Any) -> float:
    """Return ``value`` as a finite float above 0."""
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not number or not 0 < value <= sys.float_info.max:
        raise InstanceError.of(name, value, "must be a finite number > 0", "correct it")
    return float(value)


def table(name: str, value: Any, shape: tuple[int | None, ...]) -> Array:
    """Return ``value`` as a finite float64 table; None in ``shape`` is any length ≥ 1."""
    numbers = real_numbers(name, value)
    wanted = "[" + "][".join("K" if n is None else str(n) for n in shape) + "]"
    fits = numbers.ndim == len(shape) and all(
        n == m or (n is None and m >= 1) for n, m in zip(shape, numbers.shape, strict=True)
    )
    if not fits:
        raise InstanceError.of(name, f"shape {numbers.shape}", f"must be {wanted}", "check lengths")
    if not np.isfinite(numbers).all():
        where = np.argwhere(~np.isfinite(numbers))[0]
        label = name + "".join(f"[{i}]" for i in where)
        raise InstanceError.of(label, numbers[tuple(where)], "must be finite", "replace the entry")
    return numbers


def simplex(w: Any, K: int) -> Array:
    """Return the K user weights, non-negative and summing to 1."""
    weights = table("w", w, (K,))
    if (weights < 0).any():
        k = int(np.argmin(weights))
        raise InstanceError.of(f"w[{k}]", weights[k], "must be ≥ 0", "w lies on the simplex")
    if abs(weights.sum() - 1.0) > SIMPLEX_TOLERANCE:
        raise InstanceError.of("sum of w", float(weights.sum()), "must be 1", "divide w by it")
    return weights


def dense_reference(sparse: Any, A: int, S: int) -> Array:
    """Return ``ref_sparse`` as [S, A] weights."""
    keys = {"indptr", "tokens", "weights"}
    if not isinstance(sparse, Mapping) or set(sparse) != keys:
        raise InstanceError.of("ref_sparse", sparse, f"must have keys {sorted(keys)}", "see DESIGN")
    numbers = [table(f"ref_sparse.{key}", sparse[key], (None,)) for key in sorted(keys)]
    indptr, tokens, weights = numbers
    for key, values in (("indptr", indptr), ("tokens", tokens)):
        if not (np.abs(values) <= LARGEST).all():
            raise InstanceError.of(f"ref_sparse.{key}", values.max(), "too large", "correct it")
    starts, ids = indptr.astype(np.int64), tokens.astype(np.int64)
    rises = len(starts) == S + 1 and starts[0] == 0 and (np.diff(starts) >= 0).all()
    if not rises or starts[-1] != len(ids):
        raise InstanceError.of(
            "ref_sparse.indptr",
            f"{len(starts)} entries",
            f"must rise from 0 to {len(ids)} in S + 1 = {S + 1} entries",
            "check the row pointers",
        )
    if len(ids) != len(weights):
        raise InstanceError.of(
            "ref_sparse.weights",
            f"{len(weights)} entries",
            f"must match {len(ids)} tokens",
            "give one weight for each token",
        )
    outside = (ids != tokens) | (ids < 0) | (ids >= A)
    if outside.any():
        i = int(np.argmax(outside))
        raise InstanceError.of(
            f"ref_sparse.tokens[{i}]", tokens[i], f"must be a token 0..{A - 1}", "correct it"
        )
    rows = np.repeat(np.arange(S), np.diff(starts))
    keys_flat = rows * A + ids
    if len(np.unique(keys_flat)) != len(keys_flat):
        raise InstanceError.of("ref_sparse.tokens", "a token twice in a context", "must be unique",
                               "add the weights up")  # fmt: skip
    dense = np.zeros((S, A))
    dense[rows, ids] = weights
    return dense


def memory_needed(A: int, L: int, T: int | None, K: int) -> int:
    """Bytes that loading and solving an instance of this size takes, roughly."""
    S = int(A**L)
    return 8 * S * (3 * A + (T or 1) * (3 * (K + 1) + 6))


def check_memory(A: int, L: int, T: int | None, K: int) -> None:
    """Refuse an instance that would not fit, saying how large it would be."""
    # a bound on the exponent first: A**L itself may be too long a number to print
    if L * np.log2(A) > 60:
        raise InstanceError.of("order", L, f"A**L = {A}**{L} contexts do not fit", "reduce A or L")
    needed = memory_needed(A, L, T, K)
    limit = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    if needed > limit:
        raise InstanceError.of(
            "order",
            L,
            f"{A}**{L} = {A**L} contexts would take {needed / 2**30:.1f} GiB, over half of this "
            f"machine's memory ({limit / 2**30:.1f} GiB)",
            "reduce vocab_size, order or horizon",
        )
