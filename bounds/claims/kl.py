"""Theorem 1, first part: the KL bound (9), where it is true, and its repair.

λ enters through the literal formulas of the paper, with λ and β' kept apart: that the results
depend on ``mu = λ/β'`` only is a claim of its own (ss.betaprime).
"""

from __future__ import annotations

import numpy as np

from toymdp import Solution
from toymdp.exact.scans import extrema
from toymdp.soup.optimum import SoupOptimum

from .. import formulas
from ..claim import EPS, Array, Claim, Mask, NotApplicable, Sides, worst
from ..facts.linear_fit import feature_span
from ..facts.soup import bespoke_norm, judged_states, reference_norm, size_of_values, soup

THEOREM = ("ss.asm1", "ss.asm2", "q-linear", "lambda-in-domain")


def divergence_scale(sol: Solution) -> float:
    """Rounding scale of divergences (nats): logits are differences of values over β."""
    return 1.0 + size_of_values(sol) / sol.mdp.beta


def kl(sol: Solution, lam: Array | None, opt: SoupOptimum | None) -> Sides:
    """(9) at the start context: ``KL(π_w‖π~_λ*) ≤ (1/β')(E_{π_w}‖psi‖ + E_ref‖psi‖)·‖…‖``."""
    assert lam is not None
    here, begin = soup(sol, lam), (0, sol.mdp.start_context)
    norm_w, norm_ref = bespoke_norm(sol)[begin], reference_norm(sol)[begin]
    error = here.logit_norm
    rhs = float(formulas.kl_bound(norm_w, norm_ref, error, here.beta_prime))
    terms = {"E_w‖psi‖": float(norm_w), "E_ref‖psi‖": float(norm_ref), "logit error": error}
    where = {"t": 0, "s": sol.mdp.start_context}
    radius = float(norm_w + norm_ref) * here.logit_norm_error / here.beta_prime
    return Sides(
        float(here.kl_from_w[begin]), rhs, divergence_scale(sol), terms, where, error=radius
    )


def kl_any(sol: Solution, lam: Array | None, opt: SoupOptimum | None) -> Sides:
    """(14): the bound of (9) for any λ, at every reachable state, as its proof says.

    The proof bounds ``log E_ref e^X − log E_ref e^Y`` by ``E_ref|X − Y|``. The map is 1-Lipschitz in
    the sup norm, not in L¹(ref): a token that is rare under ref and under π_w can carry the soup.
    """
    assert lam is not None
    here = soup(sol, lam)
    error = here.logit_norm
    rhs = formulas.kl_bound(bespoke_norm(sol), reference_norm(sol), error, here.beta_prime)
    return worst(here.kl_from_w, rhs, judged_states(sol), divergence_scale(sol), ("t", "s"))


def constant_norm_states(sol: Solution) -> Mask:
    """[T, S] reachable states whose allowed tokens all have features of one norm, cached."""
    if "constant-norm" not in sol.cache:
        low, high = extrema(sol.mdp, np.asarray(feature_span(sol).norms))
        sol.cache["constant-norm"] = sol.mdp.reach.states & (high - low <= 4 * EPS * high)
    found: Mask = sol.cache["constant-norm"]
    return found


def kl_constant_norm(sol: Solution, lam: Array | None, opt: SoupOptimum | None) -> Sides:
    """(9) for every λ at the states where ``‖psi((s,·))‖`` is constant, as after RMSNorm.

    There ``E_ref‖psi‖ = E_{π~_λ}‖psi‖``, so the printed bound is the repaired one.
    """
    assert lam is not None
    here, states = soup(sol, lam), constant_norm_states(sol)
    if not states.any():
        raise NotApplicable("no reachable state has features of constant norm")
    error = here.logit_norm
    rhs = formulas.kl_bound(bespoke_norm(sol), reference_norm(sol), error, here.beta_prime)
    return worst(here.kl_from_w, rhs, states, divergence_scale(sol), ("t", "s"))


def kl_repaired(sol: Solution, lam: Array | None, opt: SoupOptimum | None) -> Sides:
    """(9) with ``E_{π~_λ}`` for ``E_ref``, at every reachable state.

    Proof. ``KL(p‖q) ≤ KL(p‖q) + KL(q‖p) = (E_p − E_q)[log p/q]``, and ``log p/q`` differs from
    ``e = psi·(nu_w/β − Σ λ_k nu_k/β')`` by a constant, so the right side is at most
    ``(E_p‖psi‖ + E_q‖psi‖)·‖nu_w/β − Σ λ_k nu_k/β'‖`` by Cauchy–Schwarz.
    """
    assert lam is not None
    here = soup(sol, lam)
    error = here.logit_norm
    rhs = formulas.kl_bound(bespoke_norm(sol), here.mean_norm, error, here.beta_prime)
    return worst(here.kl_from_w, rhs, judged_states(sol), divergence_scale(sol), ("t", "s"))


TABLE = (
    Claim(
        "ss.thm1.kl", "SS (9)",
        r"KL(\pi_w\|\tilde\pi_{\lambda^*}) \le \tfrac{1}{\beta'}"
        r"(E_{\pi_w}\|\psi\| + E_{ref}\|\psi\|)"
        r"\,\|\tfrac{\beta'}{\beta}\nu_w - \textstyle\sum_k\lambda^*_k\nu_k\|",
        "refuted", "inequality", "optimum", kl,
        "log E exp is 1-Lipschitz in the sup norm, not in L¹(ref)",
        hypotheses=THEOREM, reported=("ss.asm0",), zero=True,
    ),
    Claim(
        "ss.thm1.kl.any", "SS (14)",
        r"KL(\pi_w\|\tilde\pi_\lambda)(s) \le \tfrac{1}{\beta'}(E_{\pi_w}\|\psi\| + E_{ref}\|\psi\|)"
        r"\,\|\tfrac{\beta'}{\beta}\nu_w - \textstyle\sum_k\lambda_k\nu_k\|\ \forall\lambda, s",
        "refuted", "inequality", "every", kl_any,
        "a token rare under ref and π_w may carry the soup; already at T = 1",
        hypotheses=("ss.asm1", "ss.asm2", "q-linear"), reported=("ss.asm0",), zero=True,
    ),
    Claim(
        "ss.thm1.kl.constant-norm", "ours",
        r"(9)\ \forall\lambda \text{ where } \|\psi((s,\cdot))\| \text{ is constant}",
        "proved", "inequality", "every", kl_constant_norm,
        "there E_ref‖psi‖ is E_soup‖psi‖, and (9) is its own repair",
        hypotheses=("q-linear",), reported=("ss.asm0", "ss.asm1"), zero=True,
    ),
    Claim(
        "ss.thm1.kl.repaired", "ours",
        r"KL(\pi_w\|\tilde\pi_\lambda) \le \tfrac{1}{\beta'}(E_{\pi_w}\|\psi\| + "
        r"E_{\tilde\pi_\lambda}\|\psi\|)\,\|\tfrac{\beta'}{\beta}\nu_w"
        r" - \textstyle\sum_k\lambda_k\nu_k\|",
        "proved", "inequality", "every", kl_repaired,
        "Jeffreys' divergence bounds KL; then Cauchy–Schwarz",
        hypotheses=("q-linear",), reported=("ss.asm0", "ss.asm1"), zero=True,
    ),
)  # fmt: skip
