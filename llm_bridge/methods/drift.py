"""Drift: the reference tilted by what attribute words in its prompt change, no training.

Each attribute's token score is ``log π(·|x,a) − log π(·|x)``; decoding tilts the base model by their
weighted sum, with weights from the user's pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from toymdp import InstanceError
from toymdp.arrays import Array

from ..backend import torch
from ..bank import REF, Bank
from ..decoding import draw_rows
from ..preferences import Pair
from .attributes import with_attributes, word_margins
from .request import Answers, Request

Tensor = Any


@dataclass(frozen=True)
class Drift:
    """``log π(·|x) + (1/β) Σ p_a [log π(·|x,a) − log π(·|x)]`` with p of unit length.

    weights: p [n] of the attribute words.
    """

    library: tuple[str, ...]
    weights: Array
    beta: float = 1.0

    @classmethod
    def learned(
        cls, bank: Bank, pairs: Sequence[Pair], library: Sequence[str], beta: float = 1.0
    ) -> Drift:
        """Closed form: p ∝ the mean over pairs of each attribute's score of winner minus loser.

        It maximises the mean margin over unit vectors. Raises InstanceError without pairs.
        """
        if not pairs:
            raise InstanceError.of("pairs", 0, "Drift learns from at least one", "check the file")
        subsets = [(), *((a,) for a in library)]
        margins = np.stack([word_margins(bank, pair, subsets) for pair in pairs])
        mean = (margins[:, 1:] - margins[:, :1]).mean(axis=0)
        size = float(np.linalg.norm(mean))
        return cls(tuple(library), mean / size if size > 0 else mean, beta)

    def __call__(self, z: Tensor, ids: Tensor) -> Tensor:
        """Logits [B, A] from rows [1+n, B, A]: the plain prompt, then one for each word."""
        logs = torch.log_softmax(z, dim=2)
        p = torch.as_tensor(self.weights).to(logs)
        return logs[0] + torch.einsum("k,knc->nc", p, logs[1:] - logs[:1]) / self.beta

    def answer(self, bank: Bank, prompt: str, *, tokens: int, seed: int) -> list[int]:
        """An answer of the reference tilted by the attributes, token ids."""
        rows = [bank.encode(prompt)]
        rows += [bank.encode(with_attributes(prompt, (a,))) for a in self.library]
        with bank.using(REF) as base:
            return draw_rows(bank, base, [rows], self, tokens=tokens, seed=seed)[0]


def answers(bank: Bank, request: Request) -> Answers:
    """Draws of the tilted reference, and the weight p of each word."""
    drift = Drift.learned(bank, request.pairs, request.words)
    options: dict[str, Any] = {"tokens": request.tokens, "seed": request.seed}
    drawn = [drift.answer(bank, text, **options) for text in request.texts]
    return drawn, {"weights": dict(zip(request.words, drift.weights.tolist(), strict=True))}
