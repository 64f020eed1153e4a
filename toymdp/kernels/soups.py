"""Compiled value and gradient of the soup objective (8): one pass back, one pass forward.

With ``mu = λ/β'``, ``G = Σ mu_k Q_k`` and ``η = 1/|mu|₁`` the objective reads
``J(mu) = E_π Σ_t r_w − η KL(π‖ref)``; nothing else of λ and β' enters.
"""

from __future__ import annotations

import numpy as np

from .compiled import njit
from .rows import block_weights, row_divergence, row_weights


@njit(cache=True, nogil=True)
def mix(Q, mu, G):
    """Write ``G = Σ_k mu_k Q_k`` for Q [K, T, S]."""
    K, T, contexts = Q.shape
    for t in range(T):
        total = G[t]
        total[:] = 0.0
        for k in range(K):
            weight, field = mu[k], Q[k, t]
            for s in range(contexts):
                total[s] += weight * field[s]


@njit(cache=True, nogil=True)
def soup_backward(ref, states, G, reward, eta, U, kl):
    """Fill the soup's value U [T+1, S] (last slice set) and ``KL(π‖ref)`` [T, S].

    ``U[t] = E_π[r_w + U[t+1]] − η KL``, at the marked states.
    """
    T, contexts = G.shape
    A = ref.shape[1]
    B = contexts // A
    zero = np.zeros(A)
    e = np.empty(A)
    p = np.empty(A)
    for t in range(T - 1, -1, -1):
        for y in range(B):
            first = y * A
            top = block_weights(G[t], first, e)
            for x1 in range(A):
                s = x1 * B + y
                U[t, s] = 0.0
                kl[t, s] = 0.0
                if not states[t, s]:
                    continue
                log_z = row_weights(ref[s], G[t, first : first + A], e, top, p)
                value = 0.0
                for a in range(A):
                    value += p[a] * (reward[first + a] + U[t + 1, first + a])
                kl[t, s] = row_divergence(ref[s], p, G[t, first : first + A], log_z, zero, 0.0)
                U[t, s] = value - eta * kl[t, s]


@njit(cache=True, nogil=True)
def soup_forward(ref, states, G, reward, eta, U, d, field):
    """Fill occupancies d [T, S] (``d[0]`` given) and the field of the exact gradient.

    field[t, s'] = Σ_s d π(a|s) (H(s') − E_π H), ``H = r_w + U[t+1] − η G``, so that
    ``∂J/∂mu_k = Σ field·Q_k + (∂η/∂mu_k)(−Σ d·KL)``: the derivative of the log-partition and that
    of ``E_π G`` cancel, and what is left is a covariance. For T = 1 until ``eos`` d is the number
    of visits and is not propagated.
    """
    T, contexts = G.shape
    A = ref.shape[1]
    B = contexts // A
    e = np.empty(A)
    p = np.empty(A)
    h = np.empty(A)
    for t in range(T):
        field[t, :] = 0.0
        if t + 1 < T:
            d[t + 1, :] = 0.0
        for y in range(B):
            first = y * A
            top = block_weights(G[t], first, e)
            for a in range(A):
                h[a] = reward[first + a] + U[t + 1, first + a] - eta * G[t, first + a]
            for x1 in range(A):
                s = x1 * B + y
                weight = d[t, s]
                if not states[t, s] or weight == 0.0:
                    continue
                row_weights(ref[s], G[t, first : first + A], e, top, p)
                mean = 0.0
                for a in range(A):
                    mean += p[a] * h[a]
                for a in range(A):
                    field[t, first + a] += weight * p[a] * (h[a] - mean)
                    if t + 1 < T and states[t + 1, first + a]:
                        d[t + 1, first + a] += weight * p[a]


@njit(cache=True, nogil=True)
def soup_values(ref, states, Q, reward, start, mus, out):
    """Write J at each row of mus [N, K] for a finite horizon; 0 rows give the value of ``ref``."""
    K, T, contexts = Q.shape
    G = np.empty((T, contexts))
    kl = np.empty((T, contexts))
    U = np.zeros((T + 1, contexts))
    for i in range(mus.shape[0]):
        size = 0.0
        for k in range(K):
            size += abs(mus[i, k])
        mix(Q, mus[i], G)
        soup_backward(ref, states, G, reward, 1.0 / size if size > 0.0 else 0.0, U, kl)
        out[i] = U[0, start]
