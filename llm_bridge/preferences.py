"""Preference data: pairs from files, from scored answers, and from the bundled judgements.

A pair holds one prompt and two answers; an answer is what follows the prompt verbatim (a leading
space, where there is one, belongs to it). Scored answers become pairs for a user w by the order of
``w · scores``, as in the UltraFeedback set-up of Spectral Souping (Appendix B.1).
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from toymdp import InstanceError
from toymdp.arrays import Array
from toymdp.lines import read_rows
from toymdp.validators import MOST, number

ULTRAFEEDBACK = ("helpfulness", "honesty", "instruction_following", "truthfulness")
MEASURED = ("concise", "affirming")
RATING = re.compile(r"[0-9]{1,6}")
NEGATION = re.compile(r"\b(no|not|never|none|nothing|nobody|neither|nor|cannot)\b|n['’]t\b")


@dataclass(frozen=True)
class Pair:
    """One comparison: the first answer was preferred."""

    prompt: str
    chosen: str
    rejected: str


@dataclass(frozen=True)
class Scored:
    """One prompt with n answers and their scores [n, m]."""

    prompt: str
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

    def standardised(self, like: ScoredSet | None = None) -> ScoredSet:
        """Scores divided by their standard deviation (in ``like``): one unit for every attribute."""
        spread = np.concatenate([item.scores for item in (like or self).items]).std(axis=0)
        spread = np.where(spread > 0, spread, 1.0)
        items = tuple(Scored(i.prompt, i.answers, i.scores / spread) for i in self.items)
        return ScoredSet(self.names, items)


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
        value = item.scores @ weights
        i, j = np.triu_indices(len(value), 1)
        apart = item.scores[i] - item.scores[j]
        strict = np.abs(value[i] - value[j]) > 1e-12 * (1.0 + np.abs(value[i]) + np.abs(value[j]))
        if contentious:
            strict &= (apart > 0).any(axis=1) & (apart < 0).any(axis=1)
        usable = np.flatnonzero(strict)
        for n in rng.permutation(usable)[:per_prompt]:
            better, worse = (i[n], j[n]) if value[i[n]] > value[j[n]] else (j[n], i[n])
            pairs.append(Pair(item.prompt, item.answers[better], item.answers[worse]))
    return pairs


def _text(place: str, row: dict[str, Any], key: str) -> str:
    if not isinstance(row.get(key), str):
        raise InstanceError.of(f"{place}: {key}", row.get(key), "must be a string", "add it")
    return str(row[key])


def read_preferences(path: str | Path) -> list[Pair] | ScoredSet:
    """Read JSON Lines in one of three formats, known by the keys of the first line.

    ``prompt, chosen, rejected``: pairs. ``prompt, answers: [{text, scores: {name: number}}]``:
    scored answers. ``instruction, completions: [{response, annotations}]``: UltraFeedback as
    published (ratings as strings; "N/A" leaves an answer out).

    Raises InstanceError with file and line.
    """
    rows = list(read_rows(Path(path)))
    first = rows[0][1]
    if "chosen" in first:
        keys = ("prompt", "chosen", "rejected")
        return [Pair(*(_text(place, row, key) for key in keys)) for place, row in rows]
    if "completions" in first:
        return _ultrafeedback(rows)
    if "answers" in first:
        return _scored(rows)
    raise InstanceError.of(
        f"{rows[0][0]}: keys", sorted(first), "not a known format",
        "give prompt/chosen/rejected, prompt/answers or UltraFeedback's instruction/completions",
    )  # fmt: skip


def _score(label: str, value: Any) -> float:
    score = number(label, value)
    if abs(score) > MOST:  # squares of it are summed
        rule = f"must be at most {MOST:g} in absolute value"
        raise InstanceError.of(label, value, rule, "choose other units")
    return score


def _scored(rows: Sequence[tuple[str, dict[str, Any]]]) -> ScoredSet:
    names: tuple[str, ...] = ()
    items = []
    for place, row in rows:
        answers = row.get("answers")
        if not isinstance(answers, list) or not answers:
            raise InstanceError.of(f"{place}: answers", answers, "must be a list", "add it")
        table, texts = [], []
        for answer in answers:
            scores = answer.get("scores") if isinstance(answer, dict) else None
            names = names or tuple(scores if isinstance(scores, dict) else ())
            if not isinstance(scores, dict) or not names or set(scores) != set(names):
                raise InstanceError.of(
                    f"{place}: scores", scores, f"must name the attributes {names}", "complete it"
                )
            table.append([_score(f"{place}: score of {name}", scores[name]) for name in names])
            texts.append(_text(place, answer, "text"))
        items.append(
            Scored(_text(place, row, "prompt"), tuple(texts), np.array(table, dtype=np.float64))
        )
    return ScoredSet(names, tuple(items))


def _objects(label: str, value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise InstanceError.of(label, value, "must be a list of objects", "correct it")
    return value


def _rating(mark: Any) -> float | None:
    """A whole number, as a string or not; None for "N/A" and the like: the annotator gave none."""
    rating = str(mark.get("Rating")).strip() if isinstance(mark, dict) else ""
    return float(rating) if RATING.fullmatch(rating) else None


def _ultrafeedback(rows: Sequence[tuple[str, dict[str, Any]]]) -> ScoredSet:
    items = []
    for place, row in rows:
        prompt = _text(place, row, "instruction")
        texts, table = [], []
        for answer in _objects(f"{place}: completions", row.get("completions")):
            marks = answer.get("annotations")
            if marks is not None and not isinstance(marks, dict):
                raise InstanceError.of(
                    f"{place}: annotations", marks, "must be an object", "see README"
                )
            ratings = [_rating((marks or {}).get(name)) for name in ULTRAFEEDBACK]
            if None in ratings:
                continue
            texts.append(_text(place, answer, "response"))
            table.append(ratings)
        if texts:
            items.append(Scored(prompt, tuple(texts), np.array(table, dtype=np.float64)))
    if not items:
        raise InstanceError.of(
            "completions",
            "no rated answer",
            "need ratings of all four attributes",
            "check the file",
        )
    return ScoredSet(ULTRAFEEDBACK, tuple(items))


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
