"""Theorem 1, first part: the KL bound (9), where it is true, and its repair.

λ enters through the literal formulas of the paper, with λ and β' kept apart: that the results
depend on ``mu = λ/β'`` only is a claim of its own (ss.betaprime).
"""

from __future__ import annotations

import numpy as np

from toymdp.exact.moments import norm_of_mean
from toymdp.exact.scans import extrema

from .. import formulas
from ..claim import Claim
from ..facts.soup import Soup
from ..facts.token_mdp import Facts
from ..sides import EPS, Array, Mask, NotApplicable, Sides, worst
from .hypotheses import DECODABLE, IN_DOMAIN, LINEAR_REWARDS, LINEAR_VALUES, SOFTMAX_REFERENCE

THEOREM = (LINEAR_REWARDS, DECODABLE, LINEAR_VALUES, IN_DOMAIN)


def kl(facts: Facts, soup: Soup) -> Sides:
    """(9) at the start context: ``KL(π_w‖π~_λ*) ≤ (1/β')(E_{π_w}‖ψ‖ + E_ref‖ψ‖)·‖…‖``.

    It fails where the soup writes a token with long features that ref and π_w write rarely: what is
    needed is ``E_{π~}‖ψ‖``, and ref's mean stands in its place. On ``kl-natural`` the token 1 has
    ‖ψ‖ = 3; E_ref‖ψ‖ = 1.2, E_{π_w}‖ψ‖ = 1.127, E_{π~}‖ψ‖ = 3: 20.01 > 18.85, where the repaired bound
    says 33.44.
    """
    begin = facts.start
    norm_w, norm_ref = facts.bespoke_norm[begin], facts.reference_norm[begin]
    error = soup.logit_norm
    rhs = float(formulas.kl_bound(norm_w, norm_ref, error, soup.beta_prime))
    terms = {"E_w‖psi‖": float(norm_w), "E_ref‖psi‖": float(norm_ref), "logit error": error}
    where = {"t": 0, "s": facts.mdp.start_context}
    radius = float(norm_w + norm_ref) * soup.logit_norm_error / soup.beta_prime
    return Sides(
        float(soup.kl_from_w[begin]), rhs, facts.size_of_divergences, terms, where, error=radius
    )


def kl_sides(facts: Facts, soup: Soup, other: Array, states: Mask) -> Sides:
    """``KL(π_w‖π~_λ)`` and the bound with ``E_other‖ψ‖`` [T, S], at the worst of the states."""
    rhs, error = (
        formulas.kl_bound(facts.bespoke_norm, other, norm, soup.beta_prime)
        for norm in (soup.logit_norm, soup.logit_norm_error)
    )
    return worst(soup.kl_from_w, rhs, states, facts.size_of_divergences, ("t", "s"), error)


def kl_any(facts: Facts, soup: Soup) -> Sides:
    """(14): the bound of (9) for any λ, at every reachable state, as its proof says.

    The proof bounds ``log E_ref e^X − log E_ref e^Y`` by ``E_ref|X − Y|``. The map is 1-Lipschitz in
    the sup norm, not in L¹(ref): a token that is rare under ref and under π_w can carry the soup.
    """
    return kl_sides(facts, soup, facts.reference_norm, facts.judged)


def kl_norm_of_mean(facts: Facts, soup: Soup) -> Sides:
    """(14) as it is printed: ``KL(π_w‖π~_λ) ≤ (1/β')(‖E_{π_w} ψ‖ + ‖E_ref |ψ|‖)·‖…‖``.

    Norms of means, ``|·|`` coordinate by coordinate, where (9) has means of norms: smaller, for means
    of one-hots are short however long each of them is. False at one norm: A = 32 unit one-hots, one
    reward of −20, λ = −1 give ``16.6 > (2/√32)·40``. Jeffreys gives ``‖E_{π~_λ} ψ‖`` for the second
    (ss.thm1.kl.mean-shift), so it is true where that is no longer than ``‖E_ref |ψ|‖``.
    """
    norms = norm_of_mean(facts.bespoke) + facts.once(reference_mean_norm)
    rhs, error = (
        norms * norm / soup.beta_prime for norm in (soup.logit_norm, soup.logit_norm_error)
    )
    return worst(soup.kl_from_w, rhs, facts.judged, facts.size_of_divergences, ("t", "s"), error)


def reference_mean_norm(facts: Facts) -> Array:
    """``‖E_ref |ψ((s,·))|‖₂`` [T, S]."""
    return norm_of_mean(facts.reference, absolute=True)


def constant_norm_states(facts: Facts) -> Mask:
    """[T, S] reachable states whose allowed tokens all have features of one norm."""
    low, high = extrema(facts.mdp, facts.features.norms)
    return np.asarray(facts.mdp.reach.states & (high - low <= 4 * EPS * high))


def kl_constant_norm(facts: Facts, soup: Soup) -> Sides:
    """(9) for every λ at the states where ``‖ψ((s,·))‖`` is constant, as after RMSNorm.

    There ``E_ref‖ψ‖ = E_{π~_λ}‖ψ‖``, so the printed bound is the repaired one.
    """
    states = facts.once(constant_norm_states) & facts.judged
    if not states.any():
        raise NotApplicable(f"features differ in norm at {facts.states_judged}")
    return kl_sides(facts, soup, facts.reference_norm, states)


def kl_repaired(facts: Facts, soup: Soup) -> Sides:
    """(9) with ``E_{π~_λ}`` for ``E_ref``, at every reachable state.

    Proof. ``KL(p‖q) ≤ KL(p‖q) + KL(q‖p) = (E_p − E_q)[log p/q]``, and ``log p/q`` differs from
    ``e = ψ·(ν_w/β − Σ λ_k ν_k/β')`` by a constant, so the right side is at most
    ``(E_p‖ψ‖ + E_q‖ψ‖)·‖ν_w/β − Σ λ_k ν_k/β'‖`` by Cauchy–Schwarz.
    """
    return kl_sides(facts, soup, soup.mean_norm, facts.judged)


TABLE = (
    Claim(
        "ss.thm1.kl", "SS (9)",
        r"KL(\pi_w\|\tilde\pi_{\lambda^*}) \le \tfrac{1}{\beta'}"
        r"(E_{\pi_w}\|\psi\| + E_{ref}\|\psi\|)"
        r"\,\|\tfrac{\beta'}{\beta}\nu_w - \textstyle\sum_k\lambda^*_k\nu_k\|",
        "refuted", "inequality", "optimum", kl,
        "log E exp is 1-Lipschitz in the sup norm, not in L¹(ref)",
        hypotheses=THEOREM, reported=(SOFTMAX_REFERENCE,), zero=True,
        true_when="E_{π~}‖ψ‖ ≤ E_ref‖ψ‖ at the start, as where ‖ψ‖ is constant; at λ* = (β'/β)w "
        "already E_{π~}‖ψ‖ ≤ E_{π_w}‖ψ‖ + E_ref‖ψ‖",
        true_by=("ss.thm1.kl.constant-norm", "ss.thm1.kl.matched-norms"), blames="ss.proof.kl-step",
        title="the bound on KL at the best soup",
    ),
    Claim(
        "ss.thm1.kl.any", "SS (14)",
        r"KL(\pi_w\|\tilde\pi_\lambda)(s) \le \tfrac{1}{\beta'}(E_{\pi_w}\|\psi\| + E_{ref}\|\psi\|)"
        r"\,\|\tfrac{\beta'}{\beta}\nu_w - \textstyle\sum_k\lambda_k\nu_k\|\ \forall\lambda, s",
        "refuted", "inequality", "every", kl_any,
        "a token rare under ref and π_w may carry the soup; already at T = 1",
        hypotheses=(LINEAR_REWARDS, DECODABLE, LINEAR_VALUES), reported=(SOFTMAX_REFERENCE,), zero=True,
        true_when="E_{π~}‖ψ‖ ≤ E_ref‖ψ‖ at the state, as where ‖ψ‖ is constant",
        true_by=("ss.thm1.kl.constant-norm",), blames="ss.proof.kl-step",
        title="the bound on KL at every λ and state",
    ),
    Claim(
        "ss.thm1.kl.norm-of-mean", "SS (14)",
        r"KL(\pi_w\|\tilde\pi_\lambda)(s) \le \tfrac{1}{\beta'}(\|E_{\pi_w}\psi\| + "
        r"\|E_{ref}|\psi|\,\|)\,\|\tfrac{\beta'}{\beta}\nu_w - \textstyle\sum_k\lambda_k\nu_k\|",
        "refuted", "inequality", "every", kl_norm_of_mean,
        "a mean of many directions is short, whatever carries the soup; even where ‖ψ‖ is constant",
        hypotheses=(LINEAR_REWARDS, DECODABLE, LINEAR_VALUES), reported=(SOFTMAX_REFERENCE,), zero=True,
        true_when="‖E_{π~} ψ‖ ≤ ‖E_ref |ψ|‖ at the state",
        true_by=("ss.thm1.kl.mean-shift",), blames="ss.proof.kl-step.norm-of-mean",
        title="the bound on KL by norms of means, as printed",
    ),
    Claim(
        "ss.thm1.kl.constant-norm", "ours",
        r"(9)\ \forall\lambda \text{ where } \|\psi((s,\cdot))\| \text{ is constant}",
        "proved", "inequality", "every", kl_constant_norm,
        "there E_ref‖ψ‖ is E_soup‖ψ‖, and (9) is its own repair",
        hypotheses=(LINEAR_VALUES,), reported=(SOFTMAX_REFERENCE, LINEAR_REWARDS), zero=True,
        title="the bound on KL where features have one norm",
    ),
    Claim(
        "ss.thm1.kl.repaired", "ours",
        r"KL(\pi_w\|\tilde\pi_\lambda) \le \tfrac{1}{\beta'}(E_{\pi_w}\|\psi\| + "
        r"E_{\tilde\pi_\lambda}\|\psi\|)\,\|\tfrac{\beta'}{\beta}\nu_w"
        r" - \textstyle\sum_k\lambda_k\nu_k\|",
        "proved", "inequality", "every", kl_repaired,
        "Jeffreys' divergence bounds KL; then Cauchy–Schwarz",
        hypotheses=(LINEAR_VALUES,), reported=(SOFTMAX_REFERENCE, LINEAR_REWARDS), zero=True,
        title="the bound on KL, mended",
    ),
)  # fmt: skip
