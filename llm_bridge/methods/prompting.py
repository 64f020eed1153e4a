"""EXACT and Drift: preferences through words in the prompt of the reference, no training.

EXACT (Algorithms 1, 2 of the EXACT paper): for each preference pair the attribute words are added
greedily by the margin ``log π(y_w|x,A) − log π(y_l|x,A)``; a new prompt takes the words of the nearest
known prompt. Drift: each attribute's token score is ``log π(·|x,a) − log π(·|x)``, and decoding tilts
the base model by their weighted sum.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from toymdp import InstanceError
from toymdp.arrays import Array

from ..answers import answer_log_probs, tokenised
from ..backend import torch
from ..bank import REF, Bank, pad
from ..decoding import alone, draw_rows
from ..preferences import Pair

Tensor = Any
Embedding = Callable[[str], Array]
TEMPLATE = "{prompt}\nAttributes: {attributes}\n"
QUESTION_TEMPLATE = "{question}\nAttributes: {attributes}\nA:"  # of prompts that end in "\nA:"


def with_attributes(prompt: str, attributes: Sequence[str]) -> str:
    """The prompt with a line of attribute words after the query; unchanged without words."""
    if not attributes:
        return prompt
    words = ", ".join(attributes)
    if prompt.endswith("\nA:"):
        return QUESTION_TEMPLATE.format(question=prompt[:-3], attributes=words)
    return TEMPLATE.format(prompt=prompt, attributes=words)


@torch.no_grad()
def margins(bank: Bank, pair: Pair, subsets: Sequence[Sequence[str]]) -> Array:
    """``log π(y_w|x,A) − log π(y_l|x,A)`` under ref for each subset A, nats."""
    answers = [
        tokenised(bank, with_attributes(pair.prompt, words), text)
        for words in subsets
        for text in (pair.chosen, pair.rejected)
    ]
    with bank.using(REF) as base:
        found = answer_log_probs(base, answers, bank.device).double().cpu()
    return np.asarray(found[::2] - found[1::2])


def greedy(
    bank: Bank, pair: Pair, library: Sequence[str], budget: int, *, stop: bool = False
) -> tuple[tuple[str, ...], float]:
    """Algorithm 1 for one pair: up to ``budget`` words, each the one that raises the margin most.

    As printed it adds a word even if that lowers the margin; stop: end there instead.
    Returns the words in order of choice and their margin.
    """
    if not library or not 1 <= budget <= len(library):
        raise InstanceError.of(
            "budget", budget, f"must be 1..{len(library)}, the number of attributes", "correct it"
        )
    taken: tuple[str, ...] = ()
    value = float(margins(bank, pair, [()])[0])
    for _ in range(budget):
        rest = [a for a in library if a not in taken]
        found = margins(bank, pair, [(*taken, a) for a in rest])
        best = int(np.argmax(found))
        if stop and found[best] <= value:
            break
        taken, value = (*taken, rest[best]), float(found[best])
    return taken, value


@torch.no_grad()
def pooled_state(bank: Bank, text: str) -> Array:
    """The reference's last hidden states, averaged over the text's tokens: the default embedding."""
    ids, mask = pad([bank.encode(text)], bank.device)
    bank.check_length(int(ids.shape[1]))
    with bank.using(REF) as base:
        out = base.get_decoder()(input_ids=ids, attention_mask=mask, use_cache=False)
    return np.asarray(out.last_hidden_state[0].double().mean(dim=0).cpu())


@dataclass
class Memory:
    """Prompts of one user with their attribute words; a repeated prompt keeps the best margin.

    embedding: text -> vector; by default the reference's mean-pooled state.
    """

    bank: Bank
    library: tuple[str, ...]
    budget: int
    embedding: Embedding | None = None
    entries: dict[str, tuple[tuple[str, ...], float, Array]] = field(default_factory=dict)

    def embed(self, text: str) -> Array:
        """Unit vector of a text."""
        found = pooled_state(self.bank, text) if self.embedding is None else self.embedding(text)
        vector = np.asarray(found, dtype=np.float64)
        size = float(np.linalg.norm(vector))
        if not size > 0:
            raise InstanceError.of("embedding", text[:40], "is zero", "use another embedding")
        return vector / size

    def add(self, pair: Pair) -> tuple[str, ...]:
        """Index one preference pair."""
        words, value = greedy(self.bank, pair, self.library, self.budget)
        known = self.entries.get(pair.prompt)
        if known is None or value > known[1]:
            self.entries[pair.prompt] = (words, value, self.embed(pair.prompt))
        return self.entries[pair.prompt][0]

    def retrieve(self, prompt: str) -> tuple[str, ...]:
        """Algorithm 2: the words of the known prompt with the largest cosine."""
        if not self.entries:
            raise InstanceError.of("memory", "empty", "holds no prompt", "add preference pairs")
        vector = self.embed(prompt)
        best = max(self.entries.values(), key=lambda entry: float(entry[2] @ vector))
        return best[0]

    def answer(self, prompt: str, *, tokens: int, seed: int) -> list[int]:
        """An answer of ref to the prompt with its retrieved words, token ids."""
        ids = self.bank.encode(with_attributes(prompt, self.retrieve(prompt)))
        with self.bank.using(REF) as base:
            return draw_rows(self.bank, base, [[ids]], alone, tokens=tokens, seed=seed)[0]


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
        found = np.stack([margins(bank, pair, subsets) for pair in pairs])
        mean = (found[:, 1:] - found[:, :1]).mean(axis=0)
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
