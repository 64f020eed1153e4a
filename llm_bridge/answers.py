"""A prompt with its answer as token ids, and what policies say of the answer's tokens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from toymdp import InstanceError

from .backend import torch
from .bank import Bank, pad
from .forward import logits_of, states_of
from .texts import Prompt, shown

Tensor = Any
KEPT = 2**28  # bytes of states that are kept of answers which are read again


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


def tokenised(bank: Bank, prompt: Prompt, text: str) -> Answer:
    """Encode a prompt and its answer apart, and end with the end token, once.

    An answer that goes beyond ``bank.limit`` is cut there, without an end, if the bank truncates.
    Raises InstanceError for an empty prompt or answer, or if the whole does not fit.
    """
    head = bank.encode(prompt)
    tail = bank.texts.answer(prompt, text)
    if not head or not tail:
        label, rule = shown(prompt)[:40], "has an empty prompt or answer"
        raise InstanceError.of("pair", label, rule, "fill it in")
    ids = (*head, *tail)
    if len(ids) > bank.limit:
        if not bank.truncate or len(head) >= bank.limit:
            bank.check_length(len(ids), bank.limit)
        ids = ids[: bank.limit]
    return Answer(ids, len(head))


def fits(bank: Bank, prompt: Prompt, texts: Sequence[str], lengths: Counter[str]) -> bool:
    """Whether answers to a prompt fit ``bank.limit``, cut there if the bank truncates.

    lengths: where those that do not are counted, the prompt's answers together.
    """
    head = len(bank.encode(prompt))
    longest = max(head + len(bank.texts.answer(prompt, text)) for text in texts)
    if longest <= bank.limit:
        return True
    cut = bank.truncate and head < bank.limit
    lengths["too long, cut" if cut else "too long, left out"] += 1
    return cut


States = dict[Answer, list[Tensor]]  # each policy's [n, d] at the answer's places


@dataclass(frozen=True, eq=False)
class Taken:
    """What one policy says of n tokens that answers took.

    logit: [n], raw. log_z: [n], of the logits of its state. row: [n], which answer. states: [n, d].
    """

    logit: Tensor
    log_z: Tensor
    row: Tensor
    states: Tensor

    @property
    def log_prob(self) -> Tensor:
        """``log π(token | state)`` [n], nats."""
        return self.logit - self.log_z

    def totals(self, n: int) -> Tensor:
        """``log π(answer | prompt)`` [n] of each of the n answers, float32."""
        return torch.zeros(n, device=self.row.device).index_add(0, self.row, self.log_prob.float())


def places_of(answers: Sequence[Answer]) -> tuple[Tensor, Tensor]:
    """At all the answers' places, in their order: which answer it is [N], and the token it took [N]."""
    rows = torch.cat([torch.full((len(a.places),), i) for i, a in enumerate(answers)])
    return rows, torch.tensor([token for a in answers for token in a.ids[a.begin :]])


def taken_tokens(
    bank: Bank, answers: Sequence[Answer], precision: Any = torch.float32, hidden: Tensor = None
) -> Taken:
    """What the active policy says of the answers' tokens; hidden: its last states [B, n, d], if known."""
    if hidden is None:
        hidden = states_of(bank.base, *pad([a.ids for a in answers], bank.device))
    states = [hidden[i, a.places.start : a.places.stop] for i, a in enumerate(answers)]
    return taken_from(bank, answers, torch.cat(states), precision)


def taken_from(
    bank: Bank, answers: Sequence[Answer], states: Tensor, precision: Any = torch.float32
) -> Taken:
    """What the active policy says in its states [N, d] at all the answers' places, in their order.

    Logits exist for as many states as fit a fixed number of bytes; where a gradient is asked for,
    they are computed again on the way back.
    """
    base = bank.base
    rows, tokens = (found.to(bank.device) for found in places_of(answers))

    def piece(some: Tensor, taken: Tensor) -> tuple[Tensor, Tensor]:
        z = logits_of(base, some).to(precision)
        return z.gather(1, taken[:, None])[:, 0], torch.logsumexp(z, dim=1)

    size, parts = bank.states_at_once(2), []
    for start in range(0, len(states), size):
        given = states[start : start + size], tokens[start : start + size]
        if torch.is_grad_enabled() and size < len(states):  # a single slice is held anyway
            parts.append(torch.utils.checkpoint.checkpoint(piece, *given, use_reentrant=False))
        else:
            parts.append(piece(*given))
    logit, log_z = (torch.cat(some) for some in zip(*parts, strict=True))
    return Taken(logit, log_z, rows, states)


def answer_log_probs(bank: Bank, answers: Sequence[Answer]) -> Tensor:
    """``log π(answer | prompt)`` [B] of each answer under the active policy, float32."""
    return taken_tokens(bank, answers).totals(len(answers))


def distinct(answers: Sequence[Answer]) -> tuple[list[Answer], list[int]]:
    """The answers that differ, shortest first, and where in that list each of those given is."""
    found = sorted(dict.fromkeys(answers), key=lambda answer: len(answer.ids))
    place = {answer: i for i, answer in enumerate(found)}
    return found, [place[answer] for answer in answers]


@torch.no_grad()
def log_probs(
    bank: Bank, answers: Sequence[Answer], batch: int = 32, states: States | None = None
) -> Tensor:
    """``log π(answer)`` [N] of the policy that is active, float32; equal answers are read once.

    states: where the policy's states of each answer are added, if they are to be kept.
    """
    once, places = distinct(answers)
    parts = []
    for start in range(0, len(once), batch):
        part = once[start : start + batch]
        taken = taken_tokens(bank, part)
        parts.append(taken.totals(len(part)).cpu())
        if states is not None:
            sizes = [len(answer.places) for answer in part]
            for answer, own in zip(part, taken.states.split(sizes), strict=True):
                states.setdefault(answer, []).append(own)
    return torch.cat(parts)[places]


def every_log_prob(bank: Bank, answers: Sequence[Answer], states: States | None = None) -> Tensor:
    """``log π(answer)`` [P, N] of every policy of the bank, float32.

    states: filled with those of each answer, unless they would take more than KEPT bytes.
    """
    if states is not None:
        size = (
            sum(len(answer.places) for answer in set(answers))
            * bank.width
            * bank.base.dtype.itemsize
        )
        states = states if size * len(bank.policies) <= KEPT else None
    rows = []
    for policy in bank.policies:
        with bank.using(policy, folded=True):
            rows.append(log_probs(bank, answers, states=states))
    return torch.stack(rows)


def answer_log_ratios(bank: Bank, answers: Sequence[Answer]) -> Tensor:
    """``log π_k/ref`` of whole answers for every adapter: [P−1, N], nats."""
    every = every_log_prob(bank, answers)
    return every[1:] - every[0]
