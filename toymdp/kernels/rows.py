"""Compiled recursions over contexts. Arithmetic only: wrappers validate, kernels write into arrays.

Index convention throughout: context ``s = x1·B + y`` with ``B = A**(L-1)`` leads under token ``a``
to ``s' = y·A + a``. All contexts that share ``y`` share one contiguous block of A next contexts, so
whatever depends on ``s'`` alone (rewards, values, logits, exponentials) is computed once for each
next context and used by A rows.

Row by row, each rescaled by itself where it must be: the recursions for any reward/β. Those of
toymdp.kernels.blocks are faster where nothing underflows.

Every policy here has the form ``π(a|t,s) ∝ ref(a|s)·exp(G[t,s'])``: ``ref`` itself (G = 0), the
specialists (Q_k/β), the bespoke policy (Q_w/β) and every soup (Σ λ_k Q_k/β').
"""

from __future__ import annotations

import numpy as np

from .compiled import njit
from .limits import ROW_FLOOR


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
def row_divergence(ref_row, p, G, log_z_G, H, log_z_H):
    """Return ``KL(p ‖ q)`` for rows ``p ∝ ref·e^G`` and ``q ∝ ref·e^H``, accurate where tiny.

    With ``x = log(p/q)``, KL is both ``E_p x`` and ``E_p[e^{-x} − 1 + x]``. The second has only
    non-negative terms, so nothing cancels; its series to tenth order is exact to rounding for
    ``|x| ≤ 0.1``. Beyond that the first is taken, exact to a unit in the last place of 1: a tiny
    divergence keeps no digits where a token of next to no weight alone lies that far off.
    """
    shift = log_z_H - log_z_G
    mean = 0.0
    low = np.inf
    high = -np.inf
    for a in range(p.shape[0]):
        x = G[a] - H[a] + shift
        mean += p[a] * x
        if ref_row[a] > 0.0:  # an allowed token whose p has underflowed still carries q
            low = min(low, x)
            high = max(high, x)
    if max(high, -low) > 0.1 or np.isnan(mean):
        return 0.0 if mean < 0.0 else mean  # NaN stays NaN
    bend = 0.0
    for a in range(p.shape[0]):
        if p[a] > 0.0:
            bend += p[a] * divergence_term(G[a] - H[a] + shift)
    return bend


@njit(cache=True, nogil=True)
def divergence_term(x):
    """``e^{-x} − 1 + x`` by its series, for ``|x| ≤ 0.1``."""
    tail = x * (-1 / 5040 + x * (1 / 40320 - x / 362880))
    tail = x * (-1 / 6 + x * (1 / 24 + x * (-1 / 120 + x * (1 / 720 + tail))))
    return x * x * (0.5 + tail)


@njit(cache=True, nogil=True)
def divergences(ref, states, G, H, kl):
    """Write ``KL(π_G ‖ π_H)`` [T, S] at the marked states (0 elsewhere)."""
    T, contexts = G.shape
    A = ref.shape[1]
    B = contexts // A
    e = np.empty(A)
    f = np.empty(A)
    p = np.empty(A)
    q = np.empty(A)
    for t in range(T):
        for y in range(B):
            marked = False
            for x1 in range(A):
                kl[t, x1 * B + y] = 0.0
                marked |= states[t, x1 * B + y]
            if not marked:
                continue
            g = G[t, y * A : y * A + A]
            h = H[t, y * A : y * A + A]
            top = block_weights(G[t], y * A, e)
            other = block_weights(H[t], y * A, f)
            for x1 in range(A):
                s = x1 * B + y
                if states[t, s]:
                    z = row_weights(ref[s], g, e, top, p)
                    w = row_weights(ref[s], h, f, other, q)
                    kl[t, s] = row_divergence(ref[s], p, g, z, h, w)


@njit(cache=True, nogil=True, inline="always")
def allowed_range(ref_row, f):
    """Least and largest of f [A] over the tokens with weight."""
    low, high = np.inf, -np.inf
    for a in range(f.shape[0]):
        if ref_row[a] > 0.0:
            low = min(low, f[a])
            high = max(high, f[a])
    return low, high


@njit(cache=True, nogil=True)
def block_range(F, low, high):
    """Write the least and largest ``F[t, s']`` of each block, both [T, S/A]."""
    T, blocks = low.shape
    A = F.shape[1] // blocks
    for t in range(T):
        for y in range(blocks):
            least, most = F[t, y * A], F[t, y * A]
            for a in range(1, A):
                least = min(least, F[t, y * A + a])
                most = max(most, F[t, y * A + a])
            low[t, y], high[t, y] = least, most


@njit(cache=True, nogil=True)
def row_range(ref, rows, F, low, high):
    """Write the least and largest ``F[t, s']`` over allowed tokens at the rows t·S + s."""
    contexts, A = ref.shape
    for row in rows:
        t, s = row // contexts, row % contexts
        first = (s % (contexts // A)) * A
        low[t, s], high[t, s] = allowed_range(ref[s], F[t, first : first + A])


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
def hard_backward(allowed, full, whole, states, first_cost, second_cost, tolerance, C, D):
    """Minimise the total of ``first_cost[t, s']``, ties broken towards the least second total.

    Two tokens tie when their totals differ by at most ``tolerance`` (rounding must not decide).
    C, D [T+1, S]: both totals under the minimising policy, last slices set. full [S] marks the rows
    that allow every token: one choice serves them all, for they share their next contexts; whole
    [T] the steps at which every context is such a state.
    """
    T, contexts = first_cost.shape
    A = allowed.shape[1]
    B = contexts // A
    c = np.empty(contexts)
    d = np.empty(contexts)
    every = np.ones(A, np.bool_)
    for t in range(T - 1, -1, -1):
        for s in range(contexts):
            c[s] = first_cost[t, s] + C[t + 1, s]
            d[s] = second_cost[t, s] + D[t + 1, s]
        for y in range(B):
            C[t, y], D[t, y] = cheapest(
                every, c[y * A : y * A + A], d[y * A : y * A + A], tolerance
            )
        for base in range(B, contexts, B):
            for y in range(B):
                C[t, base + y], D[t, base + y] = C[t, y], D[t, y]
        if whole[t]:
            continue
        for s in range(contexts):
            if not states[t, s]:
                C[t, s], D[t, s] = 0.0, 0.0
            elif not full[s]:
                block = slice((s % B) * A, (s % B) * A + A)
                C[t, s], D[t, s] = cheapest(allowed[s], c[block], d[block], tolerance)


@njit(cache=True, nogil=True, inline="always")
def cheapest(allowed, c, d, tolerance):
    """Least of c [A] over the allowed tokens, and the least d among those that tie with it."""
    least = np.inf
    for a in range(c.shape[0]):
        least = c[a] if allowed[a] and c[a] < least else least
    best = np.inf
    for a in range(c.shape[0]):
        if allowed[a] and c[a] <= least + tolerance:
            best = d[a] if d[a] < best else best
    return least, best
