"""``offline``: specialists learnt from pairs or labels, what they are worth, and souping them (SS §4).

Each of eight specialists has its own data, answers of ref. A user's λ is then learnt from 640 pairs on
top, with exact specialists beside it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import scipy  # whose parts are imported when they are first asked for

from toymdp.arrays import Array
from toymdp.exact.tables import optima, optimum, tilt, worth
from toymdp.learning.feedback import Feedback
from toymdp.learning.logistic import cross_validated
from toymdp.learning.specialists import Trajectories, composite_jointly
from toymdp.methods import collect
from toymdp.methods.method import Bases, Domain, Fitted
from toymdp.methods.p_soups import factorise, to_logits
from toymdp.threads import one_blas_thread

from ..records.output import Record
from .experiment import Ask, Experiment, Judge, Settings, Unit
from .ultrafeedback import USERS, domain

SPECIALISTS = 8
SIZES, QUICK_SIZES = (50, 100, 200, 400, 1000, 2000, 5000), (100, 2000)
RANK = 2


def answers_of(world: Domain, n: int, seed: int) -> Feedback:
    """n pairs of answers of ref to prompts of both kinds, without a filter."""
    everywhere = replace(world, train=np.ones(len(world.train), dtype=bool))
    return collect.draw_pairs(everywhere, n, seed, disputed=False)


def by_pairs(world: Domain, k: int, n: int, seed: int) -> Array:
    """Q [T, S] of specialist k from n pairs: the exact optimum of a reward table by Bradley–Terry."""
    own = world.with_users(np.stack([mdp.rewards[k] for mdp in world.worlds])[None])
    feedback = collect.label(own, answers_of(world, n, seed), 0, "bt", seed)
    counts = collect.context_counts(world, feedback)
    reward = cross_validated(counts, feedback.targets, np.zeros(counts.shape[1])).mean
    return np.asarray(optima(world.mdp, reward[None])[0][0])


def labelled(world: Domain, k: int, n: int, seed: int) -> tuple[Trajectories, Array]:
    """n answers that are good with chance σ(R_k), as counts by step; and by context alone [n, S]."""
    mdp, T, S = world.mdp, world.mdp.steps, world.mdp.n_contexts
    drawn = answers_of(world, n, seed)
    _, nexts, states = collect.sides(world, drawn)[0]
    returns = mdp.rewards[k][nexts].sum(axis=1)
    heights = np.random.default_rng([seed, k, 0xB17]).random(n)
    good = (heights < scipy.special.expit(returns)).astype(np.float64)
    t, rows = np.arange(T), np.arange(n)
    iq, iv = t * S + nexts, t * S + states
    ones, later = np.ones(n * T), np.tile((t > 0).astype(np.float64), n)
    at = np.repeat(rows, T)
    q = scipy.sparse.coo_array((ones, (at, iq.ravel())), shape=(n, T * S)).tocsr()
    v = scipy.sparse.coo_array((later, (at, iv.ravel())), shape=(n, T * S)).tocsr()
    pairs, seen = np.unique(np.stack([iq.ravel(), iv.ravel()]).T, axis=0, return_counts=True)
    counts = np.zeros((n, S))
    np.add.at(counts, (rows[:, None], nexts), 1.0)
    return Trajectories(q, v, pairs, seen / seen.sum(), good), counts


def by_labels(world: Domain, k: int, n: int, seed: int, weight: float | None) -> Array:
    """Q [T, S] of specialist k from n labels; weight: of the Gumbel loss minimised jointly.

    None: the Gumbel step moves V alone, so that V is ``β log E_ref exp(Q/β)`` and the binary loss is a
    logistic regression of the label on the reward table.
    """
    data, counts = labelled(world, k, n, seed)
    if weight is None:
        reward = cross_validated(counts, data.good, np.zeros(counts.shape[1])).mean
        return np.asarray(optima(world.mdp, reward[None])[0][0])
    Q, _ = composite_jointly(data, world.beta, weight)
    return Q.reshape(world.mdp.steps, -1)


def learnt(world: Domain, loss: str, n: int, seed: int) -> Bases:
    """All specialists of a world by one loss from n pairs or labels each."""
    weights = {"binary + Gumbel 1": 1.0, "binary + Gumbel 0.1": 0.1, "binary, V alone": None}
    Q = []
    for k in range(world.mdp.n_rewards):
        own_seed = 1000 * seed + k
        if loss in weights:
            Q.append(by_labels(world, k, n, own_seed, weights[loss]))
        else:
            Q.append(by_pairs(world, k, n, own_seed))
    bases = Bases.given(world, (np.ascontiguousarray(Q),))
    if loss == "BT, rank 2":
        factors = factorise(world, bases, RANK, seed)
        rows = [to_logits(world, product)[0] * world.beta for product in factors.products]
        bases = Bases.given(world, (np.ascontiguousarray(rows),))
    return bases


LOSSES = ("BT", "BT, rank 2", "binary, V alone", "binary + Gumbel 1", "binary + Gumbel 0.1")


def own_share(world: Domain, bases: Bases, which: Array) -> float:
    """Mean over specialists of the share of the way from ref to their own optimum."""
    mdp, starts = world.mdp, world.start[which]
    shares = []
    for k, Q in enumerate(bases.Q[0]):
        best = optimum(mdp, mdp.rewards[k])
        value, ref = (
            worth(mdp, tilt(mdp, G), best).value[starts].mean() for G in (Q / mdp.beta, 0.0 * Q)
        )
        shares.append((value - ref) / (best.V[0, starts].mean() - ref))
    return float(np.mean(shares))


@one_blas_thread()
def unit(ask: Ask) -> list[Record]:
    """The records of one user of one seed, for every loss and size, and of exact specialists."""
    world = domain(ask.seed, ask.outside, list(range(SPECIALISTS)))
    exact, feedback = Bases.optimal(world), ask.feedback(world)
    rows = []
    sizes = QUICK_SIZES if ask.quick else SIZES
    for loss in ("exact", *LOSSES):
        for n in sizes[-1:] if loss == "exact" else sizes:
            bases = exact if loss == "exact" else learnt(world, loss, n, ask.seed)
            own = {
                k: own_share(world, bases, world.train == (k == "train")) for k in ("train", "test")
            }

            def extras(
                judge: Judge, fitted: Fitted, kind: str, own: dict[str, float] = own
            ) -> Record:
                return {"own_share": own[kind]}

            work = Unit("offline", loss, world, bases, exact, feedback, ask, extras)
            size = None if loss == "exact" else n
            rows += [r | {"offline": size} for r in work.records()]
    return rows


METHODS = ("ss-explicit[m=0]", "ss-explicit[m=0, budget]", "mod")
FULL = Settings(20, 1, (640,), METHODS, "bt", 0.0, False)
QUICK = Settings(3, 1, (640,), METHODS, "bt", 0.0, True)
EXPERIMENT = Experiment(
    "offline", "specialists learnt from pairs or labels, and souping them (SS §4)",
    (
        "eight specialists, each with its own answers of ref; BT pairs with chance σ of returns",
        "labels: good with chance σ(R_k); the composite objective over Q and V together, as printed",
        "`V alone`: the Gumbel step moves V, the binary loss the reward that Q and V make",
        "`own`: share of the way from ref to the specialist's own optimum, mean over specialists",
    ),
    unit, FULL, QUICK, USERS,
)  # fmt: skip
