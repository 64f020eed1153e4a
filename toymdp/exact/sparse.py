"""Solving a sparse instance and what its policies do, over rows of allowed tokens: no array of A**L.

What toymdp.exact.backward, policy and scans are for a table. Every policy is ``π ∝ ref·exp(G)``, G
[T, S] on next contexts in nats; all results are 0 outside the reachable states. A row's next contexts
lie in one block, so that here too a policy is a table of weights w [T, S] on next contexts, one
exponential each, and a reciprocal normaliser: its sums are products with the matrix of ``ref``. What
takes G instead goes row by row, each rescaled by itself, where weights may have underflowed.
"""

from __future__ import annotations

import numpy as np

from .. import kernels
from ..arrays import Array
from ..worlds.reach import Mask
from ..worlds.token_mdp import TokenMDP
from .backward import Recursion


def soft_backward(mdp: TokenMDP, rewards: Array, T: int, method: Recursion) -> Array:
    """V [M, T+1, S] in reward units by (4), with one of three recursions that share no arithmetic.

    "exp": sparse matrix products in the exponential domain; "log": compiled, row by row, each
    rescaled by itself; "rows": the definition itself, all rows at once.
    """
    rows, q = mdp.rows, np.ascontiguousarray(rewards / mdp.beta)
    v = np.zeros((len(q), T + 1, mdp.n_contexts))
    live = rows.counts > 0
    if method == "log":
        for m in range(len(q)):
            kernels.sparse.soft_backward(*rows.csr, q[m], v[m])
    elif method == "rows":
        with np.errstate(divide="ignore"):
            log_ref = np.log(rows.ref)
        for m in range(len(q)):
            for t in range(T - 1, -1, -1):
                terms = log_ref + (q[m] + v[m, t + 1])[rows.nexts]
                top = np.where(live, rows.largest(terms), 0.0)
                total = rows.sums(np.exp(terms - top[rows.owners]))
                v[m, t] = top + np.log(np.where(live, total, 1.0))
    else:
        gain, z = np.exp(q.T), np.ones((mdp.n_contexts, len(q)))
        for t in range(T - 1, -1, -1):
            z = np.where(live[:, None], rows.matrix @ (gain * z), 1.0)
            v[:, t] = np.log(z.T)
    v *= mdp.beta
    return v


def centre(mdp: TokenMDP, G: Array) -> tuple[Array, Array, Array]:
    """The largest G and the range of each block [T, blocks], and G less the largest [T, S]."""
    starts = mdp.block_starts
    top = np.maximum.reduceat(G, starts, axis=1)
    span = top - np.minimum.reduceat(G, starts, axis=1)
    return top, span, G - np.repeat(top, np.diff(starts, append=G.shape[1]), axis=1)


def of_next_block(mdp: TokenMDP, of_block: Array) -> Array:
    """[T, S]: what of_block [T, blocks] says of the block that each context leads to."""
    rows = mdp.rows
    first = rows.nexts[np.minimum(rows.indptr[:-1], len(rows.nexts) - 1)]
    return np.asarray(of_block[:, np.searchsorted(mdp.block_starts, first, side="right") - 1])


def sums(mdp: TokenMDP, f: Array) -> Array:
    """``E_ref f`` [T, S] of f [T, S] on next contexts, 0 where nothing is allowed."""
    return np.ascontiguousarray((mdp.rows.matrix @ np.ascontiguousarray(f.T)).T)


def weighted_backward(
    mdp: TokenMDP, w: Array, inverse: Array, payoff: Array, extra: Array, U: Array
) -> None:
    """Fill ``U[t] = extra[t] + E_π[payoff[t, s'] + U[t+1, s']]`` [T+1, S], its last slice set.

    payoff: [T, S], or [1, S] for all steps.
    """
    matrix, states, gain = mdp.rows.matrix, mdp.reach.states, np.broadcast_to(payoff, w.shape)
    for t in range(len(w) - 1, -1, -1):
        means = inverse[t] * (matrix @ (w[t] * (gain[t] + U[t + 1])))
        U[t] = np.where(states[t], extra[t] + means, 0.0)


def weighted_forward(mdp: TokenMDP, w: Array, inverse: Array, d: Array, n: Array) -> None:
    """Fill visits d [T, S], its first slice set, and those of next contexts n [T, S]."""
    back, states = mdp.rows.matrix.T, mdp.reach.states
    for t in range(len(w)):
        n[t] = w[t] * (back @ (inverse[t] * d[t]))
        if t + 1 < len(w):
            d[t + 1] = np.where(states[t + 1], n[t], 0.0)


def weighted_push(mdp: TokenMDP, w: Array, inverse: Array, x: Array) -> Array:
    """``Σ_s x[t, s]·π(s'|s)`` [T, S] of x [T, S] on states."""
    return np.asarray(w * (mdp.rows.matrix.T @ np.ascontiguousarray((inverse * x).T)).T)


def law(mdp: TokenMDP, G: Array, t: int) -> Array:
    """π itself at step t as [E], an entry for each allowed token of each context."""
    rows = mdp.rows
    out = np.empty(len(rows.ref))
    kernels.sparse.law_of_step(*rows.csr, mdp.reach.states[t], G[t], out)
    return out


def rejection_sampler(
    target: Array, ratio: Array, shift: Array, mdp: TokenMDP
) -> tuple[Array, Array]:
    """As toymdp.exact.sampling.rejection_sampler, of the policies with logits target and ratio [T, S]."""
    apart, accepted = np.empty((2, *shift.shape))
    kernels.sparse.accepted_rows(
        *mdp.rows.csr, mdp.reach.states, ratio, shift, target, apart, accepted
    )
    return apart, accepted


def means(mdp: TokenMDP, G: Array, F: Array) -> tuple[Array, Array]:
    """``log E_ref e^G`` [T, S] and ``E_π F`` [M, T, S] of F [M, T, S] on next contexts."""
    rows, log_z, mean = mdp.rows, np.empty(G.shape), np.empty(F.shape)
    kernels.sparse.tilted_means(*rows.csr, mdp.reach.states, G, F, log_z, mean)
    return log_z, mean


def bellman_errors(mdp: TokenMDP, Q: Array, V: Array) -> Array:
    """The largest ``|V − β log E_ref exp(Q/β)|`` [M] of Q [M, T, S] and V [M, T+1, S]."""
    worst, none = np.zeros(len(Q)), np.empty((0, *Q.shape[1:]))
    for m, (q, v) in enumerate(zip(Q, V, strict=True)):
        error = np.abs(mdp.beta * means(mdp, q / mdp.beta, none)[0] - v[:-1])
        worst[m] = np.where(mdp.reach.states, error, 0.0).max()
    return worst


def divergence(mdp: TokenMDP, G: Array, H: Array, marked: Mask) -> Array:
    """``KL(π_G ‖ π_H)`` [T, S] in nats in the marked rows."""
    rows, kl = mdp.rows, np.empty(G.shape)
    kernels.sparse.divergences(*rows.csr, marked, G, H, kl)
    return kl


def value(mdp: TokenMDP, G: Array, payoff: Array, extra: Array) -> Array:
    """``U[t, s] = E_π Σ (payoff + extra)`` from (t, s) on, [T+1, S]."""
    rows, U = mdp.rows, np.zeros((len(G) + 1, mdp.n_contexts))
    kernels.sparse.evaluate_backward(*rows.csr, mdp.reach.states, G, payoff, extra, U)
    return U


def push(mdp: TokenMDP, G: Array, x: Array) -> Array:
    """``Σ_s x[t, s]·π(s'|s)`` [T, S] of x [T, S] on states."""
    rows, onto = mdp.rows, np.zeros(G.shape)
    for t in range(len(G)):
        kernels.sparse.push(*rows.csr, G[t], x[t], onto[t])
    return onto


def occupancy(mdp: TokenMDP, G: Array, first: Array) -> tuple[Array, Array]:
    """Where a policy is [T, S], from ``first`` [S] on, and the next contexts it reaches [T, S]."""
    rows, d, n = mdp.rows, np.zeros(G.shape), np.zeros(G.shape)
    d[0] = first
    for t in range(len(G)):
        kernels.sparse.push(*rows.csr, G[t], d[t], n[t])
        if t + 1 < len(G):
            d[t + 1] = np.where(mdp.reach.states[t + 1], n[t], 0.0)
    return d, n


def ratio_extremes(mdp: TokenMDP, G: Array) -> tuple[Array, Array]:
    """``log max_a π/ref`` and ``log min_a π/ref``, both [T, S]."""
    rows, (upper, lower) = mdp.rows, np.empty((2, *G.shape))
    kernels.sparse.ratio_extremes(*rows.csr, mdp.reach.states, G, upper, lower)
    return upper, lower


def ranges(mdp: TokenMDP, F: Array) -> tuple[Array, Array]:
    """The least and the largest ``F[t, s']`` over allowed tokens, both [T, S]."""
    rows, (low, high) = mdp.rows, np.empty((2, *F.shape))
    kernels.sparse.ranges(*rows.csr, mdp.reach.states, F, low, high)
    return low, high


def extents(mdp: TokenMDP, q: Array) -> tuple[Array, Array]:
    """``max_a min(q − low, high − q)`` and ``high − low`` over allowed tokens, both [T, S]."""
    rows, (extent, span) = mdp.rows, np.empty((2, *q.shape))
    kernels.sparse.extents(*rows.csr, mdp.reach.states, q, extent, span)
    return extent, span


def hard_minimum(
    mdp: TokenMDP, first: Array, second: Array, tolerance: float
) -> tuple[float, float]:
    """Least total of ``first`` [T, S] from the start, and of ``second`` among its ties."""
    rows = mdp.rows
    C, D = np.zeros((2, mdp.steps + 1, mdp.n_contexts))
    kernels.sparse.hard_backward(*rows.csr[:2], mdp.reach.states, first, second, tolerance, C, D)
    return float(C[0, mdp.start_context]), float(D[0, mdp.start_context])
