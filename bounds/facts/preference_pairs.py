"""What the claims of Appendix C of Spectral Souping are judged on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy  # whose parts are imported when they are first asked for

from toymdp.cached import cached_property
from toymdp.instance import nudged
from toymdp.learning import logistic
from toymdp.learning.appendix_c import Link
from toymdp.worlds.preference_pairs import PreferencePairs

from ..sides import Array
from .once import ComputesOnce


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
    precision: Array = np.asarray(np.linalg.inv(facts.prior), dtype=np.float64)
    found = logistic.fit(facts.deltas, np.ones(len(facts.deltas)), facts.mean, precision)
    return found.mean, found.covariance
