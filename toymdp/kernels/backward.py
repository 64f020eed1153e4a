"""Soft backward induction (4) of many rewards at once: ``V[t, s] = β log Σ_a ref e^{(r + V[t+1])/β}``.

Values lie with the rewards innermost, [S, P], P the number M of rewards rounded up to a multiple of
LANES (rewards of 0 fill it up). Context ``s = x1·B + y`` leads under token a to ``s' = y·A + a``:

      s'  0 1 .. A-1 │ A ..   │ ...            a window of next contexts, n blocks of A in a row,
         ┌───────────┬────────┬─────           becomes weights once, for all the A·n rows that
         │  block 0  │ block 1│                lead into it
         └───────────┴────────┴─────
             ▲ ▲         ▲ ▲
      s   0, B, 2B..  1, B+1, ..               row x1·B + y: for each x1 the rows of a window are
                                               n in a row, read and written in order

Weights are ``gain·z`` in the exponential domain, where ``z = e^{V/β}`` and the recursion is linear;
else ``e^{q + v - top}`` with ``q = r/β``, ``v = V/β`` and one ``top`` a block, a logarithm a row, and
rows that forbid, or nearly forbid, all that is large in their block scaled by themselves.
"""

from __future__ import annotations

import numpy as np

from .compiled import njit
from .elementary import exp, log
from .limits import ROW_FLOOR
from .tiles import ROWS, product

LANES = 4  # what the number of rewards is rounded up to
WINDOW = 1024  # next contexts whose weights are held at a time: they stay in the first caches
TURN = 128  # contexts whose values are turned from [M, S] to [S, P] at a time, or back


@njit(cache=True, nogil=True, error_model="numpy")
def soft_backward(ref, dead, rewards, beta, horizon, scaled, work, V, Q):
    """Fill V [M, R, S] and Q [M, R-1, S], of which R = horizon + 1 rows are kept, or 1: t = 0 alone.

    ref [S, A]; dead: contexts in which nothing follows; rewards [M, S]; all in reward units.
    scaled: not in the exponential domain. work: [3, S, P], written over.
    """
    R, (S, A) = V.shape[1], ref.shape
    B, P = S // A, work.shape[2]
    gain, now, then = work[0], work[1], work[2]
    nothing = 0.0 if scaled else 1.0
    for s in range(S):
        for m in range(rewards.shape[0], P):
            gain[s, m] = nothing
        for m in range(P if scaled or R > 1 else 0):
            now[s, m] = nothing
    spread(rewards, beta, scaled, gain)
    if R > 1:
        keep(now, rewards, beta, scaled, V, Q, horizon)
    n = min(max(WINDOW // A, 1), B)
    weights, top = np.empty((n * A, P)), np.zeros((n, P))
    for t in range(horizon - 1, -1, -1):
        ready = t == horizon - 1 and not scaled  # z = 1: the weights are the gains
        source = gain if ready else weights
        for low in range(0, B, n):
            size = min(n, B - low)
            first, past = low * A, (low + size) * A
            begin = first if ready else 0
            if scaled:
                weigh(gain[first:past], now[first:past], A, weights, top)
            elif not ready:
                times(gain[first:past].ravel(), now[first:past].ravel(), weights.ravel())
            for x1 in range(0, A, ROWS):
                x1 = max(min(x1, A - ROWS), 0)
                last = min(ROWS, A) - 1
                first = x1 * B + low
                for lane in range(0, P - 4, 8):
                    for i in range(size):
                        product(ref, first + i, B, last, source, begin + i * A, lane, 8, then)
                if P % 8 == 4:
                    for i in range(size):
                        product(ref, first + i, B, last, source, begin + i * A, P - 4, 4, then)
            if scaled:
                for x1 in range(A):
                    s = x1 * B + low
                    settle(ref, gain, now, s, low, top, then[s : s + size])
        for i in range(dead.shape[0]):
            for m in range(P):
                then[dead[i], m] = nothing
        now, then = then, now
        if R > 1 or t == 0:
            keep(now, rewards, beta, scaled, V, Q, t)


@njit(cache=True, nogil=True)
def times(f, g, product_of_both):
    """Write ``f·g``, all flat."""
    for i in range(f.shape[0]):
        product_of_both[i] = f[i] * g[i]


@njit(cache=True, nogil=True, error_model="numpy")
def spread(rewards, beta, scaled, gain):
    """Write ``r/β``, or its exponential, from [M, S] to [S, P]."""
    M, S = rewards.shape
    part = np.empty(TURN)
    for low in range(0, S, TURN):
        n = min(TURN, S - low)
        for m in range(M):
            reward = rewards[m, low : low + n]
            for i in range(n):
                part[i] = reward[i] / beta
            if not scaled:
                for i in range(n):
                    part[i] = exp(part[i])
            onto = gain[low : low + n]
            for i in range(n):
                onto[i, m] = part[i]


@njit(cache=True, nogil=True)
def keep(values, rewards, beta, scaled, V, Q, t):
    """Write step t from values [S, P], ``z`` or ``v``, to V [M, R, S], and ``r + V[t]`` to Q."""
    M, S = rewards.shape
    for low in range(0, S, TURN):
        n = min(TURN, S - low)
        held = values[low : low + n]
        for m in range(M):
            v = V[m, t, low : low + n]
            for i in range(n):
                v[i] = held[i, m]
            if scaled:
                for i in range(n):
                    v[i] = beta * v[i]
            else:
                for i in range(n):
                    v[i] = beta * log(v[i])
            if t > 0:
                q, reward = Q[m, t - 1, low : low + n], rewards[m, low : low + n]
                for i in range(n):
                    q[i] = reward[i] + v[i]


@njit(cache=True, nogil=True)
def weigh(q, v, A, weights, top):
    """Write ``e^{q + v - top}`` [n·A, P], and the largest of each block and lane to top [n, P]."""
    sums, reward, value = weights.ravel(), q.ravel(), v.ravel()
    for i in range(reward.shape[0]):
        sums[i] = reward[i] + value[i]
    for i in range(q.shape[0] // A):
        block = weights[i * A : i * A + A]
        for m in range(q.shape[1]):
            most = -np.inf
            for a in range(A):
                most = block[a, m] if block[a, m] > most else most
            for a in range(A):
                block[a, m] -= most
            top[i, m] = most
    for i in range(reward.shape[0]):
        sums[i] = exp(sums[i])


@njit(cache=True, nogil=True)
def settle(ref, q, v, first, low, top, sums):
    """Replace the sums [n, P] of the rows from ``first`` on by ``v = top + log sum``.

    Those which may have lost terms to underflow are added up again, each of its own scale.
    """
    n, P = sums.shape
    flat, scale = sums.ravel(), top.ravel()
    thin = 0
    for i in range(n * P):
        thin += flat[i] < ROW_FLOOR
    if thin:
        for i in range(n):
            for m in range(P):
                if sums[i, m] < ROW_FLOOR:
                    block = (low + i) * ref.shape[1]
                    sums[i, m] = row_value(ref[first + i], q, v, block, m)
                else:
                    sums[i, m] = top[i, m] + log(sums[i, m])
        return
    for i in range(n * P):
        flat[i] = scale[i] + log(flat[i])


@njit(cache=True, nogil=True)
def row_value(ref_row, q, v, first, m):
    """``log Σ_a ref e^{q + v}`` of one row and reward, scaled by its largest term; 0 without any."""
    top = -np.inf
    for a in range(ref_row.shape[0]):
        if ref_row[a] > 0.0:
            x = log(ref_row[a]) + (q[first + a, m] + v[first + a, m])
            top = x if x > top else top
    total = 0.0
    for a in range(ref_row.shape[0]):
        if ref_row[a] > 0.0:
            total += exp(log(ref_row[a]) + (q[first + a, m] + v[first + a, m]) - top)
    return top + log(total) if total > 0.0 else 0.0
