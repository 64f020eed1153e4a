"""``preference-pairs/1``: one user's compared answers, for Appendix C of Spectral Souping."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from scipy.optimize import brentq, minimize
from scipy.special import expit

from toymdp import InstanceError
from toymdp.validators import positive, table

from .facts.once import ComputesOnce
from .instance import Stored, nudged
from .sides import EPS, Array

FORMAT = "preference-pairs/1"
# a prior covariance whose eigenvalues spread further than this leaves its inverse no digits
CONDITION_LIMIT = 1e10
SYMMETRY_TOLERANCE = 1e-9


def covariance(name: str, value: Any, K: int) -> Array:
    """Return ``value`` as a symmetric positive definite [K, K] matrix."""
    matrix = table(name, value, (K, K))
    if np.abs(matrix - matrix.T).max() > SYMMETRY_TOLERANCE * np.abs(matrix).max():
        raise InstanceError.of(
            name, "a matrix", "must be symmetric", "average it with its transpose"
        )
    matrix = 0.5 * (matrix + matrix.T)
    spread = np.linalg.eigvalsh(matrix)
    if spread[0] <= 0 or spread[-1] > CONDITION_LIMIT * spread[0]:
        rule = f"must be positive definite with condition number ≤ {CONDITION_LIMIT:g}"
        raise InstanceError.of(f"least eigenvalue of {name}", float(spread[0]), rule, "widen it")
    return matrix


@dataclass(frozen=True, eq=False, kw_only=True)
class PreferencePairs(Stored):
    """An instance of format ``preference-pairs/1``; the fields are the file's keys.

    differences: [N, K] ``R_k(first) − R_k(second)``, the specialists' returns, reward units.
    labels: [N], +1 where the user preferred the first answer, −1 the second (default all +1).
    beta: temperature of Δ = ±difference/β as Appendix C prints it (reward units per nat).
    prior_mean: [K] λ̄_0. prior_covariance: [K, K] S_0, positive definite.

    Raises InstanceError naming field, value, rule and remedy.
    """

    differences: Array
    prior_mean: Array
    prior_covariance: Array
    beta: float = 1.0
    labels: Array = None  # type: ignore[assignment]  # an array after the door
    name: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    format: str = FORMAT

    def __post_init__(self) -> None:
        self.check_labels()
        differences = table("differences", self.differences, (None, None))
        N, K = differences.shape
        labels = np.ones(N) if self.labels is None else table("labels", self.labels, (N,))
        if (np.abs(labels) != 1.0).any():
            n = int(np.argmax(np.abs(labels) != 1.0))
            raise InstanceError.of(f"labels[{n}]", labels[n], "must be +1 or −1", "correct it")
        self.put(
            differences=differences, labels=labels, beta=positive("beta", self.beta),
            prior_mean=table("prior_mean", self.prior_mean, (K,)),
            prior_covariance=covariance("prior_covariance", self.prior_covariance, K),
        )  # fmt: skip


@dataclass(frozen=True)
class Link:
    """The state before one interaction: λ̄_{n−1} [K], S_{n−1} [K, K], and the pair's Δ [K]."""

    mean: Array
    covariance: Array
    delta: Array

    @property
    def margin(self) -> float:
        """``z₀ = λ̄_{n−1}ᵀΔ``."""
        return float(self.mean @ self.delta)

    @property
    def reach(self) -> float:
        """``s = ΔᵀS_{n−1}Δ``: how far the margin can move for a unit of pull."""
        return float(self.delta @ self.covariance @ self.delta)

    @property
    def direction(self) -> Array:
        """``S_{n−1}Δ`` [K]: every iterate of Appendix C lies on λ̄_{n−1} + ℝ·direction."""
        return np.asarray(self.covariance @ self.delta)

    @cached_property
    def pull(self) -> float:
        """α in (0, 1) with ``λ_MAP = λ̄_{n−1} + α S_{n−1}Δ``: the root of α = 1 − σ(z₀ + αs).

        The left side less the right is increasing, negative at 0 and positive at 1.
        """
        if self.reach == 0.0:
            return float(expit(-self.margin))
        # xtol below the spacing of floats near the root makes brentq stop at rounding
        return float(brentq(self._excess, 0.0, 1.0, xtol=1e-300, rtol=4 * EPS))

    def _excess(self, alpha: float) -> float:
        # α and 1 − σ(z) = σ(−z) are subtracted only here, so a small α keeps its digits
        return float(alpha - expit(-(self.margin + alpha * self.reach)))


@dataclass(frozen=True)
class PairFacts(ComputesOnce):
    """What the claims of Appendix C are judged on.

    deltas: [N, K] ``Δ_n``: winner minus loser over β. is_second: the second time the inputs are
    nudged and the maximum a posteriori comes from a scalar root, not from cvxpy.
    """

    instance: PreferencePairs
    deltas: Array
    mean: Array
    prior: Array
    is_second: bool = False

    @cached_property
    def second(self) -> PairFacts:
        """The same facts, computed another way."""
        prior = nudged(self.prior, 3)
        return PairFacts(
            self.instance, nudged(self.deltas, 1), nudged(self.mean, 2), 0.5 * (prior + prior.T),
            is_second=True,
        )  # fmt: skip

    @property
    def depth(self) -> int:
        """Additions along the chain of interactions."""
        return int(self.deltas.size)

    @cached_property
    def chain(self) -> tuple[Link, ...]:
        """The N interactions, each from the Laplace approximation at the one before's maximum."""
        mean, links = self.mean, []
        inverse: Array = np.asarray(np.linalg.inv(self.prior), dtype=np.float64)
        for delta in self.deltas:
            link = Link(mean, np.asarray(np.linalg.inv(inverse)), delta)
            links.append(link)
            mean = mean + link.pull * link.direction
            z = float(mean @ delta)
            inverse = inverse + expit(z) * expit(-z) * np.outer(delta, delta)
        return tuple(links)


def subject(instance: PreferencePairs) -> PairFacts:
    """Prepare an instance for its claims."""
    deltas = instance.labels[:, None] * instance.differences / instance.beta
    return PairFacts(instance, deltas, instance.prior_mean, instance.prior_covariance)


def batch_posterior(sub: PairFacts) -> tuple[Array, Array]:
    """Maximum a posteriori [K] of all N answers at once, and the Laplace covariance [K, K] there.

    ``argmin ½(λ − λ̄_0)ᵀS_0⁻¹(λ − λ̄_0) − Σ_n log σ(λᵀΔ_n)``, strictly convex, so the order of the
    answers cannot matter; covariance is the inverse Hessian. Dimensionless, like λ.
    """
    inverse = np.asarray(np.linalg.inv(sub.prior), dtype=np.float64)

    def loss(lam: Array) -> float:
        away = lam - sub.mean
        return float(0.5 * away @ inverse @ away + np.logaddexp(0.0, -sub.deltas @ lam).sum())

    def slope(lam: Array) -> Array:
        return np.asarray(inverse @ (lam - sub.mean) - expit(-sub.deltas @ lam) @ sub.deltas)

    def curvature(lam: Array) -> Array:
        z = sub.deltas @ lam
        return np.asarray(inverse + (sub.deltas.T * (expit(z) * expit(-z))) @ sub.deltas)

    options = {"gtol": 1e-8}
    found = minimize(
        loss, sub.mean, jac=slope, hess=curvature, method="trust-exact", options=options
    )
    lam = np.asarray(found.x - np.linalg.solve(curvature(found.x), slope(found.x)))  # last digits
    return lam, np.asarray(np.linalg.inv(curvature(lam)))


# -- families ------------------------------------------------------------------------------


def _random(seed: int, stream: int, name: str, width: float, lean: float) -> PreferencePairs:
    """A user λ drawn around the prior, answering as Bradley–Terry says.

    width: scale of S_0. lean: how far the prior mean is drawn from 0.
    """
    rng = np.random.default_rng([seed, stream])
    N, K = int(rng.integers(1, 7)), int(rng.integers(1, 5))
    root = rng.normal(size=(K, K))
    prior = width * (root @ root.T / K + 0.2 * np.eye(K))
    mean = lean * rng.normal(size=K)
    user = rng.multivariate_normal(mean, prior, method="cholesky")
    differences, beta = rng.normal(size=(N, K)), float(rng.choice([0.5, 1.0, 2.0]))
    wins = rng.random(N) < expit(differences @ user / beta)
    return PreferencePairs(
        name=f"{name}-{seed}", differences=differences, labels=np.where(wins, 1.0, -1.0),
        beta=beta, prior_mean=mean, prior_covariance=prior,
    )  # fmt: skip


def narrow_prior(seed: int) -> PreferencePairs:
    """A prior that knows something: most Newton steps are short."""
    return _random(seed, 11, "narrow-prior", 0.2, 0.3)


def wide_prior(seed: int) -> PreferencePairs:
    """A prior so wide, and so far off, that some Newton iterations overshoot."""
    return _random(seed, 12, "wide-prior", 30.0, 2.0)


FAMILIES: dict[str, Callable[[int], PreferencePairs]] = {
    "narrow-prior": narrow_prior,
    "wide-prior": wide_prior,
}


def one_answer() -> PreferencePairs:
    """K = 1, Δ = 1, λ̄ = 0, S = 4: the maximum is 1.0426, the printed iteration ends at 0.7025."""
    return PreferencePairs(
        name="one-answer", differences=np.ones((1, 1)), prior_mean=np.zeros(1),
        prior_covariance=np.array([[4.0]]),
    )  # fmt: skip


def newton_cycle() -> PreferencePairs:
    """K = 1, Δ = 1, λ̄ = −20, S = 400: undamped Newton jumps between −20 and 380 for ever."""
    return PreferencePairs(
        name="newton-cycle", differences=np.ones((1, 1)), prior_mean=np.array([-20.0]),
        prior_covariance=np.array([[400.0]]),
    )  # fmt: skip


CLASSICS: dict[str, Callable[[], PreferencePairs]] = {
    "one-answer": one_answer,
    "newton-cycle": newton_cycle,
}
