"""``t2i``: five turns of a slate of four columns; specialists of one turn, users of the session.

Spectral Souping §5 and B.1: 32 user models with turn-by-turn tastes give the specialists, users value
the whole session. Here a *myopic* specialist is ``π_k ∝ ref·exp(r_k/β)``, ``Q_k = r_k``; the same 32
tastes solved over the session stand beside it.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np

from toymdp import TokenMDP
from toymdp.arrays import Array
from toymdp.methods.method import Bases, Domain

from ..records.output import Record
from .experiment import Ask, Experiment, Settings, Unit

A, L, T, BETA = 25, 2, 5, 0.5
CATEGORIES, K, USERS, PROMPTS, SLATE = 5, 32, 5, 4, 4
LIKENESS = 3.0  # of a column to the turn before, in the logit of its choice: what is chosen stays


def chosen_from_slates(utility: Array) -> Array:
    """[n, A]: the chance that each column is chosen, of utilities [n, A].

    Four of the A columns are shown, every slate alike; the choice among them is multinomial logit.
    """
    slates = np.array(list(combinations(range(utility.shape[1]), SLATE)))
    chance = np.zeros_like(utility)
    for row, u in zip(chance, utility, strict=True):
        weights = np.exp(u - u.max())[slates]
        np.add.at(row, slates, weights / weights.sum(axis=1, keepdims=True))
    return np.asarray(chance / len(slates))


def domain(seed: int, outside: float) -> Domain:
    """The world of a seed: tokens have five features; a context is the last two turns.

    A user's reward of a turn is a taste of its features and, in the measure of ``outside``, how like
    the turn before it is: what no taste of single turns knows.
    """
    rng = np.random.default_rng([seed, 0x721])
    features = rng.normal(size=(A, CATEGORIES))
    before, now = np.divmod(np.arange(A * A), A)
    tastes = rng.normal(size=(K, CATEGORIES))
    tastes /= np.linalg.norm(tastes, axis=1, keepdims=True)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    like = (unit[before] * unit[now]).sum(axis=1)
    own = rng.normal(size=(USERS, CATEGORIES))
    own /= np.linalg.norm(own, axis=1, keepdims=True)
    known = own @ features[now].T
    size = np.linalg.norm(known, axis=1, keepdims=True) / np.linalg.norm(like)
    users = np.sqrt(1.0 - outside**2) * known + outside * size * like
    by_last = chosen_from_slates(LIKENESS * unit @ unit.T)
    starts = rng.choice(A * A, PROMPTS, replace=False)
    mdp = TokenMDP(
        vocab_size=A, order=L, horizon=T, start=[0] * L, ref_weights=by_last[now],
        rewards=tastes @ features[now].T, beta=BETA, w=np.full(K, 1.0 / K), name=f"t2i-{seed}",
        features={"kind": "tabular", "per_step": True, "scale": 1.0},
    )  # fmt: skip
    return Domain(
        "t2i", (mdp,), np.zeros(PROMPTS, dtype=np.int64), starts, np.arange(PROMPTS) < PROMPTS // 2,
        features[now].T[None], users[:, None],
    )  # fmt: skip


def unit(ask: Ask) -> list[Record]:
    """The records of one user of one seed, with myopic specialists and with those of the session."""
    world = domain(ask.seed, ask.outside)
    solved, feedback = Bases.optimal(world), ask.feedback(world)
    turn = tuple(np.repeat(mdp.rewards[:, None], T, axis=1) for mdp in world.worlds)
    kinds = (("t2i myopic", Bases.given(world, turn)), ("t2i solved", solved))
    return [
        row for name, bases in kinds
        for row in Unit("t2i", name, world, bases, solved, feedback, ask).records()
    ]  # fmt: skip


METHODS = (
    "ref", "rlhf", "rlhf-learnt", "oracle", "ss-explicit[m=0]", "ss-explicit[m=1/K]",
    "ss-explicit[m=0, budget]", "ss-implicit*", "p-soups[rank 2]", "pad", "pad-sf[5 starts]", "mod",
    "best-specialist",
)  # fmt: skip
_QUICKER = tuple(m.replace("[5 starts]", "") for m in METHODS)  # of PAD-SF, one start
FULL = Settings(20, 1, (5, 20, 80, 320, 1280), METHODS, "bt", 0.3, False)
QUICK = Settings(2, 1, (40, 640), _QUICKER, "bt", 0.3, True)
EXPERIMENT = Experiment(
    "t2i", "five turns of a slate; specialists of one turn, users of the session (SS Figures 1, 2)",
    (
        "a turn is the column that a multinomial logit chooses of four shown, of 25",
        "specialists: 32 tastes of single turns, Q_k = r_k (myopic), or solved over the session",
        "users: a taste, and in the measure of `outside` the likeness of consecutive turns",
        "a session's value has no term of the last turn alone: rewards here do not know the time",
    ),
    unit, FULL, QUICK, USERS,
)  # fmt: skip
