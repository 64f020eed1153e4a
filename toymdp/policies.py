"""What policies of the form ``π ∝ ref·exp(G)`` do, as functions of their logits.

G [T, S] is indexed by the next context. All results are zero outside the reachable states. Where
one policy is asked several things, hold its Tilt instead.
"""

from __future__ import annotations

import numpy as np

from . import kernels, ratio_kernels, until_eos
from .errors import InstanceError
from .features import Array, IntArray
from .mdp import TokenMDP
from .tilt import Occupancy, tilt


def log_partition(mdp: TokenMDP, G: Array) -> Array:
    """Return ``log E_ref e^G`` [T, S] in nats."""
    return tilt(mdp, G).log_partition


def tilted_means(mdp: TokenMDP, G: Array, F: Array) -> tuple[Array, Array]:
    """Return ``log E_ref e^G`` [T, S] in nats and ``E_π F_m`` [M, T, S] for F [M, T, S]."""
    policy = tilt(mdp, G)
    return policy.log_partition, np.stack([policy.mean(f) for f in F])


def divergence(mdp: TokenMDP, G: Array, H: Array) -> Array:
    """Return ``KL(π_G ‖ π_H)`` [T, S] in nats."""
    return tilt(mdp, G).divergence(tilt(mdp, H))


def policy_table(mdp: TokenMDP, G: Array) -> Array:
    """Return ``π(a|t,s)`` as [T, S, A]; zero rows at unreachable states."""
    return tilt(mdp, G).table


def policy_value(mdp: TokenMDP, G: Array, payoff: Array, extra: Array | None = None) -> Array:
    """Return ``U[t, s] = E_π Σ (payoff[t', s'] + extra[t', s'])``, [T+1, S]: Tilt.value."""
    return tilt(mdp, G).value(payoff, extra)


def occupancy(mdp: TokenMDP, G: Array) -> Occupancy:
    """Return where the policy goes from the start context."""
    return tilt(mdp, G).occupancy


def sample(mdp: TokenMDP, G: Array, n: int, seed: int = 0) -> IntArray:
    """Return n sequences of tokens [n, T] drawn from the policy with logits G [T, S].

    After ``eos`` a sequence repeats it. Raises InstanceError without a finite horizon, where
    sequences have no common length.
    """
    if mdp.horizon is None:
        raise InstanceError.of("horizon", None, "sequences need an end", "set a finite horizon")
    ladder = np.cumsum(policy_table(mdp, G), axis=2)
    rng = np.random.default_rng(seed)
    context = np.full(n, mdp.start_context)
    tokens = np.empty((n, mdp.horizon), dtype=np.int64)
    for t in range(mdp.horizon):
        rungs = ladder[t, context]
        # scaled by the last rung, a height below 1 stays below it however the sum was rounded
        height = rng.random((n, 1)) * rungs[:, -1:]
        tokens[:, t] = (rungs <= height).sum(axis=1)
        if mdp.eos is not None:
            tokens[mdp.ended[context], t] = mdp.eos
        context = (context * mdp.vocab_size + tokens[:, t]) % mdp.n_contexts
    return tokens


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


def inner_extent(mdp: TokenMDP, q: Array) -> tuple[Array, Array]:
    """Return ``max_a min(q − low, high − q)`` and ``high − low`` over allowed tokens, [T, S]."""
    extent, span = np.empty(q.shape), np.empty(q.shape)
    q = np.ascontiguousarray(q)
    ratio_kernels.inner_extent(mdp.ref, mdp.reach.states, q, extent, span)
    return extent, span


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
