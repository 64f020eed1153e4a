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
from scipy.special import expit

from bounds.claims.appendix_c import printed_update
from bounds.facts.preference_pairs import Link
from bounds.formulas import budget_used
from toymdp import InstanceError
from toymdp.arrays import Array

from ..answers import answer_log_ratios, tokenised
from ..bank import Bank
from ..preferences import Pair

ITERATIONS = 100


@dataclass(frozen=True)
class Posterior:
    """λ [K] with its covariance [K, K] (Laplace at the maximum for the batch fits)."""

    mean: Array
    covariance: Array
    interactions: int


def deltas_of(bank: Bank, pairs: Sequence[Pair], beta: float) -> Array:
    """Δ [N, K] of each pair under the bank's specialists, reward units."""
    if not pairs:
        raise InstanceError.of("pairs", 0, "λ needs at least one", "check the file")
    answers = [tokenised(bank, p.prompt, t) for p in pairs for t in (p.chosen, p.rejected)]
    ratios = np.asarray(answer_log_ratios(bank, answers))[: len(bank.names)]
    return beta * np.asarray(ratios[:, ::2] - ratios[:, 1::2]).T.astype(np.float64)


def prior(K: int, variance: float) -> tuple[Array, Array]:
    """Mean 0 and covariance ``variance·I``: λ = 0 is the reference policy."""
    return np.zeros(K), variance * np.eye(K)


def fit_batch(rows: Array, labels: Array, mean: Array, covariance: Array) -> Posterior:
    """Maximum of ``Σ log σ(y_n λᵀx_n) − ½(λ−m)ᵀS⁻¹(λ−m)`` by damped Newton; the loss is convex.

    rows: [N, K]; labels: [N] of ±1 (pairs: all +1 with x = Δ; binary: x = R_k and y good or bad).
    """
    precision = np.linalg.inv(covariance)
    signed = rows * labels[:, None]
    lam = mean.copy()

    def objective(at: Array) -> float:
        apart = at - mean
        return float(np.logaddexp(0.0, -signed @ at).sum() + 0.5 * apart @ precision @ apart)

    hessian = precision
    for _ in range(ITERATIONS):
        z = signed @ lam
        gradient = precision @ (lam - mean) - signed.T @ expit(-z)
        hessian = precision + (signed * (expit(z) * expit(-z))[:, None]).T @ signed
        step = np.linalg.solve(hessian, gradient)
        decrement = float(gradient @ step)
        if decrement < 1e-20:
            break
        size, now = 1.0, objective(lam)
        while size > 1e-8 and objective(lam - size * step) > now - 0.25 * size * decrement:
            size *= 0.5
        lam = lam - size * step
    return Posterior(lam, np.asarray(np.linalg.inv(hessian)), len(rows))


def fit_sequential(
    deltas: Array, mean: Array, covariance: Array, *, refreshed: bool = True
) -> Posterior:
    """Appendix C, one answer after another.

    refreshed: iterate each interaction to its maximum a posteriori with the curvature taken there
    (the repaired iteration, ss.appC.iterated.repaired, whose limit Link.pull is); else the printed
    single Newton step (21), (22).
    """
    lam: Array = mean.copy()
    precision: Array = np.asarray(np.linalg.inv(covariance), dtype=np.float64)
    for delta in deltas:
        if not refreshed:
            lam, precision = printed_update(lam, precision, delta)
            continue
        link = Link(lam, np.asarray(np.linalg.inv(precision)), delta)
        lam = lam + link.pull * link.direction
        z = float(lam @ delta)
        precision = precision + expit(z) * expit(-z) * np.outer(delta, delta)
    return Posterior(lam, np.asarray(np.linalg.inv(precision)), len(deltas))


def into_domain(lam: Array, beta: float, beta_prime: float) -> tuple[Array, bool]:
    """λ scaled down to ``β|λ|₁ ≤ β'`` where it exceeds it, and whether it did."""
    if float(budget_used(lam, beta, beta_prime)) <= 1:
        return lam, False
    return np.asarray(lam * (beta_prime / (beta * float(np.abs(lam).sum())))), True


def binary_rows(bank: Bank, prompts: Sequence[str], answers: Sequence[str], beta: float) -> Array:
    """``R_k = β Σ_t log π_k/ref`` [N, K] of single answers: the rows of the binary fit.

    R_k is the return less the prompt's value V_k, which no label of one answer shows.
    """
    tokens = [tokenised(bank, p, a) for p, a in zip(prompts, answers, strict=True)]
    ratios = np.asarray(answer_log_ratios(bank, tokens))[: len(bank.names)]
    return beta * ratios.T.astype(np.float64)
