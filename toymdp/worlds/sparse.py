"""A sparse reference: the contexts there are, and after each of them the tokens that are allowed.

With a real tokenizer's vocabulary no array of A**L contexts exists, nor one of S·A entries. The file
lists contexts by their index ``Σ token_i · A**(L-1-i)``; every table of the instance has one row for
each of them, in that order, and what is reported as context s is row s of the list.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arrays import Array, IntArray
from ..errors import InstanceError
from ..validators import (
    check_bytes,
    check_memory,
    memory_limit,
    memory_needed,
    table,
    whole_numbers,
)
from .reach import Mask
from .rows import Rows

LARGEST_INDEX = (
    2**53
)  # indices of contexts are numbers of a file: binary64 has the integers to here
KEYS = ("indptr", "tokens", "weights")


@dataclass(frozen=True, eq=False)
class SparseReference:
    """N contexts of ``A**L`` and E weights > 0.

    contexts: [N], ascending. indptr: [N+1]. tokens: [E], ascending in a row. weights: [E].
    """

    vocab_size: int
    order: int
    contexts: IntArray
    indptr: IntArray
    tokens: IntArray
    weights: Array

    def index(self, context: int) -> int | None:
        """The row of a context, None if it is not listed."""
        place = int(np.searchsorted(self.contexts, context))
        listed = place < len(self.contexts) and self.contexts[place] == context
        return place if listed else None

    def dense(self) -> Array:
        """The weights as [S, A], of a list that holds every context."""
        table = np.zeros((len(self.contexts), self.vocab_size))
        table[np.repeat(np.arange(len(table)), np.diff(self.indptr)), self.tokens] = self.weights
        return table

    def rows(self, ended: Mask) -> Rows:
        """The rows as everything else reads them: normalised, empty where the episode has ended.

        Raises InstanceError where a token leads to a context that is not listed.
        """
        owners = np.repeat(np.arange(len(self.contexts)), np.diff(self.indptr))
        going = ~ended[owners]
        owners, tokens, weights = owners[going], self.tokens[going], self.weights[going]
        suffix = self.contexts % self.vocab_size ** (self.order - 1)
        ahead = suffix[owners] * self.vocab_size + tokens
        nexts = np.searchsorted(self.contexts, ahead)
        missing = self.contexts[np.minimum(nexts, len(self.contexts) - 1)] != ahead
        if missing.any():
            i = int(np.argmax(missing))
            rule = f"leads from context {self.contexts[owners[i]]} to {ahead[i]}, not in contexts"
            remedy = "list every context that can be reached"
            raise InstanceError.of("a token of ref_sparse", tokens[i], rule, remedy)
        plain = Rows(
            np.searchsorted(owners, np.arange(len(self.contexts) + 1)), tokens, nexts, weights
        )
        # a first division by the largest weight keeps rows near the overflow threshold finite
        weights = weights / plain.largest(weights)[owners]
        ref = weights / plain.sums(weights)[owners]
        kept = ref > 0  # what underflows is forbidden, as in a table
        indptr = np.searchsorted(owners[kept], np.arange(len(self.contexts) + 1))
        return Rows(indptr, tokens[kept], nexts[kept], ref[kept])

    def as_dict(self) -> dict[str, Any]:
        """The keys of the file."""
        named = {"indptr": self.indptr, "tokens": self.tokens, "weights": self.weights}
        return {"contexts": self.contexts, "ref_sparse": named}


def read_reference(
    weights: Any, sparse: Any, contexts: Any, A: int, L: int, T: int | None, K: int
) -> Array | SparseReference:
    """The reference of an instance of K rewards and T steps: a table [S, A] of weights, or sparse.

    Exactly one of weights and sparse is given, contexts with the latter alone. A sparse one of all
    contexts is made a table where that fits. Raises InstanceError for what does not fit.
    """
    if (weights is None) == (sparse is None):
        value = None if weights is None else "given twice"
        rule = "exactly one of ref_weights and ref_sparse"
        raise InstanceError.of("ref_weights", value, rule, "give one of them")
    if sparse is None:
        if contexts is not None:
            rule = "is the list of rows of ref_sparse"
            raise InstanceError.of("contexts", "given", rule, "give ref_sparse, or drop it")
        check_memory(A, L, T, K)
        return _table_of_weights(weights, A, A**L)
    if contexts is None and L * np.log2(A) > np.log2(LARGEST_INDEX):
        check_memory(A, L, T, K)
    read = read_sparse(contexts, sparse, A, L)
    if contexts is None and memory_needed(A**L, A ** (L + 1), T, K) <= memory_limit():
        return read.dense()
    n, entries = len(read.contexts), len(read.tokens)
    what = f"{n} contexts with {entries} tokens"
    check_bytes("contexts", n, memory_needed(n, entries, T, K), what)
    return read


def _table_of_weights(given: Any, A: int, S: int) -> Array:
    weights = table("ref_weights", given, (S, A), np.inf)
    if weights.min() < 0:
        s, a = np.argwhere(weights < 0)[0]
        rule, remedy = "must be non-negative", "use 0 to forbid a token"
        raise InstanceError.of(f"ref_weights[{s}][{a}]", weights[s, a], rule, remedy)
    return weights


def read_sparse(contexts: Any, given: Any, A: int, L: int) -> SparseReference:
    """Validate ``contexts`` and ``ref_sparse``; contexts None: all of them, in order.

    A weight of 0 forbids its token and is left out. Raises InstanceError for what does not fit.
    """
    if A**L > LARGEST_INDEX:
        rule = f"A**L is over 2**53 with A = {A}: a context has no index that a file can hold"
        raise InstanceError.of("order", L, rule, "reduce A or L")
    if not isinstance(given, Mapping) or set(given) != set(KEYS):
        raise InstanceError.of("ref_sparse", given, f"must have keys {list(KEYS)}", "give those")
    codes = np.arange(A**L) if contexts is None else _contexts(contexts, A**L)
    starts, ids = (whole_numbers(f"ref_sparse.{key}", given[key]) for key in KEYS[:2])
    weights = table("ref_sparse.weights", given["weights"], (None,), most=np.inf)
    _check_rows(starts, ids, weights, len(codes), A)
    owners = np.repeat(np.arange(len(codes)), np.diff(starts))
    order = np.lexsort((ids, owners))
    ids, weights = ids[order], weights[order]
    twice = (owners[1:] == owners[:-1]) & (ids[1:] == ids[:-1])
    if twice.any():
        i = int(np.argmax(twice))
        value, rule = f"{ids[i]} twice in row {owners[i]}", "must be unique in its row"
        raise InstanceError.of("ref_sparse.tokens", value, rule, "add the weights up")
    kept = weights > 0
    indptr = np.searchsorted(owners[kept], np.arange(len(codes) + 1))
    return SparseReference(A, L, codes, indptr, ids[kept], weights[kept])


def _contexts(given: Any, limit: int) -> IntArray:
    codes = whole_numbers("contexts", given, LARGEST_INDEX)
    outside = (codes < 0) | (codes >= limit)
    if outside.any():
        i = int(np.argmax(outside))
        rule = f"must be from 0 to A**L − 1 = {limit - 1}"
        raise InstanceError.of(f"contexts[{i}]", codes[i], rule, "correct it")
    falls = np.diff(codes) <= 0
    if falls.any():
        i = int(np.argmax(falls)) + 1
        rule = f"must be above {codes[i - 1]}, the one before"
        raise InstanceError.of(f"contexts[{i}]", codes[i], rule, "sort them, each once")
    return codes


def _check_rows(starts: IntArray, ids: IntArray, weights: Array, n: int, A: int) -> None:
    """Raise InstanceError unless the three lists are n rows of tokens below A."""
    if len(starts) != n + 1:
        rule = f"must be {n + 1}, one more than there are contexts"
        remedy = "give every start, and the end"
        raise InstanceError.of("length of ref_sparse.indptr", len(starts), rule, remedy)
    falls = np.diff(starts, prepend=0) < 0
    if falls.any() or starts[0] != 0 or starts[-1] != len(ids):
        i = int(np.argmax(falls)) if falls.any() else (n if starts[0] == 0 else 0)
        rule = f"must rise from 0 to {len(ids)}, the number of tokens"
        raise InstanceError.of(f"ref_sparse.indptr[{i}]", starts[i], rule, "correct it")
    if len(ids) != len(weights):
        value, rule = f"{len(weights)} entries", f"must match {len(ids)} tokens"
        remedy = "give one weight for each token"
        raise InstanceError.of("ref_sparse.weights", value, rule, remedy)
    outside = (ids < 0) | (ids >= A)
    if outside.any():
        i = int(np.argmax(outside))
        rule = f"must be a token 0..{A - 1}"
        raise InstanceError.of(f"ref_sparse.tokens[{i}]", ids[i], rule, "correct it")
    if (weights < 0).any():
        i = int(np.argmax(weights < 0))
        rule, remedy = "must be non-negative", "use 0 to forbid a token"
        raise InstanceError.of(f"ref_sparse.weights[{i}]", weights[i], rule, remedy)
