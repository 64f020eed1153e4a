"""Small instances of many kinds for the tests of branch and bound."""

from __future__ import annotations

import numpy as np
from conftest import random_mdp

from toymdp import TokenMDP
from toymdp.families import generate


def ball_points(rng, K: int, n: int) -> np.ndarray:
    """Signed points of the unit ℓ₁ ball, on its surface, near 0, and on coordinate planes."""
    nus = rng.dirichlet(np.full(K, 0.7), size=n) * rng.choice([-1.0, 1.0], size=(n, K))
    nus[::2] *= rng.uniform(0, 1, (len(nus[::2]), 1))
    nus[::7] *= 10.0 ** rng.uniform(-9, 0, (len(nus[::7]), 1))
    nus[::5, rng.integers(K)] = 0.0
    return nus


def opposite(seed: int, K: int, noise: float = 0.05, scale: float = 1.0, **size) -> TokenMDP:
    """Rewards that nearly cancel: J is almost flat along a ridge, and λ* is often 0."""
    mdp = random_mdp(seed, K=K, beta=0.5, scale=scale, **size)
    rng = np.random.default_rng(seed)
    signs = np.where(np.arange(K) % 2 == 0, 1.0, -1.0)[:, None]
    rewards = signs * mdp.rewards[0] + noise * scale * rng.normal(size=mdp.rewards.shape)
    return mdp.replace(rewards=rewards, w=np.full(K, 1 / K))


def world(seed: int) -> TokenMDP:
    """One of many kinds of small instances, K = 1, 2 or 3."""
    rng = np.random.default_rng([seed, 17])
    K = 1 + seed % 3
    size = {
        "A": int(rng.integers(2, 5)),
        "L": int(rng.integers(1, 3)),
        "T": int(rng.integers(1, 6)),
    }
    beta = float(rng.choice([0.02, 0.2, 1.0, 30.0]))
    match seed % 8:
        case 0:
            return random_mdp(seed, K=K, beta=beta, forbid=0.3, **size)
        case 1:
            return random_mdp(seed, K=K, beta=beta, eos=1, **size)
        case 2:
            return opposite(seed, max(K, 2), **size)
        case 3:  # an exact cancellation under w: λ* = 0
            mdp = random_mdp(seed, K=2, beta=beta, **size)
            pair = np.stack([mdp.rewards[0], -mdp.rewards[0]])
            return mdp.replace(rewards=pair, w=np.array([0.5, 0.5]))
        case 4:
            return opposite(seed, max(K, 2), noise=0.4, scale=20.0, **size)
        case 5:
            return random_mdp(
                seed, K=K, beta=1.0, scale=float(rng.choice([1e-9, 1e-3, 50.0])), **size
            )
        case 6:
            return generate(["softmax", "low-rank", "dirichlet"][seed % 3], seed, K=K)
        case _:
            return generate("tree", seed, K=K, A=2, T=4)
