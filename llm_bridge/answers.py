"""A prompt with its answer as token ids, and what policies say of the answer's tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from toymdp import InstanceError

from .backend import torch
from .bank import Bank, pad

Tensor = Any


@dataclass(frozen=True)
class Answer:
    """Token ids of a prompt with its answer, which begins at place ``begin``.

    The state at place i has read ids[: i + 1] and is about to choose ids[i + 1].
    """

    ids: tuple[int, ...]
    begin: int

    @property
    def places(self) -> range:
        """Places of the states from which the answer's tokens were taken."""
        return range(self.begin - 1, len(self.ids) - 1)


def tokenised(bank: Bank, prompt: str, answer: str) -> Answer:
    """Encode a prompt and its answer apart, and end with the model's end token, once.

    Encoded apart, the tokens of a prompt do not depend on the answer that follows it.
    Raises InstanceError if the whole does not fit the context.
    """
    head = bank.encode(prompt)
    tail = bank.encode(answer, start=False)
    if not head or not (tail or bank.eos):
        raise InstanceError.of("pair", prompt[:40], "has an empty prompt or answer", "fill it in")
    ids = (*head, *tail, *bank.eos[:1])
    bank.check_length(len(ids))
    return Answer(ids, len(head))


def answer_logits(base: Any, answers: Sequence[Answer], device: Any) -> tuple[Tensor, ...]:
    """Raw logits [n, A] at the answers' places, tokens taken [n], their rows [n], states [n, d]."""
    ids, mask = pad([a.ids for a in answers], device)
    hidden = base.get_decoder()(input_ids=ids, attention_mask=mask, use_cache=False)
    hidden = hidden.last_hidden_state
    rows = torch.cat([torch.full((len(a.places),), i) for i, a in enumerate(answers)])
    places = torch.cat([torch.arange(a.places.start, a.places.stop) for a in answers])
    rows, places = rows.to(device), places.to(device)
    states = hidden[rows, places]
    return base.get_output_embeddings()(states), ids[rows, places + 1], rows, states


def answer_log_probs(base: Any, answers: Sequence[Answer], device: Any) -> Tensor:
    """``log π(answer | prompt)`` of each answer [B], float32."""
    z, taken, rows, _ = answer_logits(base, answers, device)
    z = z.float()
    each = z.gather(1, taken[:, None])[:, 0] - torch.logsumexp(z, dim=1)
    return torch.zeros(len(answers), device=device).index_add(0, rows, each)


@torch.no_grad()
def answer_log_ratios(bank: Bank, answers: Sequence[Answer], batch: int = 32) -> Tensor:
    """``log π_k/ref`` of whole answers for every adapter: [P−1, N], nats."""
    order = sorted(range(len(answers)), key=lambda i: len(answers[i].ids))
    log_probs = torch.zeros((len(bank.policies), len(answers)))
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        part = [answers[i] for i in chosen]
        for row, policy in enumerate(bank.policies):
            with bank.using(policy) as base:
                log_probs[row, chosen] = answer_log_probs(base, part, bank.device).cpu()
    return log_probs[1:] - log_probs[0]
