"""What rounding does to facts of which a small share is all that a claim looks at."""

from __future__ import annotations

import numpy as np

from toymdp.exact.scans import chance_beside_the_top

from ..sides import EPS, Array
from .token_mdp import Facts


def delta_errors(facts: Facts) -> Array:
    """Rounding radius of Δ_k [K, T, S] beyond that of the ratios' logarithms, in nats.

    ``∂Δ/∂log M̄ = (1 − M̲)/(M̄ + M̲ − 1)``, large where the specialist all but agrees with ref
    and yet gives up a token. There log M̄ is known as well as the logits that set the other
    tokens apart from the one of largest ratio.
    """
    upper, lower = facts.ratio_extremes
    with np.errstate(over="ignore"):
        slope = -np.expm1(lower) * np.exp(-(facts.deltas + upper + lower))
    steep = (slope > 8.0) & facts.mdp.reach.states
    errors = np.zeros_like(slope)
    rounding = 64 * EPS * facts.size_of_divergences
    for k in np.flatnonzero(steep.any(axis=(1, 2))):
        beside = chance_beside_the_top(facts.mdp, facts.exponents[k], rounding)
        errors[k] = np.where(steep[k], rounding * beside * slope[k], 0.0)
    return errors


def total_errors(facts: Facts) -> tuple[Array, Array]:
    """Rounding radii until ``eos`` of ``E_{π_k} Σ (r_w − r_k)`` and ``E_{π_k} Σ‖ψ‖``, [K] each."""
    totals, paths = facts.specialist_totals
    norm = float(np.where(facts.mdp.reach.nexts, facts.features.norms, 0.0).max())
    off, rounding = np.abs(totals @ facts.mdp.w - np.diag(totals)), facts.value_error
    each = list(zip(facts.specialists, off.tolist(), paths.tolist(), strict=True))
    rewards = [2 * rounding(policy, value) for policy, value, _ in each]
    return np.array(rewards), np.array([rounding(policy, path, norm) for policy, _, path in each])
