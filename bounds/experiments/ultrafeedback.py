"""``ultrafeedback``: four attributes, thirty specialists near them, users partly outside (Figures 1, 2).

Spectral Souping §5 and B.1: 30 weight vectors drawn around the four attributes, five held-out users,
contentious pairs alone.
"""

from __future__ import annotations

import numpy as np

from toymdp import TokenMDP
from toymdp.learning.users import mixed_user
from toymdp.methods.method import Domain

from ..records.output import Record
from .experiment import Ask, Experiment, Settings, souped

A, L, T, BETA = 5, 2, 5, 0.5
ATTRIBUTES, K, USERS, PROMPTS = 4, 30, 5, 8
NEAR = 0.7  # of a specialist's weights on its attribute; the rest is drawn


def domain(seed: int, outside: float, kept: list[int] | None = None) -> Domain:
    """The world of a seed: ``outside`` changes the users alone, kept are the specialists that
    are left, all by default.

    Rewards of attributes are standard Gaussian on next contexts; users are Dirichlet mixtures of
    them, of whose norm a share ``outside`` lies in no attribute. Half the prompts are for test.
    """
    rng = np.random.default_rng([seed, 0x0F8])
    left = list(range(K)) if kept is None else kept
    S = A**L
    weights = rng.gamma(1.0, size=(S, A))
    attributes = rng.normal(size=(ATTRIBUTES, S))
    near = np.eye(ATTRIBUTES)[np.arange(K) % ATTRIBUTES]
    mixtures = NEAR * near + (1.0 - NEAR) * rng.dirichlet(np.ones(ATTRIBUTES), size=K)
    users = [
        mixed_user(attributes, rng.dirichlet(np.ones(ATTRIBUTES)), rng.normal(size=S), outside)
        for _ in range(USERS)
    ]
    starts = rng.choice(S, PROMPTS, replace=False)
    mdp = TokenMDP(
        vocab_size=A, order=L, horizon=T, start=[0] * L, ref_weights=weights,
        rewards=mixtures[left] @ attributes, beta=BETA, w=np.full(len(left), 1.0 / len(left)),
        features={"kind": "tabular", "per_step": True, "scale": 1.0}, name=f"ultrafeedback-{seed}",
    )  # fmt: skip
    return Domain(
        "ultrafeedback", (mdp,), np.zeros(PROMPTS, dtype=np.int64), starts,
        np.arange(PROMPTS) < PROMPTS // 2, attributes[None], np.stack(users)[:, None],
    )  # fmt: skip


def unit(ask: Ask) -> list[Record]:
    """The records of one user of one seed."""
    return souped("ultrafeedback", domain(ask.seed, ask.outside), ask)


METHODS = (
    "ref", "rlhf*", "oracle*", "ss-*", "p-soups", "pad*", "best-*", "mod", "pref", "modpo", "sf-gpi",
    "vas",
)  # fmt: skip
FULL = Settings(20, 3, (5, 10, 20, 40, 80, 160, 320, 640, 1280), METHODS, "bt", 0.3, False)
QUICK = Settings(3, 3, (20, 160, 1280), METHODS, "bt", 0.3, True)
EXPERIMENT = Experiment(
    "ultrafeedback", "four attributes, thirty specialists near them, five users (SS Figures 1, 2, 4, 5)",
    (
        "five users, as in SS §5 (B.1 says eight); 8 prompts, half of them for test",
        "β = 0.5, A = 5, L = 2, T = 5; B.2 of SS, on training, is empty",
        "labels: bt, with chance σ of the difference of returns, or rank, as SS ranks",
        "the prior of λ, which SS does not name: mean 0 or 1/K, its width by cross-validation",
        "P-SOUPS: rank-2 factors of the output logits, weights and scale tuned on the same pairs",
        "PReF, active: chooses among the pairs of the largest N, at which it has asked for all",
        "PAD: true weights; strength by the pairs; PAD-SF: a softmax scorer on one-hot contexts",
    ),
    unit, FULL, QUICK, USERS,
)  # fmt: skip
