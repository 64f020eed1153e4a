"""What a policy of the form ``π ∝ ref·exp(G)`` does: means, divergences, values, occupancies.

G [T, S] is indexed by the next context. All results are zero outside the reachable states.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import kernels, ratio_kernels, soup_kernels, until_eos
from .features import Array
from .mdp import TokenMDP


@dataclass(frozen=True, eq=False)
class Occupancy:
    """How often a policy is where.

    states: [T, S] probability (until ``eos``: expected visits) of s at step t.
    nexts: [T, S] the same of the next context s' reached by the step-t action.
    """

    states: Array
    nexts: Array


def tilted_means(mdp: TokenMDP, G: Array, F: Array) -> tuple[Array, Array]:
    """Return ``log E_ref e^G`` [T, S] in nats and ``E_π F_m`` [M, T, S] for F [M, T, S]."""
    F = np.ascontiguousarray(F)
    log_z = np.empty_like(G)
    means = np.empty_like(F)
    kernels.tilted_means(mdp.ref, mdp.reach.states, np.ascontiguousarray(G), F, log_z, means)
    return log_z, means


def log_partition(mdp: TokenMDP, G: Array) -> Array:
    """Return ``log E_ref e^G`` [T, S] in nats."""
    return tilted_means(mdp, G, np.empty((0, *G.shape)))[0]


def divergence(mdp: TokenMDP, G: Array, H: Array) -> Array:
    """Return ``KL(π_G ‖ π_H)`` [T, S] in nats."""
    kl = np.empty(G.shape)
    G, H = np.ascontiguousarray(G), np.ascontiguousarray(H)
    kernels.divergences(mdp.ref, mdp.reach.states, G, H, kl)
    return kl


def soup_tables(
    mdp: TokenMDP, G: Array, H: Array, norms: Array
) -> tuple[Array, Array, Array, Array]:
    """Four tables [T, S] of a soup with logits G beside the policy with logits H, in one pass.

    ``KL(π_G‖ref)``, ``KL(π_G‖π_H)``, ``KL(π_H‖π_G)`` in nats and ``E_{π_G} norms``.
    """
    found = [np.empty(G.shape) for _ in range(4)]
    arrays = (np.ascontiguousarray(x) for x in (G, H, norms))
    soup_kernels.soup_tables(mdp.ref, mdp.reach.states, *arrays, *found)
    kl_ref, kl_to, kl_from, mean = found
    return kl_ref, kl_to, kl_from, mean


def extrema(mdp: TokenMDP, F: Array) -> tuple[Array, Array]:
    """Return the least and largest ``F[t, s']`` over allowed tokens, each [T, S]."""
    low, high = np.empty(F.shape), np.empty(F.shape)
    kernels.extrema(mdp.ref, mdp.reach.states, np.ascontiguousarray(F), low, high)
    return low, high


def importance_ratio(mdp: TokenMDP, q: Array) -> tuple[Array, Array]:
    """Return ``log M̄`` ≥ 0 and ``log M̲`` ≤ 0 [T, S], the extremes of ``log π/ref``, π ∝ ref·e^q."""
    upper, lower = np.empty(q.shape), np.empty(q.shape)
    q = np.ascontiguousarray(q)
    ratio_kernels.ratio_extremes(mdp.ref, mdp.reach.states, q, upper, lower)
    return upper, lower


def policy_table(mdp: TokenMDP, G: Array) -> Array:
    """Return ``π(a|t,s)`` as [T, S, A]; zero rows at unreachable states."""
    A = mdp.vocab_size
    block = G.reshape(len(G), 1, -1, A)
    with np.errstate(divide="ignore"):
        logits = np.log(mdp.ref).reshape(1, A, -1, A) + block
    logits = logits.reshape(len(G), mdp.n_contexts, A)
    live = mdp.reach.states[..., None]
    top = np.where(live, logits.max(axis=2, keepdims=True), 0.0)
    weights = np.where(live, np.exp(np.where(live, logits - top, -np.inf)), 0.0)
    total = weights.sum(axis=2, keepdims=True)
    return np.asarray(weights / np.where(total > 0, total, 1.0))


def policy_value(mdp: TokenMDP, G: Array, payoff: Array, extra: Array | None = None) -> Array:
    """Return ``U[t, s] = E_π Σ (payoff[t', s'] + extra[t', s])`` from (t, s) on, as [T+1, S].

    payoff: [T, S] on next contexts; extra: [T, S] on states. Until ``eos`` both rows of the result
    hold the stationary value.
    """
    extra = np.zeros(G.shape) if extra is None else extra
    payoff = np.ascontiguousarray(np.broadcast_to(payoff, G.shape))
    if mdp.horizon is None:
        mean = tilted_means(mdp, G, payoff[None])[1][0, 0]
        value = until_eos.policy_value(mdp, policy_table(mdp, G)[0], mean + extra[0])
        return np.stack([value, value])
    U = np.zeros((mdp.steps + 1, mdp.n_contexts))
    kernels.evaluate_backward(
        mdp.ref, mdp.reach.states, np.ascontiguousarray(G), payoff, np.ascontiguousarray(extra), U
    )
    return U


def occupancy(mdp: TokenMDP, G: Array) -> Occupancy:
    """Return where the policy goes from the start context."""
    d, n = np.zeros(G.shape), np.zeros(G.shape)
    if mdp.horizon is None:
        d[0] = until_eos.visits(mdp, policy_table(mdp, G)[0])
    else:
        d[0, mdp.start_context] = 1.0
    kernels.occupancy_forward(mdp.ref, mdp.reach.states, np.ascontiguousarray(G), d, n)
    return Occupancy(d, n)


def hard_minimum(mdp: TokenMDP, first: Array, second: Array) -> tuple[float, float]:
    """Least expected total of ``first`` over all policies, and of ``second`` among the minimisers.

    Both [T, S] on next contexts. Totals that agree within rounding are ties, broken towards the
    least ``second``: the policy of Theorem 1 that minimises the weighted reward difference.
    Raises SolverError where the minimum does not exist (until ``eos``).
    """
    first, second = np.ascontiguousarray(first), np.ascontiguousarray(second)
    used = mdp.reach.nexts
    size = float(np.abs(np.where(used, first, 0.0)).max(initial=0.0))
    tolerance = 32 * np.finfo(float).eps * size * mdp.steps
    if mdp.horizon is None:
        tolerance *= mdp.n_contexts
        C0, D0 = until_eos.hard_minimum(mdp, first[0], second[0], tolerance)
        return float(C0[mdp.start_context]), float(D0[mdp.start_context])
    C = np.zeros((mdp.steps + 1, mdp.n_contexts))
    D = np.zeros_like(C)
    allowed, states = mdp.reach.allowed, mdp.reach.states
    kernels.hard_backward(allowed, states, first, second, tolerance, C, D)
    return float(C[0, mdp.start_context]), float(D[0, mdp.start_context])
