"""The Δ_k penalty of (17), (18): its proof's inequality, when it is tight, and what replaces it.

With ``q = Q_k/β`` and ``ℓ = log E_ref e^q`` the importance ratio is ``π_k/ref = e^{q − ℓ}``; all of
it stays in the log domain, where ratios of e^-700 and far below are ordinary.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from toymdp import Solution
from toymdp.exact.policy import Policy
from toymdp.exact.scans import inner_extent
from toymdp.soup.optimum import SoupOptimum

from .. import formulas
from ..claim import EPS, Array, Claim, Mask, NotApplicable, Sides, worst
from ..facts.soup import Soup, judged_states, size_of_values, soup


def log_partitions(sol: Solution, k: int) -> tuple[Array, Array]:
    """``log E_ref e^{q}`` and ``log E_ref e^{−q}`` [T, S] for ``q = Q_k/β``, cached."""
    key = ("partitions", k)
    if key not in sol.cache:
        policy = sol.specialists[k]
        sol.cache[key] = (policy.log_partition, Policy(sol.mdp, -policy.logits).log_partition)
    found: tuple[Array, Array] = sol.cache[key]
    return found


def ratio_extremes(sol: Solution, k: int) -> tuple[Array, Array]:
    """``log M̄_k`` ≥ 0 and ``log M̲_k`` ≤ 0 [T, S], the extremes of ``log π_k/ref``."""
    key = ("ratios", k)
    if key not in sol.cache:
        sol.cache[key] = sol.specialists[k].importance_ratio
    found: tuple[Array, Array] = sol.cache[key]
    return found


def renyi_divergences(sol: Solution) -> Array:
    """``D₂(ref‖π_k)`` [K, T, S], cached."""
    if "renyi" not in sol.cache:
        pairs = (log_partitions(sol, k) for k in range(sol.mdp.n_rewards))
        sol.cache["renyi"] = np.stack([np.maximum(formulas.renyi(*pair), 0.0) for pair in pairs])
    found: Array = sol.cache["renyi"]
    return found


def deltas(sol: Solution) -> Array:
    """``Δ_k`` [K, T, S] of (18), cached."""
    if "deltas" not in sol.cache:
        extremes = (ratio_extremes(sol, k) for k in range(sol.mdp.n_rewards))
        sol.cache["deltas"] = np.stack([formulas.delta(*pair) for pair in extremes])
    found: Array = sol.cache["deltas"]
    return found


def _scale(sol: Solution) -> float:
    return 1.0 + size_of_values(sol) / sol.mdp.beta


def delta(sol: Solution, lam: Array | None, opt: SoupOptimum | None) -> Sides:
    """(17) with (18), as logarithms: ``log E_ref[1/x]·E_ref[x] ≤ Δ_k`` for ``x = exp(Q_k/β)``.

    Proof. On [m, M] the convex 1/x lies below its chord ``(m + M − x)/(mM)``; take means of the
    ratio, whose mean is 1. Where the ratio takes two values both sides are equal, and no float
    can see the sign of their difference: those states are judged by ss.delta.tight.
    """
    lhs, rhs = renyi_divergences(sol), deltas(sol)
    states = judged_states(sol) & ~two_valued_states(sol)
    if not states.any():
        raise NotApplicable("every ratio takes two values: equality, see ss.delta.tight")
    return worst(lhs, rhs, states, _scale(sol), ("k", "t", "s"))


def delta_tight(sol: Solution, lam: Array | None, opt: SoupOptimum | None) -> Sides:
    """Equality in ss.delta wherever the ratio takes two values (the chord meets 1/x at both).

    Evaluated at reachable states where every allowed token has the least or the largest ratio.
    """
    lhs, rhs = renyi_divergences(sol), deltas(sol)
    two = two_valued_states(sol)
    if not two.any():
        raise NotApplicable("no reachable state has a two-valued ratio")
    gap = np.abs(rhs - lhs)
    found = worst(lhs, lhs - gap, two, _scale(sol), ("k", "t", "s"))
    where = found.where
    assert where is not None
    place = (where["k"], where["t"], where["s"])
    return Sides(float(lhs[place]), float(rhs[place]), found.scale, where=where)


def two_valued_states(sol: Solution) -> Mask:
    """[K, T, S] states at which the ratio of specialist k takes two values, cached."""
    if "two-valued" not in sol.cache:
        sol.cache["two-valued"] = np.stack([two_valued(sol, q) for q in sol.exponents])
    found: Mask = sol.cache["two-valued"]
    return found


def two_valued(sol: Solution, q: Array) -> Mask:
    """[T, S] states with two distinct values of q among allowed tokens, up to rounding."""
    extent, span = inner_extent(sol.mdp, q)
    tolerance = 4 * EPS * _scale(sol)
    return np.asarray((extent <= tolerance) & (span > 1e3 * tolerance))


def penalty(sol: Solution, here: Soup, divergence: Callable[[Solution], Array]) -> Array:
    """``(β²/β') Σ_k D_k max(0, −λ_k)`` [T, S] for ``D = divergence(sol)`` [K, T, S]."""
    key = ("k last", divergence.__name__)
    if key not in sol.cache:  # the sum runs over the last axis: laid out once so that it is quick
        sol.cache[key] = np.ascontiguousarray(np.moveaxis(divergence(sol), 0, -1))
    return np.asarray(
        formulas.negative_weight_penalty(sol.cache[key], here.lam, sol.mdp.beta, here.beta_prime)
    )


def delta_renyi(sol: Solution, lam: Array | None, opt: SoupOptimum | None) -> Sides:
    """(16) with ``D₂(ref‖π_k)`` for Δ_k, times β/β', at every reachable state:

    ``(β²/β')|λ|₁ log E_ref exp(Σ λ_k Q_k/(β|λ|₁)) − (β/β')Σ λ_k V_k ≤ (β²/β') Σ D₂ max(0, −λ_k)``.

    Proof. For λ_k < 0, ``−log E e^{q_k} = log E e^{−q_k} − D₂`` exactly; the weighted sum of
    ``log E e^{sgn(λ_k) q_k}`` is at least the log-partition of the mean, by convexity. With
    D₂ ≤ Δ_k (ss.delta) the printed penalty follows.
    """
    assert lam is not None
    here = soup(sol, lam)
    lhs = here.mixed_partition_excess
    rhs = penalty(sol, here, renyi_divergences)
    return worst(lhs, rhs, judged_states(sol), size_of_values(sol), ("t", "s"))


TABLE = (
    Claim(
        "ss.delta", "SS (17), (18)",
        r"E_{ref}[1/x]\,E_{ref}[x] \le (\bar M + \underline M - 1)/(\bar M\underline M)",
        "proved", "inequality", "instance", delta,
        "the chord of 1/x",
    ),
    Claim(
        "ss.delta.tight", "ours",
        r"\text{equality where } \pi_k/\pi_{ref} \text{ takes two values}",
        "proved", "equality", "instance", delta_tight,
        "the chord meets 1/x at both ends",
    ),
    Claim(
        "ss.delta.renyi", "ours",
        r"(16) \text{ with } D_2(\pi_{ref}\|\pi_k) = \log E_{ref}[\pi_{ref}/\pi_k] \le \Delta_k",
        "proved", "inequality", "every", delta_renyi,
        "the ratio itself is known, so its chord is not needed",
        hypotheses=("lambda-nonzero",),
    ),
)  # fmt: skip
