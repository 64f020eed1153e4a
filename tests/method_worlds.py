"""Small domains on which every method runs in a blink, and nothing is special."""

from __future__ import annotations

import numpy as np

from toymdp import TokenMDP
from toymdp.learning.users import mixed_user
from toymdp.methods import collect
from toymdp.methods.method import Bases, Domain


def small_domain(
    seed=0, *, A=3, L=2, T=3, K=4, beta=0.5, outside=0.3, forbid=0.0, prompts=3, train=2,
    attributes=2, users=2, worlds=1,
):  # fmt: skip
    rng = np.random.default_rng([seed, 0x5A11])
    S = A**L
    made, kinds, rated = [], [], []
    for w in range(worlds):
        weights = rng.gamma(1.0, size=(S, A)) + 0.05
        forbidden = rng.random((S, A)) < forbid
        forbidden[np.arange(S), rng.integers(A, size=S)] = False
        weights[forbidden] = 0.0
        given = rng.normal(size=(attributes, S))
        near = 0.7 * np.eye(attributes)[np.arange(K) % attributes]
        mixtures = near + 0.3 * rng.dirichlet(np.ones(attributes), size=K)
        made.append(TokenMDP(
            vocab_size=A, order=L, horizon=T, start=[0] * L, ref_weights=weights,
            rewards=mixtures @ given, beta=beta, w=np.full(K, 1.0 / K), name=f"small-{w}",
            features={"kind": "tabular", "per_step": True, "scale": 1.0},
        ))  # fmt: skip
        kinds.append(given)
        rated.append([
            mixed_user(given, rng.dirichlet(np.ones(attributes)), rng.normal(size=S), outside)
            for _ in range(users)
        ])  # fmt: skip
    return Domain(
        "small", tuple(made), np.arange(prompts) % worlds, rng.choice(S, prompts, replace=False),
        np.arange(prompts) < train, np.stack(kinds), np.stack(rated).transpose(1, 0, 2),
    )  # fmt: skip


def with_feedback(domain, n=60, *, user=0, mode="bt", seed=0, disputed=True):
    pairs = collect.draw_pairs(domain, n, seed, disputed=disputed)
    return Bases.optimal(domain), collect.label(domain, pairs, user, mode, seed)
