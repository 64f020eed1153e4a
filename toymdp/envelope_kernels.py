"""An upper bound of J over a piece of the ℓ₁ ball: quadratics that dominate the soup's values.

**Claim proved by the recursion.** For every reachable (t, s) and every d with ``c + d`` in the piece,

    U_t(s; c + d) ≤ P_s(d) = u + g·d + ½ dᵀHd          (coefficients: any floats that make it true)

where U is the value of the soup itself. Suppose it holds at t + 1 with coefficients ``u', g', H'``
on the next contexts, and write ``η(d) = β/|ν|₁``, ``n = |c|₁``, ``ξ = σ·d/n`` (σ the orthant's
signs), ``e₀ = β/n``, ``ℓ = log p/ref``, ``x = d·(q − m)``, ``Z = E_p e^x`` (toymdp.box_kernels). Then

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
nothing wraps: each state adds its own remainder, weighted by how often the soup gets there.

**Fallback.** With ``η ≥ η₀ = β/max|ν|₁`` and ``KL(p_d‖ref) ≥ E_{p_d} ℓ``, ``U ≤ max E_{p_d}[r_w +
max P' − η₀ℓ]``, each state free to choose its own tilt; and ``U ≤ V_w``, the least regularised value.
Where the constant is below the quadratic's own centre it replaces it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from .box_kernels import MAX_TILT, TINY, quadratic_maximum, tilt_row, tilted_maximum
from .kernels import block_weights


def make_envelope(K: int) -> Any:
    """Return the kernel for K specialists; K is a compile-time constant, so its loops unroll."""
    pairs = K * (K + 1) // 2
    width = 1 + K + pairs

    @njit(cache=True, nogil=True, error_model="numpy")
    def envelope(ref, states, q, reward, beta, cap, sigma, corners, eps, kappa, P, top):
        """Fill P [T+1, S, width] and top [T+1, S] ≥ max P for one simplex; both 0 at t = T.

        ref [S, A]; states [T, S]; q [T, S, K] = Q/β; reward [S] ≥ r_w; cap [T+1, S] ≥ V_w;
        sigma [K] signs; corners [K+1, K] vertices ν, exact; eps, kappa: see box_kernels.
        Writes the centre c into the last row of corners' companion and returns it.
        """
        T, S = states.shape
        A = ref.shape[1]
        B = S // A
        centre = np.empty(K)
        offset = np.empty((K + 1, K))
        reach = np.zeros(K)
        n = 0.0
        most = 0.0
        for k in range(K):
            total = 0.0
            for v in range(K + 1):
                total += corners[v, k]
            # a multiple of 2^-40: the offsets are then exact
            centre[k] = np.round(total / (K + 1) * 1099511627776.0) / 1099511627776.0
            n += abs(centre[k])
            for v in range(K + 1):
                offset[v, k] = corners[v, k] - centre[k]
                reach[k] = max(reach[k], abs(offset[v, k]))
        xi = 0.0
        xi_top = 0.0
        for v in range(K + 1):
            size = 0.0
            shift = 0.0
            for k in range(K):
                size += abs(corners[v, k])
                shift += sigma[k] * offset[v, k]
            most = max(most, size)
            xi = max(xi, abs(shift) / n)
            xi_top = max(xi_top, shift / n)
        smooth = xi_top <= 1.0
        least_eta = beta / most * (1.0 - kappa)
        e0 = beta / n * (1.0 - kappa)
        e_max = e0 * (1.0 + xi * (1.0 + xi * (1.0 + xi)))
        bend = xi * (1.0 + xi * (1.0 + xi))

        G = np.empty(A)
        e = np.empty(A)
        p = np.empty(A)
        ratio = np.empty(A)
        tokens = np.empty(A, dtype=np.int64)
        qt = np.empty((A, K))
        up = np.empty(A)
        down = np.empty(A)
        hi = np.empty(A)
        lo = np.empty(A)
        f = np.empty(A)
        a0 = np.empty(A)
        a1 = np.empty((A, K))
        m = np.empty(K)
        g = np.empty(K)
        H = np.empty(pairs)
        cov = np.empty(pairs)
        P[T, :, :] = 0.0
        top[T, :] = 0.0
        for t in range(T - 1, -1, -1):
            largest = 0.0  # of the polynomials of the next step over the piece, for rounding
            for s in range(S):
                largest = max(largest, abs(P[t + 1, s, 0]), abs(top[t + 1, s]), abs(reward[s]))
            slopes = 0.0
            for s in range(S):
                total = 0.0
                for k in range(K):
                    total += reach[k] * abs(P[t + 1, s, 1 + k])
                at = 1 + K
                for i in range(K):
                    for j in range(i, K):
                        total += reach[i] * reach[j] * abs(P[t + 1, s, at])
                        at += 1
                slopes = max(slopes, total)
            for y in range(B):
                first = y * A
                for a in range(A):
                    G[a] = 0.0
                    for k in range(K):
                        G[a] += centre[k] * q[t, first + a, k]
                peak = block_weights(G, 0, e)
                for x1 in range(A):
                    s = x1 * B + y
                    if not states[t, s]:
                        P[t, s, :] = 0.0
                        top[t, s] = 0.0
                        continue
                    count = tilt_row(ref[s], G, e, peak, tokens, p, ratio)
                    kl = 0.0
                    u = 0.0
                    for k in range(K):
                        m[k] = 0.0
                    for i in range(count):
                        a = tokens[i]
                        kl += p[i] * ratio[i]
                        a0[i] = reward[first + a] + P[t + 1, first + a, 0] - e0 * ratio[i]
                        u += p[i] * a0[i]
                        for k in range(K):
                            m[k] += p[i] * q[t, first + a, k]
                    highest = 0.0
                    for i in range(count):
                        a = tokens[i]
                        for k in range(K):
                            qt[i, k] = q[t, first + a, k] - m[k]
                        hi[i] = -np.inf
                        lo[i] = np.inf
                        for v in range(K + 1):
                            x = 0.0
                            for k in range(K):
                                x += offset[v, k] * qt[i, k]
                            hi[i] = max(hi[i], x)
                            lo[i] = min(lo[i], x)
                        highest = max(highest, hi[i], -lo[i])
                        f[i] = reward[first + a] + top[t + 1, first + a] - least_eta * ratio[i]
                    bound = cap[t, s]
                    usable = highest <= MAX_TILT
                    if usable:
                        for i in range(count):
                            up[i] = np.exp(hi[i])
                            down[i] = np.exp(lo[i])
                        free = tilted_maximum(count, p, up, down, f, kappa + 4.0 * eps)
                        bound = min(bound, free + (kappa + eps) * (largest + 1000.0 * least_eta))

                    P[t, s, :] = 0.0
                    if not (usable and smooth):
                        P[t, s, 0] = bound
                        top[t, s] = bound
                        continue
                    # -- first and second order
                    for k in range(K):
                        g[k] = e0 / n * kl * sigma[k]
                    for i in range(count):
                        a = tokens[i]
                        a0[i] -= u
                        for k in range(K):
                            g[k] += p[i] * (P[t + 1, first + a, 1 + k] + a0[i] * qt[i, k])
                    for j in range(pairs):
                        H[j] = 0.0
                        cov[j] = 0.0
                    for i in range(count):
                        a = tokens[i]
                        for k in range(K):
                            a1[i, k] = P[t + 1, first + a, 1 + k] - g[k]
                            a1[i, k] += e0 / n * ratio[i] * sigma[k]
                        at = 0
                        for j in range(K):
                            for k in range(j, K):
                                square = qt[i, j] * qt[i, k]
                                H[at] += p[i] * (
                                    P[t + 1, first + a, 1 + K + at]
                                    + qt[i, j] * a1[i, k]
                                    + qt[i, k] * a1[i, j]
                                    + (a0[i] - e0) * square
                                )
                                cov[at] += p[i] * square
                                at += 1
                    at = 0
                    for j in range(K):
                        for k in range(j, K):
                            H[at] -= 2.0 * e0 / (n * n) * kl * sigma[j] * sigma[k]
                            at += 1
                    # -- what is left, of third order
                    rest = 0.0
                    z = 0.0
                    mass = 0.0
                    lost = 0.0
                    for i in range(count):
                        a = tokens[i]
                        X = max(hi[i], -lo[i])
                        if X < 0.02:
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
                        square = 0.0
                        at = 0
                        for j in range(K):
                            for k in range(j, K):
                                entry = P[t + 1, first + a, 1 + K + at] - H[at]
                                entry -= 2.0 * e0 / (n * n) * ratio[i] * sigma[j] * sigma[k]
                                part = abs(entry) * reach[j] * reach[k]
                                square += part if j == k else 2.0 * part
                                at += 1
                        weight = 1.0 + r1
                        rest += p[i] * (
                            (a0[i] * r3 if a0[i] > 0.0 else -a0[i] * s3)
                            + r2 * linear
                            + r1 * 0.5 * square
                            + weight * e0 * xi * xi * xi * abs(ratio[i])
                            + e_max * X * X * X / 3.0
                        )
                        z += p[i] * r2
                        mass += p[i] * weight * (1.0 + X + abs(ratio[i]))
                        if p[i] <= TINY:
                            lost += p[i] * weight * (1.0 + X + abs(ratio[i]))
                    spread = 0.0
                    for v in range(K + 1):
                        total = 0.0
                        at = 0
                        for j in range(K):
                            for k in range(j, K):
                                part = cov[at] * offset[v, j] * offset[v, k]
                                total += part if j == k else 2.0 * part
                                at += 1
                        spread = max(spread, total)
                    rest += e0 * bend * 0.5 * spread + e_max * 0.5 * z * z
                    own = 0.0
                    at = 0
                    for j in range(K):
                        own += reach[j] * abs(g[j])
                        for k in range(j, K):
                            own += reach[j] * reach[k] * abs(H[at])
                            at += 1
                    scale = largest + abs(u) + slopes + own + 4.0 * e_max
                    rest += (4.0 * (kappa + eps) * mass + 4.0 * lost) * scale
                    u += rest * (1.0 + kappa)
                    if not u < bound:
                        P[t, s, 0] = bound
                        top[t, s] = bound
                        continue
                    P[t, s, 0] = u
                    for k in range(K):
                        P[t, s, 1 + k] = g[k]
                    for j in range(pairs):
                        P[t, s, 1 + K + j] = H[j]
                    # a cheap maximum: the largest control point
                    ceiling = -np.inf
                    for v in range(K + 1):
                        for w in range(v, K + 1):
                            total = u
                            at = 0
                            for j in range(K):
                                total += 0.5 * g[j] * (offset[v, j] + offset[w, j])
                                total += 0.5 * H[at] * offset[v, j] * offset[w, j]
                                at += 1
                                for k in range(j + 1, K):
                                    cross = offset[v, j] * offset[w, k] + offset[v, k] * offset[w, j]
                                    total += 0.5 * H[at] * cross
                                    at += 1
                            ceiling = max(ceiling, total)
                    top[t, s] = min(bound, ceiling + kappa * scale)
        return centre, offset

    @njit(cache=True, nogil=True)
    def envelopes(
        ref, states, q, reward, beta, cap, start, simplices, eps, kappa, accuracy, bounds, points
    ):
        """Write an upper bound of J on each simplex [N, K+1, K], and a point ν to look at."""
        T, S = states.shape
        P = np.empty((T + 1, S, width))
        top = np.empty((T + 1, S))
        best = np.empty(K)
        sigma = np.empty(K)
        for i in range(simplices.shape[0]):
            for k in range(K):
                sigma[k] = 1.0
                for v in range(K + 1):
                    if simplices[i, v, k] < 0.0:
                        sigma[k] = -1.0
            centre, offset = envelope(
                ref, states, q, reward, beta, cap, sigma, simplices[i], eps, kappa, P, top
            )
            found = quadratic_maximum(P[0, start], K, offset, accuracy, best)
            found += kappa * (abs(found) + np.abs(P[0, start]).sum())
            bounds[i] = min(found, top[0, start])
            points[i] = centre + best

    return envelope, envelopes
