"""How far each policy is from the bespoke one, by what it writes: one temperature for all of them.

At β the bespoke policy is optimal, and any policy's value under its reward falls short of it by
``V_w − V(π) = β E_π Σ_t KL(π‖π_w)``. At each visited state the divergence is computed from logits.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bounds.runs.progress import OnProgress, silent
from toymdp.arrays import Array

from ..answers import Answer
from ..backend import torch
from ..bank import REF, Bank, pad
from ..decoding import generate, single_row
from ..forward import logits_of, states_of
from ..measure.rollout_gap import drawn_and_measured
from .finished import Finished
from .policies import BATCH, SOUP, Rival, rivals

Tensor = Any


@dataclass(frozen=True)
class Shortfall:
    """``β E_π Σ KL(π‖π_w)`` in reward units with its standard error over prompts; share of answers cut."""

    gap: float
    error: float
    cut: float


def _divergences(bank: Bank, answers: Sequence[Answer], base: Any) -> Array:
    """``Σ_t KL(π‖π_w)`` [N] of each answer, nats; base: the model that is π now."""
    assert bank.bespoke is not None
    totals = torch.zeros(len(answers), dtype=torch.float64)
    for start in range(0, len(answers), BATCH):
        part = answers[start : start + BATCH]
        ids, mask = pad([a.ids for a in part], bank.device)
        where = [(i, place) for i, a in enumerate(part) for place in a.places]
        size = bank.states_at_once(4)
        own = states_of(base, ids, mask)
        with bank.using(bank.bespoke, folded=True):
            theirs = states_of(base, ids, mask)
        for first in range(0, len(where), size):
            row, place = torch.tensor(where[first : first + size], device=bank.device).T
            mine = logits_of(base, own[row, place]).double().log_softmax(dim=1)
            with bank.using(bank.bespoke):
                z_w = logits_of(base, theirs[row, place]).double()
            apart = torch.where(mine > -torch.inf, mine - z_w.log_softmax(dim=1), 0.0)
            each = (mine.exp() * apart).sum(dim=1).cpu()
            totals.index_add_(0, row.cpu() + start, each)
    return np.asarray(totals)


@torch.no_grad()
def shortfall(
    bank: Bank, prompts: Sequence[Sequence[int]], rival: Rival | None, weights: Array, *, beta: float,
    tokens: int, seed: int,
) -> list[float]:  # fmt: skip
    """Draw one answer to each prompt by a policy (None: the soup); the fields of its Shortfall."""
    if rival is None:
        drawn, sums = drawn_and_measured(
            bank, prompts, weights, tokens=tokens, seed=seed, precision=torch.float64
        )
        totals = sums[:, 0]
    else:
        with rival.under(bank, weights.tolist()) as base:
            drawn = generate(bank, prompts, single_row, tokens=tokens, seed=seed, single=base)
            answers = [Answer((*p, *a), len(p)) for p, a in zip(prompts, drawn, strict=True)]
            totals = _divergences(bank, answers, base)
    cut = sum(len(a) == tokens and a[-1] not in bank.ends for a in drawn) / len(drawn)
    mean, error = totals.mean(), totals.std(ddof=1) / np.sqrt(len(totals))
    return [float(beta * mean), float(beta * error), cut]


def shortfalls(
    bank: Bank, prompts: Sequence[Sequence[int]], weights: Array, *, beta: float, tokens: int,
    seed: int, left_out: Collection[str] = (), finished: Finished | None = None,
    on_progress: OnProgress = silent,
) -> dict[str, Shortfall]:  # fmt: skip
    """Of ref, the soup, every adapter and every merge; {} without π_w or with one prompt.

    left_out: merges that these adapters do not allow (``CrossFit.left_out``).
    """
    if bank.bespoke is None or len(prompts) < 2:
        return {}
    reference = Rival(REF, lambda b, _: b.using(REF), weighted=False)
    others = [r for r in rivals(bank) if r.name != bank.bespoke and r.name not in left_out]
    cases: list[tuple[str, Rival | None]] = [
        (SOUP, None),
        *((r.name, r) for r in (reference, *others)),
    ]
    found, finished = {}, finished or Finished(None, "")
    options: dict[str, Any] = {"beta": beta, "tokens": tokens, "seed": seed}
    for n, (name, rival) in enumerate(cases):
        found[name] = Shortfall(*finished.once(
            f"gap {name}", lambda r=rival: shortfall(bank, prompts, r, weights, **options)  # type: ignore[misc]
        ))  # fmt: skip
        on_progress("drawing by every policy", n + 1, len(cases))
    return found
