"""A user's data behind the options of a command: what was read, what of it is used, what was left out.

Imported when a command runs, since it needs torch.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from toymdp import InstanceError
from toymdp.arrays import Array
from toymdp.validators import MOST, plain_number

from ..answers import States, fits
from ..bank import Bank
from ..formats.read import read_preferences
from ..methods.weights import log_probs_of
from ..preferences import Labelled, Pair, ScoredSet, labels_of, pairs_of, ties_of

FIT_PAIRS = 200
T = TypeVar("T", Pair, Labelled)
LABELS = "kto"  # the format whose answers are good or bad by themselves


@dataclass
class Data:
    """Preferences of a file, or of the bundled judgements, and what is to be said of them.

    format: None for the bundled. counts: what was left out, by reason; grows as the data are used.
    """

    held: list[Pair] | ScoredSet
    format: str | None = None
    rows: int | None = None
    counts: Counter[str] = field(default_factory=Counter)

    @classmethod
    def read(cls, path: Path, format: str | None, split: str | None) -> Data:
        """Read a file. Raises InstanceError."""
        reading = read_preferences(path, format, split)
        return cls(reading.data, reading.format, reading.rows, Counter(reading.left_out))

    def about(self) -> dict[str, Any]:
        """Format, rows and counts, for reports."""
        return {"format": self.format, "rows": self.rows, "left out": dict(self.counts)}

    def line(self) -> str:
        """The same in one line for the terminal."""
        parts = [f"{n} {reason}" for reason, n in self.counts.items() if n]
        counts = f"; {', '.join(parts)}" if parts else ""
        return f"data: {self.rows} rows of format {self.format}{counts}"

    def weights(self, text: str | None) -> dict[str, float]:
        """User weights of scored answers, by option; those of a single attribute by themselves."""
        assert isinstance(self.held, ScoredSet)
        if text is None and len(self.held.names) == 1:
            return {self.held.names[0]: 1.0}
        return user_weights(text, self.held)

    def pairs(
        self, w: str | None, seed: int, *, per_prompt: int = 2, contentious: bool = False
    ) -> list[Pair]:
        """All pairs of a user: as given, or from scored answers by ``--w``; ties are counted."""
        if isinstance(self.held, list):
            return self.held
        units, weights = self.held.standardised(), self.weights(w)
        self.counts["ties under --w"] += ties_of(units, weights)
        return pairs_of(units, weights, per_prompt=per_prompt, seed=seed, contentious=contentious)

    def labels(self) -> list[Labelled]:
        """Answers with labels of their own, where the data have them."""
        if self.format != LABELS or not isinstance(self.held, ScoredSet):
            return []
        return labels_of(self.held)

    def fitting(self, bank: Bank, some: Iterable[T], most: int | None = None) -> list[T]:
        """Those whose answers fit the bank, ``most`` of them; the others are counted."""
        kept: list[T] = []
        for one in some:
            if most is not None and len(kept) == most:
                break
            if fits(bank, one.prompt, [text for text, _ in one.texts], self.counts):
                kept.append(one)
        return kept


@dataclass
class User:
    """One user's data before one bank, read by it at most once.

    w: user weights where the data are scored answers. seed: of the pairs made of these. states: of the
    pairs' answers, once they are read.
    """

    bank: Bank
    data: Data
    w: str | None
    seed: int
    states: States = field(default_factory=dict)

    @cached_property
    def pairs(self) -> list[Pair]:
        """The comparisons that λ is fitted to. Raises InstanceError where none of them fits the bank."""
        given = self.data.pairs(self.w, self.seed)
        fitting = self.data.fitting(self.bank, given, FIT_PAIRS)
        if given and not fitting:
            raise InstanceError.of(
                "pairs", len(given), f"none fits {self.bank.limit} tokens, prompt and answer together",
                "say --truncate, or --max-length where the model takes more",
            )  # fmt: skip
        return fitting

    @cached_property
    def log_probs(self) -> Array:
        """``log π(answer)`` [P, 2N] of each policy at the pairs' answers, the chosen ones first."""
        return log_probs_of(self.bank, self.pairs, self.states)


def user_weights(text: str | None, data: ScoredSet) -> dict[str, float]:
    """``name=number`` by commas as user weights; InstanceError otherwise."""
    if text is None:
        raise InstanceError.of("--w", None, "scored answers need user weights",
                               f"say --w NAME=NUMBER,... with names of {data.names}")  # fmt: skip
    weights: dict[str, float] = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        try:
            weight = plain_number(value)
        except ValueError:
            weight = math.inf
        if not abs(weight) <= MOST or name.strip() in weights:
            rule = f"must be NAME=NUMBER, each name once, numbers up to {MOST:g}"
            raise InstanceError.of("--w", part, rule, f"names: {data.names}")
        weights[name.strip()] = weight
    return weights
