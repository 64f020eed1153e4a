"""An upper bound of J over a piece of the ℓ₁ ball: quadratics that dominate the soup's values.

**Claim proved by the recursion.** For every reachable (t, s) and every d with ``c + d`` in the piece,

    U_t(s; c + d) ≤ P_s(d) = u + g·d + ½ dᵀHd          (coefficients: any floats that make it true)

where U is the value of the soup itself. Suppose it holds at t + 1 with coefficients ``u', g', H'``
on the next contexts, and write ``η(d) = β/|c + d|₁``, ``n = |c|₁``, ``ξ = σ·d/n`` (σ the orthant's
signs), ``e₀ = β/n``, ``ℓ = log p/ref``, ``x = d·(q − m)``, ``Z = E_p e^x`` (toymdp.kernels.boxes). Then

    U_t(s; c+d) ≤ E_{p_d}[r_w + P'(d)] − η(d)·KL(p_d‖ref),
    Z·KL(p_d‖ref) = E_p[e^x (x + ℓ)] − Z log Z ≥ E_p[e^x ℓ] + E_p φ(x) − z²/2,

with ``z = Z − 1 ≥ 0``, ``φ(x) = xe^x − e^x + 1``, because ``(1+z) log(1+z) ≤ z + z²/2``. Further
``η(d) ≥ e(d) = e₀(1 − ξ + ξ² − ξ³)``, ≥ 0 for ξ ≤ 1, and KL ≥ 0, and ``φ(x) ≥ x²/2 + x³/3``. So
``U ≤ P_s(d)`` follows from ``N(d) ≤ 0``,

    N(d) = E_p[e^x (A₀ + a₁·d + ½ dᵀA₂d + e₀ξ³ℓ)] − e(d) E_p[x²/2 + x³/3] + e(d) z²/2,
    A₀ = r_w + u' − u − e₀ℓ,  a₁ = g' − g + (e₀/n) ℓσ,  A₂ = H' − H − 2(e₀/n²) ℓσσᵀ.

u, g, H are chosen so that the terms of order 0, 1 and 2 vanish:

    u = E_p[r_w + u' − e₀ℓ],   g = E_p[g' + A₀ q̃] + (e₀/n) E_p[ℓ] σ,   q̃ = q − m,
    H = E_p[H' + q̃a₁ᵀ + a₁q̃ᵀ + A₀ q̃q̃ᵀ] − 2(e₀/n²) E_p[ℓ] σσᵀ − e₀ Cov_p(q),

which are J's value, gradient and Hessian at c where nothing was added further down. What is left is
of third order; it is bounded by absolute values with ``lo ≤ x ≤ hi`` from the vertices, and added to
u: since Z ≥ 1, raising u by R lowers N by at least R. Only this one-sided constant is passed on, so
the bound does not widen as nested intervals do: each state adds its own remainder, weighted by how
often the soup gets there. (At c + d = 0 the soup is ref, KL is 0, and the penalty takes nothing.)

**Fallback.** With ``η ≥ η₀ = β/max|c + d|₁`` and ``KL(p_d‖ref) ≥ E_{p_d} ℓ``, ``U ≤ max E_{p_d}[r_w +
max P' − η₀ℓ]``, each state free to choose its own tilt; and ``U ≤ V_w``, the least regularised value.
Where the constant is below the quadratic's own centre it replaces it.
"""

from __future__ import annotations

import numpy as np

from .boxes import (
    MAX_TILT,
    TINY,
    bezier_points,
    extent,
    form,
    place,
    quadratic_maximum,
    tilt_row,
    tilted_maximum,
)
from .compiled import njit
from .rows import block_weights


@njit(cache=True, nogil=True, error_model="python")
def spans(count, tokens, block, offset, p, qt, lo, hi):
    """Write ``q̃ = q − m`` and the extremes of ``x = d·q̃`` over the piece; return the largest |x|.

    block [A, K]: q of the next contexts; offset [K+1, K]: vertices minus centre.
    """
    K = block.shape[1]
    for k in range(K):
        mean = 0.0
        for i in range(count):
            mean += p[i] * block[tokens[i], k]
        for i in range(count):
            qt[i, k] = block[tokens[i], k] - mean
    largest = 0.0
    for i in range(count):
        hi[i] = -np.inf
        lo[i] = np.inf
        for v in range(K + 1):
            x = 0.0
            for k in range(K):
                x += offset[v, k] * qt[i, k]
            hi[i] = max(hi[i], x)
            lo[i] = min(lo[i], x)
        largest = max(largest, hi[i], -lo[i])
    return largest


@njit(cache=True, nogil=True, error_model="python")
def expand(count, tokens, ahead, sigma, p, ratio, kl, qt, n, e0, a0, a1, out, cov):
    """Write g and H into ``out`` [width], ``Cov_p q`` into cov and a₁ [A, K]; a0 is A₀.

    ahead [A, width]: P' on the next contexts.
    """
    K = qt.shape[1]
    for k in range(K):
        out[1 + k] = e0 / n * kl * sigma[k]
        for i in range(count):
            out[1 + k] += p[i] * (ahead[tokens[i], 1 + k] + a0[i] * qt[i, k])
    for i in range(count):
        for k in range(K):
            a1[i, k] = ahead[tokens[i], 1 + k] - out[1 + k] + e0 / n * ratio[i] * sigma[k]
    at = 0
    for j in range(K):
        for k in range(j, K):
            total = -2.0 * e0 / (n * n) * kl * sigma[j] * sigma[k]
            spread = 0.0
            for i in range(count):
                square = qt[i, j] * qt[i, k]
                cross = qt[i, j] * a1[i, k] + qt[i, k] * a1[i, j]
                total += p[i] * (ahead[tokens[i], 1 + K + at] + cross + (a0[i] - e0) * square)
                spread += p[i] * square
            out[1 + K + at] = total
            cov[at] = spread
            at += 1


@njit(cache=True, nogil=True, error_model="python")
def remainder(
    count, tokens, ahead, sigma, p, ratio, lo, hi, up, n, e0, xi, offset, reach, a0, a1, out, cov,
    room, scale, eps, kappa,
):  # fmt: skip
    """Upper bound of what N has beyond second order, rounding of everything included.

    With ``X ≥ |x|``: ``|e^x − 1| ≤ e^X − 1``, ``|e^x − 1 − x| ≤ e^X − 1 − X``, and ``e^x − 1 − x − x²/2``
    is at most its value at X and at least its value at −X. scale: size of the values involved. A
    logit error ω (normalised: p·e^ω is the soup at c itself, so that ω cancels in ``log p_d/ref``)
    moves Z·KL by at most ``ω·E_p[e^x (|x| + |ℓ|)]`` and all else by ω times its size.
    """
    K = sigma.shape[0]
    bend = xi * (1.0 + xi * (1.0 + xi))
    e_max = e0 * (1.0 + bend)
    rest = 0.0
    z = 0.0
    mass = 0.0
    tilt = 0.0
    lost = 0.0
    for i in range(count):
        a = tokens[i]
        X = max(hi[i], -lo[i])
        if X < 0.02:  # series: the differences below would cancel
            r3 = X * X * X * (1.0 / 6.0 + X * (1.0 / 24.0 + X * 0.0085))
            s3 = X * X * X / 6.0
            r2 = X * X * 0.5 + r3
            r1 = X + r2
        else:
            big = up[i] if hi[i] >= -lo[i] else np.exp(X)
            r3 = max(big - 1.0 - X - 0.5 * X * X, 0.0)
            s3 = max(1.0 - X + 0.5 * X * X - 1.0 / big, 0.0)
            r2 = big - 1.0 - X
            r1 = big - 1.0
        linear = 0.0
        for v in range(K + 1):
            x = 0.0
            for k in range(K):
                x += offset[v, k] * a1[i, k]
            linear = max(linear, abs(x))
        for at in range(room.shape[0]):
            room[at] = ahead[a, 1 + K + at] - out[1 + K + at]
        at = 0
        for j in range(K):
            for k in range(j, K):
                room[at] = abs(room[at] - 2.0 * e0 / (n * n) * ratio[i] * sigma[j] * sigma[k])
                at += 1
        weight = 1.0 + r1
        third = a0[i] * r3 if a0[i] > 0.0 else -a0[i] * s3
        third += r2 * linear + 0.5 * r1 * form(room, reach, reach)
        third += weight * e0 * xi * xi * xi * abs(ratio[i]) + e_max * X * X * X / 3.0
        rest += p[i] * third
        z += p[i] * r2
        mass += p[i] * weight
        tilt += p[i] * weight * (X + abs(ratio[i]))
        if p[i] <= TINY:
            lost += p[i] * weight * (1.0 + X + abs(ratio[i]))
    spread = 0.0
    for v in range(K + 1):
        spread = max(spread, form(cov, offset[v], offset[v]))
    rest += e0 * bend * 0.5 * spread + e_max * 0.5 * z * z
    rest += 4.0 * (kappa + eps) * (mass * scale + e_max * tilt)
    # log p/ref is off by the rounding of one row's sum and logarithm, less than (3A + 30) u
    rest += 0.25 * e_max * kappa * mass + 4.0 * lost * (scale + e_max)
    return rest * (1.0 + kappa)


@njit(cache=True, nogil=True, error_model="python", inline="always")
def envelope(ref, states, q, reward, beta, cap, corners, near, eps, kappa, centre, offset, P, top):
    """Fill P [T+1, S, 1+K+K(K+1)/2] and top [T+1, S] ≥ U for one simplex; both 0 at t = T.

    ref [S, A]; states [T, S]; q [T, S, K] = Q/β; reward [S] ≥ r_w; cap [T+1, S] ≥ V_w;
    corners [K+1, K]: vertices c + d; near: |c + d|₁ below which of KL only KL ≥ 0 is used; eps, kappa: see
    toymdp.soup.rounding. Writes the centre c [K] and the offsets d_v [K+1, K] too.
    """
    T, S = states.shape
    A = ref.shape[1]
    K = corners.shape[1]
    B = S // A
    sigma, reach = np.empty(K), np.empty(K)
    n, most, xi, xi_top = place(corners, sigma, centre, offset, reach)
    smooth = xi_top <= 1.0 and most > near
    # beside 0, KL is a difference of numbers that agree and η is huge: KL ≥ 0 is used instead
    least_eta = beta / most * (1.0 - kappa) if most > near else 0.0
    e0 = beta / n * (1.0 - kappa)
    G, e, p, ratio = np.empty(A), np.empty(A), np.empty(A), np.empty(A)
    up, down, hi, lo = np.empty(A), np.empty(A), np.empty(A), np.empty(A)
    f, a0 = np.empty(A), np.empty(A)
    qt, a1 = np.empty((A, K)), np.empty((A, K))
    tokens = np.empty(A, dtype=np.int64)
    cov, room = np.empty(P.shape[2] - 1 - K), np.empty(P.shape[2] - 1 - K)
    points = np.empty((K + 1, K + 1))
    P[T, :, :] = 0.0
    top[T, :] = 0.0
    for t in range(T - 1, -1, -1):
        largest = 0.0  # of the values of the next step over the piece, for rounding
        for s in range(S):
            size = max(abs(P[t + 1, s, 0]), abs(top[t + 1, s])) + abs(reward[s])
            largest = max(largest, size + extent(P[t + 1, s], reach, room))
        for y in range(B):
            first = y * A
            ahead = P[t + 1, first : first + A]
            block = q[t, first : first + A]
            for a in range(A):
                G[a] = 0.0
                for k in range(K):
                    G[a] += centre[k] * block[a, k]
            peak = block_weights(G, 0, e)
            for x1 in range(A):
                s = x1 * B + y
                P[t, s, :] = 0.0
                top[t, s] = 0.0
                if not states[t, s]:
                    continue
                count = tilt_row(ref[s], G, e, peak, tokens, p, ratio)
                bound = cap[t, s]
                usable = spans(count, tokens, block, offset, p, qt, lo, hi) <= MAX_TILT
                if usable:
                    for i in range(count):
                        up[i] = np.exp(hi[i])
                        down[i] = np.exp(lo[i])
                        gain = reward[first + tokens[i]] + top[t + 1, first + tokens[i]]
                        f[i] = gain - least_eta * ratio[i]
                    free = tilted_maximum(count, p, up, down, f, kappa + 4.0 * eps)
                    free += 4.0 * (kappa + eps) * largest
                    bound = min(bound, free + 4.0 * least_eta * (kappa + most * eps))
                if usable and smooth:
                    u = 0.0
                    kl = 0.0
                    for i in range(count):
                        kl += p[i] * ratio[i]
                        a0[i] = reward[first + tokens[i]] + ahead[tokens[i], 0] - e0 * ratio[i]
                        u += p[i] * a0[i]
                    for i in range(count):
                        a0[i] -= u
                    out = P[t, s]
                    expand(count, tokens, ahead, sigma, p, ratio, kl, qt, n, e0, a0, a1, out, cov)
                    scale = largest + abs(u) + extent(out, reach, room) + beta
                    u += remainder(
                        count, tokens, ahead, sigma, p, ratio, lo, hi, up, n, e0, xi, offset,
                        reach, a0, a1, out, cov, room, scale, eps, kappa,
                    )  # fmt: skip
                    if u < bound:
                        out[0] = u
                        bezier_points(out, K, offset, points)
                        ceiling = -np.inf
                        for v in range(K + 1):
                            for w in range(v, K + 1):
                                ceiling = max(ceiling, points[v, w])
                        top[t, s] = min(bound, ceiling + kappa * scale)
                        continue
                P[t, s, :] = 0.0
                P[t, s, 0] = bound
                top[t, s] = bound


@njit(cache=True, nogil=True, error_model="python")
def envelopes(
    ref, states, q, reward, beta, cap, start, simplices, near, eps, kappa, accuracy, bounds, points
):  # fmt: skip
    """Write an upper bound of J on each simplex [N, K+1, K], and a point c + d worth a look."""
    T, S = states.shape
    K = simplices.shape[2]
    P = np.empty((T + 1, S, 1 + K + K * (K + 1) // 2))
    top = np.empty((T + 1, S))
    centre, offset, best = np.empty(K), np.empty((K + 1, K)), np.empty(K)
    for i in range(simplices.shape[0]):
        piece = simplices[i]
        envelope(
            ref, states, q, reward, beta, cap, piece, near, eps, kappa, centre, offset, P, top
        )  # fmt: skip
        root = P[0, start]
        bound = quadratic_maximum(root, K, offset, accuracy, best)
        size = abs(bound)
        for j in range(root.shape[0]):
            size += abs(root[j])
        bounds[i] = min(bound + kappa * size, top[0, start])
        for k in range(K):
            points[i, k] = centre[k] + best[k]
