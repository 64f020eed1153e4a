"""Feedback: answers as tables of contexts, pairs of them, labels; stored, replayed, cut short.

An answer of T steps is its next contexts ``s_1 .. s_T``; its start is that of its prompt.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from ..arrays import Array, IntArray
from ..errors import InstanceError

Mode = Literal["bt", "rank", "binary"]
MODES: tuple[Mode, ...] = ("bt", "rank", "binary")
COLUMNS = ("first", "second", "labels", "prompt")  # of feedback, a row a pair


@dataclass(frozen=True, eq=False)
class Answers:
    """Complete trajectories from one start.

    contexts: [n, N+1], s_0 .. s_N. going: [n, N], which steps were taken before eos.
    """

    contexts: IntArray
    going: NDArray[np.bool_]

    def total(self, table: Array, ahead: int = 0) -> Array:
        """``Σ_t table[.., t + ahead, s_{t+1}]`` [.., n]; the table's last row holds for all later steps."""
        rows = np.minimum(np.arange(self.going.shape[1]) + ahead, table.shape[-2] - 1)
        entries = table[..., rows, self.contexts[:, 1:]]
        return np.asarray(np.where(self.going, entries, 0.0).sum(axis=-1))


def returns_by_policy(answers: Answers, Q: Array, norms: Array, beta: float) -> Array:
    """``β Σ_t log π_k/ref`` [K, n] of answers, π_k ∝ ref·exp(Q_k/β), reward units.

    Q: [K, T, S] on next contexts. norms: [K, n, N] ``log E_ref exp(Q_k/β)`` at the states passed,
    nats, 0 where no step was taken. With exact Q it is ``Σ r_k − V_k(s_0)`` (ss.sec4.return).
    """
    return np.asarray(answers.total(Q) - beta * norms.sum(axis=-1))


def distinct(answers: Answers) -> Answers:
    """Each trajectory once, in the order they were drawn, without the steps that none took."""
    first = np.sort(np.unique(answers.contexts, axis=0, return_index=True)[1])
    length = int(answers.going[first].sum(axis=1).max())
    return Answers(answers.contexts[first, : length + 1], answers.going[first, :length])


def contentious(differences: Array) -> NDArray[np.bool_]:
    """[N]: the attributes disagree on the pair, some for the first answer, some for the second.

    differences: [N, n] of the attributes' returns. The user plays no part.
    """
    return np.asarray((differences > 0).any(axis=1) & (differences < 0).any(axis=1))


def answered(margins: Array, mode: Mode, temperature: float, heights: Array) -> Array:
    """Labels [N] of a user: +1 for the first answer, −1 for the second.

    margins: [N] ``R_u(first) − R_u(second)``, reward units. "bt": the first with chance
    ``σ(margin/temperature)``; "rank": the larger return; "binary": whether one answer is good, with
    chance σ of its own margin. heights: [N] uniform on [0, 1), which
    decide, and decide ties under "rank".
    """
    z = margins / temperature
    if mode != "rank":
        chance = np.where(z > 0, 1.0 / (1.0 + np.exp(-np.abs(z))), 1.0 / (1.0 + np.exp(np.abs(z))))
        return np.where(heights < chance, 1.0, -1.0)
    return np.where(z == 0, np.where(heights < 0.5, 1.0, -1.0), np.sign(z))


@dataclass(frozen=True, eq=False)
class Feedback:
    """One user's compared answers.

    first, second: [N, T] next contexts of the two answers to prompt [N]; labels: [N] ±1, +1 where the
    first was preferred. user: which user of the domain. mode: how the user answers; temperature:
    reward units. source: whose answers they are. seed: of the draws.
    """

    first: IntArray
    second: IntArray
    labels: Array
    prompt: IntArray
    user: int = 0
    mode: Mode = "bt"
    temperature: float = 1.0
    source: str = "ref"
    seed: int = 0

    def __post_init__(self) -> None:
        N = len(self.labels)
        if self.first.shape != self.second.shape or len(self.first) != N or len(self.prompt) != N:
            shapes = f"{self.first.shape}, {self.second.shape}, {N}, {len(self.prompt)}"
            rule = "first and second [N, T], labels [N] and prompt [N] must go together"
            raise InstanceError.of("feedback", shapes, rule, "correct the shapes")
        if (np.abs(self.labels) != 1.0).any():
            n = int(np.argmax(np.abs(self.labels) != 1.0))
            raise InstanceError.of(f"labels[{n}]", self.labels[n], "must be +1 or −1", "correct it")
        if self.mode not in MODES:
            raise InstanceError.of("mode", self.mode, f"must be one of {MODES}", "choose one")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def targets(self) -> Array:
        """[N]: 1 where the first answer was preferred, 0 where the second was."""
        return 0.5 + 0.5 * self.labels

    def take(self, n: int) -> Self:
        """The first n pairs: what is learnt from more pairs has seen those of fewer."""
        if not 1 <= n <= len(self):
            rule = f"must be 1..{len(self)}, the number of pairs"
            raise InstanceError.of("pairs", n, rule, "draw more")
        return self.at(np.arange(n))

    def at(self, rows: IntArray) -> Self:
        """The pairs of these rows, in their order."""
        return replace(self, **{c: getattr(self, c)[rows] for c in COLUMNS})

    def followed_by(self, more: Feedback) -> Self:
        """These pairs and then ``more``, of the same user."""
        rows: dict[str, Any] = {
            c: np.concatenate([getattr(self, c), getattr(more, c)]) for c in COLUMNS
        }
        return replace(self, **rows)

    def save(self, path: Path) -> None:
        """Write it as NPZ, without pickles."""
        np.savez_compressed(path, **vars(self))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what ``save`` wrote. Raises InstanceError for anything else."""
        with np.load(path, allow_pickle=False) as stored:
            keys = set(stored.files)
            if keys != set(cls.__dataclass_fields__):
                rule = f"the keys are {sorted(cls.__dataclass_fields__)}"
                raise InstanceError.of(str(path), sorted(keys), rule, "write it with save")
            values = {key: stored[key] for key in keys}
        plain = {k: v.item() if v.ndim == 0 else v for k, v in values.items()}
        return cls(**plain)
