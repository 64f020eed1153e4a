"""Answers in, measures out, a few states at a time.

The K + 1 (+1) backbone passes of a batch keep states [P, B, n, d]; logits exist for as many states
as fit a fixed number of bytes, so memory does not grow with the number of tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..answers import Answer
from ..backend import torch
from ..bank import Bank, pad
from .measures import Measures, measure

Tensor = Any


@dataclass(frozen=True, eq=False)
class Chunk:
    """Measures of N states: which answer [N] and place [N] each is, and its ref state [N, d]."""

    row: Tensor
    place: Tensor
    measures: Measures
    state: Tensor


def rounding_unit(bank: Bank, precision: Any) -> float:
    """The coarser of the weights' and the arithmetic's units in the last place."""
    kinds = {p.dtype for p in bank.model.parameters()}
    return float(max(torch.finfo(kind).eps for kind in (*kinds, precision)))


def stream(
    bank: Bank,
    answers: Sequence[Answer],
    weights: Tensor,
    *,
    precision: Any = torch.float32,
    batch: int | None = None,
    limit: int | None = None,
) -> Iterator[Chunk]:
    """Measure the states of many answers, chunk by chunk, in order.

    weights: [M, K] of soups on log-ratios. batch: answers that go through the model together. limit:
    states at once (default: by bytes).
    """
    batch = batch or bank.at_once
    size = limit or bank.states_at_once(len(bank.policies) + len(weights))
    for start in range(0, len(answers), batch):
        part = answers[start : start + batch]
        ids, mask = pad([a.ids for a in part], bank.device)
        hidden = bank.hidden(ids, mask)
        where = [(i, place) for i, a in enumerate(part) for place in a.places]
        row, place = torch.tensor(where, dtype=torch.long, device=bank.device).reshape(-1, 2).T
        for first in range(0, len(where), size):
            r, p = row[first : first + size], place[first : first + size]
            states = hidden[:, r, p]
            measures = measure(
                bank.logits(states), weights, bespoke=bank.bespoke is not None, precision=precision
            )
            yield Chunk(r + start, p, measures, states[0])
