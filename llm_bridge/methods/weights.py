"""λ from a user's preferences: batch, one answer after another (Appendix C), or good/bad labels.

Δ = ``β Σ_t log π_k/ref`` of the winner minus the loser [K], in reward units: the loss of section 4,
``−log σ(λᵀΔ)``, under which exact specialists and a user who answers at random in proportion give
``λ = w`` (ss.sec4.bt). Appendix C prints Δ over β; that reading is had with ``beta=1``. The updates are
those of bounds.claims.appendix_c.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bounds.formulas import budget_used
from toymdp import InstanceError
from toymdp.arrays import Array
from toymdp.learning import logistic
from toymdp.learning.appendix_c import sequential

from ..answers import States, every_log_prob, tokenised
from ..bank import Bank
from ..preferences import Labelled, Pair

PRIOR = 100.0  # variance of λ's prior: wide, since λ has units of 1


@dataclass(frozen=True)
class Posterior:
    """λ [K] with its covariance [K, K] (Laplace at the maximum for the batch fits)."""

    mean: Array
    covariance: Array
    interactions: int


def log_probs_of(
    bank: Bank, data: Sequence[Pair | Labelled], states: States | None = None
) -> Array:
    """``log π(answer)`` [P, n] of every policy, answers in the order of the data (pairs: the chosen first).

    states: see ``every_log_prob``. Raises InstanceError for no data.
    """
    if not data:
        raise InstanceError.of("pairs", 0, "λ needs at least one", "check the file")
    answers = [tokenised(bank, one.prompt, text) for one in data for text, _ in one.texts]
    return np.asarray(every_log_prob(bank, answers, states), dtype=np.float64)


def answer_rows(log_probs: Array, K: int, beta: float) -> Array:
    """``R_k = β Σ_t log π_k/ref`` [n, K] of single answers: the rows of the binary fit.

    R_k is the return less the prompt's value V_k, which no label of one answer shows.
    """
    return np.asarray(beta * (log_probs[1 : K + 1] - log_probs[0]).T)


def pair_rows(log_probs: Array, K: int, beta: float) -> Array:
    """Δ [N, K] of pairs under the K specialists, reward units: the chosen answer less the rejected."""
    rows = answer_rows(log_probs, K, beta)
    return np.asarray(rows[::2] - rows[1::2])


def deltas_of(bank: Bank, pairs: Sequence[Pair], beta: float) -> Array:
    """Δ [N, K] of each pair under the bank's specialists, reward units."""
    return pair_rows(log_probs_of(bank, pairs), len(bank.names), beta)


def prior(K: int, variance: float) -> tuple[Array, Array]:
    """Mean 0 and covariance ``variance·I``: λ = 0 is the reference policy."""
    return np.zeros(K), variance * np.eye(K)


def fit_batch(rows: Array, labels: Array, mean: Array, covariance: Array) -> Posterior:
    """Maximum of ``Σ log σ(y_n λᵀx_n) − ½(λ−m)ᵀS⁻¹(λ−m)`` ; the loss is convex.

    rows: [N, K]; labels: [N] of ±1 (pairs: all +1 with x = Δ; binary: x = R_k and y good or bad).
    """
    precision: Array = np.asarray(np.linalg.inv(covariance), dtype=np.float64)
    found = logistic.fit(rows, 0.5 + 0.5 * labels, mean, precision)
    return Posterior(found.mean, found.covariance, len(rows))


def fit_sequential(
    deltas: Array, mean: Array, covariance: Array, *, refreshed: bool = True
) -> Posterior:
    """Appendix C, one answer after another.

    refreshed: iterate each interaction to its maximum a posteriori with the curvature taken there
    (the repaired iteration, ss.appC.iterated.repaired, whose limit Link.pull is); else the printed
    single Newton step (21), (22).
    """
    precision: Array = np.asarray(np.linalg.inv(covariance), dtype=np.float64)
    lam, following = sequential(deltas, mean, precision, "map" if refreshed else "S_n")
    return Posterior(lam, np.asarray(np.linalg.inv(following)), len(deltas))


def into_domain(lam: Array, beta: float, beta_prime: float) -> tuple[Array, bool]:
    """λ scaled down to ``β|λ|₁ ≤ β'`` where it exceeds it, and whether it did."""
    if float(budget_used(lam, beta, beta_prime)) <= 1:
        return lam, False
    return np.asarray(lam * (beta_prime / (beta * float(np.abs(lam).sum())))), True
