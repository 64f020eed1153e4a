# mypy: disallow-untyped-decorators=False, disallow-untyped-defs=False
# mypy: disallow-untyped-calls=False, check-untyped-defs=False
"""Compiled arithmetic of section 4: answers drawn from ref, its first loss, and its two soups.

The distances to a soup are sums over tokens of unnormalised weights, which take no exponential;
rows in which those underflow, or might, are done again in the log domain.
"""

from __future__ import annotations

import numpy as np

from .blocks import CHUNK
from .compiled import njit
from .rows import block_weights, row_weights

# An acceptance is a block's exponential times a row's. While the row's exponent stays below the
# first, a block's term that underflowed was worth less than e^-400: nothing beside the second.
SHIFT_ROOM = 300.0
ACCEPT_FLOOR = 1e-100


@njit(cache=True, nogil=True)
def draw_answers(ladder, ended, start, heights, contexts, going):
    """Walk from ``start``, drawing tokens by the running sums ``ladder`` [S, A] of ref's rows.

    heights [n, N] uniform below 1; contexts [n, N+1] and going [n, N] are written: the path, which
    rests where it has ended, and which of its steps were taken.
    """
    n, N = heights.shape
    S, A = ladder.shape
    for i in range(n):
        s = start
        contexts[i, 0] = s
        for step in range(N):
            going[i, step] = not ended[s]
            if going[i, step]:
                # a height below 1 stays below the last rung, also when rounded
                height = heights[i, step] * ladder[s, A - 1]
                a = 0
                while ladder[s, a] <= height:
                    a += 1
                s = (s % (S // A)) * A + a
            contexts[i, step + 1] = s


@njit(cache=True, nogil=True)
def log_norms(ref, Q, beta, t, s, norms):
    """Write ``log E_ref exp(Q_k/β)`` [K, m] at the states (t, s), both [m], from Q [K, T, S]."""
    A = ref.shape[1]
    B = ref.shape[0] // A
    e = np.empty(A)
    p = np.empty(A)
    for k in range(Q.shape[0]):
        for i in range(t.shape[0]):
            q = Q[k, t[i], (s[i] % B) * A : (s[i] % B) * A + A] / beta
            norms[k, i] = row_weights(ref[s[i]], q, e, block_weights(q, 0, e), p)


@njit(cache=True, nogil=True)
def loss_minimisers(data, Q, beta, nexts, t, v):
    """Write the v [K, m] that minimise ``E_data[e^{q−v} − (q − v) − 1]``, ``q = Q_k/β``, in nats.

    data [K, m, A]: laws of the tokens at m states, whose next contexts start at nexts [m] in row
    t [m] of Q. The slope ``1 − E_data e^{q−v}`` increases in v and changes sign between the least
    and the largest q of the data: a bracket is narrowed until only rounding is left of it.
    """
    K, m, A = data.shape
    x = np.empty(A)
    for k in range(K):
        for i in range(m):
            low, high = np.inf, -np.inf
            for a in range(A):
                x[a] = -np.inf
                if data[k, i, a] > 0.0:
                    q = Q[k, t[i], nexts[i] + a] / beta
                    x[a] = np.log(data[k, i, a]) + q
                    low = min(low, q)
                    high = max(high, q)
            v[k, i] = root_of_slope(x, low, high)


@njit(cache=True, nogil=True, inline="always")
def root_of_slope(x, low, high):
    """Where ``Σ_a e^{x_a − v}`` falls to 1, between low and high.

    Bisection, and once the bracket is short Newton's step from its left end: the sum is convex, so
    the step stops short of the root, and a nudge of half the tolerance takes the last one past it.
    """
    # the slope is rounded: a little beyond the bracket keeps the root inside
    width = 16 * np.finfo(np.float64).eps * (1.0 + abs(low) + abs(high))
    low, high = low - width, high + width
    above, steps = 0.0, 0  # the sum at low, once it is known
    while high - low > width / 16:
        middle = 0.5 * (low + high)
        if 1.0 < above < 3.0 and steps < 12:
            middle = min(middle, low + (1.0 - 1.0 / above) + width / 32)
            steps += 1
        total = 0.0
        for a in range(x.shape[0]):
            # a term above 1 decides the sign alone: none need be larger than e
            total += np.exp(min(x[a] - middle, 1.0))
        if total <= 1.0:
            high = middle
        else:
            low, above = middle, total
    return 0.5 * (low + high)


@njit(cache=True, nogil=True)
def accepted_laws(columns, e, scale, f, inverse, apart, accepted):
    """Compare the law of a rejection sampler with the policy ``ref·f·inverse``, both [T, S].

    It draws a from ref and accepts it with probability ``min(1, e[t, s']·scale[t, s])``. Written:
    the total variation between the two and the chance that a draw is accepted.
    columns [A, N]: ref transposed; e, f [T, S] on next contexts; scale, inverse [T, S] on states.
    """
    T, contexts = e.shape
    A = columns.shape[0]
    B = contexts // A
    ahead, other, chances = np.empty((3, A, CHUNK))
    accept, distance = np.empty(CHUNK), np.empty(CHUNK)
    for low in range(0, B, CHUNK):
        n = min(CHUNK, B - low)
        for t in range(T):
            for i in range(n):
                first = (low + i) * A
                for a in range(A):
                    ahead[a, i] = e[t, first + a]
                    other[a, i] = f[t, first + a]
            for x1 in range(A):
                base = x1 * B + low
                size = scale[t, base : base + n]
                total = accepted[t, base : base + n]
                total[:] = 0.0
                for a in range(A):
                    column, weight, chance = columns[a, base : base + n], ahead[a], chances[a]
                    for i in range(n):
                        chance[i] = min(1.0, size[i] * weight[i])
                        total[i] += column[i] * chance[i]
                rest = inverse[t, base : base + n]
                for i in range(n):
                    # rows of which either is below its floor are done again by accepted_rows
                    accept[i] = 1.0 / max(total[i], ACCEPT_FLOOR)
                    distance[i] = 0.0
                for a in range(A):
                    column, chance, law = columns[a, base : base + n], chances[a], other[a]
                    for i in range(n):
                        distance[i] += column[i] * abs(chance[i] * accept[i] - law[i] * rest[i])
                for i in range(n):
                    apart[t, base + i] = 0.5 * distance[i]


@njit(cache=True, nogil=True)
def accepted_rows(ref, rows, H, shift, G, apart, accepted):
    """The same at the marked rows, each by itself in the log domain: acceptance ``e^{H + shift}``.

    H, G [T, S] on next contexts, the logits of the ratio and of the policy; shift [T, S] on states.
    """
    T, contexts = H.shape
    A = ref.shape[1]
    B = contexts // A
    p, q, e = np.empty(A), np.empty(A), np.empty(A)
    for t in range(T):
        for s in range(contexts):
            if rows[t, s]:
                first = (s % B) * A
                h, g = H[t, first : first + A], G[t, first : first + A]
                accepted[t, s] = np.exp(accepted_weights(ref[s], h, shift[t, s], p))
                row_weights(ref[s], g, e, block_weights(g, 0, e), q)
                apart[t, s] = 0.0
                for a in range(A):
                    apart[t, s] += 0.5 * abs(p[a] - q[a])


@njit(cache=True, nogil=True)
def accepted_weights(ref_row, h, shift, p):
    """Write the law of the accepted token and return the log of the chance of acceptance."""
    A = ref_row.shape[0]
    top = -np.inf
    for a in range(A):
        if ref_row[a] > 0.0:
            top = max(top, np.log(ref_row[a]) + min(0.0, h[a] + shift))
    total = 0.0
    for a in range(A):
        p[a] = 0.0
        if ref_row[a] > 0.0:
            p[a] = np.exp(np.log(ref_row[a]) + min(0.0, h[a] + shift) - top)
            total += p[a]
    for a in range(A):
        p[a] /= total
    return top + np.log(total)
