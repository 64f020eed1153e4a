"""What is true of the gap and of (9) when more is known of the logit error than its norm.

p = π~_λ and q = π_w at a state; ``e = Q_w/β − Σ λ_k Q_k/β'`` over the allowed tokens (nats), so that
``q = p·e^e/E_p e^e``. Then ``KL(p‖q) = log E_p e^{e − m}``, m = E_p e: the gap's identity is an
expected centred cumulant of e, and each bound here is one on that cumulant. By what it asks for:
mean, variance and maximum (Bennett); mean and range (chord); the means under p and q (mean shift);
the same means of the features.
"""

from __future__ import annotations

import numpy as np

from toymdp.exact.moments import Spread, feature_shift, spread
from toymdp.exact.policy import Policy
from toymdp.exact.scans import extrema, mixture

from .. import formulas
from ..claim import Claim
from ..facts.soup import Soup
from ..facts.token_mdp import Facts
from ..sides import Array, NotApplicable, Sides, worst
from .gap import by_divergence, logit_span
from .hypotheses import (
    CONSTANT_NORM,
    DECODABLE,
    FULL_BUDGET,
    IN_DOMAIN,
    LINEAR_REWARDS,
    LINEAR_VALUES,
    SOFTMAX_REFERENCE,
)

SEED = 0x13
DISTORTIONS = (0.03, 0.3, 3.0)  # β times these: how far learnt logits are moved, largest


def spread_of_error(soup: Soup) -> Spread:
    """How e lies about its mean under the soup, [T, S] each."""
    return spread(soup.policy, soup.logit_error, formulas.UNIT * soup.facts.size_of_divergences)


def gap_bennett(facts: Facts, soup: Soup) -> Sides:
    """``gap ≤ β E_{π~_λ} Σ_t log[b²/(b²+v) e^{−v/b} + v/(b²+v) e^b] + X``.

    At each state p = π~_λ(·|s) is the soup's law, e its logit error, m = E_p e its mean, v = Var_p e and
    b = max e − m; ``X = (β'/|λ|₁ − β) E_{π~_λ} Σ KL(π~_λ‖ref)``. Proof: π_w is p·e^e, normalised, so that
    ``KL(π~_λ‖π_w) = log E_p e^e − E_p e = log E_p e^Y`` with Y = e − m. Then (Bennett 1962), of
    all laws of mean 0, variance v and maximum b, ``E e^Y`` is largest for the one on −v/b and b: the
    parabola through ``e^y`` at b that touches it at −v/b lies above it up to b. Equality where e
    takes two values, as with two tokens always.
    """
    e, unit = soup.once(spread_of_error), formulas.UNIT * facts.size_of_divergences
    of_kl = formulas.bennett(e.above, e.log_variance)
    # the bound grows with both: what rounding may add to them, it may add to it
    with np.errstate(divide="ignore"):
        nearer = np.minimum(e.log_below, np.log(e.above))
    wider = np.logaddexp.reduce([
        e.log_variance + unit, np.log(2.0 * unit) + nearer, 2.0 * np.log(unit) + e.log_unsure,
    ])  # fmt: skip
    above = formulas.bennett(e.above + unit, wider)
    error = facts.mdp.beta * soup.expected(np.where(e.above > 0, above - of_kl, 0.0))
    return by_divergence(facts, soup, of_kl, error, "two-point cumulant")


def gap_chord(facts: Facts, soup: Soup) -> Sides:
    """``gap ≤ β E_{π~_λ} Σ_t log[(y e^{−x} + x e^y)/(x + y)] + X``, x = m − min e, y = max e − m.

    Proof: on [min e, max e] the convex exponential lies below its chord; take means. It is the two-point
    law of that range and mean, whose variance xy no other exceeds: weaker than Bennett's, and by
    Hoeffding's lemma at most span²/8.
    """
    e, unit = soup.once(spread_of_error), formulas.UNIT * facts.size_of_divergences
    of_kl = formulas.chord(e.log_below, e.above)
    further = np.logaddexp(e.log_below + unit, np.log(unit) + e.log_unsure)
    wider = formulas.chord(further, e.above + unit)
    error = facts.mdp.beta * soup.expected(np.where(e.above > 0, wider - of_kl, 0.0))
    return by_divergence(facts, soup, of_kl, error, "chord")


def gap_mean_shift(facts: Facts, soup: Soup) -> Sides:
    """``gap ≤ β E_{π~_λ} Σ_t (E_q e − E_p e) + X``.

    Proof: ``KL(p‖q) ≤ KL(p‖q) + KL(q‖p) = E_q e − E_p e`` (Jeffreys).
    """
    e = soup.logit_error
    shift = np.maximum(facts.bespoke.mean(e) - soup.policy.mean(e), 0.0)
    return by_divergence(facts, soup, shift, 0.0, "mean shift")


def shift_of_features(soup: Soup) -> tuple[Array, Array]:
    """``‖E_{π_w}ψ − E_{π~_λ}ψ‖₂`` [T, S], and its rounding radius."""
    facts = soup.facts
    radius = formulas.UNIT * facts.size_of_divergences * (facts.bespoke_norm + soup.mean_norm)
    return feature_shift(facts.bespoke, soup.policy), radius


def _through_features(soup: Soup) -> tuple[Array, Array]:
    """That shift times ``‖ν_w/β − Σ λ_k ν_k/β'‖``, in nats, and its rounding radius."""
    shift, radius = soup.once(shift_of_features)
    n, off = soup.logit_norm / soup.beta_prime, soup.logit_norm_error / soup.beta_prime
    return shift * n, shift * off + radius * (n + off)


def gap_mean_shift_features(facts: Facts, soup: Soup) -> Sides:
    """``gap ≤ β E_{π~_λ} Σ_t ‖E_{π_w}ψ − E_{π~_λ}ψ‖·‖ν_w/β − Σ λ_k ν_k/β'‖ + X``.

    Cauchy–Schwarz on the difference of the means, where ss.thm1.gap.sharp-features takes the sum of
    two mean norms.
    """
    of_kl, radius = _through_features(soup)
    error = facts.mdp.beta * soup.expected(radius)
    return by_divergence(facts, soup, of_kl, error, "shift of the features")


def kl_mean_shift(facts: Facts, soup: Soup) -> Sides:
    """(9) mended: ``KL(π_w‖π~_λ) ≤ ‖E_{π_w}ψ − E_{π~_λ}ψ‖·‖ν_w/β − Σ λ_k ν_k/β'‖``.

    At every reachable state and every λ in ℝᴷ. Proof: Jeffreys as in ss.thm1.gap.mean-shift, with
    ``e = ψ·(ν_w/β − Σ λ_k ν_k/β')``.
    """
    rhs, error = _through_features(soup)
    scale = facts.size_of_divergences
    return worst(soup.kl_from_w, rhs, facts.judged, scale, ("t", "s"), error)


def constant_norm_conditional(facts: Facts, soup: Soup) -> Sides:
    """``gap ≤ min(2T, T c n/2)·[c·‖ν_w − (β/β')Σ λ_k ν_k‖]`` where ``‖ψ‖ = c``, at full budget.

    n = ‖ν_w/β − Σ λ_k ν_k/β'‖; the bracket is the last term of (10). Proof: X = 0, and a step's
    ``KL(p‖q)`` is at most ``2cn`` by Jeffreys and ``(2cn)²/8`` by Hoeffding. So the printed (10) is
    true where T c n ≤ 2: the term "T c n".
    """
    mdp = facts.mdp
    if mdp.horizon is None:
        raise NotApplicable("no horizon T: the bound counts the steps")
    c = float(facts.features.norms[mdp.reach.nexts].max())
    T, beta = mdp.horizon, mdp.beta

    def bound(norm: float) -> float:
        n = norm / soup.beta_prime
        return min(2.0 * T, T * c * n / 2.0) * c * beta * n

    rhs, above = bound(soup.logit_norm), bound(soup.logit_norm + soup.logit_norm_error)
    terms = {"T c n": T * c * soup.logit_norm / soup.beta_prime,
             "last term of (10)": c * beta * soup.logit_norm / soup.beta_prime}  # fmt: skip
    scale = facts.size_of_returns + beta * T
    unspent = 0.0  # X where rounding leaves one, and its limit at λ = 0
    if soup.lam.any():
        unspent = abs(soup.temperature - beta) * soup.expected(soup.kl_ref)
    return Sides(soup.gap, rhs, scale, terms, error=2 * (above - rhs) + unspent)


def any_logits(facts: Facts, soup: Soup) -> Sides:
    """``gap ≤ E_{π^_λ} Σ β(span_a e + δ/β)²/8 + X`` for the soup π^_λ of any fields Q̂_k.

    ``δ = max_k sup span_a(Q̂_k − Q_k)``; gap, X and the expectation are those of π^_λ, e of the exact
    fields. Proof: the identity holds of any policy; the logits of π_w and π^_λ differ by
    ``e + Σ λ_k (Q_k − Q̂_k)/β'``, whose span is at most ``span e + |λ|₁δ/β'``, and β|λ|₁ ≤ β'.
    Judged with Q̂ = Q + seeded noise of three sizes; the least slack is reported.
    """
    mdp, beta = facts.mdp, facts.mdp.beta
    noise = np.random.default_rng(SEED).uniform(-0.5, 0.5, size=facts.sol.Q.shape)
    span = logit_span(facts, soup)
    scale = facts.size_of_returns + beta * mdp.steps
    each = []
    for size in DISTORTIONS:
        off = size * beta * noise
        delta = max(float(np.subtract(*extrema(mdp, f)[::-1]).max()) for f in off)
        weights = soup.lam / soup.beta_prime
        policy = Policy(mdp, mixture(weights, facts.sol.Q + off))
        kl_ref = policy.divergence(facts.reference)
        temperature = soup.temperature if soup.size else 0.0
        value = facts.regularised_value(policy, temperature, kl_ref)
        of_kl = formulas.hoeffding(span + delta / beta)
        rate = formulas.gap_rate(of_kl, kl_ref, beta, soup.temperature)
        rhs = float((policy.occupancy.states * rate).sum())
        error = facts.value_error(policy, value)
        error += facts.value_error(
            policy, rhs, float(rate.max(where=mdp.reach.states, initial=0.0))
        )
        terms = {"δ": delta}
        each.append(Sides(facts.sol.value_w - value, rhs, scale, terms, error=error))
    return min(each, key=lambda sides: sides.slack)


_X = r"(\beta'/|\lambda|_1-\beta)E_{\tilde\pi_\lambda}\textstyle\sum_t KL(\tilde\pi_\lambda\|\pi_{ref})"
_N = r"\|\nu_w/\beta-\textstyle\sum_k\lambda_k\nu_k/\beta'\|"

TABLE = (
    Claim(
        "ss.thm1.gap.bennett", "ours",
        r"V_w - J(\lambda) \le \beta E_{\tilde\pi_\lambda}\textstyle\sum_t\log[\tfrac{b^2}{b^2+v}"
        r"e^{-v/b} + \tfrac{v}{b^2+v}e^b] + " + _X,
        "proved", "inequality", "every", gap_bennett,
        "Bennett's two-point law in the identity",
        hypotheses=(IN_DOMAIN,), zero=True,
        title="the gap by Bennett's inequality: the best bound",
    ),
    Claim(
        "ss.thm1.gap.chord", "ours",
        r"V_w - J(\lambda) \le \beta E_{\tilde\pi_\lambda}\textstyle\sum_t\log\tfrac{y e^{-x} + x e^y}"
        r"{x+y} + " + _X,
        "proved", "inequality", "every", gap_chord,
        "the chord of exp over the range of e",
        hypotheses=(IN_DOMAIN,), zero=True,
        title="the gap by the chord of exp",
    ),
    Claim(
        "ss.thm1.gap.mean-shift", "ours",
        r"V_w - J(\lambda) \le \beta E_{\tilde\pi_\lambda}\textstyle\sum_t(E_{\pi_w}e -"
        r"E_{\tilde\pi_\lambda}e) + " + _X,
        "proved", "inequality", "every", gap_mean_shift,
        "Jeffreys' divergence in the identity",
        hypotheses=(IN_DOMAIN,), zero=True,
        title="the gap by the shift of the mean logit error",
    ),
    Claim(
        "ss.thm1.gap.mean-shift-features", "ours",
        r"V_w - J(\lambda) \le \beta E_{\tilde\pi_\lambda}\textstyle\sum_t\|E_{\pi_w}\psi -"
        r"E_{\tilde\pi_\lambda}\psi\|\," + _N + " + " + _X,
        "proved", "inequality", "every", gap_mean_shift_features,
        "Cauchy–Schwarz on the difference of the means",
        hypotheses=(LINEAR_VALUES, IN_DOMAIN), reported=(SOFTMAX_REFERENCE, LINEAR_REWARDS), zero=True,
        title="the gap by the shift of the mean features",
    ),
    Claim(
        "ss.thm1.kl.mean-shift", "ours",
        r"KL(\pi_w\|\tilde\pi_\lambda)(s) \le \|E_{\pi_w}\psi - E_{\tilde\pi_\lambda}\psi\|\," + _N,
        "proved", "inequality", "every", kl_mean_shift,
        "Jeffreys' divergence, then Cauchy–Schwarz on the difference of the means",
        hypotheses=(DECODABLE, LINEAR_VALUES), reported=(SOFTMAX_REFERENCE, LINEAR_REWARDS), zero=True,
        title="KL by the shift of the mean features",
    ),
    Claim(
        "ss.thm1.gap.constant-norm.conditional", "ours",
        r"V_w - J(\lambda) \le \min(2T, Tcn/2)\, c\,\|\nu_w-\tfrac\beta{\beta'}\textstyle\sum_k"
        r"\lambda_k\nu_k\|,\ \|\psi\|=c,\ n = " + _N,
        "proved", "inequality", "every", constant_norm_conditional,
        "so (10) is true where T c n ≤ 2",
        hypotheses=(LINEAR_VALUES, IN_DOMAIN, FULL_BUDGET, CONSTANT_NORM),
        reported=(SOFTMAX_REFERENCE, LINEAR_REWARDS), zero=True,
        title="the gap where features have one norm: when (10) is true",
    ),
    Claim(
        "ss.thm1.gap.any-logits", "ours",
        r"V_w - J(\hat\pi_\lambda) \le E_{\hat\pi_\lambda}\textstyle\sum_t\beta(\mathrm{span}_a(e) +"
        r"\delta/\beta)^2/8 + (\beta'/|\lambda|_1-\beta)E_{\hat\pi_\lambda}\sum_t"
        r"KL(\hat\pi_\lambda\|\pi_{ref})",
        "proved", "inequality", "every", any_logits,
        "the identity knows no Q: learnt logits cost their distance",
        hypotheses=(IN_DOMAIN,), zero=True,
        title="the gap with learnt logits",
    ),
)  # fmt: skip
