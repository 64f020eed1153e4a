"""The soup and what others make of the same adapters, as policies that say how likely an answer is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np

from toymdp import InstanceError
from toymdp.arrays import Array

from ..answers import Answer, States, distinct, log_probs, places_of
from ..backend import torch
from ..bank import Bank, pad
from ..measure.soups import mix
from ..methods.p_soups import parameter_soup
from ..methods.peft_merge import peft_merge
from ..methods.weight_space import weight_space

Tensor = Any
DENSITY = 0.5  # of the entries that TIES and DARE keep
BATCH = 32
SOUP = "soup"


@dataclass(frozen=True)
class Rival:
    """A policy made of a bank's adapters; with weights [K] on ``log π_k/ref`` where it takes any.

    under: context in which the bank's model is this policy.
    """

    name: str
    under: Callable[[Bank, Sequence[float]], AbstractContextManager[Any]]
    weighted: bool = True


def rivals(bank: Bank) -> list[Rival]:
    """Every single adapter, and the merges that are in use."""
    K = len(bank.names)
    even = [1.0 / K] * K
    single = [
        Rival(name, lambda b, _, name=name: b.using(name, folded=True), weighted=False)  # type: ignore[misc]
        for name in bank.policies[1:]
    ]
    return [
        *single,
        Rival("weight averaging", lambda b, _: weight_space(b, even), weighted=False),
        Rival("task arithmetic", weight_space),
        Rival("TIES", lambda b, w: peft_merge(b, "ties", w, density=DENSITY)),
        Rival("DARE", lambda b, w: peft_merge(b, "dare_linear", w, density=DENSITY)),
        Rival("P-SOUPS", parameter_soup),
    ]


@torch.no_grad()
def soup_log_probs(
    bank: Bank, answers: Sequence[Answer], weights: Array, states: States | None = None
) -> Array:
    """``log π~(answer)`` [N] of the soup with weights [K], its logits mixed at every token.

    states: of answers that every policy of the bank has read.
    """
    K = len(bank.names)
    mixture = torch.as_tensor(np.asarray(weights), dtype=torch.float64)[None]
    once, places = distinct(answers)
    found = torch.zeros(len(once), dtype=torch.float64)
    for start in range(0, len(once), BATCH):
        part = once[start : start + BATCH]
        if states and all(a in states for a in part):
            every = torch.cat([torch.stack(states[a]) for a in part], dim=1)
        else:
            hidden = bank.hidden(*pad([a.ids for a in part], bank.device))
            every = torch.cat([hidden[:, i, a.places] for i, a in enumerate(part)], dim=1)
        row, token = places_of(part)
        token = token.to(bank.device)
        size = bank.states_at_once(len(bank.policies) + 1)
        for first in range(0, len(row), size):
            some = slice(first, first + size)
            z = bank.logits(every[:, some])[: K + 1].double()
            mixed = mix(z, mixture.to(z.device))[0]
            taken = mixed.gather(1, token[some, None])[:, 0]
            found.index_add_(0, row[some] + start, (taken - torch.logsumexp(mixed, dim=1)).cpu())
    return np.asarray(found[places])


def margins(
    bank: Bank, answers: Sequence[Answer], rival: Rival, weights: Array, ref: Array
) -> Array:
    """``log π/ref`` of the winner less the loser [N]; answers 2n, 2n + 1 are a pair; ref: [2N].

    Raises InstanceError where this policy cannot be made of these adapters.
    """
    try:
        with rival.under(bank, weights.tolist()):
            found = np.asarray(log_probs(bank, answers).double()) - ref
    except (ValueError, TypeError, AttributeError, RuntimeError) as error:
        if isinstance(error, InstanceError):
            raise
        reason = f"cannot be made of these adapters ({str(error).splitlines()[0]})"
        raise InstanceError.of("merge", rival.name, reason, "see the other rows") from None
    return np.asarray(found[::2] - found[1::2])


def soup_margins(
    bank: Bank, answers: Sequence[Answer], weights: Array, ref: Array, states: States | None = None
) -> Array:
    """The same of the soup: [N]. states: see ``soup_log_probs``."""
    found = soup_log_probs(bank, answers, weights, states) - ref
    return np.asarray(found[::2] - found[1::2])
