"""The Δ_k penalty of (17), (18): its proof's inequality, when it is tight, and what replaces it.

With ``q = Q_k/β`` and ``ℓ = log E_ref e^q`` the importance ratio is ``π_k/ref = e^{q − ℓ}``; all of
it stays in the log domain, where ratios of e^-700 and far below are ordinary.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from toymdp.exact.scans import inner_extent

from .. import formulas
from ..claim import Claim
from ..facts.rounding import delta_errors
from ..facts.soup import Soup
from ..facts.token_mdp import Facts
from ..sides import EPS, Array, Mask, NotApplicable, Sides, worst
from .hypotheses import NONZERO_LAMBDA


def delta(facts: Facts) -> Sides:
    """(17) with (18): ``D₂(ref‖π_k) ≤ Δ_k = log((M̄ + M̲ − 1)/(M̄M̲))`` at each (k, t, s), nats.

    x = π_k/ref is the importance ratio, M̲ ≤ 1 ≤ M̄ its least and largest value over the allowed
    tokens, and ``D₂(ref‖π_k) = log E_ref[1/x]``. The paper has ``exp(Q_k/β)`` for x: a factor of x
    cancels in ``E_ref[1/x]·E_ref[x]``, and the ratio is the multiple of mean 1.

    Proof. On [M̲, M̄] the convex 1/x lies below its chord ``(M̲ + M̄ − x)/(M̲M̄)``; its mean under ref,
    with ``E_ref x = 1``, is ``(M̲ + M̄ − 1)/(M̲M̄)``. Where the ratio takes two values both sides are
    equal, and no float can see the sign of their difference: those states are judged by
    ss.delta.tight. Worked: M̄ = 3/2, M̲ = 1/2 give Δ_k = log(4/3).
    """
    lhs, rhs = facts.renyi_divergences, facts.deltas
    states = facts.judged & ~facts.once(two_valued_states)
    if not states.any():
        raise NotApplicable("every ratio takes two values: equality, see ss.delta.tight")
    return worst(
        lhs, rhs, states, facts.size_of_divergences, ("k", "t", "s"), facts.once(delta_errors)
    )


def delta_tight(facts: Facts) -> Sides:
    """Equality in ss.delta wherever the ratio takes two values (the chord meets 1/x at both).

    Evaluated at reachable states where every allowed token has the least or the largest ratio.
    """
    lhs, rhs = facts.renyi_divergences, facts.deltas
    two = facts.once(two_valued_states)
    if not two.any():
        raise NotApplicable("no reachable state has a two-valued ratio")
    gap, scale = np.abs(rhs - lhs), facts.size_of_divergences
    farthest = worst(lhs, lhs - gap, two, scale, ("k", "t", "s"), facts.once(delta_errors))
    where = farthest.where
    assert where is not None
    place = (where["k"], where["t"], where["s"])
    error = farthest.error
    return Sides(float(lhs[place]), float(rhs[place]), scale, where=where, error=error)


def two_valued_states(facts: Facts) -> Mask:
    """[K, T, S] states at which the ratio of specialist k takes two values."""
    return np.stack([two_valued(facts, q) for q in facts.exponents])


def two_valued(facts: Facts, q: Array) -> Mask:
    """[T, S] states with two distinct values of q among allowed tokens, up to rounding."""
    extent, span = inner_extent(facts.mdp, q)
    tolerance = 4 * EPS * facts.size_of_divergences
    return np.asarray((extent <= tolerance) & (span > 1e3 * tolerance))


def deltas_last(facts: Facts) -> Array:
    """``Δ_k`` as [T, S, K]: sums over k run along the last axis, made contiguous for speed."""
    return np.ascontiguousarray(np.moveaxis(facts.deltas, 0, -1))


def delta_errors_last(facts: Facts) -> Array:
    """Their rounding radii as [T, S, K]."""
    return np.ascontiguousarray(np.moveaxis(facts.once(delta_errors), 0, -1))


def renyi_last(facts: Facts) -> Array:
    """``D₂(ref‖π_k)`` as [T, S, K]."""
    return np.ascontiguousarray(np.moveaxis(facts.renyi_divergences, 0, -1))


def penalty(facts: Facts, soup: Soup, divergence: Callable[[Facts], Array]) -> Array:
    """``(β²/β') Σ_k D_k max(0, −λ_k)`` [T, S] for ``D = divergence(facts)`` [T, S, K]."""
    D = facts.once(divergence)
    return np.asarray(
        formulas.negative_weight_penalty(D, soup.lam, facts.mdp.beta, soup.beta_prime)
    )


def delta_renyi(facts: Facts, soup: Soup) -> Sides:
    """(16) with ``D₂(ref‖π_k)`` for Δ_k, times β/β', at every reachable state:

    ``(β²/β')|λ|₁ log E_ref exp(Σ λ_k Q_k/(β|λ|₁)) − (β/β')Σ λ_k V_k ≤ (β²/β') Σ D₂ max(0, −λ_k)``.

    Proof. For λ_k < 0, ``−log E e^{q_k} = log E e^{−q_k} − D₂`` exactly; the weighted sum of
    ``log E e^{sgn(λ_k) q_k}`` is at least the log-partition of the mean, by convexity. With
    D₂ ≤ Δ_k the printed penalty follows (ss.proof.B).
    """
    lhs = soup.mixed_partition_excess
    rhs = penalty(facts, soup, renyi_last)
    return worst(lhs, rhs, facts.judged, facts.size_of_values, ("t", "s"))


TABLE = (
    Claim(
        "ss.delta", "SS (17), (18)",
        r"\log(E_{ref}[1/x]\,E_{ref}[x]) \le \Delta_k = "
        r"\log\frac{\bar M + \underline M - 1}{\bar M\,\underline M}",
        "proved", "inequality", "instance", delta,
        "the chord of 1/x",
        title="the penalty Δ_k bounds the Rényi divergence",
    ),
    Claim(
        "ss.delta.tight", "ours",
        r"\text{equality where } \pi_k/\pi_{ref} \text{ takes two values}",
        "proved", "equality", "instance", delta_tight,
        "the chord meets 1/x at both ends",
        title="the penalty is exact for two ratios",
    ),
    Claim(
        "ss.delta.renyi", "ours",
        r"(16) \text{ with } D_2(\pi_{ref}\|\pi_k) = \log E_{ref}[\pi_{ref}/\pi_k] \le \Delta_k",
        "proved", "inequality", "every", delta_renyi,
        "the ratio itself is known, so its chord is not needed",
        hypotheses=(NONZERO_LAMBDA,),
        title="the Rényi divergence in the penalty's place",
    ),
)  # fmt: skip
