"""Whether log-ratios are linear in the reference's state: held-out R² on ``ψ(s)``."""

from __future__ import annotations

from typing import Any

import numpy as np

from toymdp.arrays import Array

from ..backend import torch
from ..bank import Bank
from .measures import log_ratios
from .reached import Reached

Tensor = Any

COLUMNS = 2048  # tokens of a large vocabulary on which state_linearity is judged


@torch.no_grad()
def state_linearity(bank: Bank, reached: Reached, seed: int = 0) -> Array | None:
    """Held-out R² [P−1] of log-ratios centred within each state on ``ψ(s)`` of the reference.

    For adapters on the output layer ``z_k − z_ref = s·B A ψ(s)``: linear up to a constant of each
    state, and R² is 1 as soon as half of the states determine that map. Judged on up to 2048 tokens, drawn.
    None where that half's states are linearly independent: then nothing is overdetermined.
    """
    half = len(reached.prefixes) // 2
    rng = np.random.default_rng(seed)
    columns = drawn_tokens(bank, rng)
    psi, fields = [], []
    for start in range(0, len(reached.prefixes), 16):
        hidden = reached.hidden[:, start : start + 16]
        fields.append(centred_ratios(bank.logits(hidden)[:, :, columns]))
        psi.append(hidden[0].double().cpu())
    states, every = torch.cat(psi), torch.cat(fields, dim=1)
    order = torch.from_numpy(rng.permutation(len(reached.prefixes)))
    share, rank = linear_share(states, every, order[:half], order[half:])
    return share if rank < half else None


def drawn_tokens(bank: Bank, rng: np.random.Generator) -> Tensor:
    """Up to 2048 token ids."""
    every = torch.from_numpy(rng.permutation(bank.vocab_size)[:COLUMNS].copy())
    return every.to(bank.device)


def centred_ratios(z: Tensor) -> Tensor:
    """Log-ratios [P−1, N, c] less their mean over the c tokens of a state, from logits [P, N, c]."""
    d, live = log_ratios(z.double().cpu())
    count = live.sum(dim=1, keepdim=True).clamp_min(1)
    return torch.where(live, d - d.sum(dim=2, keepdim=True) / count, 0.0)


def linear_share(states: Tensor, fields: Tensor, seen: Tensor, unseen: Tensor) -> tuple[Array, int]:
    """R² [P−1] on states ``unseen`` of fields [P−1, N, c] fitted linearly in states [N, d] on ``seen``.

    And the rank of the states seen: if they are independent, every field fits them.
    """
    # all fields at once: what costs is the decomposition of the states
    fit = torch.linalg.lstsq(states[seen], torch.cat([*fields[:, seen]], dim=1), driver="gelsd")
    missed = torch.cat([*fields[:, unseen]], dim=1) - states[unseen] @ fit.solution
    each = (missed**2).sum(dim=0).reshape(len(fields), -1).sum(dim=1)
    total = (fields[:, unseen] ** 2).sum(dim=(1, 2)).clamp_min(1e-300)
    return np.asarray(1.0 - each / total), int(fit.rank)
