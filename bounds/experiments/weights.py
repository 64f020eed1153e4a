"""``lambda``: what λ̂ tends to, how fast, by which reading, and what pairs cannot tell (App. C).

Beside shares: how far the learnt reward ``Σ λ̂_k r_k`` is from that of the weights nearest to the user
and from that of λ* of (8), relative to the former. With nothing outside the span, all λ of one reward
have one likelihood: the rows ``null-space``.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from toymdp.arrays import Array
from toymdp.methods.method import Bases, Fitted
from toymdp.methods.null_space import rewards_of
from toymdp.methods.oracle import best_soup
from toymdp.methods.pad import nearest_weights
from toymdp.methods.rounds import by_soups

from ..records.output import Record
from .experiment import Ask, Experiment, Judge, Settings, Unit, souped
from .ultrafeedback import USERS, domain


def extras(judge: Judge, fitted: Fitted, kind: str) -> Record:
    """How far the reward of λ̂ is from that of the nearest weights, and of λ*; and its posterior's width.

    All in lengths of the nearest weights' reward; width: the root mean square that the posterior of λ
    gives to the distance of its reward from that of λ̂.
    """
    lam, unit = fitted.facts.lam, judge.unit
    if lam is None:
        return {"to_w": None, "to_best": None, "width": None}
    rewards, user = rewards_of(unit.domain), unit.feedback.user
    w = unit.exact.once(nearest_weights, unit.domain, user)
    best, _ = unit.exact.once(best_soup, unit.domain, unit.exact, user, unit.ask.seed)

    def length(weights: Array) -> float:
        return float(np.linalg.norm(weights @ rewards))

    wide = fitted.facts.covariance
    spread = None if wide is None else float(np.sqrt(np.einsum("ks,kl,ls", rewards, wide, rewards)))
    return {
        "to_w": length(lam - w) / length(w), "to_best": length(lam - best) / length(w),
        "width": None if spread is None else spread / length(w),
    }  # fmt: skip


LEARN = ("ss-explicit[m=0]", "ss-sequential[S_n]", "mod")


def unit(ask: Ask) -> list[Record]:
    """The records of one user of one seed: from pairs of ref, and from pairs of the soup so far."""
    world = domain(ask.seed, ask.outside)
    rows = souped("lambda", world, ask, extras)
    bases = Bases.optimal(world)
    feedback = by_soups(world, bases, ask.user, ask.pairs, ask.labels, ask.seed)
    rest = replace(ask, methods=tuple(m for m in LEARN if m in ask.methods) or LEARN[:1])
    own = Unit("lambda", "pairs of the soup", world, bases, bases, feedback, rest, extras)
    return rows + own.records()


METHODS = (
    "ref", "rlhf", "oracle", "ss-explicit[m=0]", "ss-explicit[m=1/K]", "ss-sequential[S_n]",
    "ss-sequential[S_{n-1}]", "ss-sequential[Δ/β]", "mod", "null-space",
)  # fmt: skip
FULL = Settings(20, 3, (5, 20, 80, 320, 1280), METHODS, "bt", 0.0, False)
QUICK = Settings(3, 2, (20, 160, 1280), METHODS, "bt", 0.0, True)
EXPERIMENT = Experiment(
    "lambda", "what λ̂ tends to, by three readings of Appendix C, and what pairs cannot tell",
    (
        "the worlds of ultrafeedback, with nothing outside the span unless asked for",
        "sequential: (22) with the covariance after the pair, before it, or Δ over β as printed",
        "pairs of the soup: after each size the user compares answers of the soup learnt so far",
        "width: of λ's posterior, in the lengths of to_w, which it should be if it is honest",
        "to_w, to_best: distance of Σ λ̂_k r_k from that of the nearest weights, of λ* of (8)",
        "null-space: λ of one and the same reward, chosen by the true weights, the best by true value",
    ),
    unit, FULL, QUICK, USERS,
)  # fmt: skip
