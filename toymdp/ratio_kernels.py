"""Compiled extremes of the importance ratio ``π/ref`` of a policy ``π ∝ ref·e^q``."""

from __future__ import annotations

import numpy as np
from numba import njit

from .kernels import allowed_range


@njit(cache=True, nogil=True)
def ratio_extremes(ref, states, q, log_upper, log_lower):
    """Write ``log max_a π/ref`` ≥ 0 and ``log min_a π/ref`` ≤ 0 [T, S] over allowed tokens.

    ``max π/ref = 1/E_ref[e^{q − max q}]``, so its logarithm is ``−log1p(−E_ref[1 − e^{q − max q}])``
    with no cancellation: it keeps its digits where the ratio is 1 + 1e-12, as Δ_k of SS (18) needs.
    """
    T, contexts = q.shape
    A = ref.shape[1]
    B = contexts // A
    deficit = np.empty(A)
    for t in range(T):
        for y in range(B):
            first = y * A
            top = -np.inf
            for a in range(A):
                top = max(top, q[t, first + a])
            for a in range(A):
                deficit[a] = -np.expm1(q[t, first + a] - top)
            for x1 in range(A):
                s = x1 * B + y
                log_upper[t, s] = 0.0
                log_lower[t, s] = 0.0
                if not states[t, s]:
                    continue
                low, high = np.inf, -np.inf
                total = 0.0
                for a in range(A):
                    if ref[s, a] > 0.0:
                        low = min(low, q[t, first + a])
                        high = max(high, q[t, first + a])
                        total += ref[s, a] * deficit[a]
                if high < top:  # the block's maximum is forbidden here
                    total = 0.0
                    for a in range(A):
                        if ref[s, a] > 0.0:
                            total -= ref[s, a] * np.expm1(q[t, first + a] - high)
                if total < 0.5:
                    log_upper[t, s] = -np.log1p(-total)
                else:  # little mass near the maximum: the sum itself has the digits
                    kept = 0.0
                    for a in range(A):
                        if ref[s, a] > 0.0:
                            kept += ref[s, a] * np.exp(q[t, first + a] - high)
                    log_upper[t, s] = max(-np.log(kept), 0.0)
                log_lower[t, s] = min(low - high + log_upper[t, s], 0.0)


@njit(cache=True, nogil=True)
def inner_extent(ref, states, q, extent, span):
    """Write how far q's allowed values lie inside their range, and the range, both [T, S].

    extent = max_a min(q − low, high − q): 0 where q takes at most two values.
    """
    T, contexts = q.shape
    A = ref.shape[1]
    B = contexts // A
    for t in range(T):
        for s in range(contexts):
            extent[t, s] = 0.0
            span[t, s] = 0.0
            if not states[t, s]:
                continue
            first = (s % B) * A
            low, high = allowed_range(ref[s], q[t, first : first + A])
            for a in range(A):
                if ref[s, a] > 0.0:
                    value = q[t, first + a]
                    extent[t, s] = max(extent[t, s], min(value - low, high - value))
            span[t, s] = high - low
