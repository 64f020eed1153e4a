"""Compiled recursions over rows of allowed tokens: the same sums as in toymdp.kernels.rows, no table.

Row s of ``ref`` holds the entries ``indptr[s] .. indptr[s+1]``, each with a probability ``ref[i] > 0``
and the context ``nexts[i]`` that its token leads to. A row's numbers are gathered, and then it is a
row like any other: rescaled by itself, so that nothing overflows at any reward/β.

G [T, S] on next contexts are logits over ref, ``π ∝ ref·exp(G)``; states [T, S] marks the rows that
are worked on, and results are 0 elsewhere.
"""

from __future__ import annotations

import numpy as np

from .compiled import njit
from .ratios import extent_of, extremes_of
from .rows import allowed_range, block_weights, cheapest, row_divergence, row_weights
from .sampling import accepted_weights


@njit(cache=True, nogil=True)
def widest(indptr):
    """The most entries of a row."""
    most = 1
    for s in range(indptr.shape[0] - 1):
        most = max(most, indptr[s + 1] - indptr[s])
    return most


@njit(cache=True, nogil=True)
def gather(f, nexts, row):
    """Write f at the next contexts of a row."""
    for i in range(row.shape[0]):
        row[i] = f[nexts[i]]


@njit(cache=True, nogil=True)
def law(ref_row, g, e, p):
    """Write ``p ∝ ref_row·exp(g)`` and return the logarithm of its sum; e is room for it."""
    return row_weights(ref_row, g, e, block_weights(g, 0, e), p)


@njit(cache=True, nogil=True)
def soft_backward(indptr, nexts, ref, q, v):
    """Fill ``v[t, s] = log Σ ref·exp(q + v[t+1])``: (4) in nats, for q [S] and v [T+1, S]."""
    g, e, p = np.empty((3, widest(indptr)))
    for t in range(v.shape[0] - 2, -1, -1):
        for s in range(indptr.shape[0] - 1):
            v[t, s] = 0.0
            a, b = indptr[s], indptr[s + 1]
            n = b - a
            if n == 0:
                continue
            for i in range(n):
                g[i] = q[nexts[a + i]] + v[t + 1, nexts[a + i]]
            v[t, s] = law(ref[a:b], g[:n], e[:n], p[:n])


@njit(cache=True, nogil=True)
def tilted_means(indptr, nexts, ref, states, G, F, log_z, means):
    """Write ``log E_ref e^G`` [T, S] and ``E_π F_m`` [M, T, S] of F [M, T, S] on next contexts."""
    g, e, p = np.empty((3, widest(indptr)))
    for t in range(G.shape[0]):
        for s in range(indptr.shape[0] - 1):
            log_z[t, s] = 0.0
            means[:, t, s] = 0.0
            if not states[t, s]:
                continue
            a, b = indptr[s], indptr[s + 1]
            n = b - a
            gather(G[t], nexts[a:b], g[:n])
            log_z[t, s] = law(ref[a:b], g[:n], e[:n], p[:n])
            for m in range(F.shape[0]):
                total = 0.0
                for i in range(n):
                    total += p[i] * F[m, t, nexts[a + i]]
                means[m, t, s] = total


@njit(cache=True, nogil=True)
def law_of_step(indptr, nexts, ref, states, G, out):
    """Write π itself [E] at one step, from G [S]; 0 in rows that are not marked."""
    g, e = np.empty((2, widest(indptr)))
    for s in range(indptr.shape[0] - 1):
        a, b = indptr[s], indptr[s + 1]
        n = b - a
        if states[s]:
            gather(G, nexts[a:b], g[:n])
            law(ref[a:b], g[:n], e[:n], out[a:b])
        else:
            out[a:b] = 0.0


@njit(cache=True, nogil=True)
def divergences(indptr, nexts, ref, states, G, H, kl):
    """Write ``KL(π_G ‖ π_H)`` [T, S]."""
    g, h, e, p, q = np.empty((5, widest(indptr)))
    for t in range(G.shape[0]):
        for s in range(indptr.shape[0] - 1):
            kl[t, s] = 0.0
            if not states[t, s]:
                continue
            a, b = indptr[s], indptr[s + 1]
            n = b - a
            gather(G[t], nexts[a:b], g[:n])
            gather(H[t], nexts[a:b], h[:n])
            z = law(ref[a:b], g[:n], e[:n], p[:n])
            w = law(ref[a:b], h[:n], e[:n], q[:n])
            kl[t, s] = row_divergence(ref[a:b], p[:n], g[:n], z, h[:n], w)


@njit(cache=True, nogil=True)
def evaluate_backward(indptr, nexts, ref, states, G, payoff, extra, U):
    """Fill ``U[t] = extra[t] + E_π[payoff[t, s'] + U[t+1, s']]``.

    payoff [T, S] on next contexts, or [1, S] for all steps; extra [T, S] on states; U [T+1, S] with
    the last slice set.
    """
    g, e, p = np.empty((3, widest(indptr)))
    for t in range(G.shape[0] - 1, -1, -1):
        gain = payoff[min(t, payoff.shape[0] - 1)]
        for s in range(indptr.shape[0] - 1):
            U[t, s] = 0.0
            if not states[t, s]:
                continue
            a, b = indptr[s], indptr[s + 1]
            n = b - a
            gather(G[t], nexts[a:b], g[:n])
            law(ref[a:b], g[:n], e[:n], p[:n])
            total = 0.0
            for i in range(n):
                total += p[i] * (gain[nexts[a + i]] + U[t + 1, nexts[a + i]])
            U[t, s] = extra[t, s] + total


@njit(cache=True, nogil=True)
def push(indptr, nexts, ref, G, x, onto):
    """Add ``Σ_s x[s]·π(s'|s)`` to onto [S], for one step: G, x [S]."""
    g, e, p = np.empty((3, widest(indptr)))
    for s in range(indptr.shape[0] - 1):
        if x[s] == 0.0:
            continue
        a, b = indptr[s], indptr[s + 1]
        n = b - a
        gather(G, nexts[a:b], g[:n])
        law(ref[a:b], g[:n], e[:n], p[:n])
        for i in range(n):
            onto[nexts[a + i]] += x[s] * p[i]


@njit(cache=True, nogil=True)
def ratio_extremes(indptr, nexts, ref, states, q, log_upper, log_lower):
    """Write ``log max_a π/ref`` ≥ 0 and ``log min_a π/ref`` ≤ 0 [T, S]."""
    g = np.empty(widest(indptr))
    for t in range(q.shape[0]):
        for s in range(indptr.shape[0] - 1):
            log_upper[t, s], log_lower[t, s] = 0.0, 0.0
            if states[t, s]:
                a, b = indptr[s], indptr[s + 1]
                gather(q[t], nexts[a:b], g[: b - a])
                log_upper[t, s], log_lower[t, s] = extremes_of(ref[a:b], g[: b - a])


@njit(cache=True, nogil=True)
def ranges(indptr, nexts, ref, states, F, low, high):
    """Write the least and largest ``F[t, s']`` over allowed tokens [T, S]."""
    g = np.empty(widest(indptr))
    for t in range(F.shape[0]):
        for s in range(indptr.shape[0] - 1):
            low[t, s], high[t, s] = 0.0, 0.0
            if states[t, s]:
                a, b = indptr[s], indptr[s + 1]
                gather(F[t], nexts[a:b], g[: b - a])
                low[t, s], high[t, s] = allowed_range(ref[a:b], g[: b - a])


@njit(cache=True, nogil=True)
def extents(indptr, nexts, ref, states, q, extent, span):
    """Write ``max_a min(q − low, high − q)`` and ``high − low`` over allowed tokens [T, S]."""
    g = np.empty(widest(indptr))
    for t in range(q.shape[0]):
        for s in range(indptr.shape[0] - 1):
            extent[t, s], span[t, s] = 0.0, 0.0
            if states[t, s]:
                a, b = indptr[s], indptr[s + 1]
                gather(q[t], nexts[a:b], g[: b - a])
                extent[t, s], span[t, s] = extent_of(ref[a:b], g[: b - a])


@njit(cache=True, nogil=True)
def hard_backward(indptr, nexts, states, first_cost, second_cost, tolerance, C, D):
    """Minimise the total of ``first_cost[t, s']``, ties broken towards the least second total.

    As toymdp.kernels.rows.hard_backward. C, D [T+1, S], last slices set.
    """
    c, d = np.empty((2, widest(indptr)))
    every = np.ones(c.shape[0], np.bool_)
    for t in range(first_cost.shape[0] - 1, -1, -1):
        for s in range(indptr.shape[0] - 1):
            C[t, s], D[t, s] = 0.0, 0.0
            if not states[t, s]:
                continue
            a, b = indptr[s], indptr[s + 1]
            n = b - a
            for i in range(n):
                c[i] = first_cost[t, nexts[a + i]] + C[t + 1, nexts[a + i]]
                d[i] = second_cost[t, nexts[a + i]] + D[t + 1, nexts[a + i]]
            C[t, s], D[t, s] = cheapest(every[:n], c[:n], d[:n], tolerance)


@njit(cache=True, nogil=True)
def accepted_rows(indptr, nexts, ref, states, H, shift, G, apart, accepted):
    """Compare what a rejection sampler accepts, with chance ``e^{H + shift}``, with π_G [T, S]."""
    h, g, p, q, e = np.empty((5, widest(indptr)))
    for t in range(H.shape[0]):
        for s in range(indptr.shape[0] - 1):
            apart[t, s], accepted[t, s] = 0.0, 0.0
            if not states[t, s]:
                continue
            a, b = indptr[s], indptr[s + 1]
            n = b - a
            gather(H[t], nexts[a:b], h[:n])
            gather(G[t], nexts[a:b], g[:n])
            accepted[t, s] = np.exp(accepted_weights(ref[a:b], h[:n], shift[t, s], p[:n]))
            law(ref[a:b], g[:n], e[:n], q[:n])
            for i in range(n):
                apart[t, s] += 0.5 * abs(p[i] - q[i])
