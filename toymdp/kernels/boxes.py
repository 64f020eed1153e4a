"""What the rigorous bounds of J are made of, row by row: weights, spreads, two upper bounds.

A piece of the ℓ₁ ball is a simplex with vertices ``c + d_v``. At one state, with ``q = Q/β`` on the
next contexts, the soup at ``c + d`` is ``p_d(a) ∝ p(a)·exp(x_a)``, ``x_a = d·(q_a − m)``, where
p is the soup at c and ``m = E_p q``; ``x_a`` is linear in d, so its extremes over the piece are at
the vertices, and ``Z(d) = E_p e^x ≥ e^{E_p x} = 1`` by Jensen.

**Rounding.** Nothing here assumes that p, m or any coefficient is exact: p and m are *floats*, and
the true soup is ``p_d(a) ∝ p(a)·exp(x_a + ω_a)`` with ``|ω_a| ≤ eps`` (their errors, and those of Q,
see ``toymdp.soup.bound``). Tokens with p below ``TINY`` carry the weight ``TINY`` and no lower bound, so
that underflow cannot hide one. Each sum is then enlarged by ``kappa`` times the sum of the absolute
values of its terms: the a-priori bound ``γ_n Σ|terms|`` with n counted generously.
"""

from __future__ import annotations

import numpy as np

from .compiled import njit

TINY = 1e-200
SMALL_TOTAL = 1e-100  # a row whose block-scaled sum is below this is rescaled by its own maximum
MAX_TILT = 250.0  # exp of more than this is not used: such pieces fall back on cruder bounds
NEWTON_STEPS = 8
GRID = 2.0**50  # centres are multiples of 1/GRID, corners of a few of them: differences are exact


@njit(cache=True, nogil=True, error_model="python")
def tilt_row(ref_row, logits, e, top, tokens, p, log_ratio):
    """Write the allowed tokens, ``p ∝ ref·e^logits`` (at least TINY) and ``log p/ref``.

    e = exp(logits − top) is the block's. Returns how many tokens are allowed.
    """
    count = 0
    total = 0.0
    for a in range(ref_row.shape[0]):
        if ref_row[a] > 0.0:
            tokens[count] = a
            p[count] = ref_row[a] * e[a]
            total += p[count]
            count += 1
    if total < SMALL_TOTAL:
        top = -np.inf
        for i in range(count):
            top = max(top, np.log(ref_row[tokens[i]]) + logits[tokens[i]])
        total = 0.0
        for i in range(count):
            p[i] = np.exp(np.log(ref_row[tokens[i]]) + logits[tokens[i]] - top)
            total += p[i]
    log_z = top + np.log(total)
    for i in range(count):
        p[i] = max(p[i] / total, TINY)
        log_ratio[i] = logits[tokens[i]] - log_z
    return count


@njit(cache=True, nogil=True, error_model="python")
def tilted_maximum(count, p, up, down, f, kappa):
    """Upper bound of ``E[f]`` over all laws ``∝ p·e^x`` with ``down ≤ e^x ≤ up``, token by token.

    v is an upper bound iff ``φ(v) = Σ p (up·(f − v)₊ − down·(v − f)₊) ≤ 0``. Newton's iteration for
    φ(v) = 0 climbs to the root from below; what φ still lacks there is paid for by its least slope
    ``Σ p·down``, so that the result is a bound wherever the iteration stopped.
    """
    v = 0.0
    for i in range(count):
        v += p[i] * f[i]
    for _ in range(NEWTON_STEPS):
        mass = 0.0
        mean = 0.0
        for i in range(count):
            weight = p[i] * (up[i] if f[i] > v else down[i])
            mass += weight
            mean += weight * f[i]
        ahead = mean / mass
        gain = ahead - v
        v = max(v, ahead)
        if gain <= 1e-9 * abs(v):
            break
    excess = 0.0
    slope = 0.0
    largest = 0.0
    for i in range(count):
        sure = 0.0 if p[i] <= TINY else p[i] * down[i]
        slope += sure
        largest = max(largest, abs(f[i]))
        if f[i] > v:
            excess += p[i] * up[i] * (f[i] - v) * (1.0 + kappa)
        else:
            excess -= sure * (v - f[i]) * (1.0 - kappa)
    if excess > 0.0:
        v += excess / slope * (1.0 + kappa)
    return v + kappa * largest


@njit(cache=True, nogil=True, error_model="python")
def bezier_points(coefficients, K, corners, points):
    """Write the control points [K+1, K+1] of ``u + g·d + ½ dᵀHd`` over the simplex of corners.

    ``points[i, j] = u + ½ g·(d_i + d_j) + ½ d_iᵀ H d_j``: the polynomial at the corners on the
    diagonal; it is a convex combination of all of them everywhere in the simplex.
    """
    for i in range(K + 1):
        for j in range(i, K + 1):
            total = coefficients[0]
            at = 1 + K
            for k in range(K):
                total += 0.5 * coefficients[1 + k] * (corners[i, k] + corners[j, k])
                total += 0.5 * coefficients[at] * corners[i, k] * corners[j, k]
                at += 1
                for m in range(k + 1, K):
                    cross = corners[i, k] * corners[j, m] + corners[i, m] * corners[j, k]
                    total += 0.5 * coefficients[at] * cross
                    at += 1
            points[i, j] = total


@njit(cache=True, nogil=True, error_model="python")
def quadratic_maximum(coefficients, K, corners, accuracy, best):
    """Upper bound of a quadratic over a simplex, within ``accuracy`` where the pieces last.

    A polynomial is at most its largest control point; where that is not at a corner, the edge it
    belongs to is halved. Writes the best corner met into ``best`` [K].
    """
    room = 256
    # copied number by number: numba takes seconds to compile an array's assignment to a slice
    stack, piece = np.empty((room, K + 1, K)), np.empty((K + 1, K))
    points = np.empty((K + 1, K + 1))
    for i in range(K + 1):
        for k in range(K):
            stack[0, i, k] = corners[i, k]
    size = 1
    steps = 0
    bound = -np.inf
    reached = -np.inf
    while size > 0:
        size -= 1
        for i in range(K + 1):
            for k in range(K):
                piece[i, k] = stack[size, i, k]
        bezier_points(coefficients, K, piece, points)
        largest = -np.inf
        first, second = 0, 0
        for i in range(K + 1):
            if points[i, i] > reached:
                reached = points[i, i]
                for k in range(K):
                    best[k] = piece[i, k]
            for j in range(i, K + 1):
                if points[i, j] > largest:
                    largest = points[i, j]
                    first, second = i, j
        steps += 1
        if first == second or largest <= reached + accuracy or steps > 2000 or size + 2 > room:
            bound = max(bound, largest)
            continue
        for i in range(K + 1):
            for k in range(K):
                middle = 0.5 * (piece[first, k] + piece[second, k])
                stack[size, i, k] = middle if i == first else piece[i, k]
                stack[size + 1, i, k] = middle if i == second else piece[i, k]
        size += 2
    return bound


@njit(cache=True, nogil=True, error_model="python")
def form(entries, left, right):
    """Return ``leftᵀ M right`` for the symmetric M whose upper triangle is ``entries``."""
    total = 0.0
    at = 0
    for j in range(left.shape[0]):
        total += entries[at] * left[j] * right[j]
        at += 1
        for k in range(j + 1, left.shape[0]):
            total += entries[at] * (left[j] * right[k] + left[k] * right[j])
            at += 1
    return total


@njit(cache=True, nogil=True, error_model="python")
def extent(coefficients, reach, room):
    """Upper bound of ``|g·d + ½ dᵀHd|`` over the box that holds the piece."""
    K = reach.shape[0]
    total = 0.0
    for k in range(K):
        total += reach[k] * abs(coefficients[1 + k])
    for at in range(room.shape[0]):
        room[at] = abs(coefficients[1 + K + at])
    return total + form(room, reach, reach)


@njit(cache=True, nogil=True, error_model="python")
def place(corners, sigma, centre, offset, reach):
    """Write the signs, centre c and offsets d_v of a simplex and the largest |d_k|.

    Returns ``|c|₁``, the largest |c + d|₁, and the largest |ξ| and ξ.
    """
    K = centre.shape[0]
    n = 0.0
    for k in range(K):
        total = 0.0
        sigma[k] = 1.0
        for v in range(K + 1):
            total += corners[v, k]
            if corners[v, k] < 0.0:
                sigma[k] = -1.0
        centre[k] = np.round(total / (K + 1) * GRID) / GRID  # the offsets are then exact
        n += abs(centre[k])
        reach[k] = 0.0
        for v in range(K + 1):
            offset[v, k] = corners[v, k] - centre[k]
            reach[k] = max(reach[k], abs(offset[v, k]))
    most, xi, xi_top = 0.0, 0.0, 0.0
    for v in range(K + 1):
        size = 0.0
        shift = 0.0
        for k in range(K):
            size += abs(corners[v, k])
            shift += sigma[k] * offset[v, k]
        most = max(most, size)
        xi = max(xi, abs(shift) / n)
        xi_top = max(xi_top, shift / n)
    return n, most, xi, xi_top
