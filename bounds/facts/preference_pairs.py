"""What the claims of Appendix C of Spectral Souping are judged on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy  # whose parts are imported when they are first asked for

from toymdp.cached import cached_property
from toymdp.instance import nudged
from toymdp.worlds.preference_pairs import PreferencePairs

from ..sides import EPS, Array
from .once import ComputesOnce


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
            return float(scipy.special.expit(-self.margin))
        # xtol below the spacing of floats near the root makes brentq stop at rounding; halving from 1
        # to a root near 1e-300 takes a thousand steps
        return float(
            scipy.optimize.brentq(self._excess, 0.0, 1.0, xtol=1e-300, rtol=4 * EPS, maxiter=4000)
        )

    def _excess(self, alpha: float) -> float:
        # α and 1 − σ(z) = σ(−z) are subtracted only here, so a small α keeps its digits
        return float(alpha - scipy.special.expit(-(self.margin + alpha * self.reach)))


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

    @classmethod
    def of(cls, instance: PreferencePairs) -> PairFacts:
        """The facts of an instance as it is given."""
        deltas = instance.labels[:, None] * instance.differences / instance.beta
        return cls(instance, deltas, instance.prior_mean, instance.prior_covariance)

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
            inverse = inverse + scipy.special.expit(z) * scipy.special.expit(-z) * np.outer(
                delta, delta
            )
        return tuple(links)


def batch_posterior(facts: PairFacts) -> tuple[Array, Array]:
    """Maximum a posteriori [K] of all N answers at once, and the Laplace covariance [K, K] there.

    ``argmin ½(λ − λ̄_0)ᵀS_0⁻¹(λ − λ̄_0) − Σ_n log σ(λᵀΔ_n)``, strictly convex, so the order of the
    answers cannot matter; covariance is the inverse Hessian. Dimensionless, like λ.
    """
    inverse = np.asarray(np.linalg.inv(facts.prior), dtype=np.float64)

    def loss(lam: Array) -> float:
        away = lam - facts.mean
        return float(0.5 * away @ inverse @ away + np.logaddexp(0.0, -facts.deltas @ lam).sum())

    def slope(lam: Array) -> Array:
        surprise = scipy.special.expit(-facts.deltas @ lam)
        return np.asarray(inverse @ (lam - facts.mean) - surprise @ facts.deltas)

    def curvature(lam: Array) -> Array:
        z = facts.deltas @ lam
        weights = scipy.special.expit(z) * scipy.special.expit(-z)
        return np.asarray(inverse + (facts.deltas.T * weights) @ facts.deltas)

    options = {"gtol": 1e-8}
    result = scipy.optimize.minimize(
        loss, facts.mean, jac=slope, hess=curvature, method="trust-exact", options=options
    )
    lam = result.x
    lam = np.asarray(lam - np.linalg.solve(curvature(lam), slope(lam)))  # last digits
    return lam, np.asarray(np.linalg.inv(curvature(lam)))
