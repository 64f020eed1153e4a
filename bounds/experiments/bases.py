"""``bases``: how many specialists, at three widths of what a model can hold (SS Figure 3).

Specialists are left out in a random order of the seed. A model of width d knows each ``Q_k`` only
through d features: its least-squares fit on random ones; as many as there are (t, s') fit all.
"""

from __future__ import annotations

import numpy as np

from toymdp.arrays import Array
from toymdp.methods.method import Bases

from ..records.output import Record
from .experiment import Ask, Experiment, Settings, Unit
from .ultrafeedback import USERS, A, K, L, T, domain

COUNTS = (1, 2, 4, 7, 10, 16, 30)
QUICK_COUNTS = (1, 4, 10, 30)
WIDTHS = (25, 60, T * A**L)


def through(Q: Array, width: int, seed: int) -> Array:
    """Q [K, T, S] as a model of ``width`` features has it; narrower features are part of wider."""
    rows = Q.reshape(len(Q), -1)
    if width >= rows.shape[1]:
        return Q
    features = np.random.default_rng([seed, 0xFEA7]).normal(size=(rows.shape[1],) * 2)[:, :width]
    left, *_ = np.linalg.lstsq(features, rows.T, rcond=None)
    return np.ascontiguousarray((features @ left).T.reshape(Q.shape))


def unit(ask: Ask) -> list[Record]:
    """The records of one user of one seed, for every number of specialists and every width."""
    order = np.random.default_rng([ask.seed, 0x0DE5]).permutation(K)
    rows = []
    for count in QUICK_COUNTS if ask.quick else COUNTS:
        world = domain(ask.seed, ask.outside, order[:count].tolist())
        exact, feedback = Bases.optimal(world), ask.feedback(world)
        for width in (WIDTHS[0], WIDTHS[-1]) if ask.quick else WIDTHS:
            Q = tuple(through(q, width, ask.seed) for q in exact.Q)
            bases = exact if width == WIDTHS[-1] else Bases.given(world, Q)
            work = Unit("bases", f"width {width}", world, bases, exact, feedback, ask)
            rows += [r | {"bases": count} for r in work.records()]
    return rows


METHODS = (
    "rlhf", "oracle", "oracle-free", "ss-explicit[m=0]", "ss-explicit[m=0, budget]", "pad", "mod",
    "best-specialist-oracle",
)  # fmt: skip
FULL = Settings(20, 3, (320,), METHODS, "bt", 0.3, False)
QUICK = Settings(3, 1, (320,), METHODS, "bt", 0.3, True)
EXPERIMENT = Experiment(
    "bases", "how many specialists, at three widths of what a model can hold (SS Figure 3)",
    (
        "specialists are left out in one random order for each seed; all methods see what is left",
        "a narrow model holds each Q_k by least squares on random features of (t, s')",
        f"of {WIDTHS[-1]} features every Q_k is one; SS varies the size of Gemma instead",
    ),
    unit, FULL, QUICK, USERS,
)  # fmt: skip
