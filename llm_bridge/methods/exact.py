"""EXACT: preferences through words in the prompt of the reference, no training.

Algorithms 1, 2 of the EXACT paper: for each preference pair the attribute words are added greedily
by the margin ``log π(y_w|x,A) − log π(y_l|x,A)``; a new prompt takes the words of the nearest known
prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from toymdp import InstanceError
from toymdp.arrays import Array
from toymdp.learning.greedy import greedy as select

from ..backend import torch
from ..bank import REF, Bank, pad
from ..decoding import draw_rows, single_row
from ..forward import states_of
from ..preferences import Pair
from ..texts import Prompt, shown
from .attributes import with_attributes, word_margins
from .request import Answers, Request

Embedding = Callable[[Prompt], Array]


def greedy(
    bank: Bank, pair: Pair, library: Sequence[str], budget: int, *, stop: bool = False
) -> tuple[tuple[str, ...], float]:
    """Algorithm 1 for one pair: up to ``budget`` words, each the one that raises the margin most.

    As printed it adds a word even if that lowers the margin; stop: end before that instead.
    Returns the words in order of choice and their margin.
    """
    if not library or not 1 <= budget <= len(library):
        raise InstanceError.of(
            "budget", budget, f"must be 1..{len(library)}, the number of attributes", "correct it"
        )

    def margins(taken: tuple[int, ...], rest: list[int]) -> Array:
        return word_margins(bank, pair, [[library[i] for i in (*taken, a)] for a in rest])

    start = float(word_margins(bank, pair, [()])[0])
    taken, value = select(margins, len(library), budget, start=start, stop=stop)
    return tuple(library[i] for i in taken), value


@torch.no_grad()
def pooled_state(bank: Bank, text: Prompt) -> Array:
    """The reference's last hidden states, averaged over the text's tokens: the default embedding."""
    ids, mask = pad([bank.encode(text)], bank.device)
    bank.check_length(int(ids.shape[1]))
    with bank.using(REF) as base:
        states = states_of(base, ids, mask)[0]
    return np.asarray(states.double().mean(dim=0).cpu())


@dataclass
class Memory:
    """Prompts of one user with their attribute words; a repeated prompt keeps the best margin.

    embedding: text -> vector; by default the reference's mean-pooled state.
    """

    bank: Bank
    library: tuple[str, ...]
    budget: int
    embedding: Embedding | None = None
    entries: dict[Prompt, tuple[tuple[str, ...], float, Array]] = field(default_factory=dict)

    def embed(self, text: Prompt) -> Array:
        """Unit vector of a text."""
        raw = pooled_state(self.bank, text) if self.embedding is None else self.embedding(text)
        vector = np.asarray(raw, dtype=np.float64)
        size = float(np.linalg.norm(vector))
        if not size > 0:
            raise InstanceError.of(
                "embedding", shown(text)[:40], "is zero", "use another embedding"
            )
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
            return draw_rows(self.bank, base, [[ids]], single_row, tokens=tokens, seed=seed)[0]


def answers(bank: Bank, request: Request) -> Answers:
    """Draws of ref under each prompt's retrieved words, and these words."""
    memory = Memory(bank, request.words, request.budget)
    for n, pair in enumerate(request.pairs):
        memory.add(pair)
        request.on_progress("indexing preferences", n + 1, len(request.pairs))
    options = {"tokens": request.tokens, "seed": request.seed}
    drawn = [memory.answer(text, **options) for text in request.texts]
    return drawn, {"words": {text: list(memory.retrieve(text)) for text in request.texts}}
