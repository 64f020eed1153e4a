"""Lemma 1's proof (Appendix A.1) and the parameterisation of (7), statement by statement.

What the appendix writes with random Fourier features is, in closed form, about log-sum-exp of
linear functions; each step is put to numbers on the reachable contexts.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

import numpy as np

from toymdp.exact.backward import EXPONENT_ROOM
from toymdp.exact.policy import Policy
from toymdp.exact.scans import expectation, extrema, farthest, largest

from ..claim import Claim, SidesFunction
from ..facts.linear_fit import RANK_TOLERANCE
from ..facts.token_mdp import Facts, InstanceFacts
from ..sides import EPS, Array, Mask, NotApplicable, Sides
from .hypotheses import DECODABLE, SOFTMAX_REFERENCE, reference_rows

SAMPLES = 4096  # Monte-Carlo frequencies shown beside (11)
CONTEXTS = 512  # evenly spaced contexts at which (11) is tried
NODES = 96  # of the quadrature that is its second method


def of_instance(sides: Callable[[InstanceFacts], Sides]) -> SidesFunction:
    """A statement about the instance alone: computed once, the same for every solution."""

    @wraps(sides)
    def judged(facts: Facts) -> Sides:
        return facts.instance.once(sides)

    return judged


def residual_of(rows: Array, target: Array) -> tuple[Array, float]:
    """Residual of least squares of target [n, m] on rows [n, d], and its rounding radius."""
    if rows.ndim == 1:  # distinct one-hots span everything
        return np.zeros_like(target), 0.0
    left, sigma, _ = np.linalg.svd(rows, full_matrices=False)
    left = left[:, sigma > RANK_TOLERANCE * sigma[0]]
    residual = target - left @ (left.T @ target)
    error = 64 * EPS * (1 + rows.shape[1]) * np.sqrt(len(rows)) * float(np.abs(target).max())
    return residual, error


@of_instance
def single_exponential(instance: InstanceFacts) -> Sides:
    """A.1, last step: ``∫ exp(ψ(s)·ν_ref(b)) db = exp(ψ(s)·ν)`` for one ν.

    With ``ref = softmax(ψ(s)·ν_ref(a))`` the log of the left side is ``−mean_a log ref(a|s)``
    plus a linear function of ψ(s), whatever ν_ref is chosen; so the statement is that this mean
    is linear in ψ(s) over the reachable contexts. It is a linear function less a log-sum-exp of
    linear ones, and that is not linear.
    """
    rows, logits, _ = instance.once(reference_rows)
    if len(rows) == 0:
        raise NotApplicable("only the start is reachable: one context is always fitted")
    target = -logits.mean(axis=1, keepdims=True)
    residual, error = residual_of(rows, target)
    size = float(np.abs(target).max())
    return Sides(float(np.abs(residual).max()), 0.0, size, error=error)


def token_vectors(rows: Array, logits: Array) -> Array:
    """The least-norm ν_ref [D, A], each column that of a token.

    It fits the logits up to a constant for each row, so they are centred first. Of one-hots, whose
    rows are their scales [n], the n coordinates that are met.
    """
    centred = logits - logits.mean(axis=1, keepdims=True)
    if rows.ndim == 1:
        return np.asarray(centred / rows[:, None])
    return np.asarray(np.linalg.pinv(rows, rcond=RANK_TOLERANCE) @ centred)


def times(rows: Array, vectors: Array) -> Array:
    """``ψ(s)·ν`` [n, ...] of vectors [D, ...]; rows [n, d], or scales [n] of one-hots."""
    return np.asarray((rows * vectors.T).T if rows.ndim == 1 else rows @ vectors)


@of_instance
def random_fourier(instance: InstanceFacts) -> Sides:
    """(11): ``E_ω[φ_ω(s) μ_ω(a)] = exp(ψ(s)·ν_ref(a))`` for ω ~ N(0, I).

    ``φ_ω(s) = e^{−iω·ψ + ‖ψ‖²/2}``, ``μ_ω(a) = e^{iω·ν + ‖ν‖²/2}``. Proof: ω·(ν − ψ) is
    Gaussian of variance σ² = ‖ν − ψ‖² and has characteristic function ``e^{−σ²/2}``. Both sides
    divided by ``e^{‖ψ‖²/2 + ‖ν‖²/2}``: ``E cos(σg)`` by Gauss–Hermite quadrature against
    ``e^{ψ·ν − ‖ψ‖²/2 − ‖ν‖²/2}``. The term shows the error of 4,096 sampled frequencies.
    """
    rows, logits, _ = instance.once(reference_rows)
    if len(rows) == 0:
        raise NotApplicable("no context has a feature")
    nu = token_vectors(rows, logits)
    inner, of_nu = times(rows, nu), (nu**2).sum(axis=0)
    of_psi = rows**2 if rows.ndim == 1 else (rows**2).sum(axis=1)
    every = max(1, len(rows) // CONTEXTS)
    inner, of_psi = inner[::every], of_psi[::every]
    half = 0.5 * of_psi[:, None] + 0.5 * of_nu
    closed = np.exp(inner - half)
    sigma = np.sqrt(np.maximum(2.0 * (half - inner), 0.0))
    near = sigma <= 6.0  # beyond it both sides are below 2e-8 and quadrature needs more nodes
    if not near.any():
        raise NotApplicable("every ‖ψ(s) − ν_ref(a)‖ exceeds 6: both sides vanish")
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    weights = weights / weights.sum()
    quadrature = np.array([weights @ np.cos(x * nodes) for x in sigma[near]])
    gap = np.abs(quadrature - closed[near])
    i = int(np.argmax(gap))
    draws = np.random.default_rng(0).normal(size=SAMPLES)
    sampled = float(np.cos(sigma[near][i] * draws).mean())
    terms = {"Monte-Carlo error, 4096 samples": abs(sampled - float(closed[near][i]))}
    error = 64 * EPS * NODES * (1 + 2 * float(half.max()))
    return Sides(float(quadrature[i]), float(closed[near][i]), 1.0, terms, error=error)


def _unrolled(facts: Facts, k: int, last: Array) -> Array:
    """``r + β log E_ref exp(Σ_{i=t+1}^{t+L−1} r/β + last[t+L])`` [T, S] on next contexts.

    last: [T+1, S] on states, what the exponential adds at step t+L; entries beyond T are cut to
    the last row. The expectation is over the L − 1 actions between: linear in the exponential
    domain, where nothing can overflow; else one logarithm after the other.
    """
    mdp = facts.mdp
    T, first = mdp.steps, 0 if mdp.horizon is None else 1  # until eos one row stands for all steps
    reward, ahead = mdp.rewards[k] / mdp.beta, last[: T + first].copy()
    fits = np.abs(reward).max() * mdp.order + np.abs(last).max() < EXPONENT_ROOM
    if fits:
        gain, ahead = np.exp(reward), np.exp(ahead)
        following = ahead.copy()
    for _ in range(mdp.order - 1):
        # one more step of expectation, for every t at once: value at t from value at t + 1
        if fits:
            expectation(mdp, gain, ahead[first:], following[:T])
            ahead, following = following, ahead
        else:
            ahead[:T] = Policy(mdp, reward + ahead[first:]).log_partition
    if fits:
        np.log(ahead, out=ahead)
    return np.asarray(mdp.rewards[k] + mdp.beta * ahead[first:])


def _unrolling_mask(facts: Facts) -> Mask:
    """[T, S] next contexts whose action is followed by L more steps before the horizon."""
    mdp = facts.mdp
    if mdp.horizon is None:
        return np.asarray(mdp.reach.nexts & ~mdp.ended)
    full = np.arange(mdp.steps) <= mdp.steps - 1 - mdp.order
    return np.asarray(mdp.reach.nexts & ~mdp.ended & full[:, None])


def unrolling_printed(facts: Facts) -> Sides:
    """(12) as typed, over all reachable (t, s, a) with L steps to come and every a_{t+L}.

    ``Q(s_t,a_t) = r + β log E_{t+1..t+L−1} exp((1/β) Σ r + Q(s_{t+L}, a_{t+L}))``: the last Q stands
    outside 1/β, and nothing averages over a_{t+L}, which is therefore free; both extremes of it are
    tried. lhs: largest distance between the sides over k; rhs: 0.
    """
    mdp, mask = facts.mdp, _unrolling_mask(facts)
    if not mask.any():
        raise NotApplicable(f"no action has L = {mdp.order} more steps before the horizon")
    most, where, size = -1.0, None, 0.0
    for k in range(mdp.n_rewards):
        for end in extrema(mdp, facts.sol.Q[k]):
            typed = _unrolled(facts, k, np.vstack([end, np.zeros((1, mdp.n_contexts))]))
            size = max(size, largest(typed, mask))
            apart, (t, s) = farthest(typed, facts.sol.Q[k], mask)
            if np.isnan(apart) or apart > most:
                most, where = apart, {"t": t, "s'": s, "k": k}
    # outside 1/β a rounding of Q is multiplied by β
    return Sides(most, 0.0, size + facts.size_of_values * (1.0 + mdp.beta), where=where)


def unrolling_repaired(facts: Facts) -> Sides:
    """(12) with 1/β over both terms and ``V(s_{t+L})`` in place of the last Q, truncated at T.

    ``V = β log E_ref exp(Q/β)`` is the expectation over a_{t+L} that the printed line leaves out;
    time consistency of the entropic risk measure does the rest.
    """
    mdp = facts.mdp
    mask = np.asarray(mdp.reach.nexts & ~mdp.ended)
    if not mask.any():
        raise NotApplicable("every episode ends with its first action")
    most, where = -1.0, None
    for k in range(mdp.n_rewards):
        repaired = _unrolled(facts, k, facts.sol.V[k] / mdp.beta)
        apart, (t, s) = farthest(repaired, facts.sol.Q[k], mask)
        if np.isnan(apart) or apart > most:
            most, where = apart, {"t": t, "s'": s, "k": k}
    error = 32 * EPS * mdp.order * facts.size_of_values
    return Sides(most, 0.0, facts.size_of_values + mdp.beta, where=where, error=error)


def logits_printed(facts: Facts) -> Sides:
    """§4: ``logit_θk = logit_ref + Q_k`` has the policy π_k: lhs the largest KL between them."""
    return _logit_law(facts, 1.0)


def logits_repaired(facts: Facts) -> Sides:
    """``logit_θk = logit_ref + Q_k/β``: its softmax is π_k of (2)."""
    return _logit_law(facts, facts.mdp.beta)


def _logit_law(facts: Facts, divisor: float) -> Sides:
    """Largest ``KL(π_k ‖ softmax(log ref + Q_k/divisor))``, π_k normalised by V_k as in (2)."""
    mdp = facts.mdp
    most, where = -1.0, None
    for k in range(mdp.n_rewards):
        specialist = facts.specialists[k]
        other = specialist if divisor == mdp.beta else Policy(mdp, facts.sol.Q[k] / divisor)
        kl = 0.0 if other is specialist else specialist.divergence(other, fine=False)
        # (2) normalises by V_k: what is left of log Σ ref e^{(Q−V)/β} counts as well
        mass = np.abs(specialist.log_partition - facts.sol.V[k, :-1] / mdp.beta)
        apart, (t, s) = farthest(kl + mass, np.zeros_like(mass), mdp.reach.states)
        if np.isnan(apart) or apart > most:
            most, where = apart, {"t": t, "s": s, "k": k}
    return Sides(most, 0.0, 1.0 + facts.size_of_values / min(mdp.beta, 1.0), where=where)


TABLE = (
    Claim(
        "ss.proof.single-exponential", "SS App. A.1",
        r"\textstyle\int_b\exp(\psi(s)^\top\nu_{ref}(b))\,db = \exp(\psi(s)^\top\nu)",
        "refuted", "equality", "instance", single_exponential,
        "a log-sum-exp of linear functions is not linear",
        hypotheses=(SOFTMAX_REFERENCE,),
        true_when="mean_a log ref(a|s) is linear in ψ(s), as where feature rows are independent",
        true_by=("ss.lemma1.tabular",),
        title="a sum of exponentials is one exponential",
    ),
    Claim(
        "ss.eq11", "SS (11)", r"E_\omega[\phi_\omega(s)\mu_\omega(a)] = \exp(\psi(s)^\top\nu_{ref}(a))",
        "proved", "equality", "instance", random_fourier,
        "the characteristic function of a Gaussian", hypotheses=(SOFTMAX_REFERENCE,),
        title="exponentials from random Fourier features",
    ),
    Claim(
        "ss.eq12", "SS (12)",
        r"Q(s_t,a_t) = r + \beta\log E_{t+1:t+L-1}\exp(\tfrac1\beta\textstyle\sum r + "
        r"Q(s_{t+L},a_{t+L}))",
        "refuted", "equality", "instance", unrolling_printed,
        "the last Q stands outside 1/β, and a_{t+L} is left free", hypotheses=(DECODABLE,),
        true_when="β = 1, and Q(s_{t+L}, ·) the same for all tokens", true_by=("ss.eq12.repaired",),
        title="unrolling the value over L steps",
    ),
    Claim(
        "ss.eq12.repaired", "ours",
        r"Q(s_t,a_t) = r + \beta\log E_{t+1:t+L-1}\exp(\tfrac1\beta(\textstyle\sum r + V(s_{t+L})))",
        "proved", "equality", "instance", unrolling_repaired,
        "time consistency of the entropic risk measure", hypotheses=(DECODABLE,),
        title="unrolling the value, mended",
    ),
    Claim(
        "ss.eq7.logit", "SS (7), §4", r"\mathrm{logit}_{\theta_k} = \mathrm{logit}_{ref} + Q_k",
        "refuted", "equality", "instance", logits_printed, "only at β = 1",
        true_when="β = 1", true_by=("ss.eq7.logit.repaired",),
        title="a specialist's logits are ref's plus Q",
    ),
    Claim(
        "ss.eq7.logit.repaired", "ours",
        r"\mathrm{logit}_{\theta_k} = \mathrm{logit}_{ref} + Q_k/\beta",
        "proved", "equality", "instance", logits_repaired, "eq (2)",
        title="a specialist's logits, mended",
    ),
)  # fmt: skip
