"""``sleep``: ten turns of coaching, five traits at three levels, users with saturating rubrics.

Spectral Souping §5 and B.1: specialists for a high, medium or low trait; users are rubrics of tone,
understanding and intervention, weighed by a profile.
"""

from __future__ import annotations

import numpy as np

from toymdp import TokenMDP
from toymdp.arrays import Array
from toymdp.methods.method import Domain

from ..records.output import Record
from .experiment import Ask, Experiment, Settings, souped
from .profiles import profiles

A, L, T, BETA = 5, 2, 10, 0.5
TRAITS, RUBRICS, USERS, PROMPTS = 5, 3, 5, 8
STEEP = 3.0  # of the rubrics' saturation
SCALE = 2.0  # reward units of a trait from its lowest to its highest


def levels(x: Array) -> Array:
    """The 15 rewards [15, S] of traits x [5, S] in [0, 1]: high +x, medium −(x − ½)², low −x."""
    return SCALE * np.concatenate([x, -((x - 0.5) ** 2), -x])


def weights_of(person: Array) -> Array:
    """Weights [3] of tone, understanding, intervention: RULE."""
    age, bmi, hours, spread = person
    raw = np.array([0.5 + age, 0.5 + spread, 0.5 + 0.5 * (1.0 - hours) + 0.5 * bmi])
    return np.asarray(raw / raw.sum())


RULE = (
    "weights of tone, understanding, intervention ∝ ½ + age, ½ + spread of sleep, "
    "½ + ½(1 − hours) + ½ BMI, each scaled to [0, 1]"
)


def domain(seed: int, outside: float) -> Domain:
    """The world of a seed. A rubric is ``tanh`` of a mixture of traits: it saturates.

    outside: how much of a user is the saturated rubric, the rest being its linear part.
    """
    rng = np.random.default_rng([seed, 0x51EE])
    S = A**L
    x = rng.random((TRAITS, S))
    mixtures = rng.dirichlet(np.ones(TRAITS), size=RUBRICS)
    straight = mixtures @ (x - 0.5)
    bent = np.tanh(STEEP * straight) / STEEP
    known = profiles()
    people = np.array([weights_of(p) for p in known[rng.choice(len(known), USERS, replace=False)]])
    users = 2.0 * SCALE * people @ ((1.0 - outside) * straight + outside * STEEP * bent)
    starts = rng.choice(S, PROMPTS, replace=False)
    K = 3 * TRAITS
    mdp = TokenMDP(
        vocab_size=A, order=L, horizon=T, start=[0] * L, ref_weights=rng.gamma(1.0, size=(S, A)),
        rewards=levels(x), beta=BETA, w=np.full(K, 1.0 / K), name=f"sleep-{seed}",
        features={"kind": "tabular", "per_step": True, "scale": 1.0},
    )  # fmt: skip
    return Domain(
        "sleep", (mdp,), np.zeros(PROMPTS, dtype=np.int64), starts, np.arange(PROMPTS) < PROMPTS // 2,
        x[None], users[:, None],
    )  # fmt: skip


def unit(ask: Ask) -> list[Record]:
    """The records of one user of one seed."""
    return souped("sleep", domain(ask.seed, ask.outside), ask)


METHODS = (
    "ref", "rlhf", "rlhf-learnt", "oracle", "oracle-free", "ss-explicit", "ss-implicit*",
    "p-soups[rank 2]", "p-soups[rank 2, delta]", "pad", "pad-sf[5 starts]", "mod", "best-specialist",
)  # fmt: skip
_QUICKER = tuple(m.replace("[5 starts]", "") for m in METHODS)  # of PAD-SF, one start
FULL = Settings(20, 3, (5, 10, 20, 40, 80, 160, 320, 640, 1280), METHODS, "bt", 0.5, False)
QUICK = Settings(3, 2, (20, 160, 1280), _QUICKER, "bt", 0.5, True)
EXPERIMENT = Experiment(
    "sleep", "ten turns, five traits at three levels, users with saturating rubrics (SS Figures 1, 2)",
    (
        "K = 15, five traits at three levels, as SS §5; its K = 15 in B.1 is one for each of five",
        "users: people of LifeSnaps with a week of nights or more (56; the paper has 68), drawn by the seed",
        RULE,
        "high and low of one trait are opposites, so that λ is not identified: K = 15, rank ≤ 10",
    ),
    unit, FULL, QUICK, USERS,
)  # fmt: skip
