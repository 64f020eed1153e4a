"""The two reference models of the ``corpus`` family: a table of every token, or rows of a few."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import CorpusError
from ..validators import memory_needed
from .back_off import BackOff, coverage, reachable
from .corpus_rewards import Mask, reachable_next
from .vocabulary import BOS, END, IntArray, perplexity, witten_bell


@dataclass(frozen=True, eq=False)
class Text:
    """Tokens of all texts end to end.

    token, text_of, context: [n]; seen: [n], of a training text. size: A.
    """

    token: IntArray
    text_of: IntArray
    context: IntArray
    seen: Mask
    size: int


@dataclass(frozen=True, eq=False)
class Reference:
    """A reference policy of an instance.

    fields: its keys in the file. contexts: [N], the index that each row of a table stands for; nexts:
    [N], those that a token of the first T steps leads to. about: how well it fits, for the meta.
    """

    fields: dict[str, Any]
    contexts: IntArray
    nexts: Mask
    about: dict[str, Any]


def smoothed(text: Text, order: int, horizon: int, smoothing: float, *, padded: bool) -> Reference:
    """Witten and Bell's model: every token but ``<s>`` after every one of A**L contexts."""
    A, token, context, seen = text.size, text.token, text.context, text.seen
    ref = witten_bell(context[seen], token[seen], order, A, smoothing)
    unigram = witten_bell(np.zeros(int(seen.sum()), dtype=np.int64), token[seen], 0, A, smoothing)
    about = {
        "perplexity": perplexity(ref, context[~seen], token[~seen]),
        "perplexity_unigram": perplexity(unigram, 0 * context[~seen], token[~seen]),
    }
    if padded:
        ref.reshape(-1, A, A)[:, END] = np.eye(A)[END]
    nexts = reachable_next(ref, order, horizon)
    return Reference({"ref_weights": ref}, np.arange(A**order), nexts, about)


def truncated(
    text: Text, order: int, horizon: int, smoothing: float, most: int, limit_gib: float, K: int
) -> Reference:
    """The truncated back-off model on the contexts that it reaches, with its coverage."""
    A, token, context, seen = text.size, text.token, text.context, text.seen

    def check(contexts: int, tokens: int) -> None:
        gib = memory_needed(contexts, tokens, horizon, K) / 2**30
        if gib > limit_gib:
            raise CorpusError(
                f"vocab_size = {A}, order = {order}: {contexts} reachable contexts with {tokens} tokens "
                f"so far need {gib:.3g} GiB, the limit is {limit_gib:g} GiB; lower order, most (= {most}) "
                "or horizon, or raise limit_gib"
            )

    model = BackOff.fit(context[seen], token[seen], order, A, most, smoothing)
    start = BOS  # L times the token 0
    found = reachable(model, start, order, horizon, check)
    rows = {"indptr": found.rows.indptr, "tokens": found.rows.tokens, "weights": found.rows.weights}
    judged = coverage(found, A, context[~seen], token[~seen], text.text_of[~seen], token[seen])
    about = {
        "perplexity": judged.perplexity, "perplexity_unigram": judged.perplexity_unigram,
        "coverage": judged.share, "coverage_texts": judged.whole_texts, "most": most,
    }  # fmt: skip
    fields = {"contexts": found.contexts, "ref_sparse": rows}
    return Reference(fields, found.contexts, found.nexts, about)


def token_examples(
    members: tuple[tuple[str, ...], ...], names: tuple[str, ...], examples: int
) -> Any:
    """What each token stands for, for the meta: its name, how many words, some of them."""
    return [
        {"token": names[i], "words": len(m), "examples": list(m[:examples])}
        for i, m in enumerate(members)
    ]
