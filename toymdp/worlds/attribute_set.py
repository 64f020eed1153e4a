"""``attribute-set/1``: attributes that tilt a base policy, and the set function they define.

An attribute in the prompt multiplies the base policy by an exponential tilt, so
``π^A(y|x) ∝ base(y|x)·exp(Σ_{a∈A} tilt_a(x,y) + Σ_{a<b∈A} interaction_ab(x,y))``. EXACT assumes
nothing of ``π(y|x,A)``, so a world may give F itself: any table with F(∅) = 0 is the F of (12) for
one prompt, two answers and ``log π^A(w)/π^A(l) = F(A) + log π(w)/π(l)``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from math import comb
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from ..arrays import Array
from ..errors import InstanceError
from ..instance import Instance
from ..validators import in_nats, integer, positive, table

FORMAT, MOST_ATTRIBUTES = "attribute-set/1", 8  # γ looks at 3**n pairs of sets
_POLICY_KEYS = ("base", "tilts", "reward", "pairs")


@dataclass(frozen=True, eq=False, kw_only=True)
class AttributeSet(Instance):
    """An instance of format ``attribute-set/1``; the fields are the file's keys.

    Either policies: base [P, Y] non-negative weights by prompt (0 forbids an answer), tilts
    [n, P, Y] in nats, interactions [n(n−1)/2, P, Y] for the pairs a < b in lexicographic order
    (optional), reward [P, Y] the user's latent r* of (1), pairs [N, 3] rows ``(x, y_w, y_l)``;
    or values [2**n]: F by bit mask, attribute a in the set where bit a is 1.

    beta: temperature of (2), reward units per nat. budget: k of (13), 1..n.

    Raises InstanceError naming field, value, rule and remedy.
    """

    budget: int
    base: Array | None = None
    tilts: Array | None = None
    interactions: Array | None = None
    reward: Array | None = None
    pairs: NDArray[np.int64] | None = None
    values: Array | None = None
    beta: float = 1.0
    name: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    format: str = FORMAT

    def __post_init__(self) -> None:
        self.check_labels(self.name, self.meta, self.format)
        self.put(beta=positive("beta", self.beta))
        for key in (*_POLICY_KEYS, "interactions"):
            given = getattr(self, key) is not None
            wrong = given if self.values is not None else not given and key in _POLICY_KEYS
            if wrong:
                rule = f"give {', '.join(_POLICY_KEYS)}, or values alone"
                raise InstanceError.of(key, "given" if given else None, rule, "choose one")
        if self.values is None:
            self._read_policies()
        else:
            self._read_values()
        n = self.n_attributes
        if integer("budget", self.budget, 1) > n:
            raise InstanceError.of("budget", self.budget, f"must be at most n = {n}", "lower it")

    @property
    def n_attributes(self) -> int:
        """Size n of the attribute library."""
        if self.values is not None:
            return len(self.values).bit_length() - 1
        assert self.tilts is not None
        return len(self.tilts)

    def _read_values(self) -> None:
        values = table("values", self.values, (None,))
        n = len(values).bit_length() - 1
        if len(values) != 2**n or not 1 <= n <= MOST_ATTRIBUTES:
            rule = f"must be 2**n for n = 1..{MOST_ATTRIBUTES} attributes"
            raise InstanceError.of("length of values", len(values), rule, "one for each subset")
        self.put(values=values)

    def _read_policies(self) -> None:
        base = table("base", self.base, (None, None))
        P, Y = base.shape
        if (base < 0).any() or not (base > 0).any(axis=1).all():
            x = int(np.argmax((base < 0).any(axis=1) | ~(base > 0).any(axis=1)))
            rule = "must be non-negative and not all 0"
            raise InstanceError.of(f"base[{x}]", base[x], rule, "give an answer weight")
        tilts = table("tilts", self.tilts, (None, P, Y))
        if (n := len(tilts)) > MOST_ATTRIBUTES:
            rule = f"at most {MOST_ATTRIBUTES}, as all subsets are enumerated"
            raise InstanceError.of("number of attributes", n, rule, "drop some")
        if self.interactions is not None:
            self.put(interactions=table("interactions", self.interactions, (comb(n, 2), P, Y)))
        self.put(
            base=base, tilts=tilts, reward=table("reward", self.reward, (P, Y)),
            pairs=_read_pairs(self.pairs, base > 0),
        )  # fmt: skip
        assert self.reward is not None
        in_nats("reward", self.reward, "beta", self.beta)


def _read_pairs(value: Any, allowed: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Rows (prompt, preferred, dispreferred) of answers whose base probability has a logarithm."""
    given = table("pairs", value, (None, 3), np.inf)
    P, Y = allowed.shape
    fits = ((given >= 0) & (given < [P, Y, Y]) & (given == np.floor(given))).all(axis=1)
    rows = np.where(fits[:, None], given, 0.0).astype(np.int64)
    fits &= (rows[:, 1] != rows[:, 2]) & allowed[rows[:, :1], rows[:, 1:]].all(axis=1)
    if not fits.all():
        i = int(np.argmin(fits))
        rule = f"must be a prompt 0..{P - 1} and two different answers 0..{Y - 1} that base allows"
        raise InstanceError.of(f"pairs[{i}]", given[i], rule, "correct it, or drop it")
    return rows


# -- families ------------------------------------------------------------------------------


def tilted_attributes(seed: int, *, beta: float | None = None) -> AttributeSet:
    """Random tilts, half of them with interactions; the user answers as (1) says."""
    rng = np.random.default_rng([seed, 21])
    n, P, Y, N = rng.integers((2, 1, 2, 1), (6, 4, 6, 7)).tolist()
    base, reward = rng.dirichlet(np.ones(Y), size=P), rng.normal(size=(P, Y))
    interactions = rng.normal(size=(comb(n, 2), P, Y)) if rng.random() < 0.5 else None
    x, shown = rng.integers(P, size=(N, 1)), rng.random((N, Y)).argsort(axis=1)[:, :2]
    scores = reward[x, shown]
    wins = rng.random(N) < scipy.special.expit(scores[:, 0] - scores[:, 1])
    return AttributeSet(
        name=f"tilted-attributes-{seed}", budget=int(rng.integers(1, n + 1)), base=base,
        tilts=rng.normal(size=(n, P, Y)), interactions=interactions, reward=reward,
        pairs=np.hstack([x, np.where(wins[:, None], shown, shown[:, ::-1])]),
        beta=float(rng.choice([0.25, 0.5, 1.0, 2.0])) if beta is None else beta,
    )  # fmt: skip


def helpful_attributes(seed: int) -> AttributeSet:
    """One pair for each prompt, attributes that overlap but never hurt on average: F monotone."""
    rng = np.random.default_rng([seed, 22])
    n, P, Y = rng.integers((2, 1, 2), (6, 5, 5)).tolist()
    tilts, noise = rng.normal(size=(n, P, Y)), rng.normal(size=(n, P))
    gains = rng.exponential(size=(n, 1)) + noise - noise.mean(axis=1, keepdims=True)
    # attribute a loses to all the others together at most what it brings alone
    worth = gains.mean(axis=1)
    interactions = np.zeros((comb(n, 2), P, Y))
    for loss, (a, b) in zip(interactions, combinations(range(n), 2), strict=True):
        loss[:, 0] = -0.9 * rng.random() * min(worth[a], worth[b]) / (n - 1)
    tilts[:, :, 0] = tilts[:, :, 1] + gains
    return AttributeSet(
        name=f"helpful-attributes-{seed}", budget=int(rng.integers(1, n + 1)),
        base=rng.dirichlet(np.ones(Y), size=P), tilts=tilts, interactions=interactions,
        reward=rng.normal(size=(P, Y)), pairs=np.array([(x, 0, 1) for x in range(P)]),
    )  # fmt: skip


def monotone_tables(seed: int, *, synergy: float | None = None) -> AttributeSet:
    """F grown set by set by random gains, some of them 0 and some that need company."""
    rng = np.random.default_rng([seed, 23])
    n = int(rng.integers(2, 7))
    values = np.zeros(2**n)
    synergy = float(rng.choice([0.3, 1.0, 3.0])) if synergy is None else synergy
    for mask in range(1, 2**n):
        below = max(values[mask ^ (1 << a)] for a in range(n) if mask >> a & 1)
        gain = rng.exponential() * (rng.random() < 0.9)
        values[mask] = below + gain * mask.bit_count() ** (synergy - 1.0)
    k, name = int(rng.integers(1, n + 1)), f"monotone-tables-{seed}"
    return AttributeSet(name=name, budget=k, values=values)


def crowding_tables(seed: int) -> AttributeSet:
    """Attribute a is best alone and spoils the company of b and c, which add up: n = 3, k = 2."""
    rng = np.random.default_rng([seed, 24])
    (b, c), (harm_b, harm_c) = rng.uniform(0.9, 1.1, size=2), rng.uniform(0.001, 0.02, size=2)
    alone = max(b, c) + rng.uniform(0.05, 0.4)
    values = [0.0, alone, b, alone - harm_b, c, alone - harm_c, b + c, alone - harm_b - harm_c]
    return AttributeSet(name=f"crowding-tables-{seed}", budget=2, values=np.array(values))


FAMILIES: dict[str, Callable[..., AttributeSet]] = {
    "tilted-attributes": tilted_attributes,
    "helpful-attributes": helpful_attributes,
    "monotone-tables": monotone_tables,
    "crowding-tables": crowding_tables,
}


def loud_and_even() -> AttributeSet:
    """Two pairs, k = 1: a has margins (10, −1), b has (2, 2); the mean says a, the likelihood b."""
    tilts = np.array([[[10.0, 0.0], [-1.0, 0.0]], [[2.0, 0.0], [2.0, 0.0]]])
    return AttributeSet(
        name="loud-and-even", budget=1, base=np.full((2, 2), 0.5), tilts=tilts, reward=tilts[1],
        pairs=np.array([(0, 0, 1), (1, 0, 1)]),
    )  # fmt: skip


def _table(name: str, *values: float) -> AttributeSet:
    """k = 2 of three attributes; values: F(∅), F(a), F(b), F(ab), F(c), F(ac), F(bc), F(abc)."""
    return AttributeSet(name=name, budget=2, values=np.array(values))


def filter_synergy() -> AttributeSet:
    """γ = 0.18: the filter takes a and stops at 1; {b, c} is worth 10, and the bound asks 1.647."""
    return _table("filter-synergy", 0.0, 1.0, 0.9, 0.5, 0.9, 0.5, 10.0, 0.95)


def filter_submodular() -> AttributeSet:
    """F exactly submodular, γ = 1: the filter stops at 17/16 < 2(1 − 1/e)."""
    return _table("filter-submodular", 0.0, 1.0625, 1.0, 1.03125, 1.0, 1.03125, 2.0, 1.0)


def greedy_three_quarters() -> AttributeSet:
    """Monotone, γ = 1: a covers just over half of b and of c; greedy gets (3/4 + 1/256)·2."""
    return _table("greedy-three-quarters", 0.0, 1.015625, 1.0, 1.5078125, 1.0, 1.5078125, 2.0, 2.0)


CLASSICS: dict[str, Callable[[], AttributeSet]] = {
    make.__name__.replace("_", "-"): make
    for make in (loud_and_even, filter_synergy, filter_submodular, greedy_three_quarters)
}
