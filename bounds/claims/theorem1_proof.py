"""The steps of the proof of Theorem 1 (Appendix A.2), each a claim that can be judged alone.

The proof writes ``gap ≤ −A(s) − (β/β')(B(s) + C(s))`` and bounds the three in turn. Everything is
multiplied by β/β' where the paper's term is, so that both sides are in reward units.
"""

from __future__ import annotations

import numpy as np

from toymdp import SolverError
from toymdp.exact.moments import norm_of_mean
from toymdp.exact.scans import chance_beside_the_top, least_difference

from .. import formulas
from ..claim import Claim
from ..facts.rounding import total_errors
from ..facts.soup import Soup
from ..facts.token_mdp import Facts
from ..sides import EPS, Array, NotApplicable, Sides, Undecidable, worst
from .delta import delta_errors_last, deltas_last, penalty
from .hypotheses import (
    IN_DOMAIN,
    LINEAR_REWARDS,
    LINEAR_VALUES,
    NONNEGATIVE_VALUES,
    NONZERO_LAMBDA,
    SOFTMAX_REFERENCE,
)
from .kl import reference_mean_norm

FULL = 1e-12  # a budget used up to this is full: the power of C(s) is then 1


def nonneg(facts: Facts, soup: Soup) -> Sides:
    """``(β/β') Σ λ_k V_k ≤ Σ |λ_k| V_k/|λ|₁`` at the start context.

    Proof with ``V_k ≥ 0``: ``(β/β')λ_k ≤ (β/β')|λ_k| ≤ |λ_k|/|λ|₁`` since ``β|λ|₁ ≤ β'``. Without
    it a specialist of negative value turns the inequality.
    """
    lam = soup.lam
    if (lam >= 0).all() and abs(facts.mdp.beta * soup.size / soup.beta_prime - 1.0) < FULL:
        raise NotApplicable("full budget and λ ≥ 0: both sides are the same expression")
    lhs = facts.mdp.beta / soup.beta_prime * float(lam @ facts.sol.values)
    rhs = float(np.abs(lam) @ facts.sol.values) / soup.size
    return Sides(lhs, rhs, facts.size_of_values)


def _least(facts: Facts, weights: Array) -> float:
    """``min_π E_π Σ_t Σ_k weights_k (r_w − r_k)`` from the start."""
    no_ties = np.zeros((facts.mdp.steps, facts.mdp.n_contexts))
    try:
        return least_difference(facts.mdp, weights, no_ties).total
    except SolverError as error:
        raise Undecidable(str(error)) from None


def _least_each(facts: Facts) -> Array:
    """``min_π E_π Σ(r_w − r_k)`` [K], each k apart."""
    return np.array([_least(facts, one) for one in np.eye(len(facts.mdp.rewards))])


def _differences(facts: Facts) -> Array:
    """``E_{π_k} Σ (r_w − r_k)`` [K]."""
    totals, _ = facts.specialist_totals
    return np.asarray(totals @ facts.mdp.w - np.diag(totals))


def step_a(facts: Facts, soup: Soup) -> Sides:
    """``min_π E_π Σ_t Σ_k |λ_k|(r_w − r_k) ≤ Σ_k |λ_k| E_{π_k} Σ_t (r_w − r_k)``, over ``|λ|₁``.

    The right side lets each k act by its own π_k; a single policy cannot be that bad for all: the
    matched weights λ = (β'/β)w make the left side 0 and the right side Σ w_k(V_w^{π_k} − V_k) ≤ 0.
    """
    weights = np.abs(soup.lam) / soup.size
    lhs = _least(facts, weights)
    error = float(weights @ facts.once(total_errors)[0])
    rhs = float(weights @ _differences(facts))
    return Sides(lhs, rhs, facts.size_of_returns, error=error)


def step_a_repaired(facts: Facts, soup: Soup) -> Sides:
    """``Σ |λ_k| min_π E_π Σ(r_w − r_k) ≤ Σ |λ_k| E_{π_k} Σ(r_w − r_k)``, over ``|λ|₁``."""
    weights = np.abs(soup.lam) / soup.size
    lhs, rhs = float(weights @ facts.once(_least_each)), float(weights @ _differences(facts))
    error = float(weights @ facts.once(total_errors)[0])
    return Sides(lhs, rhs, facts.size_of_returns, error=error)


def step_b(facts: Facts, soup: Soup) -> Sides:
    """(16) at every reachable state: ``−(β/β')B(s) ≤ (β²/β') Σ Δ_k max(0, −λ_k)``.

    Proof: ss.delta.renyi, and ``D₂ ≤ Δ_k``.
    """
    lhs, rhs = soup.mixed_partition_excess, penalty(facts, soup, deltas_last)
    error = penalty(facts, soup, delta_errors_last)
    return worst(lhs, rhs, facts.judged, facts.size_of_values, ("t", "s"), error)


def step_c_jensen(facts: Facts, soup: Soup) -> Sides:
    """The power step: ``β log E_ref exp(X) ≤ (β²|λ|₁/β') log E_ref exp(pX)``.

    ``X = Σ λ_k Q_k/β'`` and ``p = β'/(β|λ|₁) ≥ 1``: ``(E x)^p ≤ E x^p`` for ``x = e^X``. At full
    budget p = 1 and both sides are one expression.
    """
    beta = facts.mdp.beta
    p = soup.beta_prime / (beta * soup.size)
    if abs(p - 1.0) < FULL:
        raise NotApplicable("full budget: the power is 1 and both sides are the same expression")
    lhs = beta * soup.policy.log_partition
    rhs = beta / p * soup.sharpened.log_partition
    return worst(lhs, rhs, facts.judged, facts.size_of_values, ("t", "s"))


def _lipschitz(facts: Facts, soup: Soup, norms: Array) -> Sides:
    norms = norms * (facts.mdp.beta / soup.beta_prime)
    lhs, error = soup.partition_drop, norms * soup.logit_norm_error
    return worst(
        lhs, norms * soup.logit_norm, facts.judged, facts.size_of_values, ("t", "s"), error
    )


def step_c_lipschitz(facts: Facts, soup: Soup) -> Sides:
    """The last step with ``E_ref‖ψ‖``: ``log E_ref exp`` as if Lipschitz in L¹(ref)."""
    return _lipschitz(facts, soup, facts.reference_norm)


def step_c_repaired(facts: Facts, soup: Soup) -> Sides:
    """The last step with ``E_{π_w}‖ψ‖``, at every reachable state and every λ.

    Proof: ``log E_ref e^Y − log E_ref e^X ≤ E_{tilt by Y}[Y − X]`` by convexity; the tilt by
    ``Y = Q_w/β`` is π_w.
    """
    return _lipschitz(facts, soup, facts.bespoke_norm)


def step_c_norm_of_mean(facts: Facts, soup: Soup) -> Sides:
    """The last step as (15) has it, with ``‖E_ref |ψ|‖``, the norm of a mean.

    Smaller than ``E_ref‖ψ‖``, so it fails where that does and more: of A equally likely unit
    one-hots the mean is ``1/√A`` long, and one reward r is all of ``log E_ref e^r ≈ r − log A``.
    """
    return _lipschitz(facts, soup, facts.once(reference_mean_norm))


def step_c_norm_of_mean_repaired(facts: Facts, soup: Soup) -> Sides:
    """The same with ``‖E_{π_w} ψ‖``, at every reachable state and every λ.

    Proof: as ss.proof.C.lipschitz.repaired, up to ``E_{π_w}[Y − X] = (E_{π_w} ψ)·(ν_w − …)``.
    """
    return _lipschitz(facts, soup, norm_of_mean(facts.bespoke))


def _anchored(facts: Facts, low_end: bool) -> Sides:
    """``D₂ ≤ log (2a − 1) − log m − log(2a − m)`` at the least or largest anchor a (ratios).

    ``2a − 1 = (2a)(E_ref[1 − x/M̄])`` where 2a is M̄: where the ratio is next to 1 for all but rare
    tokens, its logarithm is known as well as the logits that set the other tokens apart.
    """
    lhs = facts.renyi_divergences
    rhs, error = np.empty_like(lhs), np.zeros_like(lhs)
    judged = np.broadcast_to(facts.judged, lhs.shape).copy()
    rounding = 64 * EPS * facts.size_of_divergences
    for k, (log_upper, log_lower) in enumerate(zip(*facts.ratio_extremes, strict=True)):
        q = facts.exponents[k]
        log_double = log_upper + np.log(2.0)
        if low_end:
            log_double = np.maximum(log_lower + np.log(2.0), log_upper)
            missing = np.maximum(-np.expm1(-log_double), formulas.TINY)
            beside = chance_beside_the_top(facts.mdp, q, rounding)
            unsure = np.where(log_double == log_upper, beside, 1.0)
            error[k] = rounding * unsure / missing
        rhs[k] = formulas.anchored_delta(log_double, log_lower)
        judged[k] &= log_upper > log_lower  # elsewhere the ratio is 1 and both sides are 0
    return worst(lhs, rhs, judged, facts.size_of_divergences, ("k", "t", "s"), error)


def anchor(facts: Facts) -> Sides:
    """(17) at the smallest anchor that ``|x − a| ≤ a`` admits, ``a = max(M̲, M̄/2)``.

    The series for 1/x replaces ``(a − x)²`` by ``(a − M̲)²``, which is the larger of the two for
    every x only if ``a ≥ (M̲ + M̄)/2``; the printed condition asks for M̄/2. Counterexample: m = 0.9,
    M = 1.9, a = 1 gives 1/0.99 = 1.0101 against 1.0526 for the two-valued ratio.
    """
    return _anchored(facts, low_end=True)


def anchor_upper(facts: Facts) -> Sides:
    """(17) at an anchor ``a ≥ (M̲ + M̄)/2``, here a = M̄: weaker than Δ_k, and true."""
    return _anchored(facts, low_end=False)


_STEP = (LINEAR_REWARDS, LINEAR_VALUES, IN_DOMAIN)

TABLE = (
    Claim(
        "ss.proof.nonneg", "SS App. A.2",
        r"\textstyle\sum_k|\lambda_k|V_k/|\lambda|_1 \ge \tfrac{\beta}{\beta'}\sum_k\lambda_kV_k"
        r"\text{ if } V_k \ge 0",
        "proved", "inequality", "every", nonneg, "term by term",
        hypotheses=(NONNEGATIVE_VALUES, IN_DOMAIN, NONZERO_LAMBDA),
        title="|λ| may replace λ, values non-negative",
    ),
    Claim(
        "ss.proof.nonneg.without", "SS App. A.2",
        r"\textstyle\sum_k|\lambda_k|V_k/|\lambda|_1 \ge \tfrac{\beta}{\beta'}\sum_k\lambda_kV_k",
        "refuted", "inequality", "every", nonneg,
        "Theorem 1 does not assume r ≥ 0, its proof does",
        hypotheses=(IN_DOMAIN, NONZERO_LAMBDA),
        true_when="V_k ≥ 0 at the start, as with r_k ≥ 0", true_by=("ss.proof.nonneg",),
        title="|λ| may replace λ, whatever the values",
    ),
    Claim(
        "ss.proof.A", "SS App. A.2, A(s)",
        r"\textstyle\sum_k|\lambda_k|E_{\pi_k}[X_k] \ge \min_\pi E_\pi[\sum_k|\lambda_k|X_k],\ "
        r"X_k = \sum_t(r_w - r_k)",
        "refuted", "inequality", "every", step_a, "each k has a policy of its own",
        hypotheses=(NONZERO_LAMBDA,),
        true_when="one policy attains every min_π E_π[X_k] with λ_k ≠ 0, as where λ is one-hot",
        true_by=("ss.proof.A.repaired",),
        title="A(s): one policy is worst for all specialists",
    ),
    Claim(
        "ss.proof.A.repaired", "ours",
        r"\textstyle\sum_k|\lambda_k|E_{\pi_k}[X_k] \ge \sum_k|\lambda_k|\min_\pi E_\pi[X_k]",
        "proved", "inequality", "every", step_a_repaired, "the minimum for each k apart",
        hypotheses=(NONZERO_LAMBDA,),
        title="A(s), mended: a worst policy for each",
    ),
    Claim(
        "ss.proof.B", "SS (16)",
        r"\textstyle\sum_k\lambda_kV_k - \beta|\lambda|_1\log E_{ref}\exp\frac{\sum\lambda_kQ_k}"
        r"{\beta|\lambda|_1} \ge \beta\sum_k\Delta_k\min(0,\lambda_k)",
        "proved", "inequality", "every", step_b, "ss.delta.renyi and D₂ ≤ Δ_k",
        hypotheses=(NONZERO_LAMBDA,),
        title="B(s): what negative weights cost",
    ),
    Claim(
        "ss.proof.C.jensen", "SS App. A.2, C(s)",
        r"\beta|\lambda|_1\log E_{ref}e^{pX} \ge \beta'\log E_{ref}e^X,\ "
        r"p = \beta'/(\beta|\lambda|_1) \ge 1",
        "proved", "inequality", "every", step_c_jensen, "Jensen for the power p ≥ 1",
        hypotheses=(IN_DOMAIN, NONZERO_LAMBDA),
        title="C(s): the power step",
    ),
    Claim(
        "ss.proof.C.lipschitz", "SS App. A.2, C(s)",
        r"\beta'\log E_{ref}e^X - \beta'\log E_{ref}e^{Q_w/\beta} \ge -E_{ref}\|\psi\|\,"
        r"\|\tfrac{\beta'}{\beta}\nu_w - \textstyle\sum_k\lambda_k\nu_k\|",
        "refuted", "inequality", "every", step_c_lipschitz,
        "log E exp is Lipschitz in the sup norm, not in L¹(ref)",
        hypotheses=_STEP, reported=(SOFTMAX_REFERENCE,), zero=True,
        true_when="E_{π_w}‖ψ‖ ≤ E_ref‖ψ‖ at the state, as where ‖ψ‖ is constant",
        true_by=("ss.proof.C.lipschitz.repaired",),
        title="C(s): log-mean-exp is Lipschitz",
    ),
    Claim(
        "ss.proof.C.norm-of-mean", "SS App. A.2, C(s)",
        r"\beta'\log E_{ref}e^X - \beta'\log E_{ref}e^{Q_w/\beta} \ge -\|E_{ref}|\psi|\,\|\,"
        r"\|\tfrac{\beta'}{\beta}\nu_w - \textstyle\sum_k\lambda_k\nu_k\|",
        "refuted", "inequality", "every", step_c_norm_of_mean,
        "a mean of many directions is short; even where ‖ψ‖ is constant",
        hypotheses=_STEP, reported=(SOFTMAX_REFERENCE,), zero=True,
        true_when="‖E_{π_w} ψ‖ ≤ ‖E_ref |ψ|‖ at the state",
        true_by=("ss.proof.C.norm-of-mean.repaired",),
        title="C(s): by norms of means, as printed",
    ),
    Claim(
        "ss.proof.C.norm-of-mean.repaired", "ours",
        r"\beta'\log E_{ref}e^X - \beta'\log E_{ref}e^{Q_w/\beta} \ge -\|E_{\pi_w}\psi\|\,"
        r"\|\tfrac{\beta'}{\beta}\nu_w - \textstyle\sum_k\lambda_k\nu_k\|",
        "proved", "inequality", "every", step_c_norm_of_mean_repaired,
        "convexity, then Cauchy–Schwarz on the mean",
        hypotheses=(LINEAR_VALUES,), reported=(SOFTMAX_REFERENCE,), zero=True,
        title="C(s): by norms of means, mended",
    ),
    Claim(
        "ss.proof.C.lipschitz.repaired", "ours",
        r"\beta'\log E_{ref}e^X - \beta'\log E_{ref}e^{Q_w/\beta} \ge -E_{\pi_w}\|\psi\|\,"
        r"\|\tfrac{\beta'}{\beta}\nu_w - \textstyle\sum_k\lambda_k\nu_k\|",
        "proved", "inequality", "every", step_c_repaired, "convexity: the tilt by Q_w/β is π_w",
        hypotheses=(LINEAR_VALUES,), reported=(SOFTMAX_REFERENCE,), zero=True,
        title="C(s): log-mean-exp, mended",
    ),
    Claim(
        "ss.delta.anchor", "SS (17)",
        r"E_{ref}[1/x]E_{ref}[x] \le \frac{2a-1}{\underline M(2a-\underline M)}\ \forall a:\ "
        r"|x-a| \le a",
        "refuted", "inequality", "instance", anchor, "m = 0.9, M = 1.9, a = 1",
        true_when="the anchor a is at least (m + M)/2", true_by=("ss.delta.anchor.upper",),
        title="the penalty's bound at any anchor",
    ),
    Claim(
        "ss.delta.anchor.upper", "ours",
        r"E_{ref}[1/x]E_{ref}[x] \le \frac{2a-1}{\underline M(2a-\underline M)},\ "
        r"a \ge (\underline M + \bar M)/2",
        "proved", "inequality", "instance", anchor_upper, "then (a − x)² ≤ (a − M̲)² for every x",
        title="the penalty's bound at an upper anchor",
    ),
)  # fmt: skip
