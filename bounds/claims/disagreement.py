"""How much the specialists disagree, and what that alone says of the gap: no λ*, no features.

``D_t(s) = Σ w_k V_k − V_w`` at t, s: what the user loses where each specialist is believed about its
own reward. At the matched weights λ = (β'/β)w, of which most rows here speak, the logit error is
``e = −D_{t+1}/β``: the soup is π_w tilted by ``e^{D/β}``, at full budget.
"""

from __future__ import annotations

from math import fsum

import numpy as np

from toymdp.exact.scans import extrema

from .. import formulas
from ..claim import Claim
from ..facts.soup import Soup
from ..facts.token_mdp import Facts
from ..sides import EPS, Array, NotApplicable, Sides, worst
from .hypotheses import LINEAR_VALUES, SOFTMAX_REFERENCE
from .kl import kl_sides

SEED = 0x14
PAIRS = (10.0, 100.0, 1000.0)  # concentration of the Dirichlet that learnt weights are drawn from


def matched(facts: Facts) -> Soup:
    """The soup at λ = (β'/β)w: made anew each time, facts that kept it would keep themselves alive."""
    return Soup(facts, facts.mdp.beta_prime / facts.mdp.beta * facts.mdp.w)


def disagreement_at(facts: Facts) -> Array:
    """``Σ w_k V_k − V_w`` [T+1, S] in reward units, 0 at the end."""
    mixed = np.einsum("k,kts->ts", facts.mdp.w, facts.sol.V)
    return np.asarray(mixed - facts.sol.V_w)


def span_ahead(facts: Facts) -> Array:
    """``span_a D_{t+1}`` [T, S] over the allowed tokens."""
    low, high = extrema(facts.mdp, np.ascontiguousarray(facts.once(disagreement_at)[1:]))
    return high - low


def _of_weights(facts: Facts) -> float:
    """What a w whose sum is 1 to rounding only costs an identity, reward units."""
    return abs(float(facts.mdp.w.sum()) - 1.0) * 2.0 * facts.size_of_values


def disagreement(facts: Facts) -> Sides:
    """``Σ w_k V_k − V_w = β Σ w_k KL(P_w‖P_k) ≥ 0`` at every state, P the laws of all that follows.

    Proof. ``log P_w/P_k`` of a continuation is ``(R_w − V_w − R_k + V_k)/β``, since its steps'
    logits add up by (3); take means under P_w and then over k, where ``Σ w_k R_k = R_w``. The
    divergences add up step by step: ``KL(P_w‖P_k) = E_{π_w} Σ KL(π_w‖π_k)``. Weights that add up
    to 1 but for rounding leave ``(1 − Σw) β KL(P_w‖P_ref)``, which counts on the right.
    """
    mdp = facts.mdp
    each = [facts.bespoke.divergence(policy) for policy in (*facts.specialists, facts.reference)]
    weights = np.append(mdp.w, fsum([1.0, *-mdp.w]))
    rate = np.einsum("k,kts->ts", weights, np.stack(each))
    rhs = mdp.beta * facts.bespoke.value(np.zeros(mdp.n_contexts), rate)[:-1]
    lhs = facts.once(disagreement_at)[:-1]
    gap, scale = np.abs(lhs - rhs), facts.size_of_returns
    place = worst(np.maximum(lhs, rhs), np.maximum(lhs, rhs) - gap, facts.judged, scale, ("t", "s"))
    assert place.where is not None
    at = place.where["t"], place.where["s"]
    error = facts.value_error(facts.bespoke, float(rhs[at]))
    return Sides(float(lhs[at]), float(rhs[at]), scale, where=place.where, error=error)


def kl_matched(facts: Facts) -> Sides:
    """``KL(π_w‖π~) ≤ (E_{π~} D_{t+1} − E_{π_w} D_{t+1})/β`` at every state, λ = (β'/β)w.

    Proof: ``π_w ∝ π~·e^{−D/β}``, and ``log E_{π~} e^{−D/β} ≥ −E_{π~} D/β`` (Jensen).
    """
    soup = matched(facts)
    ahead = np.ascontiguousarray(facts.once(disagreement_at)[1:])
    rhs = (soup.policy.mean(ahead) - facts.bespoke.mean(ahead)) / facts.mdp.beta
    return worst(soup.kl_from_w, rhs, facts.judged, facts.size_of_divergences, ("t", "s"))


def kl_matched_norms(facts: Facts) -> Sides:
    """The printed (9) at λ = (β'/β)w, at the states where ``E_{π~}‖ψ‖ ≤ E_{π_w}‖ψ‖ + E_ref‖ψ‖``.

    Proof. By ss.thm1.kl.matched and D ≥ 0 the left side is at most ``E_{π~} D/β = E_{π~}|ψ·n_e|``,
    ``n_e = ν_w/β − Σ w_k ν_k/β``, and Cauchy–Schwarz gives ``E_{π~}‖ψ‖·‖n_e‖``. In particular it
    holds wherever no norm is more than twice another.
    """
    soup = matched(facts)
    states = facts.judged & (soup.mean_norm <= facts.bespoke_norm + facts.reference_norm)
    if not states.any():
        rule = "E_{π~}‖ψ‖ > E_{π_w}‖ψ‖ + E_ref‖ψ‖"
        raise NotApplicable(f"{rule} at {facts.states_judged}")
    return kl_sides(facts, soup, facts.reference_norm, states)


def _remaining(facts: Facts) -> int:
    if facts.mdp.horizon is None:
        raise NotApplicable("no horizon T: the bound counts the steps that remain")
    return facts.mdp.horizon


def reward_spans(facts: Facts, fields: Array) -> Array:
    """Span [M] of each field [M, S] over the reachable next contexts; with 0 where episodes may end.

    After ``eos`` nothing is earned: a return over j steps is then one over fewer.
    """
    used = fields[:, facts.mdp.reach.nexts.any(axis=0)]
    low, high = used.min(axis=1), used.max(axis=1)
    if facts.mdp.eos is not None:
        low, high = np.minimum(low, 0.0), np.maximum(high, 0.0)
    return np.asarray(high - low)


def gap_apriori(facts: Facts, soup: Soup) -> Sides:
    """``gap(λ*) ≤ Σ_{j<T} j⁴σ⁴/(512 β³)``, ``σ² = Σ w_k span(r_k − r_w)²``: nothing is solved for it.

    Proof. ``gap(λ*) ≤ gap((β'/β)w)``, and there a step costs at most ``span(D)²/(8β)`` (ss.thm1.gap
    .sharp, e = −D/β). With j steps to come ``D = β Σ w_k KL(P_w‖P_k)`` lies between 0 and
    ``j²σ²/(8β)``: P_k is P_w tilted by ``(R_k − R_w)/β``, of span at most j times the reward's
    (Hoeffding). Souping errs in the fourth order of how much tastes differ, and not at all at T = 1.
    """
    mdp, T = facts.mdp, _remaining(facts)
    spans = reward_spans(facts, mdp.rewards - mdp.reward_w)
    variance = float(mdp.w @ spans**2)
    rhs = float((np.arange(T) ** 4.0).sum() * variance**2 / (512.0 * mdp.beta**3))
    at_w = matched(facts)
    terms = {"σ": variance**0.5, "gap at (β'/β)w": at_w.gap}
    rounding = 64 * EPS * rhs + at_w.value_error
    return Sides(soup.gap, rhs, facts.size_of_returns, terms, error=rounding)


def _by_span(soup: Soup, span: Array) -> tuple[float, float]:
    """``E_{π~} Σ span²/(8β)`` for spans [T, S] in reward units, and the radius of it and of the gap."""
    facts, beta = soup.facts, soup.mdp.beta
    unit = formulas.UNIT * facts.size_of_values
    rate = beta * formulas.hoeffding(span / beta)
    wider = beta * formulas.hoeffding((span + unit) / beta)
    error = soup.expected(wider - rate) + soup.expected_error(rate)
    return soup.expected(rate), error + soup.value_error + _of_weights(facts)


def gap_apriori_state_wise(facts: Facts) -> Sides:
    """``gap((β'/β)w) ≤ E_{π~} Σ_t span_a(D_{t+1})²/(8β)``, and gap(λ*) is no larger."""
    soup = matched(facts)
    beta = facts.mdp.beta
    rhs, error = _by_span(soup, facts.once(span_ahead))
    scale = facts.size_of_returns + beta * facts.mdp.steps
    return Sides(soup.gap, rhs, scale, error=error)


def gap_learnt(facts: Facts) -> Sides:
    """``gap((β'/β)ŵ) ≤ E_{π~} Σ_t (span_a D_{t+1} + ‖ŵ − w‖₁ max_k span_a Q_k)²/(8β)``, ŵ a simplex.

    Proof: ``e = (−D + Σ (w_k − ŵ_k) Q_k)/β`` in ss.thm1.gap.sharp, at full budget. Weights learnt from
    n pairs are off by 1/√n: so is the gap, or by 1/n where D is the same for all tokens. Judged at
    seeded ŵ around w, nearer and nearer; the least slack is reported.
    """
    mdp, beta = facts.mdp, facts.mdp.beta
    rng = np.random.default_rng(SEED)
    ranges = [np.subtract(*extrema(mdp, q)[::-1]) for q in facts.sol.Q]
    each = []
    for n in PAIRS:
        learnt = rng.dirichlet(n * mdp.w + 1.0 / len(mdp.w))
        soup = Soup(facts, mdp.beta_prime / beta * learnt)
        off = float(np.abs(learnt - mdp.w).sum())
        span = facts.once(span_ahead) + off * np.max(ranges, axis=0)
        rhs, error = _by_span(soup, span)
        scale = facts.size_of_returns + beta * mdp.steps
        each.append(Sides(soup.gap, rhs, scale, {"‖ŵ − w‖₁": off}, error=error))
    return min(each, key=lambda sides: sides.slack)


TABLE = (
    Claim(
        "ss.thm1.disagreement", "ours",
        r"\textstyle\sum_k w_k V_k - V_w = \beta\sum_k w_k KL(P_w\|P_k)",
        "proved", "equality", "instance", disagreement,
        "the laws of all that follows, telescoped",
        title="how much tastes disagree, as a divergence",
    ),
    Claim(
        "ss.thm1.kl.matched", "ours",
        r"KL(\pi_w\|\tilde\pi)(s) \le (E_{\tilde\pi}D - E_{\pi_w}D)/\beta,\ \lambda=\tfrac{\beta'}\beta w",
        "proved", "inequality", "instance", kl_matched,
        "Jensen: at matched weights π_w is the soup tilted by −D/β",
        title="KL at matched weights, by disagreement",
    ),
    Claim(
        "ss.thm1.kl.matched-norms", "ours",
        r"(9)\text{ at }\lambda=\tfrac{\beta'}\beta w\text{ where }E_{\tilde\pi}\|\psi\| \le "
        r"E_{\pi_w}\|\psi\| + E_{ref}\|\psi\|",
        "proved", "inequality", "instance", kl_matched_norms,
        "D ≥ 0, so one mean norm is enough",
        hypotheses=(LINEAR_VALUES,), reported=(SOFTMAX_REFERENCE,),
        title="the bound on KL at matched weights",
    ),
    Claim(
        "ss.thm1.gap.apriori", "ours",
        r"V_w - J(\lambda^*) \le \textstyle\sum_{j<T} j^4\sigma^4/(512\beta^3),\ "
        r"\sigma^2=\sum_k w_k\,\mathrm{span}(r_k-r_w)^2",
        "proved", "inequality", "optimum", gap_apriori,
        "Hoeffding twice: souping is of fourth order in how much tastes differ", zero=True,
        title="the gap from rewards alone: of fourth order",
    ),
    Claim(
        "ss.thm1.gap.apriori.state-wise", "ours",
        r"V_w - J(\tfrac{\beta'}\beta w) \le E_{\tilde\pi}\textstyle\sum_t"
        r"\mathrm{span}_a(D_{t+1})^2/(8\beta)",
        "proved", "inequality", "instance", gap_apriori_state_wise,
        "at matched weights the logit error is −D/β",
        title="the gap at matched weights, state by state",
    ),
    Claim(
        "ss.thm1.gap.learnt", "ours",
        r"V_w - J(\tfrac{\beta'}\beta\hat w) \le E_{\tilde\pi}\textstyle\sum_t(\mathrm{span}_a D_{t+1}"
        r"+ \|\hat w-w\|_1\max_k\mathrm{span}_a Q_k)^2/(8\beta)",
        "proved", "inequality", "instance", gap_learnt,
        "learnt weights move the logit error by at most ‖ŵ − w‖₁ spans",
        title="the gap with learnt weights",
    ),
)  # fmt: skip
