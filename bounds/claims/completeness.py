"""When Lemma 1 is true after all: the weakest hypothesis that it needs, and to which order it holds."""

from __future__ import annotations

import numpy as np

from toymdp.exact.policy import Policy

from ..claim import Claim
from ..facts.token_mdp import Facts
from ..sides import Array, Mask, NotApplicable, Sides, worst
from .disagreement import reward_spans
from .hypotheses import LINEAR_REWARDS


def completeness(facts: Facts) -> Sides:
    """Given (5), ``Q*`` is linear in ψ exactly as far as ``V*_{t+1}`` is, as a field on (t, s').

    Proof: ``Q = r + V_{t+1}`` and r is in the span, so both leave it by the same residual. Soft
    Bellman completeness, the weakest hypothesis that Lemma 1 can have. lhs, rhs: the residuals of Q
    and of V where they differ most, or else where they are largest, at the least-squares ν; what
    rounding leaves of (5) counts on the right.
    """
    V = np.concatenate([facts.sol.V, facts.sol.V_w[None]])[:, 1:]
    values, ahead = facts.value_fit, facts.features.fit(V, facts.size_of_values)
    right = ahead.residual + facts.reward_fit.residual
    off = np.abs(values.residual - right)
    if (off.max(axis=(1, 2)) <= values.error + ahead.error).all():
        off = np.abs(values.residual)  # they agree: show where they are largest
    m, t, s = np.unravel_index(int(np.argmax(off)), off.shape)
    size = float(max(values.size[m], ahead.size[m]))
    error = float(values.error[m] + ahead.error[m] + facts.reward_fit.error[m])
    where = {"t": int(t), "s'": int(s), "k": int(m)}
    lhs, rhs = float(values.residual[m, t, s]), float(right[m, t, s])
    return Sides(lhs, rhs, size, where=where, error=error)


def _first_order(facts: Facts) -> tuple[Array, Array, Mask]:
    """``Q_k − (r_k + U_{t+1})`` and ``(T−t−1)² span(r_k)²/(8β)`` [K, T, S], and where they say something."""
    mdp = facts.mdp
    if mdp.horizon is None:
        raise NotApplicable("no horizon T: the bound counts the steps that remain")
    if mdp.horizon == 1:
        raise NotApplicable("one step: Q is the reward")
    reference = Policy(mdp, np.zeros_like(facts.sol.Q_w))
    returns = np.stack([reference.value(reward)[1:] for reward in mdp.rewards])
    excess = facts.sol.V[:, 1:] - returns
    left = np.arange(mdp.horizon)[::-1] ** 2.0
    bound = reward_spans(facts, mdp.rewards)[:, None] ** 2 * left / (8.0 * mdp.beta)
    mask = np.broadcast_to(mdp.reach.nexts & ~mdp.ended & (left > 0)[:, None], excess.shape)
    if not mask.any():
        raise NotApplicable("every episode ends with its first action")
    return excess, np.broadcast_to(bound[:, :, None], excess.shape), mask


def first_order(facts: Facts) -> Sides:
    """``Q*_t − (r + U_{t+1}) ≤ (T−t−1)² span(r)²/(8β)``, U what ref earns.

    Proof: ``V = β log E_ref e^{R/β}`` exceeds ``E_ref R = U`` by at most ``span(R)²/(8β)`` (Hoeffding),
    and R adds up T−t−1 rewards. So Lemma 1 is true to first order in r/β, with a vector for each step,
    where span ψ is closed under E_ref (successor features of ref).
    """
    excess, bound, mask = facts.once(_first_order)
    return worst(excess, bound, mask, facts.size_of_values, ("k", "t", "s'"))


def first_order_lower(facts: Facts) -> Sides:
    """``0 ≤ Q*_t − (r + U_{t+1})``: Jensen in the same line."""
    excess, _, mask = facts.once(_first_order)
    return worst(np.zeros_like(excess), excess, mask, facts.size_of_values, ("k", "t", "s'"))


TABLE = (
    Claim(
        "ss.lemma1.completeness", "ours",
        r"\text{given (5): } Q^*\in\mathrm{span}\,\psi \iff V^*_{t+1}\in\mathrm{span}\,\psi",
        "proved", "equality", "instance", completeness,
        "Q = r + V: both leave the span by the same residual",
        hypotheses=(LINEAR_REWARDS,),
        title="values are linear exactly as far as V is",
    ),
    Claim(
        "ss.lemma1.first-order", "ours",
        r"Q^*_t - (r + U_{t+1}) \le (T-t-1)^2\,\mathrm{span}(r)^2/(8\beta)",
        "proved", "inequality", "instance", first_order,
        "Hoeffding: the soft value is what ref earns, to first order in r/β",
        title="values are what ref earns, to first order",
    ),
    Claim(
        "ss.lemma1.first-order.lower", "ours",
        r"0 \le Q^*_t - (r + U_{t+1})",
        "proved", "inequality", "instance", first_order_lower,
        "Jensen",
        title="values are at least what ref earns",
    ),
)  # fmt: skip
