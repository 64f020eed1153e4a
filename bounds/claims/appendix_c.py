"""Appendix C of Spectral Souping: estimating λ from one answer after another.

Notation. ``Δ = (R(w) − R(l))/β`` [K], winner minus loser; ``σ = σ(λᵀΔ)`` the chance the model gave
to what happened; ``P = S⁻¹``. One interaction minimises (20) with the loss ``ℓ(λ) = −log σ(λᵀΔ)``
and the prior ``N(λ̄_{n−1}, S_{n−1})``.

Reading of 1/β. The appendix prints Δ with 1/β, the loss of section 4 is ``−log σ(λᵀ(R(w) − R(l)))``
without it. All rows here use the appendix's Δ in the loss *and* in the updates, which is
consistent; mixing the two is a Newton step of neither loss unless β = 1, and the term
``off by, loss of section 4`` shows by how much.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import scipy  # whose parts are imported when they are first asked for

from toymdp.learning.appendix_c import (
    Link,
    printed_iteration,
    printed_update,
    repaired_iteration,
)
from toymdp.worlds.preference_pairs import FORMAT

from ..claim import Claim, Hypothesis, SidesFunction, Status
from ..facts.preference_pairs import PairFacts
from ..sides import EPS, Array, Sides, Undecidable
from .hypotheses_small_worlds import NEWTON_CONTRACTS

# a converging iteration takes dozens, and every cycle shows long before
ITERATIONS = 4096
CYCLE = 64  # last steps among which the point farthest from the maximum is taken
STEP = 1e-30  # of the complex-step derivative, in which nothing cancels


def loss_slope(z: float) -> float:
    """``dℓ/dz`` of ``ℓ(z) = −log σ(z) = log(1 + e^{−z})`` by a complex step, exact to rounding."""
    point = complex(z, STEP)
    value = np.log1p(np.exp(-point)) if z > 0 else np.log1p(np.exp(point)) - point
    return float(np.imag(value) / STEP)


def loss_curvature(z: float) -> float:
    """``d²ℓ/dz²``: a complex step through the slope ``−1/(1 + e^z)``."""
    point = complex(z, STEP)
    small = np.exp(-point) if z > 0 else np.exp(point)
    slope = -small / (1.0 + small) if z > 0 else -1.0 / (1.0 + small)
    return float(np.imag(slope) / STEP)


def newton_step(mean: Array, precision: Array, delta: Array) -> tuple[Array, Array]:
    """One Newton step on ``ℓ(λ) + ½(λ − mean)ᵀP(λ − mean)`` from its prior mean, and the Hessian.

    The derivatives come from the loss by complex steps, not from the formulas under test.
    """
    z = float(mean @ delta)
    hessian = precision + loss_curvature(z) * np.outer(delta, delta)
    return np.asarray(mean - np.linalg.solve(hessian, loss_slope(z) * delta)), np.asarray(hessian)


def newton(facts: PairFacts) -> Sides:
    """(21), (22) are one Newton step of (20) from λ̄_{n−1}, at every n of the printed recursion.

    Derivation. With ``d = λ − λ̄_{n−1}`` the second-order expansion of the loss is
    ``ℓ ≈ const − (1−σ)Δᵀd + ½σ(1−σ)(Δᵀd)²``. Under q = N(m, S) its mean plus KL(q‖q_{n−1}) is
    ``−(1−σ)Δᵀd_m + ½σ(1−σ)[(Δᵀd_m)² + ΔᵀSΔ] + ½[d_mᵀP d_m + tr(PS) − log det S]``. Stationary in
    S: ``S⁻¹ = P + σ(1−σ)ΔΔᵀ``, (21). Stationary in m: ``S_n⁻¹ d_m = (1−σ)Δ``, (22) with S = S_n.
    The same m is a Newton step on loss plus prior. It is the exact minimiser of the *expanded*
    (20); the unexpanded one also moves with S, and is not claimed.

    Compared: means and precisions, coordinate by coordinate; lhs as printed, rhs Newton's.
    """
    mean = facts.mean
    precision: Array = np.asarray(np.linalg.inv(facts.prior), dtype=np.float64)
    beta = facts.instance.beta
    compared: list[tuple[float, Sides]] = []
    other_s, other_loss = 0.0, 0.0
    for n, delta in enumerate(facts.deltas):
        printed, following = printed_update(mean, precision, delta)
        target, hessian = newton_step(mean, precision, delta)
        step = float(np.abs(printed - mean).max())
        # a linear solve loses as many digits as the precision matrix is ill-conditioned
        lost = 8 * EPS * float(np.linalg.cond(following)) * step
        compared += _coordinates(printed, target, float(np.abs(mean).max()) + step, n, lost)
        compared += _coordinates(following, hessian, float(np.abs(hessian).max()), n)
        literal = mean + scipy.special.expit(-float(mean @ delta)) * np.linalg.solve(
            precision, delta
        )
        other_s = max(other_s, float(np.abs(literal - target).max()))
        section4 = newton_step(mean, precision, beta * delta)[0]
        other_loss = max(other_loss, float(np.abs(printed - section4).max()))
        mean, precision = printed, following
    sides = max(compared, key=lambda pair: pair[0])[1]
    terms = {"off by, S = S_{n-1}": other_s, "off by, loss of section 4": other_loss}
    return replace(sides, terms=terms)


def _coordinates(
    lhs: Array, rhs: Array, size: float, n: int, error: float = 0.0
) -> list[tuple[float, Sides]]:
    """Both sides at the coordinate that is most apart, with how far beyond rounding that is."""
    apart = np.abs(lhs - rhs)
    place = np.unravel_index(int(np.argmax(apart)), apart.shape)
    where = {"n": n, "k": int(place[0])}
    sides = Sides(float(lhs[place]), float(rhs[place]), size, where=where, error=error)
    return [(float(apart[place]) / (error + EPS * size + np.finfo(np.float64).tiny), sides)]


# -- repeating the update --------------------------------------------------------------------

# (α, link) -> next α, where the iterate is λ̄_{n−1} + α S_{n−1}Δ
Iteration = Callable[[float, Link], float]


def limit(link: Link, iteration: Iteration) -> tuple[float, bool]:
    """The limit of the iteration from λ̄_{n−1} (α = 0), and whether it converges.

    Where it does not, the point of its last steps that is farthest from the maximum.
    """
    alpha, last = 0.0, []
    for i in range(ITERATIONS):
        following = iteration(alpha, link)
        if abs(following - alpha) <= 2 * EPS * abs(following):
            return following, True
        alpha = following
        if i >= ITERATIONS - CYCLE:
            last.append(alpha)
    far = max(last, key=lambda a: abs(a - link.pull))
    # all within rounding of one point: converged, though the last digits still change
    converged = max(last) - min(last) <= 64 * EPS * max(abs(a) for a in last)
    return far, converged


def maxima(facts: PairFacts) -> tuple[Array, float]:
    """The maximum a posteriori of every interaction [N, K] and a bound on its error.

    At first one cvxpy program over ``v_n`` with ``λ_n = λ̄_{n−1} + S_{n−1}^{1/2} v_n``,
    in which the prior is ``½|v|²``: the objective is 1-strongly convex, so the distance of any v
    from its minimiser is at most the norm of the gradient there, whatever status the
    solver reports. The second time the scalar root of Link.pull.

    Raises Undecidable if cvxpy returns nothing.
    """
    if facts.is_second:
        return np.array([link.mean + link.pull * link.direction for link in facts.chain]), 0.0
    return _by_cvxpy(facts.chain)


def _by_cvxpy(chain: Sequence[Link]) -> tuple[Array, float]:
    import cvxpy as cp  # slow to import, and only these claims ask for it

    roots = [np.linalg.cholesky(link.covariance) for link in chain]
    slopes = np.array([root.T @ link.delta for root, link in zip(roots, chain, strict=True)])
    margins = np.array([link.margin for link in chain])
    v = cp.Variable(slopes.shape)
    scores = margins + cp.sum(cp.multiply(slopes, v), axis=1)
    problem = cp.Problem(cp.Minimize(cp.sum(cp.logistic(-scores)) + 0.5 * cp.sum_squares(v)))
    with warnings.catch_warnings():
        # an "inaccurate" status needs no warning: the gradient below measures the accuracy
        warnings.simplefilter("ignore", UserWarning)
        try:
            problem.solve(solver=cp.CLARABEL, tol_gap_abs=1e-13, tol_gap_rel=1e-13, tol_feas=1e-13)
        except cp.error.SolverError as failure:
            raise Undecidable(f"cvxpy found no maximum a posteriori ({failure})") from None
    if v.value is None:
        raise Undecidable(f"cvxpy found no maximum a posteriori (status {problem.status})")
    v_best, gradient = _sharpened(v.value, slopes, margins)
    radius = max(
        float(np.linalg.norm(g) * np.linalg.norm(root, 2))
        for g, root in zip(gradient, roots, strict=True)
    )
    points = [link.mean + root @ x for link, root, x in zip(chain, roots, v_best, strict=True)]
    return np.array(points), radius


def _sharpened(v: Array, slopes: Array, margins: Array) -> tuple[Array, Array]:
    """One Newton step from the solver's point, for its last digits; the point and its gradient."""

    def gradient(at: Array) -> Array:
        z = margins + (slopes * at).sum(axis=1)
        return np.asarray(at - scipy.special.expit(-z)[:, None] * slopes)

    z = margins + (slopes * v).sum(axis=1)
    h = scipy.special.expit(z) * scipy.special.expit(-z)
    g = gradient(v)
    # (I + h c cᵀ)⁻¹ g by Sherman–Morrison
    along = (slopes * g).sum(axis=1) * h / (1.0 + h * (slopes**2).sum(axis=1))
    point = np.asarray(v - g + along[:, None] * slopes)
    return point, gradient(point)


def _iterated(facts: PairFacts, iteration: Iteration) -> Sides:
    points, radius = facts.once(maxima)
    compared: list[tuple[float, Sides]] = []
    notes: dict[int, str] = {}
    for n, link in enumerate(facts.chain):
        alpha, converged = limit(link, iteration)
        size = float(np.abs(link.mean).max() + np.abs(link.direction).max())
        compared += _coordinates(link.mean + alpha * link.direction, points[n], size, n)
        if not converged:
            notes[n] = f"at interaction {n} the iteration does not settle: the farthest of a cycle"
    sides = max(compared, key=lambda pair: pair[0])[1]
    assert sides.where is not None
    return replace(sides, error=radius, note=notes.get(sides.where["n"], ""))


def iterated(facts: PairFacts) -> Sides:
    """Appendix C, last sentence: (21), (22) repeated with ``σ = σ(λ̄_nᵀΔ)`` reach the maximum.

    False. A fixed point has ``α = (1−σ)/(1 + σ(1−σ)s)``, the maximum a posteriori ``α = 1−σ``;
    equal only if s = ΔᵀS_{n−1}Δ = 0. With K = 1, Δ = 1, λ̄ = 0, S = 4: 0.7025 instead of 1.0426.
    For wide priors that start far on the wrong side it does not converge at all: as s grows the map
    of the margin becomes ``z ↦ z₀ + 1 + e^{−z}``, of slope below −1 wherever the fixed point is
    negative. (Were λ̄_{n−1} and S_{n−1} refreshed too, each repetition would count the answer once
    more: every step is positive, and there is no fixed point.)

    lhs: its limit, or the farthest point of its cycle; rhs: the maximum.
    """
    return _iterated(facts, printed_iteration)


def iterated_repaired(facts: PairFacts) -> Sides:
    """The repaired iteration converges to the maximum a posteriori, under newton-contracts.

    Its fixed points are the zeros of the gradient, of which there is one. Convergence is that of
    Newton's method for ``φ(z) = σ(z) − 1 + (z − z₀)/s`` from z₀, where φ < 0. (a) z₀ ≥ 0: φ is
    increasing and concave there, so the tangent's zero never passes the root: monotone. (b) s < 4:
    ``1/s ≤ φ' ≤ 1/s + 1/4``, and an error shrinks by ``|1 − φ̄'/φ'| ≤ s/4 < 1`` each step.
    Without either it may cycle for ever: z₀ = −20, s = 400 jumps between −20 and 380.
    """
    return _iterated(facts, repaired_iteration)


def _claim(
    id: str, statement: str, status: Status, sides: SidesFunction, reason: str, *gates: Hypothesis,
    **more: Any,
) -> Claim:  # fmt: skip
    source = "ours" if id.endswith("repaired") else "SS App. C"
    return Claim(
        id, source, statement, status, "equality", "instance", sides, reason, gates, world=FORMAT,
        **more,
    )  # fmt: skip


TABLE: tuple[Claim, ...] = (
    _claim(
        "ss.appC",
        r"\bar\lambda_n = \bar\lambda_{n-1} + (1-\sigma)S_n\Delta,\ "
        r"S_n^{-1} = S_{n-1}^{-1} + \sigma(1-\sigma)\Delta\Delta^\top "
        r"\text{ is one Newton step of (20)}",
        "proved", newton, "the exact minimiser of (20) with its loss expanded to second order",
        title="the update of λ is one Newton step",
    ),
    _claim(
        "ss.appC.iterated",
        r"(21), (22) \text{ repeated with } \sigma = \sigma(\bar\lambda_n^\top\Delta) "
        r"\to \arg\max_\lambda \log\sigma(\lambda^\top\Delta) + \log q_{n-1}(\lambda)",
        "refuted", iterated, "the pull towards the prior mean is left out from the second step on",
        true_when="it stops after the first step, or ΔᵀS_{n−1}Δ = 0", true_by=("ss.appC",),
        title="the update repeated finds the maximum",
    ),
    _claim(
        "ss.appC.iterated.repaired",
        r"\lambda^{(i+1)} = \bar\lambda_{n-1} + S^{(i)}[(1-\sigma_i)\Delta + \sigma_i(1-\sigma_i)"
        r"\Delta\Delta^\top(\lambda^{(i)}-\bar\lambda_{n-1})] \to \arg\max_\lambda "
        r"\log\sigma(\lambda^\top\Delta) + \log q_{n-1}(\lambda)",
        "proved", iterated_repaired, "Newton's method on a strictly convex function",
        NEWTON_CONTRACTS,
        title="the update repeated, mended",
    ),
)  # fmt: skip
