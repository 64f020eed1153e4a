"""Theorem 1: the KL bound (9), the sub-optimality bound (10), and the true statements beside them.

λ enters through the literal formulas of the paper, with λ and β' kept apart: that the results
depend on ``mu = λ/β'`` only is a claim of its own (ss.betaprime).
"""

from __future__ import annotations

import numpy as np

from toymdp import Solution, SolverError
from toymdp.optimum import SoupOptimum
from toymdp.policies import extrema, hard_minimum

from . import formulas
from .claim import Array, Claim, Sides, Undecidable, worst
from .delta_claims import ratio_extremes
from .soups import Soup, bespoke_norm, reference_norm, size_of_values, soup
from .span import feature_span, value_fits


def logit_norm(sol: Solution, lam: Array, beta_prime: float) -> float:
    """``‖(β'/β)nu_w − Σ λ_k nu_k‖₂`` at the least-norm nu, the last factor of (9)."""
    nu = value_fits(sol)[1].nu
    beta = sol.mdp.beta
    return float(np.linalg.norm((beta_prime / beta) * nu[-1] - lam @ nu[:-1]))


def _start(sol: Solution) -> tuple[int, int]:
    return (0, sol.mdp.start_context)


def _scale(sol: Solution) -> float:
    """Rounding scale of divergences (nats): logits are differences of values over β."""
    return 1.0 + size_of_values(sol) / sol.mdp.beta


def kl(sol: Solution, lam: Array | None, opt: SoupOptimum | None) -> Sides:
    """(9) at the start context: ``KL(π_w‖π~_λ*) ≤ (1/β')(E_{π_w}‖psi‖ + E_ref‖psi‖)·‖…‖``."""
    assert lam is not None
    here, begin = soup(sol, lam), _start(sol)
    norm_w, norm_ref = bespoke_norm(sol)[begin], reference_norm(sol)[begin]
    error = logit_norm(sol, lam, here.beta_prime)
    rhs = float(formulas.kl_bound(norm_w, norm_ref, error, here.beta_prime))
    terms = {"E_w‖psi‖": float(norm_w), "E_ref‖psi‖": float(norm_ref), "logit error": error}
    where = {"t": 0, "s": sol.mdp.start_context}
    return Sides(float(here.kl_from_w[begin]), rhs, _scale(sol), terms, where)


def kl_repaired(sol: Solution, lam: Array | None, opt: SoupOptimum | None) -> Sides:
    """(9) with ``E_{π~_λ}`` for ``E_ref``, at every reachable state.

    Proof. ``KL(p‖q) ≤ KL(p‖q) + KL(q‖p) = (E_p − E_q)[log p/q]``, and ``log p/q`` differs from
    ``e = psi·(nu_w/β − Σ λ_k nu_k/β')`` by a constant, so the right side is at most
    ``(E_p‖psi‖ + E_q‖psi‖)·‖nu_w/β − Σ λ_k nu_k/β'‖`` by Cauchy–Schwarz.
    """
    assert lam is not None
    here = soup(sol, lam)
    error = logit_norm(sol, lam, here.beta_prime)
    rhs = formulas.kl_bound(bespoke_norm(sol), here.mean_norm, error, here.beta_prime)
    return worst(here.kl_from_w, rhs, sol.mdp.reach.states, _scale(sol), ("t", "s"))


def gap_terms(sol: Solution, here: Soup) -> dict[str, float]:
    """The three terms of (10) at the start context, and what they are made of."""
    mdp, lam, beta_prime = sol.mdp, here.lam, here.beta_prime
    beta, size = mdp.beta, here.size
    reward_nu = value_fits(sol)[0].nu[:-1]
    mismatch = mdp.w - np.abs(lam) / size
    reward_error = float(np.linalg.norm(mismatch @ reward_nu))
    cost = np.abs(lam) @ (mdp.reward_w - mdp.rewards)
    norms = np.where(mdp.reach.nexts, feature_span(sol).norms, 0.0)
    try:
        _, path = hard_minimum(mdp, np.broadcast_to(cost, norms.shape), norms)
    except SolverError as error:
        raise Undecidable(str(error)) from None
    deltas = start_deltas(sol)
    penalty = float(formulas.negative_weight_penalty(deltas, lam, beta, beta_prime))
    logit_error = (beta / beta_prime) * logit_norm(sol, lam, beta_prime)
    norm_ref = float(reference_norm(sol)[_start(sol)])
    return {
        "reward term": path * reward_error, "penalty": penalty,
        "logit term": norm_ref * logit_error,
        "E_min Σ‖psi‖": path, "reward error": reward_error,
        "E_ref‖psi‖": norm_ref, "logit error": logit_error,
    }  # fmt: skip


def start_deltas(sol: Solution) -> Array:
    """Δ_k at the start context [K], (18)."""
    _, s = _start(sol)
    found = []
    for k in range(sol.mdp.n_rewards):
        upper, lower = ratio_extremes(sol, k)
        found.append(formulas.delta(upper[0, s], lower[0, s]))
    return np.array(found)


def gap(sol: Solution, lam: Array | None, opt: SoupOptimum | None) -> Sides:
    """(10) at the start context: gap ≤ reward term + negative-weight penalty + logit term."""
    assert lam is not None
    here = soup(sol, lam)
    terms = gap_terms(sol, here)
    rhs = float(formulas.gap_bound(terms["reward term"], terms["penalty"], terms["logit term"]))
    where = {"t": 0, "s": sol.mdp.start_context}
    return Sides(here.gap, rhs, size_of_values(sol), terms, where)


def gap_identity(sol: Solution, lam: Array | None, opt: SoupOptimum | None) -> Sides:
    """``gap(λ) = E_{π~_λ} Σ_t [β KL(π~_λ‖π_w) + (β'/|λ|₁ − β) KL(π~_λ‖ref)]``.

    Proof. For any π insert ``r_w = Q_w − V_w(s')`` and ``Q_w = V_w + β log(π_w/ref)``:
    ``E_π[r_w − β KL(π‖ref)] = E_π[V_w(s_t) − V_w(s_{t+1}) − β KL(π‖π_w)]``, and the values
    telescope from V_w(start) to 0. The soup's objective has ``β'/|λ|₁`` in place of β; the
    difference is the second term.
    """
    assert lam is not None
    here = soup(sol, lam)
    states = here.occupancy.states
    beta = sol.mdp.beta
    excess = 0.0 if here.size == 0 else here.temperature - beta
    terms = {
        "β E Σ KL(soup‖π_w)": beta * float((states * here.kl_to_w).sum()),
        "(β'/|λ|₁ − β) E Σ KL(soup‖ref)": excess * float((states * here.kl_ref).sum()),
    }
    scale = size_of_values(sol) + beta * sol.mdp.steps
    return Sides(here.gap, here.gap_by_identity, scale, terms)


def logit_span(sol: Solution, here: Soup) -> Array:
    """``span_a e`` [T, S] over allowed tokens, ``e = Q_w/β − Σ λ_k Q_k/β'`` (nats)."""
    low, high = extrema(sol.mdp, here.logit_error)
    return high - low


def gap_sharp(sol: Solution, lam: Array | None, opt: SoupOptimum | None) -> Sides:
    """``gap(λ) ≤ E_{π~_λ} Σ_t [β span_a(e)²/8 + (β'/|λ|₁ − β) KL(π~_λ‖ref)]``.

    Proof. In the identity ``π~_λ ∝ π_w·exp(−e)``, and ``KL(p‖q)`` for ``p ∝ q·e^f`` is a Bregman
    divergence of the log-partition: half a variance of f under some tilt between the two, at most
    ``(max f − min f)²/8`` (Hoeffding's lemma, Popoviciu's bound on a variance).
    """
    assert lam is not None
    here = soup(sol, lam)
    states = here.occupancy.states
    rate = formulas.gap_rate(
        formulas.hoeffding(logit_span(sol, here)), here.kl_ref, sol.mdp.beta, here.temperature
    )
    terms = {
        "β E Σ span²/8": sol.mdp.beta
        * float((states * formulas.hoeffding(logit_span(sol, here))).sum())
    }
    scale = size_of_values(sol) + sol.mdp.beta * sol.mdp.steps
    return Sides(here.gap, float((states * rate).sum()), scale, terms)


_THEOREM = ("ss.asm1", "ss.asm2", "q-linear", "lambda-in-domain")

TABLE = (
    Claim(
        "ss.thm1.kl", "SS (9)",
        r"KL(\pi_w\|\tilde\pi_{\lambda^*}) \le \tfrac{1}{\beta'}"
        r"(E_{\pi_w}\|\psi\| + E_{ref}\|\psi\|)"
        r"\,\|\tfrac{\beta'}{\beta}\nu_w - \textstyle\sum_k\lambda^*_k\nu_k\|",
        "refuted", "inequality", "optimum", kl,
        "log E exp is 1-Lipschitz in the sup norm, not in L¹(ref)",
        hypotheses=_THEOREM, reported=("ss.asm0",), zero=True,
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
    Claim(
        "ss.thm1.gap", "SS (10)",
        r"V_w - J(\lambda^*) \le E_{\underline\pi}[\textstyle\sum_t\|\psi\|]\,"
        r"\|\sum_k\nu_{r_k}(w_k - |\lambda^*_k|/|\lambda^*|_1)\| + \tfrac{\beta^2}{\beta'}\sum_k"
        r"\Delta_k\max(0,-\lambda^*_k) + E_{ref}\|\psi\|\,\|\nu_w - \tfrac{\beta}{\beta'}"
        r"\sum_k\lambda^*_k\nu_k\|",
        "refuted", "inequality", "optimum", gap,
        "its last term sees the first step only, weighted by ref",
        hypotheses=(*_THEOREM, "lambda-nonzero", "rewards-nonnegative"), reported=("ss.asm0",),
    ),
    Claim(
        "ss.thm1.gap.identity", "ours",
        r"V_w - J(\lambda) = E_{\tilde\pi_\lambda}\textstyle\sum_t"
        r"[\beta KL(\tilde\pi_\lambda\|\pi_w)"
        r" + (\beta'/|\lambda|_1 - \beta)KL(\tilde\pi_\lambda\|\pi_{ref})]",
        "proved", "equality", "every", gap_identity,
        "performance difference, telescoped", zero=True,
    ),
    Claim(
        "ss.thm1.gap.sharp", "ours",
        r"V_w - J(\lambda) \le E_{\tilde\pi_\lambda}\textstyle\sum_t"
        r"[\beta\,\mathrm{span}_a(e)^2/8"
        r" + (\beta'/|\lambda|_1 - \beta)KL(\tilde\pi_\lambda\|\pi_{ref})]",
        "proved", "inequality", "every", gap_sharp,
        "Hoeffding's lemma in the identity; at full budget it vanishes with the logit error",
        hypotheses=("lambda-in-domain",), zero=True,
    ),
)  # fmt: skip
