"""A truncated back-off model: after a context only tokens that were seen after its end, at most n of them.

A smoothed model allows every token everywhere, so every one of A**L contexts is reachable. This one keeps
a real tokenizer's vocabulary solvable: what it does not allow is not covered, and how much of unseen
text that is, is reported. Nothing here has A**L or S·A entries.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..arrays import Array, IntArray
from ..errors import CorpusError
from .vocabulary import END

CHUNK = 1 << 21  # pairs of context and token that are weighed at once


@dataclass(frozen=True, eq=False)
class Grams:
    """Seen grams of k + 1 tokens. codes: [G], ascending; counts: [G].

    histories: [H], ascending, the codes of their first k tokens; totals, kinds: [H], how often each
    was met, and with how many different tokens after it.
    """

    codes: IntArray
    counts: IntArray
    histories: IntArray
    totals: IntArray
    kinds: IntArray


@dataclass(frozen=True, eq=False)
class Rows:
    """Allowed tokens of some contexts: indptr [n+1], tokens [E], ascending in a row, weights [E]."""

    indptr: IntArray
    tokens: IntArray
    weights: Array


@dataclass(frozen=True, eq=False)
class BackOff:
    """``P_k(a|s) = (c(s,a) + θT(s)P_{k-1}(a|s without its oldest token)) / (c(s) + θT(s))``, k = 2..L.

    As Witten and Bell's, but ``P_1`` is the share of a among what followed the last token: all others
    have probability 0. Of these the ``most`` likeliest are allowed. grams: [L], of k = 1..L.
    """

    size: int
    grams: tuple[Grams, ...]
    most: int
    smoothing: float

    @classmethod
    def fit(
        cls, context: IntArray, token: IntArray, order: int, size: int, most: int, smoothing: float
    ) -> BackOff:
        """Count. context [n]: codes of ``order`` tokens; token [n]: what followed each.

        Raises CorpusError where codes of order + 1 tokens would not fit 63 bits.
        """
        if size ** (order + 1) >= 2**63:
            raise CorpusError(
                f"vocab_size = {size}, order = {order}: {order + 1} tokens have no 63-bit code; lower one"
            )
        return cls(size, tuple(_grams(context, token, k, size) for k in range(1, order + 1)),
                   most, smoothing)  # fmt: skip

    def count(self, contexts: IntArray) -> int:
        """How many tokens the rows of contexts [n] will hold, without making them."""
        first, last = self.grams[0], contexts % self.size
        kinds = np.where(last == END, 1, _found(first.histories, first.kinds, last))
        return int(np.minimum(kinds, self.most).sum())

    def rows(self, contexts: IntArray) -> Rows:
        """The allowed tokens after contexts [n], in parts that fit. What follows ``</s>`` is ``</s>``."""
        parts = 1 + 2 * self.most * len(contexts) // CHUNK
        done = [self._rows(part, len(self.grams)) for part in np.array_split(contexts, parts)]
        counts = np.concatenate([np.diff(part.indptr) for part in done])
        return Rows(
            np.append(0, np.cumsum(counts)), np.concatenate([part.tokens for part in done]),
            np.concatenate([part.weights for part in done]),
        )  # fmt: skip

    def _rows(self, histories: IntArray, k: int) -> Rows:
        """The same after histories [n] of k tokens.

        Tokens that were not seen after all k are ranked as after k − 1: the likeliest are among those
        seen and the likeliest of the shorter history, and no other need be weighed.
        """
        grams, block = self.grams[k - 1], self.size ** (k - 1)
        begins, ends = (np.searchsorted(grams.codes, (histories + i) * self.size) for i in (0, 1))
        owner, entry = _expanded(begins, ends)
        owners, tokens = [owner], [grams.codes[entry] % self.size]
        if k > 1:
            shorter, row = np.unique(histories % block, return_inverse=True)
            base = self._rows(shorter, k - 1)
            owner, entry = _expanded(base.indptr[:-1][row], base.indptr[1:][row])
            owners, tokens = [*owners, owner], [*tokens, base.tokens[entry]]
        else:
            over = np.flatnonzero(histories == END)
            owners, tokens = [*owners, over], [*tokens, np.full(len(over), END)]
        pairs = np.unique(np.concatenate(owners) * self.size + np.concatenate(tokens))
        owner, token = pairs // self.size, pairs % self.size
        weight = self._probability(histories[owner], token, k)
        order = np.lexsort((token, -weight, owner))
        first = np.searchsorted(owner, np.arange(len(histories)))
        kept = np.sort(order[np.arange(len(owner)) - first[owner] < self.most])
        indptr = np.searchsorted(owner[kept], np.arange(len(histories) + 1))
        return Rows(indptr, token[kept], weight[kept])

    def _probability(self, context: IntArray, token: IntArray, order: int) -> Array:
        """``P_order`` [m] of a token that was seen after the context's last one."""
        p = np.ones(len(context))
        for k, grams in enumerate(self.grams[:order], 1):
            history = context % self.size**k
            seen = _found(grams.codes, grams.counts, history * self.size + token)
            total = _found(grams.histories, grams.totals, history)
            kinds = _found(grams.histories, grams.kinds, history)
            back = self.smoothing * kinds if k > 1 else 0.0
            p = np.where(total > 0, (seen + back * p) / np.maximum(total + back, 1.0), p)
        return p


def _grams(context: IntArray, token: IntArray, k: int, size: int) -> Grams:
    codes, counts = np.unique(context % size**k * size + token, return_counts=True)
    histories, first = np.unique(codes // size, return_index=True)
    totals = np.add.reduceat(counts, first)
    return Grams(codes, counts, histories, totals, np.diff(first, append=len(codes)))


def _expanded(begins: IntArray, ends: IntArray) -> tuple[IntArray, IntArray]:
    """The row and the place of every entry of the ranges ``begins .. ends`` [n]."""
    counts = ends - begins
    row = np.repeat(np.arange(len(counts)), counts)
    return row, np.arange(len(row)) + np.repeat(begins - np.cumsum(counts) + counts, counts)


def _found(codes: IntArray, values: IntArray, asked: IntArray) -> IntArray:
    """The value of each code that is asked for, 0 of one that is not there."""
    place = np.minimum(np.searchsorted(codes, asked), len(codes) - 1)
    return np.where(codes[place] == asked, values[place], 0)


@dataclass(frozen=True, eq=False)
class Reachable:
    """Contexts [N], ascending, that the allowed tokens lead to within some steps, and their rows.

    Those that the last step alone reaches have no token. nexts: [N], which are reached by a token.
    """

    contexts: IntArray
    rows: Rows
    nexts: np.ndarray[tuple[int], np.dtype[np.bool_]]


def reachable(
    model: BackOff, start: int, order: int, steps: int, check: Callable[[int, int], None]
) -> Reachable:
    """Breadth first from the start context. check: called with contexts and tokens so
    far, before they are made."""
    size, block = model.size, model.size ** (order - 1)
    known = layer = np.array([start])
    reached = np.empty(0, dtype=np.int64)
    found: list[tuple[IntArray, Rows]] = []
    tokens = 0
    for _ in range(steps):
        tokens += model.count(layer)
        check(len(known), tokens)
        rows = model.rows(layer)
        found.append((layer, rows))
        ahead = np.repeat(layer % block, np.diff(rows.indptr)) * size + rows.tokens
        reached = np.union1d(reached, ahead)
        layer = np.setdiff1d(ahead, known)
        known = np.union1d(known, layer)
        check(len(known), tokens)
        if not len(layer):
            break
    listed = np.concatenate([contexts for contexts, _ in found])
    counts = np.zeros(len(known), dtype=np.int64)
    counts[np.searchsorted(known, listed)] = np.concatenate([np.diff(r.indptr) for _, r in found])
    owner = np.repeat(listed, np.concatenate([np.diff(rows.indptr) for _, rows in found]))
    order_of_rows = np.argsort(owner, kind="stable")
    joined = (
        np.concatenate([getattr(r, name) for _, r in found]) for name in ("tokens", "weights")
    )
    token, weight = (values[order_of_rows] for values in joined)
    rows = Rows(np.append(0, np.cumsum(counts)), token, weight)
    return Reachable(known, rows, np.isin(known, reached))


@dataclass(frozen=True)
class Coverage:
    """How unseen text fares. share: of its tokens, after listed contexts, that are allowed there.

    perplexity: on these alone; perplexity_unigram: on the same by the tokens' shares of training text.
    whole_texts: share of texts of which every token is covered.
    """

    share: float
    perplexity: float | None
    perplexity_unigram: float | None
    whole_texts: float


def coverage(
    found: Reachable, size: int, context: IntArray, token: IntArray, text_of: IntArray,
    trained: IntArray,
) -> Coverage:  # fmt: skip
    """Judge tokens [n] after contexts [n] in texts [n]; trained: the tokens of training text."""
    counts = np.diff(found.rows.indptr)
    owner = np.repeat(np.arange(len(found.contexts)), counts)
    total = np.bincount(owner, weights=found.rows.weights, minlength=len(found.contexts))
    share = found.rows.weights / total[owner]
    row = np.minimum(np.searchsorted(found.contexts, context), len(found.contexts) - 1)
    keys, asked = owner * size + found.rows.tokens, row * size + token
    place = np.minimum(np.searchsorted(keys, asked), len(keys) - 1)
    covered = (found.contexts[row] == context) & (keys[place] == asked)
    missed = np.bincount(text_of[~covered], minlength=int(text_of.max()) + 1)
    whole = float((missed[np.unique(text_of)] == 0).mean())
    if not covered.any():
        return Coverage(0.0, None, None, whole)
    unigram = np.bincount(trained, minlength=size) / len(trained)
    model, alone = (
        float(np.exp(-np.mean(np.log(p)))) for p in (share[place[covered]], unigram[token[covered]])
    )
    return Coverage(float(covered.mean()), model, alone, whole)
