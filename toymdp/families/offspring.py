"""Worlds that come from a family's by small random changes, one after the other, each by its seed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ..worlds.features import Dense, Tabular
from ..worlds.token_mdp import TokenMDP

SIZES = (0.1, 0.5, 2.0)  # of a change, in logarithms or in units of the rewards' spread
Change = Callable[[TokenMDP, np.random.Generator, float], dict[str, Any]]


def offspring(world: TokenMDP, steps: Iterable[int]) -> TokenMDP:
    """The world after these changes: the same world and steps give the same bits."""
    for step in steps:
        rng = np.random.default_rng([step, 6])
        size = float(rng.choice(SIZES))
        fields: dict[str, Any] = {}
        for i in rng.choice(len(CHANGES), int(rng.integers(1, 3)), replace=False):
            fields |= CHANGES[int(i)](world, rng, size)
        world = world.replace(**fields)
    return world


def _weights(world: TokenMDP, rng: np.random.Generator, size: float) -> dict[str, Any]:
    """Every allowed token a little likelier or rarer, in half of the contexts."""
    some = rng.random((world.n_contexts, 1)) < 0.5
    factor = np.exp(size * rng.normal(size=world.ref_weights.shape) * some)
    return {"ref_weights": world.ref * factor}


def _rewards(world: TokenMDP, rng: np.random.Generator, size: float) -> dict[str, Any]:
    """Rewards moved; those that were all at least 0 stay so."""
    noise = rng.normal(size=world.rewards.shape)
    if (world.rewards >= 0).all():
        return {"rewards": world.rewards * np.exp(size * noise)}
    return {"rewards": world.rewards + size * world.rewards.std() * noise}


def _unit(world: TokenMDP, rng: np.random.Generator, size: float) -> dict[str, Any]:
    """Rewards in another unit, by a factor up to four."""
    return {"rewards": world.rewards * np.exp(rng.uniform(-1.4, 1.4))}


def _user(world: TokenMDP, rng: np.random.Generator, size: float) -> dict[str, Any]:
    """Another mixture of the rewards near this one."""
    w = world.w * np.exp(size * rng.normal(size=world.w.shape))
    return {"w": w / w.sum()}


def _features(world: TokenMDP, rng: np.random.Generator, size: float) -> dict[str, Any]:
    """One-hot features of other scales; dense ones moved, which may end what is linear in them."""
    features = world.features
    if isinstance(features, Tabular):
        scale = np.asarray(features.scale)
        moved = scale * np.exp(size * rng.normal(size=scale.shape))
        return {
            "features": {"kind": "tabular", "per_step": features.per_step, "scale": moved.tolist()}
        }
    assert isinstance(features, Dense)
    values = features.values
    return {
        "features": {
            "kind": "dense",
            "values": values * np.exp(size * rng.normal(size=values.shape)),
        }
    }


CHANGES: tuple[Change, ...] = (_weights, _rewards, _unit, _user, _features)
