"""Compiled recursions over contexts. Arithmetic only: wrappers validate, kernels write into arrays.

Index convention throughout: context ``s = x1·B + y`` with ``B = A**(L-1)`` leads under token ``a``
to ``s' = y·A + a``. All contexts that share ``y`` share one contiguous block of A next contexts, so
whatever depends on ``s'`` alone (rewards, values, logits, exponentials) is computed once for each
next context and used by A rows.

Every policy here has the form ``π(a|t,s) ∝ ref(a|s)·exp(G[t,s'])``: ``ref`` itself (G = 0), the
specialists (Q_k/β), the bespoke policy (Q_w/β) and every soup (Σ λ_k Q_k/β').
"""

from __future__ import annotations

import numpy as np
from numba import njit

# Below this a block-scaled row sum may have lost terms to underflow; the row is then rescaled by
# its own maximum. Terms that vanish beside 1e-280 are smaller by 1e28 than what is kept.
ROW_FLOOR = 1e-280


@njit(cache=True, nogil=True)
def soft_backward_log(ref, live, q, v):
    """Fill ``v[m, t] = log Σ_a ref·exp(q + v[m, t+1])`` with one scale a block: (4) over β.

    q [M, S] = r/β; v [M, T+1, S] = V/β with the last slice set.
    """
    M, steps, contexts = v.shape[0], v.shape[1] - 1, v.shape[2]
    A = ref.shape[1]
    B = contexts // A
    logits = np.empty(A)
    e = np.empty(A)
    p = np.empty(A)
    for m in range(M):
        for t in range(steps - 1, -1, -1):
            for y in range(B):
                top = -np.inf
                for a in range(A):
                    logits[a] = q[m, y * A + a] + v[m, t + 1, y * A + a]
                    top = max(top, logits[a])
                for a in range(A):
                    e[a] = np.exp(logits[a] - top)
                for x1 in range(A):
                    s = x1 * B + y
                    v[m, t, s] = row_weights(ref[s], logits, e, top, p) if live[s] else 0.0


@njit(cache=True, nogil=True)
def row_weights(ref_row, logits, e, top, p):
    """Write ``p ∝ ref_row·exp(logits)`` and return ``log Σ ref_row·exp(logits)``.

    e = exp(logits - top) is the block's; a row that forbids, or nearly forbids, all that is large
    in the block is rescaled by its own largest term.
    """
    A = ref_row.shape[0]
    total = 0.0
    for a in range(A):
        p[a] = ref_row[a] * e[a]
        total += p[a]
    if total < ROW_FLOOR:
        top = -np.inf
        for a in range(A):
            if ref_row[a] > 0.0:
                top = max(top, np.log(ref_row[a]) + logits[a])
        total = 0.0
        for a in range(A):
            p[a] = 0.0
            if ref_row[a] > 0.0:
                p[a] = np.exp(np.log(ref_row[a]) + logits[a] - top)
                total += p[a]
    for a in range(A):
        p[a] /= total
    return top + np.log(total)


@njit(cache=True, nogil=True)
def block_weights(G, first, e):
    """Write ``e = exp(G[first:first+A] - max)`` and return the maximum."""
    A = e.shape[0]
    top = -np.inf
    for a in range(A):
        top = max(top, G[first + a])
    for a in range(A):
        e[a] = np.exp(G[first + a] - top)
    return top


@njit(cache=True, nogil=True)
def tilted_means(ref, states, G, F, log_z, means):
    """Write ``log E_ref e^G`` [T, S] and ``E_π F_m`` [M, T, S] at the marked states (0 elsewhere).

    G [T, S] on next contexts; F [M, T, S] on next contexts.
    """
    T, contexts = G.shape
    M = F.shape[0]
    A = ref.shape[1]
    B = contexts // A
    e = np.empty(A)
    p = np.empty(A)
    for t in range(T):
        for y in range(B):
            top = block_weights(G[t], y * A, e)
            for x1 in range(A):
                s = x1 * B + y
                if not states[t, s]:
                    log_z[t, s] = 0.0
                    means[:, t, s] = 0.0
                    continue
                log_z[t, s] = row_weights(ref[s], G[t, y * A : y * A + A], e, top, p)
                for m in range(M):
                    total = 0.0
                    for a in range(A):
                        total += p[a] * F[m, t, y * A + a]
                    means[m, t, s] = total


@njit(cache=True, nogil=True)
def divergences(ref, states, G, H, kl):
    """Write ``KL(π_G ‖ π_H)`` [T, S], accurate also where it is tiny.

    With ``x = (G - H) - E_π_G(G - H)``, ``KL = log1p E_π_G[expm1(-x) + x]``: every term is
    non-negative, so nothing cancels. Where ``-x`` is large the log-partitions are used instead.
    """
    T, contexts = G.shape
    A = ref.shape[1]
    B = contexts // A
    e = np.empty(A)
    f = np.empty(A)
    p = np.empty(A)
    q = np.empty(A)
    for t in range(T):
        for y in range(B):
            top = block_weights(G[t], y * A, e)
            other = block_weights(H[t], y * A, f)
            for x1 in range(A):
                s = x1 * B + y
                kl[t, s] = 0.0
                if not states[t, s]:
                    continue
                first = y * A
                z = row_weights(ref[s], G[t, first : first + A], e, top, p)
                mean = 0.0
                for a in range(A):
                    mean += p[a] * (G[t, first + a] - H[t, first + a])
                least = 0.0
                for a in range(A):
                    if ref[s, a] > 0.0:
                        least = min(least, G[t, first + a] - H[t, first + a] - mean)
                if least < -1.0:
                    zh = row_weights(ref[s], H[t, first : first + A], f, other, q)
                    kl[t, s] = max(mean - z + zh, 0.0)
                    continue
                total = 0.0
                for a in range(A):
                    x = G[t, first + a] - H[t, first + a] - mean
                    total += p[a] * (np.expm1(-x) + x) if ref[s, a] > 0.0 else 0.0
                kl[t, s] = max(np.log1p(total), 0.0)


@njit(cache=True, nogil=True)
def extrema(ref, states, F, low, high):
    """Write the least and largest ``F[t, s']`` over allowed tokens at the marked states."""
    T, contexts = F.shape
    A = ref.shape[1]
    B = contexts // A
    for t in range(T):
        for s in range(contexts):
            low[t, s] = 0.0
            high[t, s] = 0.0
            if not states[t, s]:
                continue
            first = (s % B) * A
            least, most = np.inf, -np.inf
            for a in range(A):
                if ref[s, a] > 0.0:
                    least = min(least, F[t, first + a])
                    most = max(most, F[t, first + a])
            low[t, s] = least
            high[t, s] = most


@njit(cache=True, nogil=True)
def evaluate_backward(ref, states, G, payoff, extra, U):
    """Fill ``U[t] = extra[t] + E_π[payoff[t, s'] + U[t+1, s']]`` at the marked states.

    payoff [T, S] on next contexts; extra [T, S] on states; U [T+1, S] with the last slice set.
    """
    T, contexts = G.shape
    A = ref.shape[1]
    B = contexts // A
    e = np.empty(A)
    p = np.empty(A)
    for t in range(T - 1, -1, -1):
        for y in range(B):
            top = block_weights(G[t], y * A, e)
            for x1 in range(A):
                s = x1 * B + y
                U[t, s] = 0.0
                if not states[t, s]:
                    continue
                row_weights(ref[s], G[t, y * A : y * A + A], e, top, p)
                total = 0.0
                for a in range(A):
                    total += p[a] * (payoff[t, y * A + a] + U[t + 1, y * A + a])
                U[t, s] = extra[t, s] + total


@njit(cache=True, nogil=True)
def occupancy_forward(ref, states, G, d, n):
    """Fill ``n[t] = Σ_s d[t, s]·π(s'|s)`` and ``d[t+1]`` from it; ``d[0]`` is given.

    d [T, S] on states; n [T, S] on next contexts (zeroed first).
    """
    T, contexts = G.shape
    A = ref.shape[1]
    B = contexts // A
    e = np.empty(A)
    p = np.empty(A)
    for t in range(T):
        n[t, :] = 0.0
        for y in range(B):
            top = block_weights(G[t], y * A, e)
            for x1 in range(A):
                s = x1 * B + y
                if not states[t, s] or d[t, s] == 0.0:
                    continue
                row_weights(ref[s], G[t, y * A : y * A + A], e, top, p)
                for a in range(A):
                    n[t, y * A + a] += d[t, s] * p[a]
        if t + 1 < T:
            for s in range(contexts):
                d[t + 1, s] = n[t, s] if states[t + 1, s] else 0.0


@njit(cache=True, nogil=True)
def hard_backward(allowed, states, first_cost, second_cost, tolerance, C, D):
    """Minimise the total of ``first_cost[t, s']``, ties broken towards the least second total.

    Two tokens tie when their totals differ by at most ``tolerance`` (rounding must not decide).
    C, D [T+1, S]: both totals under the minimising policy, last slices set.
    """
    T, contexts = first_cost.shape
    A = allowed.shape[1]
    B = contexts // A
    for t in range(T - 1, -1, -1):
        for s in range(contexts):
            C[t, s] = 0.0
            D[t, s] = 0.0
            if not states[t, s]:
                continue
            first = (s % B) * A
            least = np.inf
            for a in range(A):
                if allowed[s, a]:
                    least = min(least, first_cost[t, first + a] + C[t + 1, first + a])
            best = np.inf
            for a in range(A):
                c = first_cost[t, first + a] + C[t + 1, first + a]
                if allowed[s, a] and c <= least + tolerance:
                    best = min(best, second_cost[t, first + a] + D[t + 1, first + a])
            C[t, s] = least
            D[t, s] = best
