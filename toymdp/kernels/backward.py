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
in scaled_backward ``e^{q + v - top}`` with ``q = r/β``, ``v = V/β`` and one ``top`` a block, a
logarithm a row, and rows that forbid, or nearly forbid, all that is large in their block scaled by
themselves. Two kernels, since few runs need both, and each takes seconds to compile.
"""

from __future__ import annotations

import numpy as np

from .compiled import njit
from .elementary import exp, log
from .limits import ROW_FLOOR
from .tiles import ROWS, product, turned

LANES = 4  # what the number of rewards is rounded up to
WINDOW = 1024  # next contexts whose weights are held at a time: they stay in the first caches
TURN = 128  # contexts whose values are turned from [M, S] to [S, P] at a time, or back


@njit(cache=True, nogil=True)
def soft_backward(ref, dead, rewards, beta, horizon, work, V, Q):
    """Fill V [M, R, S] and Q [M, R-1, S], of which R = horizon + 1 rows are kept, or 1: t = 0 alone.

    ref [S, A]; dead: contexts in which nothing follows, whose values are not written; rewards [M, S];
    all in reward units; the last slices of V and Q are not written either. work: [3, S, P], written
    over. In the exponential domain, which has room for ``e^{V/β}`` as toymdp.exact.backward.fits says.
    """
    (S, A), P = ref.shape, work.shape[2]
    B = S // A
    gain, one = work[0], np.empty((1, P))
    for m in range(P):
        one[0, m] = 1.0
    spread(rewards, beta, False, gain)
    now = gain  # z = 1: the weights are the gains
    n = min(max(WINDOW // A, 1), B)
    for t in range(horizon - 1, -1, -1):
        then, factor, each = work[1 + (horizon - t) % 2], one, 0
        if t > 0:
            factor, each = gain, 1  # what is written is the next step's weights
        for low in range(0, B, n):
            size, begin = min(n, B - low), low * A
            for x1 in range(0, A, ROWS):
                x1 = max(min(x1, A - ROWS), 0)
                sum_rows(ref, x1 * B + low, B, now, begin, size, factor, each, then)
        for i in range(dead.shape[0]):
            for m in range(P):
                then[dead[i], m] = factor[each * dead[i], m]
        if V.shape[1] > 1 or t == 0:
            keep(then, rewards, beta, False, V, Q, t)
        now = then


@njit(cache=True, nogil=True)
def scaled_backward(ref, dead, rewards, beta, horizon, work, V, Q):
    """The same of rewards of any size, with a scale for each block and reward."""
    (S, A), P = ref.shape, work.shape[2]
    B = S // A
    gain, now, one = work[0], work[1], np.empty((1, P))
    for m in range(P):
        one[0, m] = 1.0
    spread(rewards, beta, True, gain)
    for s in range(S):
        for m in range(P):
            now[s, m] = 0.0
    n = min(max(WINDOW // A, 1), B)
    weights, top, zero = np.empty((n * A, P)), np.empty((n, P)), np.int64(0)
    for t in range(horizon - 1, -1, -1):
        then = work[1 + (horizon - t) % 2]
        for low in range(0, B, n):
            size, begin = min(n, B - low), low * A
            past = begin + size * A
            weigh(gain[begin:past], now[begin:past], A, weights, top)
            for x1 in range(0, A, ROWS):
                x1 = max(min(x1, A - ROWS), 0)
                sum_rows(ref, x1 * B + low, B, weights, zero, size, one, zero, then)
            for x1 in range(A):
                s = x1 * B + low
                settle(ref, gain, now, s, low, top, then[s : s + size])
        for i in range(dead.shape[0]):
            for m in range(P):
                then[dead[i], m] = 0.0
        if V.shape[1] > 1 or t == 0:
            keep(then, rewards, beta, True, V, Q, t)
        now = then


@njit(cache=True, nogil=True)
def sum_rows(ref, first, step, weights, begin, n, factor, each, sums):
    """Write n rows from ``first`` on, and as many each ``step`` beyond, ROWS in all or A: see product."""
    A, P = ref.shape[1], sums.shape[1]
    last, odd = min(ROWS, A) - 1, min(P, 12) if P % 8 == 4 else 0
    for lane in range(0, P - odd, 8):
        for i in range(n):
            at = begin + i * A
            product(ref, first + i, step, last, weights, at, lane, 8, factor, each, sums)
    if odd == 4:
        for i in range(n):
            at = begin + i * A
            product(ref, first + i, step, last, weights, at, 0, 4, factor, each, sums)
    elif odd == 12:
        for i in range(n):
            at = begin + i * A
            product(ref, first + i, step, last, weights, at, P - 12, 12, factor, each, sums)


@njit(cache=True, nogil=True, inline="always")
def spread(rewards, beta, scaled, gain):
    """Write ``r/β``, or its exponential, from [M, S] to [S, P]; further lanes as of rewards 0."""
    (M, S), P = rewards.shape, gain.shape[1]
    part, onto = np.empty((P, TURN)), gain.ravel()
    for m in range(M, P):
        for i in range(TURN):
            part[m, i] = 0.0 if scaled else 1.0
    for low in range(0, S, TURN):
        n = min(TURN, S - low)
        for m in range(M):
            reward, row = rewards[m, low : low + n], part[m]
            for i in range(n):
                row[i] = reward[i] / beta
            if not scaled:
                for i in range(n):
                    row[i] = exp(row[i])
        turned(part.ravel(), P, n, part.shape[1], onto[low * P :], P)


@njit(cache=True, nogil=True, inline="always")
def keep(values, rewards, beta, scaled, V, Q, t):
    """Write step t to V [M, R, S], and ``r + V[t]`` to Q.

    values [S, P]: ``v``; or in the exponential domain ``gain·z``, the next step's weights, but ``z``
    for t = 0.
    """
    (M, S), P = rewards.shape, values.shape[1]
    part, flat = np.empty((P, TURN)), values.ravel()
    for low in range(0, S, TURN):
        n = min(TURN, S - low)
        turned(flat[low * P :], n, P, P, part.ravel(), part.shape[1])
        for m in range(M):
            row, reward, v = part[m], rewards[m, low : low + n], V[m, t, low : low + n]
            if not scaled:
                for i in range(n):
                    row[i] = log(row[i])
            for i in range(n):
                v[i] = beta * row[i]
            if t > 0:
                q = Q[m, t - 1, low : low + n]
                if not scaled:
                    for i in range(n):
                        v[i] -= reward[i]
                for i in range(n):
                    q[i] = reward[i] + v[i]


@njit(cache=True, nogil=True, inline="always")
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


@njit(cache=True, nogil=True, inline="always")
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


@njit(cache=True, nogil=True, inline="always")
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
