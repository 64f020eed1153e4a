"""One adapter for a soup, which peft loads: exact where it exists, else the nearest merge, measured.

With adapters on the output layer alone the soup's logits are ``z_ref + Σ weight_k s_k B_k A_k ψ``: the
stacked factors of "cat" hold that sum, and the soup is that adapter, unless the model caps its logits.
Elsewhere no adapter need be the soup; each merge is held against it, ``KL(soup‖merge)`` at the tokens of
given answers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from toymdp import InstanceError
from toymdp.arrays import Array

from ..answers import Answer
from ..backend import torch
from ..bank import REF, Bank, pad
from ..forward import logits_of, states_of
from ..loading import save_adapter
from ..measure.soups import mix
from ..measure.stream import rounding_unit
from ..methods.peft_merge import MERGED, peft_merge
from .policies import BATCH, DENSITY

Tensor = Any
Merge = Callable[[Bank, Sequence[float]], AbstractContextManager[Any]]
MERGES: dict[str, Merge] = {
    "cat": lambda b, w: peft_merge(
        b, "cat", w
    ),  # the sum of the products, rank the sum of the ranks
    "linear": lambda b, w: peft_merge(b, "linear", w),
    "ties": lambda b, w: peft_merge(b, "ties", w, density=DENSITY),
}


@dataclass(frozen=True)
class Exported:
    """Which merge was written, whether it is the soup itself, and each merge's KL to the soup.

    kl: mean ``KL(soup‖merge)`` a token, nats, by merge; worst: the largest at one token of the merge
    that was written. reference: that of ref, for comparison. tokens: how many it was measured at.
    """

    merge: str
    exact: bool
    kl: dict[str, float]
    worst: float
    reference: float
    tokens: int
    left_out: dict[str, str]


@torch.no_grad()
def divergences(bank: Bank, answers: Sequence[Answer], base: Any, weights: Array) -> Array:
    """``KL(soup‖π)`` [n] at each token of the answers; base: the model under π, which is active."""
    found, K = [], len(bank.names)
    mixture = torch.as_tensor(np.asarray(weights), dtype=torch.float64)[None]
    for start in range(0, len(answers), BATCH):
        part = answers[start : start + BATCH]
        ids, mask = pad([a.ids for a in part], bank.device)
        own, hidden = states_of(base, ids, mask), bank.hidden(ids, mask)
        where = [(i, place) for i, a in enumerate(part) for place in a.places]
        size = bank.states_at_once(len(bank.policies) + 2)
        for first in range(0, len(where), size):
            row, place = torch.tensor(where[first : first + size], device=bank.device).T
            theirs = logits_of(base, own[row, place]).double().log_softmax(dim=1)
            z = bank.logits(hidden[:, row, place])[: K + 1].double()
            mine = mix(z, mixture.to(z.device))[0].log_softmax(dim=1)
            apart = torch.where(mine > -torch.inf, mine - theirs, 0.0)
            found.append((mine.exp() * apart).sum(dim=1).clamp_min(0.0).cpu())
    return np.asarray(torch.cat(found))


def export(
    bank: Bank, weights: Array, answers: Sequence[Answer], folder: Path, base_name: str,
    record: dict[str, Any] | None = None,
) -> Exported:  # fmt: skip
    """Write the merge that is nearest to the soup with weights [K] on ``log π_k/ref``.

    base_name, record: what the adapter says of its base model. Raises InstanceError if no merge can be
    made of these adapters.
    """
    kl: dict[str, Array] = {}
    left_out: dict[str, str] = {}
    for name, merge in MERGES.items():
        try:
            with merge(bank, weights.tolist()) as base:
                kl[name] = divergences(bank, answers, base, weights)
        except (ValueError, TypeError, AttributeError, RuntimeError) as error:
            left_out[name] = str(error).splitlines()[0]
    if not kl:
        raise InstanceError.of("adapters", left_out, "no merge can be made of them", "use the soup")
    best = min(kl, key=lambda name: float(kl[name].mean()))
    # peft makes merged factors in float32; a soft cap behind the output layer is not linear
    rounding = 1e2 * rounding_unit(bank, torch.float32)
    exact = bank.head_only and best == "cat" and float(kl[best].max()) <= rounding
    with bank.using(REF) as base:
        reference = divergences(bank, answers, base, weights)
    with MERGES[best](bank, weights.tolist()):
        save_adapter(bank, MERGED, folder, base_name, record=record)
    return Exported(
        best, exact, {name: float(x.mean()) for name, x in kl.items()},
        float(kl[best].max()), float(reference.mean()), len(reference), left_out,
    )  # fmt: skip
