"""The bundled answers as token sequences of the ``corpus`` family, with what people said of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..arrays import Array, IntArray
from .corpus_files import read_corpus
from .corpus_rewards import split_groups
from .vocabulary import END, build_vocabulary, words


@dataclass(frozen=True, eq=False)
class LabelledAnswers:
    """n answers that end within the horizon.

    tokens: [n, T], ``</s>`` repeated to the end; question: [n]; labels: [n, K] in {0, 1}, of attributes;
    train: [n], answers whose question ref and rewards were fitted on.
    """

    tokens: IntArray
    question: IntArray
    labels: Array
    attributes: list[str]
    train: NDArray[np.bool_]


def labelled_answers(seed: int = 0, vocab_size: int = 32, horizon: int = 12) -> LabelledAnswers:
    """The answers as ``corpus_ngrams(seed, vocab_size=.., horizon=..)`` reads them: tokens and split."""
    corpus = read_corpus(None, None)
    rng = np.random.default_rng(seed)
    train = split_groups(corpus.groups, np.ones(len(corpus.texts), dtype=bool), rng)
    texts = [words(t) for t in corpus.texts]
    known = [t for t, trained in zip(texts, train, strict=True) if trained]
    vocabulary = build_vocabulary(known, corpus.labels[train], vocab_size, seed, corpus.source)
    token, text_of = vocabulary.encode(texts)
    length = np.bincount(text_of, minlength=len(texts))
    tokens = np.full((len(texts), horizon), END, dtype=np.int64)
    place = np.arange(len(token)) - np.repeat(np.cumsum(length) - length, length)
    short = length <= horizon
    inside = short[text_of]
    tokens[text_of[inside], place[inside]] = token[inside]
    labels = (corpus.labels >= 0.5).astype(np.float64)
    return LabelledAnswers(
        tokens[short], corpus.groups[short], labels[short], list(corpus.attributes), train[short]
    )
