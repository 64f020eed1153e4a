"""Keys of ``token-mdp/1`` of instances made to lose digits, by seed.

With a horizon and until ``eos``; β from 1e-6 to 1e6, rewards from 1e-6 β to 1e4 β; probabilities
down to 1e-300, forbidden tokens, ends that come once in 1e12 steps; tied rewards, specialists that
are copies or opposites of one another, one-hot and lopsided w; one-hots of any scale, dense features
of full and of short rank, of one norm and of many.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Fields = dict[str, Any]


def nasty(seed: int) -> Fields:
    """The fields of one instance; every third has no horizon."""
    rng = np.random.default_rng([2605, seed])
    return _until_eos(rng) if seed % 3 == 2 else _finite(rng)


def _finite(rng: np.random.Generator) -> Fields:
    A, L = ((2, 1), (3, 1), (4, 1), (2, 2), (3, 2), (2, 3))[rng.integers(6)]
    S, T, K = A**L, int(rng.integers(1, 6)), int(rng.integers(1, 5))
    eos = A - 1 if rng.random() < 0.3 else None
    weights = _weights(rng, S, A)
    if rng.random() < 0.25:  # a token forbidden here and there, never all of a row
        weights[rng.random((S, A)) < 0.3] = 0.0
        weights[np.arange(S), rng.integers(A, size=S)] = 1.0
    beta = 10.0 ** rng.uniform(-6, 6)
    start = [0] * L if eos is not None else rng.integers(A, size=L).tolist()
    return {
        "vocab_size": A, "order": L, "horizon": T, "eos": eos, "start": start,
        "ref_weights": weights, "rewards": _rewards(rng, K, S) * beta * _steepness(rng),
        "beta": beta, "beta_prime": beta * _other_temperature(rng), "w": _user(rng, K),
        "features": _features(rng, S, T),
    }  # fmt: skip


def _until_eos(rng: np.random.Generator) -> Fields:
    """Rewards are scaled until the hardest system is ``away`` from having spectral radius 1.

    Half of them pay nothing but the end and come to it once in ``1/away`` steps instead.
    """
    A, K = int(rng.integers(2, 5)), int(rng.integers(1, 4))
    weights, rewards = _weights(rng, A, A), _rewards(rng, K, A)
    beta, w, away = 10.0 ** rng.uniform(-6, 6), _user(rng, K), 10.0 ** rng.uniform(-12, -0.5)
    if rng.random() < 0.5:
        weights = weights / weights[:, : A - 1].sum(axis=1, keepdims=True)
        weights[:, A - 1] = away
        rewards = -np.abs(rewards)
        rewards *= min(1.0, away) * rng.uniform(0, 2)
        rewards[:, A - 1] = rng.normal(size=K)
    else:
        probabilities = weights / weights.sum(axis=1, keepdims=True)
        rewards = _critical(probabilities, rewards, w, away)
    scale = 10.0 ** rng.uniform(-8, 8) if rng.random() < 0.5 else rng.uniform(0.2, 3.0, size=A)
    return {
        "vocab_size": A, "order": 1, "horizon": None, "eos": A - 1, "start": [0],
        "ref_weights": weights, "rewards": rewards * beta, "beta": beta,
        "beta_prime": beta * _other_temperature(rng), "w": w,
        "features": {"kind": "tabular", "per_step": False, "scale": scale},
    }  # fmt: skip


def _critical(ref: np.ndarray, pays: np.ndarray, w: np.ndarray, away: float) -> np.ndarray:
    """``factor·pays``, with the factor for which the largest radius is 1 − away (or 20, if none is)."""
    every, n = np.vstack([pays, w @ pays]), len(ref) - 1

    def radius(factor: float) -> float:
        gains = np.exp(factor * every[:, None, :n])
        return max(np.abs(np.linalg.eigvals(m)).max() for m in ref[:n, :n] * gains)

    low, high = 0.0, 20.0
    for _ in range(100):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if radius(middle) < 1.0 - away else (low, middle)
    return low * pays


def _weights(rng: np.random.Generator, S: int, A: int) -> np.ndarray:
    """Plain, or over many orders of magnitude."""
    kind = rng.integers(4)
    if kind < 2:
        return rng.exponential(size=(S, A)) + 1e-3
    lowest = -300 if kind == 2 else -16
    weights = 10.0 ** rng.uniform(lowest, 0, size=(S, A))
    weights[np.arange(S), rng.integers(A, size=S)] = 1.0
    return weights


def _rewards(rng: np.random.Generator, K: int, S: int) -> np.ndarray:
    kind = rng.integers(6)
    rewards = rng.normal(size=(K, S))
    if kind == 0:  # ties within a reward
        rewards = np.round(2 * rewards) / 2
    elif kind == 1 and K > 1:  # copies
        rewards[1:] = rewards[0]
    elif kind == 2 and K > 1:  # opposites
        rewards[1] = -rewards[0]
    elif kind == 3:  # one reward for all but a few contexts, and none below 0
        rewards = np.where(rng.random((K, S)) < 0.3, np.abs(rewards), 0.0)
    elif kind == 4:
        rewards = np.abs(rewards)
    elif kind == 5 and K > 1:  # all but copies
        rewards[1] = rewards[0] * (1.0 + 1e-9)
    return rewards


def _steepness(rng: np.random.Generator) -> float:
    """Rewards in β."""
    return float(10.0 ** (rng.uniform(-6, 4) if rng.random() < 0.5 else rng.uniform(-1, 1)))


def _other_temperature(rng: np.random.Generator) -> float:
    return 1.0 if rng.random() < 0.5 else float(10.0 ** rng.uniform(-2, 2))


def _user(rng: np.random.Generator, K: int) -> np.ndarray:
    kind = rng.integers(4)
    if kind == 0:
        w = np.zeros(K)
        w[rng.integers(K)] = 1.0
        return w
    if kind == 1:
        return np.full(K, 1.0 / K)
    w = rng.dirichlet(np.full(K, 1.0 if kind == 2 else 0.05))
    return np.asarray(w / w.sum())


def _features(rng: np.random.Generator, S: int, T: int) -> Fields:
    kind = rng.integers(6)
    if kind < 3:
        scale: Any = 10.0 ** rng.uniform(-10, 10)
        if kind == 1:
            scale = rng.uniform(0.2, 3.0, size=(T, S))
        if kind == 2:
            scale = 10.0 ** rng.uniform(-4, 4, size=(T, S))
        return {"kind": "tabular", "per_step": True, "scale": scale}
    if kind == 3:  # one feature more than places: whatever is asked of them exists
        return {"kind": "dense", "values": rng.normal(size=(T, S, S * T + 1))}
    if kind == 4:
        return {"kind": "dense", "values": rng.normal(size=(S, S + 1))}
    return {"kind": "dense", "values": rng.normal(size=(S, max(1, S // 2)))}
