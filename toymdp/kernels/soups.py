"""Compiled value and gradient of the soup objective (8): one pass back, one pass forward.

With ``mu = λ/β'``, ``G = Σ mu_k Q_k`` and ``η = 1/|mu|₁`` the objective reads
``J(mu) = E_π Σ_t r_w − η KL(π‖ref)``; nothing else of λ and β' enters.

Chunks of blocks at a time, as in toymdp.kernels.blocks: what no reachable state leads to, and what
the soup does not visit, is passed over. c is G less the largest of its block.
"""

from __future__ import annotations

import numpy as np

from .blocks import CHUNK, token_weights
from .compiled import njit
from .elementary import log
from .limits import NEAR, ROW_FLOOR
from .rows import divergence_term, row_divergence, row_weights
from .tiles import WIDE, dots


@njit(cache=True, nogil=True)
def mix(Q, mu, G):
    """Write ``G = Σ_k mu_k Q_k`` for Q [K, T, S]."""
    for t in range(G.shape[0]):
        blend(Q, mu, t, np.int64(0), G.shape[1], G[t])


@njit(cache=True, nogil=True)
def blend(Q, mu, t, first, past, g):
    """Write ``Σ_k mu_k Q_k[t]`` of the next contexts from ``first`` to ``past``."""
    for i in range(past - first):
        g[i] = 0.0
    for k in range(Q.shape[0]):
        weight, field = mu[k], Q[k, t, first:past]
        for i in range(past - first):
            g[i] += weight * field[i]


@njit(cache=True, nogil=True, inline="always")
def any_in(flags, low, n, B):
    """Whether one of the rows ``x1·B + low .. + n`` is marked."""
    found = 0
    for base in range(low, flags.shape[0], B):
        part = flags[base : base + n]
        for i in range(n):
            found |= part[i]
    return found != 0


@njit(cache=True, nogil=True)
def soup_backward(ref, columns, states, Q, mu, reward, eta, G, U, kl, inverse, mean):
    """Fill the soup's value U [T+1, S] (all 0, or last slice set) and ``KL(π‖ref)`` [T, S].

    ``U[t] = E_π[r_w + U[t+1]] − η KL``, at the marked states, 0 elsewhere. For the way forward: G
    [T, S] where it is led to, ``inverse = 1/E_ref e^c`` (0 where no state, or terms may be lost), and
    ``mean = E_π H`` of ``H = r_w + U[t+1] − η c``, all [T, S]. Of fewer rows, [2, S] for U and [1, S],
    each is written over by those before, and U[0] is what is left.
    """
    T, contexts = Q.shape[1], Q.shape[2]
    A, step = columns.shape
    B = contexts // A
    flat = columns.ravel()
    e, top = np.zeros(A * CHUNK), np.empty(CHUNK)
    ahead, sums = np.zeros((3, A * CHUNK)), np.empty((3, CHUNK))
    for t in range(T - 1, -1, -1):
        marked, r = states[t], t % G.shape[0]
        now, later = U[t % U.shape[0]], U[(t + 1) % U.shape[0]]
        for low in range(0, B, CHUNK):
            n = min(CHUNK, B - low)
            if not any_in(marked, low, n, B):
                for base in range(low, contexts, B):
                    for s in range(base, base + n):
                        now[s], kl[r, s], inverse[r, s], mean[r, s] = 0.0, 0.0, 0.0, 0.0
                continue
            first, past = low * A, (low + n) * A
            g, gain, value = G[r, first:past], reward[first:past], later[first:past]
            blend(Q, mu, t, first, past, g)
            token_weights(g, 1.0, n, e, top)
            for i in range(n):
                for a in range(A):
                    j, to = i * A + a, a * CHUNK + i
                    ahead[0, to] = e[to]
                    ahead[1, to] = e[to] * (gain[j] + value[j])
                    ahead[2, to] = e[to] * (g[j] - top[i])
            for base in range(low, contexts, B):
                for i in range(0, n, WIDE):
                    dots(flat, base + i, step, ahead, i, CHUNK, A, 3, WIDE, sums, i)
                rows = slice(base, base + n)
                u, apart, scale, own = now[rows], kl[r, rows], inverse[r, rows], mean[r, rows]
                near, thin = states_of(sums, marked[rows], eta, u, apart, scale, own)
                if near:
                    near_rows(flat, base, step, g, top, ahead, sums, eta, u, apart, scale)
                if thin:
                    thin_rows(ref, base, marked[rows], g, gain, value, top, eta, u, apart, scale)


@njit(cache=True, nogil=True, inline="always")
def states_of(sums, marked, eta, U, kl, inverse, mean):
    """Write what three sums over the tokens of a few rows say; count the rows to be done again."""
    near, thin = 0, 0
    for i in range(marked.shape[0]):
        scale = 1.0 / sums[0, i]
        inner = sums[2, i] * scale
        apart = inner - log(sums[0, i])
        apart = 0.0 if apart < 0.0 else apart  # NaN stays NaN
        value = sums[1, i] * scale
        here = marked[i]
        lost = sums[0, i] < ROW_FLOOR
        kl[i] = apart if here else 0.0
        U[i] = value - eta * apart if here else 0.0
        mean[i] = value - eta * inner if here and not lost else 0.0
        inverse[i] = scale if here and not lost else 0.0
        near += here and apart < NEAR
        thin += here and lost
    return near, thin


@njit(cache=True, nogil=True, inline="always")
def near_rows(flat, base, step, g, top, ahead, sums, eta, U, kl, inverse):
    """Correct small divergences, by terms that do not cancel: see rows.row_divergence."""
    n, A = U.shape[0], g.shape[0] // U.shape[0]
    bend, wide, log_z = np.zeros((3, CHUNK))
    for i in range(n):
        log_z[i] = log(sums[0, i])
    for a in range(A):
        column, weight = flat[a * step + base : a * step + base + n], ahead[0, a * CHUNK :]
        for i in range(n):
            x = g[i * A + a] - top[i] - log_z[i]
            bend[i] += column[i] * weight[i] * divergence_term(x)
            size = abs(x) if column[i] > 0.0 else 0.0
            wide[i] = size if size > wide[i] else wide[i]
    for i in range(n):
        if inverse[i] > 0.0 and kl[i] < NEAR and wide[i] <= 0.1:
            apart = bend[i] * inverse[i]
            U[i] += eta * (kl[i] - apart)
            kl[i] = apart


@njit(cache=True, nogil=True, inline="always")
def thin_rows(ref, base, marked, g, gain, value, top, eta, U, kl, inverse):
    """Write again the rows of which terms may be lost, each from its own largest term."""
    A = ref.shape[1]
    p, none = np.empty(A), np.zeros(A)
    for i in range(marked.shape[0]):
        if marked[i] and inverse[i] == 0.0:
            logits = g[i * A : i * A + A]
            log_z = row_weights(ref[base + i], logits, none, top[i], p)
            kl[i] = row_divergence(ref[base + i], p, logits, log_z, none, 0.0)
            earned = 0.0
            for a in range(A):
                earned += p[a] * (gain[i * A + a] + value[i * A + a])
            U[i] = earned - eta * kl[i]


@njit(cache=True, nogil=True)
def soup_slope(
    ref, columns, states, Q, reward, eta, G, U, kl, inverse, mean, d, flow, field, slope
):  # fmt: skip
    """Write ``Σ_{t,s'} field·Q_k`` to slope [K]; return ``Σ d·KL``. d [S]: visits at t = 0, changed.

    ``field[t, s'] = Σ_s d π(a|s) (H(s') − E_π H)`` and ``∂J/∂mu_k = Σ field·Q_k + (∂η/∂mu_k)(−Σ d·KL)``:
    the derivative of the log-partition and that of ``E_π G`` cancel, and what is left is a
    covariance. For T = 1 until ``eos`` d is the number of visits and is not propagated.
    flow, field: all 0, [T, S] for the visits of next contexts and the field at each step, or [1, S].
    """
    K, T, contexts = Q.shape
    A, step = columns.shape
    B = contexts // A
    flat = columns.ravel()
    e, top, least = np.empty(A * CHUNK), np.empty(CHUNK), np.empty(CHUNK)
    sent, onto = np.zeros((2, A * CHUNK)), np.empty((2, A * CHUNK))
    H = np.empty(A * CHUNK)
    p, none, cost = np.empty(A), np.zeros(A), 0.0
    for k in range(K):
        slope[k] = 0.0
    for t in range(T):
        cost += inner(d, kl[t])
        going, pulls = flow[t % flow.shape[0]], field[t % field.shape[0]]
        for s in range(contexts):
            going[s] = 0.0
        for low in range(0, B, CHUNK):
            n = min(CHUNK, B - low)
            first, past = low * A, (low + n) * A
            visited = 0
            for base in range(low, contexts, B):
                part = d[base : base + n]
                for i in range(n):
                    visited += part[i] != 0.0
            if visited == 0:
                continue
            g, gain, value = G[t, first:past], reward[first:past], U[t + 1, first:past]
            pull = pulls[first:past]
            token_weights(g, 1.0, n, e, top)
            for i in range(n):
                for a in range(A):
                    j = i * A + a
                    H[j] = gain[j] + value[j] - eta * (g[j] - top[i])
                least[i] = H[i * A]  # differences are taken between numbers of one block
            thin = 0
            for x1 in range(A):
                base = x1 * B + low
                visits, scale, own = (
                    d[base : base + n],
                    inverse[t, base : base + n],
                    mean[t, base : base + n],
                )
                here, there = sent[0, x1 * CHUNK :], sent[1, x1 * CHUNK :]
                for i in range(n):
                    here[i] = visits[i] * scale[i]
                    there[i] = here[i] * (own[i] - least[i])
                    thin += visits[i] != 0.0 and scale[i] == 0.0
            for a in range(A):
                for i in range(0, n, WIDE):
                    at = a * CHUNK + i
                    dots(flat, a * step + low + i, B, sent, i, CHUNK, A, 2, WIDE, onto, at)
            for i in range(n):
                for a in range(A):
                    j, met = i * A + a, a * CHUNK + i
                    weight = e[met]
                    pull[j] = weight * ((H[j] - least[i]) * onto[0, met] - onto[1, met])
                    going[first + j] = weight * onto[0, met]
            if thin:
                for base in range(low, contexts, B):
                    for i in range(n):
                        s, block = base + i, slice(i * A, i * A + A)
                        if states[t, s] and inverse[t, s] == 0.0 and d[s] != 0.0:
                            row_weights(ref[s], g[block], none, top[i], p)
                            add_row(d[s], p, H[block], pull[block], going[first + i * A :])
            for k in range(K):
                slope[k] += inner(pull, Q[k, t, first:past])
        if t + 1 < T:
            for s in range(contexts):
                d[s] = going[s] if states[t + 1, s] else 0.0
    return cost


@njit(cache=True, nogil=True, inline="always")
def add_row(visits, p, H, field, going):
    """Add what one row sends to its A next contexts, and its covariance with H."""
    mean = 0.0
    for a in range(p.shape[0]):
        mean += p[a] * H[a]
    for a in range(p.shape[0]):
        field[a] += visits * p[a] * (H[a] - mean)
        going[a] += visits * p[a]


@njit(cache=True, nogil=True, fastmath={"contract", "reassoc"})
def inner(f, g):
    """``Σ f·g``, in an order that is the machine's, and always the same."""
    total = 0.0
    for i in range(f.shape[0]):
        total += f[i] * g[i]
    return total
