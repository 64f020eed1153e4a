"""Compiled second derivatives of the soup objective: one pass back over what a soup's slope left.

With ``h = r_w + U[t+1] − η G``, ``q_k = Q_k − E_π Q_k`` and ``D_k = ∂U/∂mu_k`` at fixed η,

    D_k[t] = E_π[q_k h + D_k[t+1]]
    ∂²J/∂mu_i∂mu_j = Σ_t E_d { E_π[q_i q_j (h − E_π h)] + Cov_π(Q_i, D_j[t+1]) + Cov_π(Q_j, D_i[t+1])
                               − η Cov_π(Q_i, Q_j) },

so that K tables D, K means of the Q_k and sums over next contexts and over states give all K² of them.
The means are one product with ref for all K (toymdp.kernels.tiles), the sums one with the Q_k as rows:

              next contexts        states           lanes j, and one more for ∂C/∂mu
            ┌─────────────────┬──────────────┐     ┌──────────────────────────────┐
       k    │       q_k       │  −d·E_π q_k  │  ×  │ ½(field − η·flow) q_j + flow·D_j[t+1]
            └─────────────────┴──────────────┘     │ D_j[t] − ½η E_π q_j
"""

from __future__ import annotations

import numpy as np

from .backward import LANES, sum_rows
from .compiled import njit
from .elementary import exp
from .tiles import ROWS, turned

ROOM = (
    1 << 13
)  # numbers of a table of K rows over the next contexts of a few blocks: for the second cache


@njit(cache=True, nogil=True)
def soup_curvature(ref, Q, G, reward, eta, U, kl, inverse, mean, start, flow, field, bend, turn):
    """Write ``∂²J/∂mu²`` at fixed η into bend [K, K], and ``∂C/∂mu``, C = E_π Σ KL, into turn [K].

    Q [K, T, S] and reward [S] on next contexts; G, U, kl, inverse and mean as soup_backward leaves
    them, in which no row may have lost terms; flow and field [T, S] as soup_slope does, from visits
    start [S].
    """
    K, T, contexts = Q.shape
    A = ref.shape[1]
    B = contexts // A
    n = min(max(ROOM // (A * K), 1), B)
    # 8 more: of rows a power of 2 apart the first cache holds a few
    N, P = n * A + 8, (2 * K + 1 + LANES) // LANES * LANES
    wide, tall = (K + LANES) // LANES * LANES, max(K, ROWS)
    slopes, costs = np.zeros((2 * K, contexts)), np.zeros((2, contexts))  # D, C at t + 1 and t
    ahead, weights, sums = np.zeros((P, N)), np.empty((N, P)), np.empty((contexts, P))
    means, c, e, H = np.empty((P, N)), np.empty(N), np.empty(N), np.empty(N)
    least, scale, shift, visits = np.empty(n), np.empty(N), np.empty(N), np.empty(N)
    rows, others = np.zeros((tall, 2 * N)), np.zeros((wide, 2 * N))
    columns, part, half = np.empty((2 * N, wide)), np.empty((tall, wide)), np.zeros((K, K + 1))
    zero, single = np.int64(0), np.int64(1)  # typed as other numbers: constants compile anew
    one = np.empty((1, max(P, wide)))
    for m in range(one.shape[1]):
        one[0, m] = 1.0
    for t in range(T - 1, -1, -1):
        later, now = slopes[(t + 1) % 2 * K :], slopes[t % 2 * K :]
        cost_later, cost_now = costs[(t + 1) % 2], costs[t % 2]
        before = flow[t - 1] if t > 0 else start
        for low in range(0, B, n):
            size = min(n, B - low)
            first, m, visited = low * A, size * A, 0
            for base in range(low, contexts, B):
                for s in range(base, base + size):
                    visited += before[s] != 0.0
            if visited == 0:  # nor does what is visited lead here
                continue
            # less a constant of the block, which no covariance sees
            for i in range(size):
                block = G[t, first + i * A : first + i * A + A]
                top = block[0]
                for a in range(A):
                    top = block[a] if block[a] > top else top
                for a in range(A):
                    c[i * A + a] = block[a] - top
            gain, value, cost = (
                reward[first : first + m], U[t + 1, first : first + m], cost_later[first : first + m]
            )  # fmt: skip
            for j in range(m):
                e[j] = exp(c[j])
            for j in range(m):
                H[j] = gain[j] + value[j] - eta * c[j]
            for i in range(size):
                least[i] = H[i * A]
                for a in range(A):
                    H[i * A + a] -= least[i]
            met, pull = flow[t, first : first + m], field[t, first : first + m]
            for k in range(K):
                q, own, bent = rows[k], Q[k, t, first : first + m], later[k, first : first + m]
                for i in range(size):
                    for a in range(A):
                        q[i * A + a] = own[i * A + a] - own[i * A]
                mild, steep, other = ahead[k], ahead[K + k], others[k]
                for j in range(m):
                    mild[j] = e[j] * q[j]
                for j in range(m):
                    steep[j] = e[j] * (H[j] * q[j] + bent[j])
                for j in range(m):
                    other[j] = 0.5 * (pull[j] - eta * met[j]) * q[j] + met[j] * bent[j]
            mild, steep, other = ahead[2 * K], ahead[2 * K + 1], others[K]
            for j in range(m):
                steep[j] = e[j] * cost[j]
            for j in range(m):
                mild[j] = e[j] * (c[j] + cost[j])
            for j in range(m):
                other[j] = met[j] * (c[j] + cost[j])
            turned(ahead.ravel(), P, m, N, weights.ravel(), P)
            for x1 in range(0, A, ROWS):
                x1 = max(min(x1, A - ROWS), 0)
                sum_rows(ref, x1 * B + low, B, weights, zero, size, one, zero, sums)
            for x1 in range(A):
                s, to = x1 * B + low, x1 * size
                turned(sums[s : s + size].ravel(), size, P, P, means.ravel()[to:], N)
                for i in range(size):
                    scale[to + i] = inverse[t, s + i]
                    shift[to + i] = mean[t, s + i] - least[i]
                    visits[to + i] = before[s + i]
            for k in range(K):
                mild, steep = means[k], means[K + k]
                row, other = rows[k, m : 2 * m], others[k, m : 2 * m]
                for j in range(m):
                    mild[j] *= scale[j]
                for j in range(m):
                    steep[j] = steep[j] * scale[j] - shift[j] * mild[j]
                for j in range(m):
                    row[j] = -visits[j] * mild[j]
                for j in range(m):
                    other[j] = steep[j] - 0.5 * eta * mild[j]
                for x1 in range(A):
                    bent = now[k, x1 * B + low : x1 * B + low + size]
                    for i in range(size):
                        bent[i] = steep[x1 * size + i]
            other, mild, steep = others[K, m : 2 * m], means[2 * K], means[2 * K + 1]
            for j in range(m):
                other[j] = mild[j] * scale[j]
            for x1 in range(A):
                for i in range(size):
                    s = x1 * B + low + i
                    cost_now[s] = kl[t, s] + steep[x1 * size + i] * scale[x1 * size + i]
            for k in range(tall):
                for j in range(2 * m, 2 * N):
                    rows[k, j] = 0.0
            turned(others.ravel(), wide, 2 * N, 2 * N, columns.ravel(), wide)
            for k in range(0, tall, ROWS):
                sum_rows(rows, min(k, tall - ROWS), single, columns, zero, single, one, zero, part)
            for i in range(K):
                for j in range(K + 1):
                    half[i, j] += part[i, j]
    for i in range(K):
        turn[i] = half[i, K]
        for j in range(K):
            bend[i, j] = half[i, j] + half[j, i]
