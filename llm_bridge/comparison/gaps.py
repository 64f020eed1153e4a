"""How far each policy is from the bespoke one, by what it writes: one temperature for all of them.

At β the bespoke policy is optimal, and any policy's value under its reward falls short of it by
``V_w − V(π) = β E_π Σ_t KL(π‖π_w)``. At each visited state the divergence is computed from logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bounds.runs.progress import OnProgress, silent
from toymdp import InstanceError
from toymdp.arrays import Array

from ..backend import torch
from ..bank import REF, Bank
from ..decoding import generate, single_row
from ..forward import logits_of, states_of
from ..measure.soups import LogitMixture, mix
from .policies import SOUP, Rival, rivals

Tensor = Any


@dataclass(frozen=True)
class Shortfall:
    """``β E_π Σ KL(π‖π_w)`` in reward units with its standard error over prompts; share of answers cut."""

    gap: float
    error: float
    cut: float


def _laws(bank: Bank, ids: Tensor, places: Tensor, policies: Sequence[str]) -> Tensor:
    """Logits [P, n, A] of a bank's own policies at places of one sequence, float64."""
    rows = []
    for policy in policies:
        with bank.using(policy) as base:
            rows.append(logits_of(base, states_of(base, ids[None])[0, places]).double())
    return torch.stack(rows)


@torch.no_grad()
def shortfall(
    bank: Bank, prompts: Sequence[Sequence[int]], rival: Rival | None, weights: Array, *, beta: float,
    tokens: int, seed: int,
) -> Shortfall:  # fmt: skip
    """Draw one answer to each prompt by a policy (None: the soup) and say how far from π_w it is."""
    assert bank.bespoke is not None
    mixture = torch.as_tensor(np.asarray(weights), dtype=torch.float64)
    if rival is None:
        drawn = generate(bank, prompts, LogitMixture(mixture), tokens=tokens, seed=seed)
    else:
        with rival.under(bank, weights.tolist()) as base:
            drawn = generate(bank, prompts, single_row, tokens=tokens, seed=seed, single=base)
    totals, cut = np.zeros(len(prompts)), 0
    for n, (prompt, answer) in enumerate(zip(prompts, drawn, strict=True)):
        cut += len(answer) == tokens and answer[-1] not in bank.ends
        ids = torch.tensor([*prompt, *answer], device=bank.device)
        size = bank.states_at_once(len(bank.policies) + 2)
        places = torch.arange(len(prompt) - 1, len(ids) - 1)
        for some in places.split(size):
            if rival is None:
                z = mix(_laws(bank, ids, some, (REF, *bank.names)), mixture[None].to(ids.device))[0]
            else:
                with rival.under(bank, weights.tolist()) as base:
                    z = logits_of(base, states_of(base, ids[None])[0, some]).double()
            mine = z.log_softmax(dim=1)
            theirs = _laws(bank, ids, some, (bank.bespoke,))[0].log_softmax(dim=1)
            live = mine > -torch.inf
            apart = torch.where(live, mine - theirs, 0.0)
            totals[n] += beta * float((mine.exp() * apart).sum())
    error = float(totals.std(ddof=1) / np.sqrt(len(totals)))
    return Shortfall(float(totals.mean()), error, cut / len(prompts))


def shortfalls(
    bank: Bank, prompts: Sequence[Sequence[int]], weights: Array, *, beta: float, tokens: int,
    seed: int, on_progress: OnProgress = silent,
) -> dict[str, Shortfall]:  # fmt: skip
    """Of ref, the soup, every adapter and every merge; {} without π_w or with one prompt."""
    if bank.bespoke is None or len(prompts) < 2:
        return {}
    reference = Rival(REF, lambda b, _: b.using(REF), weighted=False)
    others = [r for r in rivals(bank) if r.name != bank.bespoke]
    cases: list[tuple[str, Rival | None]] = [
        (SOUP, None),
        *((r.name, r) for r in (reference, *others)),
    ]
    found = {}
    for n, (name, rival) in enumerate(cases):
        try:
            found[name] = shortfall(
                bank, prompts, rival, weights, beta=beta, tokens=tokens, seed=seed
            )
        except InstanceError:
            raise
        except (ValueError, TypeError, AttributeError, RuntimeError):
            continue  # named among the policies that cannot be made, where pairs are judged
        finally:
            on_progress("drawing by every policy", n + 1, len(cases))
    return found
