"""Appendix C of Spectral Souping: λ from one answer after another.

``Δ`` [K] is the pair's difference of returns, winner less loser (the appendix divides it by β, the
loss of section 4 does not: the caller says which reading is meant by what it hands over);
``σ = σ(λᵀΔ)`` is the chance that the model gave to what happened.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy  # whose parts are imported when they are first asked for

from ..arrays import Array
from ..cached import cached_property

EPS = float(np.finfo(np.float64).eps)
Step = Literal["S_n", "S_{n-1}", "map"]


def printed_update(mean: Array, precision: Array, delta: Array) -> tuple[Array, Array]:
    """(21) and (22) with S = S_n: the next mean [K] and precision [K, K]."""
    z = float(mean @ delta)
    # 1 − σ(z) = σ(−z), written so that a chance near 1 keeps the digits of its complement
    following = precision + scipy.special.expit(z) * scipy.special.expit(-z) * np.outer(
        delta, delta
    )
    step = scipy.special.expit(-z) * np.linalg.solve(following, delta)
    return np.asarray(mean + step), np.asarray(following)


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


def printed_iteration(alpha: float, link: Link) -> float:
    """(22) repeated with ``σ = σ(λᵀΔ)`` refreshed, in the one coordinate that moves.

    ``S⁽ⁱ⁾Δ = S_{n−1}Δ/(1 + σ(1−σ)s)`` (Sherman–Morrison), s = ΔᵀS_{n−1}Δ, so the iterate stays on
    the line and ``α⁺ = (1−σ)/(1 + σ(1−σ)s)``.
    """
    z = link.margin + alpha * link.reach
    surprise = scipy.special.expit(-z)  # 1 − σ(z), which keeps the digits of a small one
    return float(surprise / (1.0 + scipy.special.expit(z) * surprise * link.reach))


def repaired_iteration(alpha: float, link: Link) -> float:
    """``λ⁺ = λ̄_{n−1} + S⁽ⁱ⁾[(1−σ)Δ + σ(1−σ)ΔΔᵀ(λ − λ̄_{n−1})]`` in the same coordinate.

    It is Newton's step on loss plus prior from λ: with H = P + hΔΔᵀ, h = σ(1−σ), and gradient
    ``−(1−σ)Δ + P(λ − λ̄)``, ``λ⁺ − λ̄ = H⁻¹[H(λ − λ̄) + (1−σ)Δ − P(λ − λ̄)]``. The printed
    iteration leaves the second summand out: as if the prior mean had moved along.
    """
    z = link.margin + alpha * link.reach
    h = float(scipy.special.expit(z) * scipy.special.expit(-z))
    return float((scipy.special.expit(-z) + h * alpha * link.reach) / (1.0 + h * link.reach))


def sequential(
    deltas: Array, mean: Array, precision: Array, step: Step = "S_n"
) -> tuple[Array, Array]:
    """All N answers one after another: the last mean [K] and precision [K, K].

    deltas: [N, K]. step: "S_n", (21) and (22) with the new covariance; "S_{n-1}", (22) with the old
    one; "map", each interaction carried to its maximum a posteriori (the limit of the repaired
    iteration), with the curvature taken there.
    """
    lam = np.asarray(mean, dtype=np.float64)
    following = np.asarray(precision, dtype=np.float64)
    for delta in deltas:
        if step == "S_n":
            lam, following = printed_update(lam, following, delta)
        elif step == "S_{n-1}":
            short = scipy.special.expit(-float(lam @ delta)) * np.linalg.solve(following, delta)
            following = printed_update(lam, following, delta)[1]
            lam = lam + short
        else:
            link = Link(lam, np.asarray(np.linalg.inv(following)), delta)
            lam = lam + link.pull * link.direction
            z = float(lam @ delta)
            following = following + scipy.special.expit(z) * scipy.special.expit(-z) * np.outer(
                delta, delta
            )
    return lam, following
