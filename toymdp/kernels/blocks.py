"""Compiled products with the blocks of ref, innermost over contiguous contexts.

With ``s = x1·B + y`` a step under any policy multiplies the block ``Π_y[x1, a] = ref[(x1,y), a]``
with a function of the A contiguous next contexts ``y·A + a``. Here that product runs over CHUNK
values of y at a time, so that it is vectorised and the weights of tokens are read in order; no
exponential and no logarithm is taken. toymdp.kernels.rows holds the same recursions row by row.

``columns`` [A, N] is ref transposed, of N ≥ S + WIDE − 1 contexts: whole vectors are read.
"""

from __future__ import annotations

import numpy as np

from .compiled import njit
from .elementary import exp, log
from .limits import ROW_FLOOR
from .rows import divergence_term, row_weights
from .tiles import WIDE, dots, turned

LOG_ROW_FLOOR = np.log(ROW_FLOOR)
CHUNK = 64  # contexts y handled together: A columns of that many doubles stay in the first cache
NEAR_BY = 1 << 15  # numbers of ref that stay in the second while fields go by


@njit(cache=True, nogil=True)
def block_product(columns, ahead, low, n, total):
    """Write ``total[x1·B + y] = Σ_a ref[s, a]·ahead[a, y − low]`` for the n values of y from low.

    ahead [A, CHUNK].
    """
    (A, step), contexts = columns.shape, total.shape[0]
    flat, weights, sums = columns.ravel(), ahead.reshape(1, -1), total.reshape(1, -1)
    for base in range(low, contexts, contexts // A):
        for i in range(0, n - 31, 32):
            dots(flat, base + i, step, weights, i, CHUNK, A, 1, 32, sums, base + i)
        for i in range(n - n % 32, n - n % 8, 8):
            dots(flat, base + i, step, weights, i, CHUNK, A, 1, 8, sums, base + i)
        for i in range(n - n % 8, n):
            dots(flat, base + i, step, weights, i, CHUNK, A, 1, 1, sums, base + i)


@njit(cache=True, nogil=True)
def bellman_errors(ref, columns, states, Q, V, beta, worst, size):
    """Write each reward's largest ``|V − β log E_ref e^{Q/β}|`` over the marked states, and ``|V|``.

    Q [M, T, S] on next contexts, V [M, T+1, S]; worst (infinite for NaN), size [M]; all in reward units.
    """
    M, T, contexts = Q.shape
    (A, step), flat = columns.shape, columns.ravel()
    B, inverse = contexts // A, 1.0 / beta
    fits = max(NEAR_BY // (A * A) // WIDE * WIDE, WIDE)
    width = min(min(fits, 2 * CHUNK), (B + WIDE - 1) // WIDE * WIDE)
    far, high = np.zeros((M, width)), np.zeros((M, width))
    top, ahead, sums = np.empty((4, width)), np.zeros((4, A * width)), np.empty((4, A * width))
    for low in range(0, B, width):
        n = min(width, B - low)
        for first in range(0, M * T, 4):
            past = min(first + 4, M * T)
            for h in range(first, past):
                field = Q[h // T, h % T, low * A : (low + n) * A]
                token_weights(field, inverse, n, ahead[h - first], top[h - first])
            for i in range(0, n, WIDE):
                for x1 in range(A):
                    at, to = x1 * B + low + i, x1 * width + i
                    dots(flat, at, step, ahead, i, width, A, 4, WIDE, sums, to)
            for h in range(first, past):
                m, t = h // T, h % T
                logs, field = sums[h - first], Q[m, t, low * A : (low + n) * A]
                scale, mark, v = top[h - first, :n], states[t], V[m, t]
                errors_of(ref, field, inverse, scale, mark, v, low, beta, logs, far[m], high[m])
    for m in range(M):
        worst[m], size[m] = 0.0, 0.0
        for i in range(width):
            worst[m] = far[m, i] if far[m, i] > worst[m] else worst[m]
            size[m] = high[m, i] if high[m, i] > size[m] else size[m]


@njit(cache=True, nogil=True, inline="always")
def errors_of(ref, field, inverse, top, states, V, low, beta, sums, far, high):
    """Raise far and high [width] to ``|β·log + top − V|``, where marked, and ``|V|``.

    One field and the n blocks from ``low`` on: top [n]; sums [A·width], written over. A loop writes
    one array: that none of many is another no compiler checks.
    """
    n, width, contexts = top.shape[0], far.shape[0], V.shape[0]
    B = contexts // ref.shape[1]
    for base in range(low, contexts, B):
        to = base // B * width
        total, value, marked = sums[to : to + n], V[base : base + n], states[base : base + n]
        thin = 0
        for i in range(n):
            thin += total[i] < ROW_FLOOR
        for i in range(n):
            total[i] = log(total[i])
        if thin:
            rescue(ref, marked, field, inverse, top, base, total)
        for i in range(n):
            error, most = abs(beta * total[i] + top[i] - value[i]), far[i]
            error = error if error < np.inf else np.inf
            error = error if marked[i] else 0.0
            far[i] = error if error > most else most
        for i in range(n):
            size, most = abs(value[i]), high[i]
            high[i] = size if size > most else most


@njit(cache=True, nogil=True, inline="always")
def rescue(ref, marked, field, scale, top, base, logs):
    """Write again the logarithms [n] of the marked rows whose sums may have lost terms."""
    A = ref.shape[1]
    logits, none, p = np.empty(A), np.zeros(A), np.empty(A)
    for i in range(logs.shape[0]):
        if marked[i] and logs[i] < LOG_ROW_FLOOR:
            for a in range(A):
                logits[a] = scale * (field[i * A + a] - top[i])
            logs[i] = row_weights(ref[base + i], logits, none, 0.0, p)


@njit(cache=True, nogil=True)
def token_weights(field, scale, n, ahead, top):
    """Write ``e^{scale·(f − top)}`` of n blocks, token by token, to ahead [A·N].

    field [n·A]; top [N], N ≥ n: the largest of each block.
    """
    stride = top.shape[0]
    A = ahead.shape[0] // stride
    turned(field, n, A, A, ahead, stride)
    for i in range(n):
        top[i] = ahead[i]
    for a in range(A):
        row = ahead[a * stride : a * stride + n]
        for i in range(n):
            top[i] = row[i] if row[i] > top[i] else top[i]
    for a in range(A):
        row = ahead[a * stride : a * stride + n]
        for i in range(n):
            row[i] = exp(scale * (row[i] - top[i]))


@njit(cache=True, nogil=True)
def centre(G, top, span, centred):
    """Write each block's maximum and range [T, S/A], and G [T, S] less the maximum."""
    T, blocks = top.shape
    A = G.shape[1] // blocks
    for t in range(T):
        for y in range(blocks):
            first = y * A
            most, least = G[t, first], G[t, first]
            for a in range(1, A):
                most = max(most, G[t, first + a])
                least = min(least, G[t, first + a])
            top[t, y] = most
            span[t, y] = most - least
            for a in range(A):
                centred[t, first + a] = G[t, first + a] - most


@njit(cache=True, nogil=True)
def tilted_sums(columns, e, f, out):
    """Write ``out[t, s] = Σ_a ref[s, a]·e[t, s']·f[t, s']`` for e, f [T, S] on next contexts.

    e may be [1, S], the same at every step.
    """
    T, contexts = f.shape
    A = columns.shape[0]
    B = contexts // A
    ahead = np.empty((A, CHUNK))
    for low in range(0, B, CHUNK):
        n = min(CHUNK, B - low)
        for t in range(T):
            weight = e[min(t, e.shape[0] - 1)]
            for i in range(n):
                first = (low + i) * A
                for a in range(A):
                    ahead[a, i] = weight[first + a] * f[t, first + a]
            block_product(columns, ahead, low, n, out[t])


@njit(cache=True, nogil=True)
def tilted_divergence(columns, e, g, h, inverse, log_g, log_h, kl):
    """Write ``KL = E_π[g − h] + log E_ref e^h − log E_ref e^g`` [T, S], ``π = ref·e·inverse``.

    e = exp(g); g, h [T, S] on next contexts; inverse, log_g, log_h [T, S] on states, all 0 where
    there is none.
    """
    T, contexts = e.shape
    A = columns.shape[0]
    B = contexts // A
    ahead = np.empty((A, CHUNK))
    for low in range(0, B, CHUNK):
        n = min(CHUNK, B - low)
        for t in range(T):
            for i in range(n):
                first = (low + i) * A
                for a in range(A):
                    ahead[a, i] = e[t, first + a] * (g[t, first + a] - h[t, first + a])
            block_product(columns, ahead, low, n, kl[t])
            for x1 in range(A):
                part = slice(x1 * B + low, x1 * B + low + n)
                divergence, scale, first, second = (
                    kl[t, part],
                    inverse[t, part],
                    log_g[t, part],
                    log_h[t, part],
                )
                for i in range(n):
                    value = divergence[i] * scale[i] + (second[i] - first[i])
                    divergence[i] = 0.0 if value < 0.0 else value  # NaN stays NaN


@njit(cache=True, nogil=True)
def near_divergence(columns, e, G, H, inverse, log_z_G, log_z_H, near, kl):
    """Write ``KL(π_G ‖ π_H)`` again at the marked states, from terms that do not cancel.

    e = exp(G) up to a scale for each block, ``π_G = ref·e·inverse``; log_z the log-partitions [T, S].
    See kernels.row_divergence: the same sums, a chunk of contexts at a time.
    """
    T, contexts = e.shape
    A = columns.shape[0]
    B = contexts // A
    ahead, apart = np.empty((A, CHUNK)), np.empty((A, CHUNK))
    shift, mean, bend, wide = np.empty((4, CHUNK))
    for t in range(T):
        for low in range(0, B, CHUNK):
            n = min(CHUNK, B - low)
            marked = False
            for x1 in range(A):
                marked |= near[t, x1 * B + low : x1 * B + low + n].any()
            if not marked:
                continue
            for i in range(n):
                first = (low + i) * A
                for a in range(A):
                    ahead[a, i] = e[t, first + a]
                    apart[a, i] = G[t, first + a] - H[t, first + a]
            for x1 in range(A):
                base = x1 * B + low
                for i in range(n):
                    shift[i] = log_z_H[t, base + i] - log_z_G[t, base + i]
                    mean[i], bend[i], wide[i] = 0.0, 0.0, 0.0
                for a in range(A):
                    column, weight, gap = columns[a, base : base + n], ahead[a], apart[a]
                    for i in range(n):
                        x = gap[i] + shift[i]
                        p = column[i] * weight[i]
                        mean[i] += p * x
                        bend[i] += p * divergence_term(x)
                        wide[i] = max(wide[i], abs(x) if column[i] > 0.0 else 0.0)
                for i in range(n):
                    if near[t, base + i]:
                        total = bend[i] if wide[i] <= 0.1 else max(mean[i], 0.0)
                        kl[t, base + i] = total * inverse[t, base + i]


@njit(cache=True, nogil=True)
def tilted_backward(columns, e, inverse, payoff, extra, U):
    """Fill ``U[t] = extra[t] + E_π[payoff[t, s'] + U[t+1, s']]`` for ``π = ref·e·inverse``.

    e [T, S] and payoff [T, S], or [1, S] for all steps, on next contexts; inverse, extra [T, S] on
    states, inverse 0 where there is none; U [T+1, S] with the last slice set.
    """
    T, contexts = e.shape
    A = columns.shape[0]
    B = contexts // A
    ahead = np.empty((A, CHUNK))
    for t in range(T - 1, -1, -1):
        gain = payoff[min(t, payoff.shape[0] - 1)]
        for low in range(0, B, CHUNK):
            n = min(CHUNK, B - low)
            for i in range(n):
                first = (low + i) * A
                for a in range(A):
                    ahead[a, i] = e[t, first + a] * (gain[first + a] + U[t + 1, first + a])
            block_product(columns, ahead, low, n, U[t])
            for x1 in range(A):
                part = slice(x1 * B + low, x1 * B + low + n)
                value, scale, more = U[t, part], inverse[t, part], extra[t, part]
                for i in range(n):
                    value[i] = value[i] * scale[i] + more[i] if scale[i] > 0.0 else 0.0


@njit(cache=True, nogil=True)
def tilted_forward(columns, e, inverse, d, n):
    """Fill ``n[t, s'] = Σ_s d[t, s]·π(s'|s)`` and ``d[t+1]`` from it, for ``π = ref·e·inverse``.

    d [T, S] on states with ``d[0]`` given; inverse [T, S] is 0 where there is no state; n [T, S]
    on next contexts.
    """
    T, contexts = e.shape
    A = columns.shape[0]
    B = contexts // A
    flow = np.empty(contexts)
    onto = np.empty((A, CHUNK))
    for t in range(T):
        visits, scale = d[t], inverse[t]
        for s in range(contexts):
            flow[s] = visits[s] * scale[s]
        for low in range(0, B, CHUNK):
            m = min(CHUNK, B - low)
            for a in range(A):
                part = onto[a]
                part[:m] = 0.0
                for x1 in range(A):
                    base = x1 * B + low
                    column = columns[a, base : base + m]
                    weight = flow[base : base + m]
                    for i in range(m):
                        part[i] += column[i] * weight[i]
            for i in range(m):
                first = (low + i) * A
                for a in range(A):
                    n[t, first + a] = e[t, first + a] * onto[a, i]
        if t + 1 < T:
            reached, going, scale = n[t], d[t + 1], inverse[t + 1]
            for s in range(contexts):
                going[s] = reached[s] if scale[s] > 0.0 else 0.0
