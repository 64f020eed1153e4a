"""Validators of single fields: each returns the value it checked, or says what is wrong with it.

The ranges of numbers that are accepted, so that no product of a few of them leaves the doubles:

| field | accepted |
|---|---|
| ``beta``, ``beta_prime``, ``sigma``, ``separation``: temperatures and widths | 1e-50 to 1e50 |
| rewards, returns, means, tilts and every other table | absolute value at most 1e50 |
| largest absolute reward (or difference of returns) over ``beta``, and over ``beta_prime`` | at most 1e50 |
| feature scales (where reachable) | 1e-50 to 1e50 |
| dense features (where reachable) | the largest entry of a row 0, or 1e-50 to 1e50 |
| reference weights | every double that is not negative |
| entries of a prior covariance | absolute value at most 1e50, condition number at most 1e10 |
| counts, sizes, tokens | whole numbers up to 2147483647, and what fits half of the memory |
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arrays import Array, IntArray, real_numbers, refuse_lengths
from .errors import InstanceError

ASSUMED_MEMORY = 8 * 2**30  # bytes, where the system does not say how much it has
MOST = 1e50  # of the absolute value of an entry, and of a temperature; 1/MOST is the least of one
LARGEST = 2**31 - 1  # of any count
_PLAIN = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
SIMPLEX_TOLERANCE = 1e-9  # a w whose sum is further from 1 is refused


def integer(name: str, value: Any, least: int, most: int = LARGEST) -> int:
    """Return ``value`` as an int from ``least`` to ``most``."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or not least <= value <= most:
        rule = f"must be an integer from {least} to {most}"
        raise InstanceError.of(name, value, rule, "correct it")
    return int(value)


def number(name: str, value: Any) -> float:
    """Return ``value`` as a finite float."""
    given = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not given or not abs(value) <= sys.float_info.max:
        raise InstanceError.of(name, value, "must be a finite number", "correct it")
    return float(value)


def plain_number(text: str) -> float:
    """The number that a cell or an option holds. Raises ValueError for what is not written plainly.

    Python also takes "1_0", "nan" and the digits of any script.
    """
    if not _PLAIN.fullmatch(text.strip()):
        raise ValueError(f"{text!r} is no number")
    return float(text)


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
    if not 1.0 / MOST <= value <= MOST:
        rule = f"must be from {1.0 / MOST:g} to {MOST:g}"
        raise InstanceError.of(name, value, rule, "choose other units for it and the rewards")
    return float(value)


def in_nats(name: str, values: Array, unit: str, beta: float) -> None:
    """Refuse entries that are too large in units of a temperature."""
    most = float(np.abs(values).max())
    if most > MOST * beta:
        rule = f"with {unit} = {beta:g} it must be at most {MOST * beta:g}"
        raise InstanceError.of(f"largest absolute entry of {name}", most, rule, f"raise {unit}")


def refuse_first(
    name: str, values: Array, bad: NDArray[np.bool_], rule: str, remedy: str, joint: str = "]["
) -> None:
    """Raise InstanceError for the first bad entry (or row, where ``bad`` has fewer axes), if any.

    joint: what stands between two indices in the entry's name.
    """
    if bad.any():
        where = tuple(int(i) for i in np.argwhere(bad)[0])
        label = f"{name}[{joint.join(map(str, where))}]" if where else name
        raise InstanceError.of(label, values[where], rule, remedy)


def table(name: str, value: Any, shape: tuple[int | None, ...], most: float = MOST) -> Array:
    """Return ``value`` as a finite float64 table; None in ``shape`` is any length ≥ 1.

    most: the largest absolute value of an entry.
    """
    refuse_lengths(name, value, shape)
    numbers = real_numbers(name, value)
    wanted = "[" + "][".join("K" if n is None else str(n) for n in shape) + "]"
    fits = numbers.ndim == len(shape) and all(
        n == m or (n is None and m >= 1) for n, m in zip(shape, numbers.shape, strict=True)
    )
    if not fits:
        raise InstanceError.of(name, f"shape {numbers.shape}", f"must be {wanted}", "check lengths")
    refuse_first(name, numbers, ~np.isfinite(numbers), "must be finite", "replace the entry")
    rule = f"must be at most {most:g} in absolute value"
    refuse_first(name, numbers, np.abs(numbers) > most, rule, "choose other units")
    return numbers


def whole_numbers(name: str, value: Any, most: int = LARGEST) -> IntArray:
    """Return ``value`` as a list of whole numbers, at least one, none above ``most`` in size."""
    numbers = table(name, value, (None,), most=most)
    odd = numbers != np.round(numbers)
    if odd.any():
        i = int(np.argmax(odd))
        raise InstanceError.of(f"{name}[{i}]", numbers[i], "must be a whole number", "correct it")
    return numbers.astype(np.int64)


def simplex(w: Any, K: int) -> Array:
    """Return the K user weights, non-negative and summing to 1."""
    weights = table("w", w, (K,))
    if (weights < 0).any():
        k = int(np.argmin(weights))
        raise InstanceError.of(f"w[{k}]", weights[k], "must be ≥ 0", "w lies on the simplex")
    if abs(weights.sum() - 1.0) > SIMPLEX_TOLERANCE:
        raise InstanceError.of("sum of w", float(weights.sum()), "must be 1", "divide w by it")
    return weights


def memory_needed(contexts: int, entries: int, T: int | None, K: int) -> int:
    """Bytes that reading an instance, solving it and one step towards λ* take at their peak.

    entries: of the reference, S·A of a dense one. Measured: three numbers an entry (weights, ref, and
    ref transposed or where each token leads), two an entry while they are read; Q and V of K + 1
    rewards and five tables of one soup for each step.
    """
    return 8 * (4 * entries + contexts * (T or 1) * (2 * (K + 1) + 5))


def memory_limit() -> int:
    """Bytes that one instance may take: half of this machine's memory."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (AttributeError, ValueError, OSError):  # not POSIX, or a system that does not say
        return ASSUMED_MEMORY // 2


def check_memory(A: int, L: int, T: int | None, K: int) -> None:
    """Refuse an instance that would not fit, saying how large it would be."""
    # a bound on the exponent first: A**L itself may be too long a number to print
    if L * np.log2(A) > 60:
        raise InstanceError.of("order", L, f"A**L = {A}**{L} contexts do not fit", "reduce A or L")
    needed = memory_needed(A**L, A ** (L + 1), T, K)
    check_bytes("order", L, needed, f"{A}**{L} = {A**L} contexts")


def check_bytes(name: str, value: int, needed: int, what: str = "it") -> None:
    """Refuse a count for which ``needed`` bytes, roughly, would be over half of the memory."""
    limit = memory_limit()
    if needed > limit:
        rule = (
            f"{what} would take {needed / 2**30:.1f} GiB, over half of this machine's memory "
            f"({limit / 2**30:.1f} GiB)"
        )
        remedy = "reduce vocab_size, order or horizon" if name == "order" else "reduce it"
        raise InstanceError.of(name, value, rule, remedy)
