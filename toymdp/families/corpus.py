"""The ``corpus`` family: real text and real human labels -> the fields of a token-mdp/1 instance.

The reference policy is a Witten-Bell n-gram model of the texts, reward k a logistic regression of
attribute k on n-gram indicators of the next context: the logit of a text is an intercept plus the
sum of ``r_k(s') = ψ(s')·theta_k`` over its tokens, ``</s>`` included. So Assumption 1 (r in the
span of ψ) holds by construction. All is fitted on 80 % of the groups (questions) and judged on
the others; the n-grams and the L2 strength are chosen inside the 80 %.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache, wraps
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from ..errors import CorpusError
from ..worlds.token_mdp import TokenMDP
from .corpus_files import BUNDLED, check_field, check_integer, read_corpus
from .corpus_models import Text, smoothed, token_examples, truncated
from .corpus_rewards import design_matrix, fit_reward, held_out_scores, indicators, split_groups
from .subwords import subword_tokens
from .vocabulary import BOS, END, build_vocabulary, contexts, frequent_words, words

__all__ = ["BUNDLED", "CorpusError", "corpus_fields", "corpus_ngrams", "corpus_one_hot"]

EXAMPLES = 8  # words shown of each class
CLASSES_TO = 64  # tokens up to which words share classes; above, a token is a word
LARGEST_VOCABULARY = 32_768
EVERY = 0, 0  # the n-gram of no tokens, at the end of every context


def corpus_fields(
    text: str | Path | None = None,
    labels: str | Path | None = None,
    *,
    vocab_size: int = 32,
    order: int = 2,
    horizon: int = 12,
    width: int | None = None,
    features: Literal["ngram", "one-hot"] = "ngram",
    ending: Literal["pad", "eos"] = "pad",
    w: Sequence[float] | None = None,
    beta: float = 1.0,
    smoothing: float = 1.0,
    limit_gib: float = 2.0,
    seed: int = 0,
    tokens: Literal["words", "bpe"] = "words",
    most: int = 32,
) -> dict[str, Any]:
    """Fields of a token-mdp/1 instance from text and labels: vocab_size**order contexts, or sparse.

    ``text`` None: the bundled TruthfulQA answers, attributes truthful and informative. Otherwise a
    UTF-8 file with one text per line (a blank line is an empty text), or ``.jsonl`` rows with
    "text", optional "group" (never split over train and held-out; without it equal texts stay
    together) and, if ``labels`` is None, "labels" {attribute: number}. ``labels``: CSV, a header of
    attribute names and a row per text. Label numbers lie in [0,1]; the class is label >= 0.5.

    ``ending`` "pad": after ``</s>`` comes only ``</s>``, and each reward is shifted by a constant
    per token (no policy changes) so that its least value on a reachable next context is exactly 0;
    before the shift padding earns 0, through an indicator of its own (``</s>``,``</s>``). With
    ``order`` 1 that indicator cannot exist, and the weight of ``</s>`` itself is fixed at 0.
    ``ending`` "eos": ``eos`` is set and nothing is shifted (that would pay for length).

    ``width`` is the most features: ``vocab_size`` unigrams, then the n-grams of 2..order tokens the
    training texts say most about (default 64, or half again the vocabulary if that is more).
    ``smoothing`` as in ``witten_bell``. Rewards are in units of
    log-odds. Raises ``CorpusError``, one line that says what to do.

    Up to 64 tokens are classes of words, above they are the most frequent words, or with ``tokens``
    "bpe" pieces of words; ``vocab_size`` is then the most there may be. Where a table of all contexts
    would take over ``limit_gib``, the model is the truncated one of toymdp.families.back_off: at most
    ``most`` tokens after a context, and tables of the contexts that can be reached. What it costs is
    predicted, and above ``limit_gib`` refused.
    """
    A, L = vocab_size, order
    padded = ending == "pad" and L > 1  # padding has an indicator of its own
    check_integer("vocab_size", A, 8, LARGEST_VOCABULARY)
    check_integer("order", L, 1, 16)
    check_integer("horizon", horizon, 1)
    check_integer("most", most, 1)
    check_field(tokens in ("words", "bpe"), "tokens", tokens, "'words' or 'bpe'")
    check_integer("seed", seed, 0)
    check_field(features in ("ngram", "one-hot"), "features", features, "'ngram' or 'one-hot'")
    check_field(ending in ("pad", "eos"), "ending", ending, "'pad' or 'eos'")
    check_field(0 < beta < math.inf, "beta", beta, "positive and finite")
    check_field(0 < smoothing < math.inf, "smoothing", smoothing, "positive and finite")
    corpus = read_corpus(text, labels)
    K = len(corpus.attributes)
    weights = np.full(K, 1 / K) if w is None else np.asarray(w, dtype=float)
    simplex = weights.shape == (K,) and bool((weights >= 0).all()) and abs(weights.sum() - 1) < 1e-9
    check_field(
        simplex, "w", w, f"{K} numbers >= 0 that sum to 1 (one for each of {corpus.attributes})"
    )
    rng = np.random.default_rng(seed)
    train = split_groups(corpus.groups, np.ones(len(corpus.texts), dtype=bool), rng)
    inner = split_groups(corpus.groups, train, rng)  # the others of train choose the L2 strength
    y = corpus.labels
    for k, attribute in enumerate(corpus.attributes):
        for where, part in (("", slice(None)), (" among the training texts", train)):
            share = float((y[part, k] >= 0.5).mean())
            if share in (0.0, 1.0):
                raise CorpusError(
                    f"{corpus.source}: attribute {attribute!r} has only one class{where} (all "
                    f"{'>=' if share else '<'} 0.5); a reward needs both: add texts or drop it"
                )

    split_words = [words(t) for t in corpus.texts]
    known = [t for t, trained in zip(split_words, train, strict=True) if trained]
    if tokens == "bpe":
        token, text_of, names = subword_tokens(corpus.texts, train.tolist(), A)
        about: dict[str, Any] = {"tokens": "byte pairs, merged on the training texts"}
    else:
        classes = A <= CLASSES_TO
        vocabulary = (
            build_vocabulary(known, y[train], A, seed, corpus.source)
            if classes
            else frequent_words(known, A)
        )
        token, text_of = vocabulary.encode(split_words)
        names = vocabulary.names
        about = {"unknown_token": names[vocabulary.unknown]}
        if classes:
            about["tokens"] = token_examples(vocabulary.members, names, EXAMPLES)
    A = len(names)
    check_field(A**L <= 2**53, "order", L, f"at most {int(53 / np.log2(A))} with {A} tokens")
    width = max(64, A + A // 2 if A <= CLASSES_TO else 0) if width is None else width
    dense = 8 * A**L * (A + K + (width if features == "ngram" else 0)) / 2**30 <= limit_gib
    unigrams = dense and A <= CLASSES_TO
    # what a shift adds is linear in the features: the unigrams add up to 1, else 1 is one of them
    constant = ending == "pad" and not unigrams
    least = (A if unigrams else 1) + padded + constant
    check_integer("width", width, least, of=" (all unigrams, and the padding)" if unigrams else "")
    context = contexts(token, text_of, L, A)
    text_tokens = Text(token, text_of, context, train[text_of], A)
    reference = (
        smoothed(text_tokens, L, horizon, smoothing, padded=ending == "pad")
        if dense
        else truncated(text_tokens, L, horizon, smoothing, most, limit_gib, K)
    )

    nxt = (context * A + token) % A**L
    X, grams = design_matrix(
        nxt, text_of, train, y, A, L, width - padded - constant, unigrams=unigrams
    )
    if ending == "pad" and L == 1:
        X = X.multiply(np.array([gram != (1, END) for gram in grams])).tocsr()
    seen_before = {tuple(t) for t in known}
    fresh = ~train & np.array([tuple(t) not in seen_before for t in split_words])
    fits = [fit_reward(X, y[:, k], train, inner) for k in range(K)]
    theta = np.array([theta for theta, _, _ in fits])
    if padded:
        ends = [gram == (1, END) for gram in grams]
        grams = [*grams, (2, END * A + END)]
        theta = np.hstack([theta, -theta[:, ends].sum(axis=1, keepdims=True)])
    psi = indicators(reference.contexts, A, [*grams, EVERY] if constant else grams)
    rewards = theta @ psi[:, : theta.shape[1]].T
    shift = np.zeros(K)
    if ending == "pad":
        shift = -rewards[:, reference.nexts].min(axis=1)
        rewards += shift[:, None]

    stem = "truthfulqa" if text is None else Path(text).stem
    fields: dict[str, Any] = {
        "format": "token-mdp/1",
        "vocab_size": A,
        "order": L,
        "horizon": horizon,
        "start": [BOS] * L,
        "bos": BOS,
        **({"eos": END} if ending == "eos" else {}),
        **reference.fields,
        "rewards": rewards,
        "beta": float(beta),
        "w": weights.tolist(),
        "features": {"kind": "dense", "values": psi}
        if features == "ngram"
        else {"kind": "tabular", "per_step": True, "scale": 1.0},
        "name": f"corpus-{stem}-A{A}-L{L}-{ending}-seed{seed}",
    }
    fields["meta"] = {
        "family": "corpus",
        "source": corpus.source,
        "seed": seed,
        "attributes": corpus.attributes,
        **about,
        "texts_train": int(train.sum()),
        "texts_held_out": int((~train).sum()),
        "texts_held_out_not_in_train": int(fresh.sum()),
        **reference.about,
        "rewards": {
            name: {
                **held_out_scores(
                    y[:, k] >= 0.5, X @ fits[k][0][: X.shape[1]] + fits[k][1], train, fresh
                ),
                "intercept": fits[k][1],
                "l2": fits[k][2],
                "shift": float(shift[k]),
            }
            for k, name in enumerate(corpus.attributes)
        },
        "ngrams": [
            " ".join(names[code // A**i % A] for i in reversed(range(m)))
            for m, code in grams[A if unigrams else 0 :]
        ],
        "ending": ending,
        "smoothing": float(smoothing),
    }
    return fields


@wraps(corpus_fields, assigned=(), updated=())  # whose options it takes
def corpus_ngrams(seed: int = 0, **options: Any) -> TokenMDP:
    """Real text (TruthfulQA) with its human labels as rewards, n-gram features."""
    return TokenMDP(**_fitted(seed, options))


@wraps(corpus_fields, assigned=(), updated=())
def corpus_one_hot(seed: int = 0, **options: Any) -> TokenMDP:
    """The corpus world under per-step one-hot features, where Lemma 1 is exact."""
    fields = _fitted(seed, options)
    one_hot = {"kind": "tabular", "per_step": True, "scale": 1.0}
    return TokenMDP(**{**fields, "features": one_hot, "name": f"{fields['name']}, one-hot"})


def _fitted(seed: int, options: Mapping[str, Any]) -> Mapping[str, Any]:
    """The fields of one fit, which serves both feature maps; a changed file is fitted again."""
    w = options.get("w")
    plain = dict(options) if w is None else {**options, "w": tuple(w)}
    files = [Path(options[k]) for k in ("text", "labels") if options.get(k) is not None]
    stamps = [(f.stat().st_mtime_ns, f.stat().st_size) if f.exists() else None for f in files]
    return _last_fit(seed, tuple(sorted(plain.items())), tuple(stamps))


@lru_cache(maxsize=1)
def _last_fit(
    seed: int, options: tuple[tuple[str, Any], ...], stamps: tuple[tuple[int, int] | None, ...]
) -> Mapping[str, Any]:
    # an instance copies its tables, so what is kept here is never shared with one
    return MappingProxyType(corpus_fields(seed=seed, **dict(options)))
