"""Instances that many tests share."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import settings

from toymdp import TokenMDP, kernels

settings.register_profile("soupcheck", deadline=None, max_examples=40)
settings.load_profile("soupcheck")


def random_mdp(
    seed: int,
    *,
    A: int = 3,
    L: int = 2,
    T: int | None = 4,
    K: int = 2,
    beta: float = 1.0,
    eos: int | None = None,
    forbid: float = 0.0,
    scale: float = 1.0,
) -> TokenMDP:
    """A plain random instance: nothing about it is special."""
    rng = np.random.default_rng(seed)
    S = A**L
    weights = rng.exponential(size=(S, A))
    forbidden = rng.random((S, A)) < forbid
    if eos is not None:
        forbidden[:, eos] = False
        weights[:, eos] += 1.0  # episodes end soon enough for every reward to have a value
    forbidden[np.arange(S), rng.integers(A, size=S)] = False
    weights[forbidden] = 0.0
    start = 0 if eos != 0 else 1
    return TokenMDP(
        vocab_size=A,
        order=L,
        horizon=T,
        eos=eos,
        start=[start] * L,
        ref_weights=weights,
        rewards=scale * rng.normal(size=(K, S)),
        beta=beta,
        w=rng.dirichlet(np.ones(K)),
        features={"kind": "tabular", "per_step": T is not None, "scale": 1.0},
    )


def soup_values_of(ref, states, Q, mu, reward, eta) -> np.ndarray:
    """U [T+1, S] of the soup ``ref·exp(Σ mu_k Q_k)`` by the objective's own kernel."""
    tables, U = np.empty((4, *Q.shape[1:])), np.zeros((Q.shape[1] + 1, Q.shape[2]))
    G, kl, inverse, mean = tables
    back = ref, np.ascontiguousarray(ref.T), states, np.ascontiguousarray(Q)
    kernels.soups.soup_backward(*back, mu, reward, eta, G, U, kl, inverse, mean)
    return U


@pytest.fixture
def small() -> TokenMDP:
    return random_mdp(0)
