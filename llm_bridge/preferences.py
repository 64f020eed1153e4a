"""Preference data: pairs, scored answers, and the bundled judgements.

A pair holds one prompt and two answers. After a prompt that is a string an answer follows verbatim (a
leading space, where there is one, belongs to it); after turns of a conversation it is the next turn.
Scored answers become pairs for a user w by the order of ``w · scores``, as in the UltraFeedback set-up
of Spectral Souping (Appendix B.1).
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from toymdp import InstanceError
from toymdp.arrays import Array

from .texts import Prompt

ULTRAFEEDBACK = ("helpfulness", "honesty", "instruction_following", "truthfulness")
Indices: TypeAlias = NDArray[np.signedinteger[Any]]
MEASURED = ("concise", "affirming")
NEGATION = re.compile(r"\b(no|not|never|none|nothing|nobody|neither|nor|cannot)\b|n['’]t\b")


@dataclass(frozen=True)
class Pair:
    """One comparison: the first answer was preferred."""

    prompt: Prompt
    chosen: str
    rejected: str

    @property
    def texts(self) -> tuple[tuple[str, float], ...]:
        """Its answers, each with 1 for good and 0 for bad."""
        return ((self.chosen, 1.0), (self.rejected, 0.0))


@dataclass(frozen=True)
class Labelled:
    """One answer that was found good or bad by itself."""

    prompt: Prompt
    answer: str
    good: bool

    @property
    def texts(self) -> tuple[tuple[str, float], ...]:
        """The answer with 1 for good and 0 for bad."""
        return ((self.answer, float(self.good)),)


@dataclass(frozen=True)
class Scored:
    """One prompt with n answers and their scores [n, m]."""

    prompt: Prompt
    answers: tuple[str, ...]
    scores: Array


@dataclass(frozen=True)
class ScoredSet:
    """Prompts whose answers carry m named attributes."""

    names: tuple[str, ...]
    items: tuple[Scored, ...]

    def weights(self, w: dict[str, float] | Sequence[float]) -> Array:
        """User weights [m] from names or in order; InstanceError for what does not fit."""
        if isinstance(w, dict):
            unknown = set(w) - set(self.names)
            if unknown:
                raise InstanceError.of(
                    "w", min(unknown), "no such attribute", f"choose from {self.names}"
                )
            return np.array([w.get(name, 0.0) for name in self.names])
        if len(w) != len(self.names):
            raise InstanceError.of(
                "w", list(w), f"must have {len(self.names)} weights", f"order: {self.names}"
            )
        return np.asarray(w, dtype=np.float64)

    def only(self, names: Sequence[str]) -> ScoredSet:
        """The same answers with some of their attributes, in this order."""
        columns = [self.names.index(name) for name in names]
        items = tuple(Scored(i.prompt, i.answers, i.scores[:, columns]) for i in self.items)
        return ScoredSet(tuple(names), items)

    def standardised(self, like: ScoredSet | None = None) -> ScoredSet:
        """Scores divided by their standard deviation (in ``like``): one unit for every attribute."""
        spread = np.concatenate([item.scores for item in (like or self).items]).std(axis=0)
        spread = np.where(spread > 0, spread, 1.0)
        items = tuple(Scored(i.prompt, i.answers, i.scores / spread) for i in self.items)
        return ScoredSet(self.names, items)


def labels_of(scored: ScoredSet) -> list[Labelled]:
    """The answers of a set whose one attribute says whether each is good."""
    return [
        Labelled(item.prompt, text, bool(score[0] > 0))
        for item in scored.items
        for text, score in zip(item.answers, item.scores, strict=True)
    ]


def concise(text: str) -> float:
    """Measured on the text: minus the number of characters."""
    return -float(len(text.strip()))


def affirming(text: str) -> float:
    """Measured on the text: 1 if no word of it denies anything, else 0."""
    return 0.0 if NEGATION.search(text.lower()) else 1.0


def pairs_of(
    scored: ScoredSet,
    w: dict[str, float] | Sequence[float],
    *,
    per_prompt: int,
    seed: int,
    contentious: bool = False,
) -> list[Pair]:
    """Pairs ordered by ``w · scores``, at most ``per_prompt`` of each prompt, drawn by the seed.

    contentious: keep only pairs on which two attributes have opposite strict orders. Ties under w
    are left out.
    """
    weights = scored.weights(w)
    rng = np.random.default_rng(seed)
    pairs: list[Pair] = []
    for item in scored.items:
        value, i, j, strict = _ordered(item, weights)
        apart = item.scores[i] - item.scores[j]
        if contentious:
            strict &= (apart > 0).any(axis=1) & (apart < 0).any(axis=1)
        usable = np.flatnonzero(strict)
        for n in rng.permutation(usable)[:per_prompt]:
            better, worse = (i[n], j[n]) if value[i[n]] > value[j[n]] else (j[n], i[n])
            pairs.append(Pair(item.prompt, item.answers[better], item.answers[worse]))
    return pairs


def ties_of(scored: ScoredSet, w: dict[str, float] | Sequence[float]) -> int:
    """How many pairs of answers to one prompt are worth the same to a user w."""
    weights = scored.weights(w)
    return sum(int(np.count_nonzero(~_ordered(item, weights)[3])) for item in scored.items)


def _ordered(item: Scored, weights: Array) -> tuple[Array, Indices, Indices, NDArray[np.bool_]]:
    """Worth of each answer, every pair i < j, and whether w orders it beyond rounding."""
    value = item.scores @ weights
    i, j = np.triu_indices(len(value), 1)
    strict = np.abs(value[i] - value[j]) > 1e-12 * (1.0 + np.abs(value[i]) + np.abs(value[j]))
    return value, i, j, strict


# -- the bundled judgements ------------------------------------------------------------------


def truthfulqa(part: str, seed: int = 0) -> ScoredSet:
    """The bundled TruthfulQA judgements with two measured attributes, split by question.

    part: "train" (four fifths of the questions) or "test". Attributes: truthful, informative (people's
    labels), concise, affirming (measured on the text). The prompt is ``Q: …\\nA:``.
    """
    data = files("toymdp") / "corpora" / "truthfulqa.jsonl.gz"
    rows = [json.loads(line) for line in gzip.decompress(data.read_bytes()).splitlines()]
    order = np.random.default_rng([seed, 833]).permutation(len(rows))
    held_out = set(order[: len(rows) // 5].tolist())
    items = []
    for i, row in enumerate(rows):
        answers = [a for a in row["answers"] if a["text"].strip()]
        if (i in held_out) != (part == "test") or len(answers) < 2:
            continue
        scores = [
            [a["truthful"], a["informative"], concise(a["text"]), affirming(a["text"])]
            for a in answers
        ]
        texts = tuple(" " + a["text"].strip() for a in answers)
        items.append(Scored(question_prompt(row["question"]), texts, np.array(scores, dtype=float)))
    return ScoredSet(("truthful", "informative", *MEASURED), tuple(items))


def question_prompt(question: str) -> str:
    """The form in which the bundled models know a question."""
    return f"Q: {question.strip()}\nA:"


def pretraining_text() -> list[str]:
    """The bundled prose and questions with answers, as documents: real text, no TruthfulQA."""
    folder = files("llm_bridge") / "data"
    prose = gzip.decompress((folder / "kjv.txt.gz").read_bytes()).decode("utf-8")
    lines = prose.splitlines()
    documents = ["\n".join(lines[i : i + 12]) for i in range(0, len(lines), 12)]
    packed = gzip.decompress((folder / "finegrained_qa.jsonl.gz").read_bytes())
    for line in packed.decode("utf-8").splitlines():
        row = json.loads(line)
        documents.append(f"{question_prompt(row['question'])} {row['gold'].strip()}")
        for title, *passages in row["passages"]:
            documents.append("\n".join([title, *passages]))
    return documents
