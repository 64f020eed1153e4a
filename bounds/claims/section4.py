"""Section 4 of Spectral Souping: what its losses fit. Its two kinds of soup: section4_soups.

``R_k = Σ_t r_k`` of an answer is in reward units, ``log π_k/ref = (Q_k − V_k)/β`` in nats.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from toymdp.exact.sampling import (
    at_states,
    draw_answers,
    fit_answers,
    log_norms,
    loss_minimisers,
)
from toymdp.learning import feedback
from toymdp.learning.feedback import Answers, distinct

from ..claim import At, Claim, SidesFunction, Status
from ..facts.soup import Soup
from ..facts.token_mdp import Facts
from ..sides import Array, NotApplicable, Sides, Undecidable
from .section4_soups import explicit, explicit_repaired, implicit, implicit_repaired, rounding_of

DRAWS = 64  # answers drawn from ref; one that is drawn twice counts once
PAIRED = 48  # of them are compared with each other: 1128 pairs
STEP_LIMIT = 2000  # until eos: an answer that has not ended by then is left out
STATES = 512  # at most so many states for the Gumbel loss
SEED = 0x54
RANK_TOLERANCE = 1e-10


def answers(facts: Facts) -> Answers:
    """Seeded draws from ref. Raises Undecidable if none has ended in time."""
    mdp = facts.mdp
    heights = np.random.default_rng(SEED).random((DRAWS, mdp.horizon or STEP_LIMIT))
    contexts, going = draw_answers(mdp, heights)
    whole = np.flatnonzero(mdp.ended[contexts[:, -1]] | (mdp.horizon is not None))
    if len(whole) == 0:
        raise Undecidable(f"of {DRAWS} answers drawn none ended within {STEP_LIMIT} steps")
    return distinct(Answers(contexts[whole], going[whole]))


def returns_by_policy(facts: Facts) -> Array:
    """``β Σ_t log π_k/ref`` [K, n], π_k normalised from Q_k alone (no V), reward units."""
    drawn = facts.once(answers)
    i, t = np.nonzero(drawn.going)
    mdp, Q = facts.mdp, facts.sol.Q
    norms = np.zeros((len(Q), *drawn.going.shape))
    rows, s = np.minimum(t, mdp.steps - 1), drawn.contexts[i, t]
    norms[:, i, t] = log_norms(mdp, Q, mdp.beta, rows, s)
    return feedback.returns_by_policy(drawn, Q, norms, mdp.beta)


def size_of_answers(facts: Facts) -> float:
    """Largest ``Σ (|Q| + |V| + β)`` of an answer: what its return is a difference of.

    A log-partition near 0 is known to a unit in the last place of 1, times β.
    """
    drawn = facts.once(answers)
    values = drawn.total(np.abs(facts.sol.Q)) + drawn.total(np.abs(facts.sol.V), 1)
    return float(values.max() + facts.mdp.beta * drawn.going.shape[1])


def returns(facts: Facts) -> Sides:
    """``Σ_t Q − Σ_{t≥1} V = Σ_t r``, and ``β Σ log π_k/ref`` differs by as much between answers.

    Proof. Sum ``Q_k(s_t,a_t) = r_k + V_k(s_{t+1})``, (3), over t. And ``β log π_k/ref``, which is
    ``Q_k(s_t,a_t) − V_k(s_t)``, adds up to ``Σ r_k − V_k(s_0)``: the start's value cancels between
    two answers to one prompt. Both on seeded draws from ref, all k; the sides are those of the worse one.
    """
    drawn = facts.once(answers)
    true = drawn.total(facts.mdp.rewards[:, None])
    summed = drawn.total(facts.sol.Q) - drawn.total(facts.sol.V, 1)
    by_policy = facts.once(returns_by_policy)
    k, n = np.unravel_index(int(np.argmax(np.abs(summed - true))), true.shape)
    lhs, rhs = float(summed[k, n]), float(true[k, n])
    offset = by_policy - true
    spread = np.ptp(offset, axis=1)
    terms = {"off by, Q and V": abs(lhs - rhs), "off by, pairs": float(spread.max())}
    if spread.max() > abs(lhs - rhs):
        k = np.argmax(spread)
        i, j = np.argmax(offset[k]), np.argmin(offset[k])
        lhs, rhs = float(by_policy[k, i] - by_policy[k, j]), float(true[k, i] - true[k, j])
    return Sides(lhs, rhs, facts.once(size_of_answers), terms, {"k": int(k)})


def gumbel(facts: Facts) -> Sides:
    """``L_Gumbel`` with V free at each state and Q fixed is least at V*, if the data follow ref.

    Proof. ``E_data[e^{(Q−V)/β} − (Q−V)/β − 1]`` is strictly convex in V with slope
    ``(1 − E_data e^{(Q−V)/β})/β``, zero at ``V = β log E_data e^{Q/β}``: (4) where data and ref
    agree. With π_k for the data it is ``V* + β D₂(π_k‖ref)``, D₂ Rényi's divergence.

    Minimised at up to 512 seeded reachable states for every k, reward units, from Q alone.
    """
    mdp, beta = facts.mdp, facts.mdp.beta
    states = np.argwhere(mdp.reach.states)
    if len(states) > STATES:
        states = np.random.default_rng(SEED).choice(states, STATES, replace=False, shuffle=False)
    t, s = np.ascontiguousarray(states.T)
    Q = facts.sol.Q
    law, q = at_states(mdp, Q, t, s)
    first = np.arange(len(s)) * law.shape[1]
    data = np.repeat(law[None], len(Q), axis=0)
    rows = q.reshape(len(Q), 1, -1)
    minimisers = beta * loss_minimisers(data, rows, beta, first, np.zeros_like(first))
    plain, twice = (log_norms(mdp, Q, scale, t, s) for scale in (beta, 0.5 * beta))
    values = facts.sol.V[:, t, s]
    k, m = np.unravel_index(int(np.argmax(np.abs(minimisers - values))), minimisers.shape)
    off = beta * float((twice - 2.0 * plain).max())  # D₂ = log E_ref (π_k/ref)²
    terms = {"states": float(len(s)), "largest offset, data from π_k": off}
    where = {"t": int(t[m]), "s": int(s[m]), "k": int(k)}
    lhs, rhs = float(minimisers[k, m]), float(values[k, m])
    return Sides(lhs, rhs, beta + facts.size_of_values, terms, where)


def bradley_terry(facts: Facts) -> Sides:
    """The loss in λ, with exact specialists and stochastic answers of w, is least at λ = w.

    With ``x = ΔR`` [K] of a pair with one prompt and ``P = σ(w·x)``: ``L(λ) = −E[P log σ(λ·x) +
    (1−P) log σ(−λ·x)]`` has slope ``E[(σ(λ·x) − P) x]``, zero at w, and curvature ``E[σ′ x xᵀ]``:
    convex, and its minimisers are w plus any d that no pair shows (x·d = 0). λ* of (8) plays no part.
    Ranking by the sign of w·x is separated by w itself: ``L(c w)`` falls without end as c grows.

    R_k is what the section takes, ``β Σ log π_k/ref``; the user sees ``Σ r_w``.
    lhs: largest ``|x·(λ̂ − w)|`` over the pairs of up to 48 answers; rhs: 0.
    """
    mdp, returned = facts.mdp, facts.once(returns_by_policy)
    i, j = np.triu_indices(min(PAIRED, returned.shape[1]), 1)
    X = np.ascontiguousarray((returned[:, i] - returned[:, j]).T)
    total = facts.once(answers).total(mdp.reward_w[None])
    margins = total[i] - total[j]
    rounding = rounding_of(facts, facts.once(size_of_answers))
    if len(X) == 0 or np.abs(X).max() <= rounding:
        raise NotApplicable("no two answers drawn from ref differ in any return")
    U, size, _ = np.linalg.svd(X, full_matrices=False)
    rank = int((size > RANK_TOLERANCE * size[0]).sum())
    dropped = float(np.linalg.norm(mdp.w) * size[rank:].max(initial=0.0))
    z, radius = fit_answers(U[:, :rank], margins, rounding + dropped)
    if not np.isfinite(radius):
        raise Undecidable("the pairs are so one-sided that rounding hides where the loss is least")
    full = mdp.beta_prime / mdp.beta
    terms = {"pairs": float(len(X)), "gap at (β'/β)w": Soup(facts, full * mdp.w).gap}
    for c in (1, 10):
        terms[f"ranked loss at {c}w"] = float(np.logaddexp(0.0, -c * np.abs(margins)).mean())
    # below that w is outside the domain of (7)
    terms |= {"gap at λ = w": Soup(facts, mdp.w).gap} if full >= 1.0 else {}
    terms["gap at λ*"] = facts.optimum.gap
    note = "with ranked answers no finite λ minimises the loss" if margins.any() else ""
    apart, scale = float(np.abs(z - X @ mdp.w).max()), float(np.abs(X).max())
    return Sides(apart, 0.0, scale, terms, error=radius + dropped, note=note)


def _claim(
    id: str, statement: str, status: Status, at: At, sides: SidesFunction, reason: str, **more: Any
) -> Claim:
    source, zero = "ours" if "repaired" in id else "SS §4", id != "ss.sec4.implicit"
    return Claim(
        id, source, statement, status, "equality", at, sides, reason, zero=zero,
        needs_optimum=sides is bradley_terry, **more,
    )  # fmt: skip


TABLE: tuple[Claim, ...] = (
    _claim("ss.sec4.return",
        r"\textstyle\sum_t Q_k - \sum_{t\ge1} V_k = \sum_t r_k,\ \beta\Delta\sum_t"
        r"\log\frac{\pi_k}{\pi_{ref}} = \Delta\sum_t r_k \text{ between answers to one prompt}",
        "proved", "instance", returns, "the Bellman equation (3), telescoped",
        title="returns from values, and from log-ratios"),
    _claim("ss.sec4.gumbel",
        r"\arg\min_V L_{Gumbel} = \beta\log E\,e^{Q/\beta} = V^* \text{ on data of }\pi_{ref}",
        "proved", "instance", gumbel, "strictly convex in V; its slope vanishes there",
        title="the Gumbel loss finds V"),
    _claim("ss.sec4.explicit",
        r"(1-\textstyle\sum_k\lambda_k)\,\mathrm{logit}_{ref} + \sum_k\lambda_k"
        r"(\mathrm{logit}_{ref} + Q_k/\beta) \text{ is the soup of (7)}",
        "refuted", "every", explicit, "(7) divides Σ λ_k Q_k by β', the policies' logits divide by β",
        true_when="β' = β", true_by=("ss.sec4.explicit.repaired",),
        title="the explicit soup of logits"),
    _claim("ss.sec4.explicit.repaired",
        r"\pi_{ref}\prod_k(\pi_k/\pi_{ref})^{\lambda_k\beta/\beta'} \propto \tilde\pi_\lambda",
        "proved", "every", explicit_repaired, "log π_k/ref is Q_k/β up to a constant",
        title="the explicit soup, mended"),
    _claim("ss.sec4.bt",
        r"\arg\min_\lambda -E\log\sigma(\lambda^\top\Delta R) = w \text{ on }\sigma(w^\top\Delta R)",
        "proved", "instance", bradley_terry, "a convex loss whose slope vanishes at w",
        title="Bradley–Terry's loss finds w"),
    _claim("ss.sec4.implicit",
        r"a \sim \pi_{ref},\ u \sim U[0, e^{-\sum_k\lambda_k KL(\pi_{ref}\|\pi_k)/\beta}],\ u \le "
        r"\textstyle\prod_k(\pi_k/\pi_{ref})^{\lambda_k/\beta} \Rightarrow a \sim \tilde\pi_\lambda",
        "refuted", "every", implicit, "that M is a geometric mean, not an upper bound",
        true_when="β' = β², and M = max_a of the ratio", true_by=("ss.sec4.implicit.repaired",),
        title="the implicit soup by rejection"),
    _claim("ss.sec4.implicit.repaired",
        r"a \sim \pi_{ref},\ u \sim U[0, \max_a\rho],\ u \le \rho = \textstyle\prod_k"
        r"(\pi_k/\pi_{ref})^{\lambda_k\beta/\beta'} \Rightarrow a \sim \tilde\pi_\lambda",
        "proved", "every", implicit_repaired, "rejection sampling under an upper bound",
        title="the implicit soup, mended"),
)  # fmt: skip
