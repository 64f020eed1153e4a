"""Edits that make an ordinary world quick to read: probabilities in hundredths, round rewards.

They change whole tables, and equal entries alike: what is symmetric stays so.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from .edits import Draft, Edit, on_grid, rebuilt

SHARES = (10, 20, 50, 100, 200, 1000)  # denominators of a row's probabilities
REWARDS = (10.0, 5.0, 2.0, 1.0, 0.5, 0.1)  # steps of rewards, in reward units


def rounder(draft: Draft) -> Iterator[Edit]:
    """Rows and rewards that nobody reaches made plain, then everything rounded, coarsely first."""
    yield _unreached
    for step in REWARDS:
        yield partial(_rewards, step=step)
    for n in SHARES:
        yield partial(_shares, n=n)


def _unreached(draft: Draft) -> Draft | None:
    mdp = draft[0]
    weights, rewards = mdp.ref_weights.copy(), mdp.rewards.copy()
    weights[~mdp.reach.any_state] = 1.0
    rewards[:, ~mdp.reach.nexts.any(axis=0)] = 0.0
    return rebuilt(draft, ref_weights=weights, rewards=rewards)


def _rewards(draft: Draft, step: float) -> Draft | None:
    rewards = on_grid(draft[0].rewards, step)
    unchanged = np.array_equal(rewards, draft[0].rewards)
    return None if unchanged else rebuilt(draft, rewards=rewards)


def _shares(draft: Draft, n: int) -> Draft | None:
    """Weights that are whole numbers of sum about n, at least 1; the largest give what is too much."""
    mdp = draft[0]
    weights = np.where(mdp.ref > 0, np.maximum(np.round(n * mdp.ref), 1.0), 0.0)
    top = weights == weights.max(axis=1, keepdims=True)
    excess = np.maximum(weights.sum(axis=1, keepdims=True) - n, 0.0)
    give = np.ceil(excess / top.sum(axis=1, keepdims=True))
    weights = np.where(top, np.maximum(weights - give, 1.0), weights)
    weights[~mdp.reach.any_state] = mdp.ref_weights[~mdp.reach.any_state]
    unchanged = np.array_equal(weights, mdp.ref_weights)
    return None if unchanged else rebuilt(draft, ref_weights=weights)
