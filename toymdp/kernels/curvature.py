"""Compiled second derivatives of the soup objective: one pass back, its length one soft backup of K.

With ``h = r_w + U[t+1] − η G``, ``q_k = Q_k − E_π Q_k`` and ``D_k = ∂U/∂mu_k`` at fixed η,

    D_k[t] = E_π[q_k h + D_k[t+1]]
    ∂²J/∂mu_i∂mu_j = Σ_t E_d { E_π[q_i q_j (h − E_π h)] + Cov_π(Q_i, D_j[t+1]) + Cov_π(Q_j, D_i[t+1])
                               − η Cov_π(Q_i, Q_j) },

so that K tables D, K means of the Q_k and a few sums over blocks give all K² of them.
"""

from __future__ import annotations

import numpy as np

from .compiled import njit
from .rows import block_weights, row_weights


@njit(cache=True, nogil=True)
def soup_curvature(ref, states, Q, G, reward, eta, U, kl, d, bend, turn):
    """Write ``∂²J/∂mu²`` at fixed η into bend [K, K], and ``∂C/∂mu``, C = E_π Σ KL, into turn [K].

    Q [K, T, S], G [T, S] = Σ mu_k Q_k and reward [S] on next contexts; U [T+1, S] and kl [T, S] on
    states, as soup_backward leaves them, and the soup's occupancies d [T, S].
    """
    K, T, contexts = Q.shape
    A = ref.shape[1]
    B = contexts // A
    e, p, h, g = np.empty(A), np.empty(A), np.empty(A), np.empty(A)
    flow, pull, wide = np.empty(A), np.empty(A), np.empty(A)
    q, m, v = np.empty((A, K)), np.empty(K), np.empty(K)
    slopes, costs = np.zeros((2, contexts, K)), np.zeros((2, contexts))  # D and C at t + 1 and t
    half = np.zeros((K, K))
    for k in range(K):
        turn[k] = 0.0
    for t in range(T - 1, -1, -1):
        ahead, now = slopes[(t + 1) % 2], slopes[t % 2]
        cost_ahead, cost_now = costs[(t + 1) % 2], costs[t % 2]
        for y in range(B):
            first = y * A
            top = block_weights(G[t], first, e)
            for a in range(A):
                h[a] = reward[first + a] + U[t + 1, first + a] - eta * G[t, first + a]
                g[a] = G[t, first + a] + cost_ahead[first + a]
                flow[a], pull[a], wide[a] = 0.0, 0.0, 0.0
                for k in range(K):  # less a constant of the block, which no covariance sees
                    q[a, k] = Q[k, t, first + a] - Q[k, t, first]
            for x1 in range(A):
                s = x1 * B + y
                weight = d[t, s]
                cost_now[s] = 0.0
                for k in range(K):
                    now[s, k], m[k], v[k] = 0.0, 0.0, 0.0
                if not states[t, s]:
                    continue
                row_weights(ref[s], G[t, first : first + A], e, top, p)
                mean_h, mean_g, cost = 0.0, 0.0, 0.0
                for a in range(A):
                    mean_h += p[a] * h[a]
                    mean_g += p[a] * g[a]
                    cost += p[a] * cost_ahead[first + a]
                cost_now[s] = kl[t, s] + cost
                for a in range(A):
                    chance, lift = p[a], p[a] * (h[a] - mean_h)
                    flow[a] += weight * chance
                    pull[a] += weight * lift
                    wide[a] += weight * chance * (g[a] - mean_g)
                    for k in range(K):
                        m[k] += chance * q[a, k]
                        v[k] += lift * q[a, k] + chance * ahead[first + a, k]
                for i in range(K):
                    now[s, i] = v[i]
                    share = weight * m[i]
                    for j in range(K):
                        half[i, j] -= share * (v[j] - 0.5 * eta * m[j])
            for a in range(A):
                centre = 0.5 * (pull[a] - eta * flow[a])
                for i in range(K):
                    turn[i] += wide[a] * q[a, i]
                    for j in range(K):
                        half[i, j] += q[a, i] * (centre * q[a, j] + flow[a] * ahead[first + a, j])
    for i in range(K):
        for j in range(K):
            bend[i, j] = half[i, j] + half[j, i]
