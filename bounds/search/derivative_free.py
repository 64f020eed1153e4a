"""Search on the claim itself, without derivatives: any claim about token MDPs, CMA-ES on its sides.

Nothing is optimised out here: reference, rewards of either sign, feature table, β, β', w and λ are
all coordinates. The hypotheses that the claim names choose how instances are made, so that they
are met whatever the coordinates: where it asks for a softmax reference or for linear rewards (and
not for linear Q), ref and rewards come from one dense feature map; else features are per-step
one-hots of free scale, in which everything is linear, or rows of one norm where it asks for that,
and ref may be a mixture of a few next-token laws (then its blocks Π_y lose rank). Where it asks for
the full budget λ is scaled to it, and where it asks for rewards or values ≥ 0 rewards are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from cmaes import CMA

from toymdp import InstanceError, SolverError, TokenMDP, solve, soup_optimum

from ..claim import Claim
from ..claims.hypotheses import (
    CONSTANT_NORM,
    FULL_BUDGET,
    INDEPENDENT_FEATURES,
    LINEAR_REWARDS,
    LINEAR_VALUES,
    NONNEGATIVE_REWARDS,
    NONNEGATIVE_VALUES,
    SOFTMAX_REFERENCE,
)
from ..sides import Array
from .judge import Find, at_lambda, strength
from .witness_features import HEADROOM, unit_rows

WORST = -1e3  # score of what cannot be compared
DRAWS = 12  # random instances looked at before CMA-ES starts from the best
WIDTH = 3  # of the dense features


@dataclass(frozen=True)
class Form:
    """Sizes of an instance and how it is made; a vector of n reals becomes an instance.

    softmax: from one dense feature map. laws: number of next-token laws that ref mixes, 0 for any ref.
    one_norm: independent feature rows of one norm. full: λ on the full budget. nonnegative: r ≥ 0.
    """

    A: int
    L: int
    T: int
    K: int
    softmax: bool
    laws: int = 0
    one_norm: bool = False
    full: bool = False
    nonnegative: bool = False

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The blocks of the vector."""
        S, d = self.A**self.L, WIDTH
        common: dict[str, tuple[int, ...]] = {
            "w": (self.K,), "lam": (self.K,), "beta": (), "beta_prime": (),
        }  # fmt: skip
        if self.softmax:
            dense = {"psi": (S, d), "first": (d,), "nu": (d, self.A), "reward": (self.K, d)}
            return {**dense, **common}
        ref: dict[str, tuple[int, ...]] = {"logits": (S, self.A)}
        if self.laws:
            ref = {
                "share": (self.A, S // self.A, self.laws),
                "law": (S // self.A, self.laws, self.A),
            }
        return {**ref, "rewards": (self.K, S), "scale": (self.T, S), **common}

    @property
    def width(self) -> int:
        """Number of coordinates n."""
        return sum(int(np.prod(shape)) for shape in self.shapes.values())

    def instance(self, x: Array) -> tuple[TokenMDP, Array]:
        """The instance and λ [K] in its domain."""
        blocks: dict[str, Array] = {}
        at = 0
        for name, shape in self.shapes.items():
            size = int(np.prod(shape))
            blocks[name] = x[at : at + size].reshape(shape)
            at += size
        w = np.exp(blocks["w"] - blocks["w"].max())
        beta, prime = (float(np.exp(np.clip(blocks[n], -3, 3))) for n in ("beta", "beta_prime"))
        raw = blocks["lam"]
        spent = float(np.abs(raw).sum())
        lam = prime / beta * raw / (spent if self.full else max(1.0, spent))
        fields: dict[str, Any] = {
            "vocab_size": self.A, "order": self.L, "horizon": self.T, "start": [0] * self.L,
            "beta": beta, "beta_prime": prime, "w": w / w.sum(),
        }  # fmt: skip
        if self.softmax:
            psi = blocks["psi"]
            logits = psi @ blocks["nu"]
            logits[0] = blocks["first"] @ blocks["nu"]
            psi = psi.copy()
            psi[0] = blocks["first"]
            fields |= {
                "start_feature": blocks["first"],
                "rewards": blocks["reward"] @ psi.T,
                "features": {"kind": "dense", "values": psi},
            }
        else:
            logits = self._mixture(blocks) if self.laws else 2.0 * blocks["logits"]
            rewards = 2.0 * blocks["rewards"] + 1.0
            fields["rewards"] = np.logaddexp(0.0, rewards) if self.nonnegative else rewards
            fields["features"] = self._features(blocks["scale"])
        top = logits.max(axis=1, keepdims=True)
        return TokenMDP(**fields, ref_weights=np.exp(np.maximum(logits - top, -600.0))), lam

    def _features(self, x: Array) -> dict[str, Any]:
        """One-hots of scales e^{2x}, or rows of one norm whose first coordinate is led by x [T, S]."""
        if not self.one_norm:
            scale = np.exp(np.clip(2.0 * x, -20, 20))
            return {"kind": "tabular", "per_step": True, "scale": scale}
        rows = unit_rows(np.tanh(x.ravel()) / HEADROOM)
        return {"kind": "dense", "values": rows.reshape(*x.shape, -1)}

    def _mixture(self, blocks: dict[str, Array]) -> Array:
        """Log-weights [S, A] of ``Π_y = share·law`` with ``laws`` rows in the middle."""
        share, law = np.exp(blocks["share"]), np.exp(2.0 * blocks["law"])
        mixed = np.einsum("xyr,yra->xya", share, law / law.sum(axis=2, keepdims=True))
        return np.asarray(np.log(mixed).reshape(-1, self.A))


def random_form(rng: np.random.Generator, claim: Claim) -> Form:
    """Small random sizes, of the kind that the claim's hypotheses ask for."""
    asks = {hypothesis.id for hypothesis in claim.hypotheses}
    exact = asks & {LINEAR_VALUES.id, INDEPENDENT_FEATURES.id, CONSTANT_NORM.id}
    softmax = bool(asks & {SOFTMAX_REFERENCE.id, LINEAR_REWARDS.id}) and not exact
    A, L = int(rng.integers(2, 5)), int(rng.integers(1, 3))
    T, K = int(rng.integers(1, 6)), int(rng.integers(1, 4))
    laws = 0 if softmax or rng.random() < 0.7 else int(rng.integers(1, A))
    return Form(
        A, L if A < 4 else 1, T, K, softmax, laws, one_norm=CONSTANT_NORM.id in asks,
        full=FULL_BUDGET.id in asks,
        nonnegative=bool(asks & {NONNEGATIVE_REWARDS.id, NONNEGATIVE_VALUES.id}),
    )  # fmt: skip


def judged(claim: Claim, mdp: TokenMDP, lam: Array) -> Find:
    """The claim on one instance, at lam [K] where it speaks of every λ, at λ* where it says so."""
    sol = solve(mdp)
    if claim.at == "instance":
        optimum = soup_optimum(mdp, sol, draws=2) if claim.needs_optimum else None
        return Find(mdp, None, at_lambda(claim, sol, None, optimum))
    if claim.at == "optimum":
        optimum = soup_optimum(mdp, sol, draws=2)
        return Find(mdp, None, at_lambda(claim, sol, optimum.lam, optimum))
    if claim.needs_optimum:
        return Find(mdp, lam, at_lambda(claim, sol, lam, soup_optimum(mdp, sol, draws=2)))
    return Find(mdp, lam, at_lambda(claim, sol, lam))


def score(claim: Claim, find: Find) -> float:
    """What CMA-ES climbs; above 0 the claim fails by more than rounding.

    Of an inequality, with sides of any sign, ``asinh(lhs/u) − asinh(rhs/u)`` for a u far below both:
    their log-ratio where both are positive. Of an equality the log of |slack| over its radius.
    """
    check = find.check
    if check.lhs is None or check.rhs is None or check.error is None or check.slack is None:
        return WORST
    if claim.kind == "equality":
        return float(np.log(max(abs(check.slack), 1e-300) / max(8.0 * check.error, 1e-300)))
    unit = 1e-9 * max(abs(check.lhs), abs(check.rhs), check.error, 1e-290)
    return float(np.arcsinh((check.lhs - check.error) / unit) - np.arcsinh(check.rhs / unit))


class Climbed(NamedTuple):
    """Best find of a restart, instances looked at, and how many of them the claim speaks of."""

    best: Find | None
    looks: int
    met: int


def climb(
    claim: Claim, rng: np.random.Generator, evaluations: int, stop: Callable[[], bool]
) -> Climbed:
    """One restart: random draws, then CMA-ES from the best of them."""
    form = random_form(rng, claim)
    best: Find | None = None
    top, looks, met = -np.inf, 0, 0

    def look(x: Array) -> float:
        nonlocal best, top, looks, met
        looks += 1
        try:
            find = judged(claim, *form.instance(x))
        except (InstanceError, SolverError):  # a point outside what can be solved is just bad
            return WORST
        met += find.check.verdict != "not-applicable"
        value = score(claim, find)
        if value > top and strength(find.check, find.mdp.beta) > -np.inf:
            best, top = find, value
        return value

    starts = rng.normal(size=(DRAWS, form.width))
    values = []
    for x in starts:
        values.append(look(x))
        if stop() or (best is not None and best.broken):
            return Climbed(best, looks, met)
    if max(values) == WORST:
        return Climbed(best, looks, met)  # the claim says nothing about worlds of this form
    cma = CMA(
        mean=starts[int(np.argmax(values))], sigma=0.7, seed=int(rng.integers(2**31)),
        population_size=4 + int(3 * np.log(form.width)),
    )  # fmt: skip
    while looks < evaluations and not cma.should_stop():
        scored = []
        for _ in range(cma.population_size):
            x = cma.ask()
            scored.append((x, -look(x)))
            if stop() or (best is not None and best.broken):
                return Climbed(best, looks, met)
        cma.tell(scored)
    return Climbed(best, looks, met)
