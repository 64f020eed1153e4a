"""Compiled extremes of the importance ratio ``π/ref`` of a policy ``π ∝ ref·e^q``."""

from __future__ import annotations

import numpy as np

from .compiled import njit
from .rows import allowed_range


@njit(cache=True, nogil=True)
def ratio_extremes(ref, states, q, log_upper, log_lower):
    """Write ``log max_a π/ref`` ≥ 0 and ``log min_a π/ref`` ≤ 0 [T, S] at the marked states.

    ``max π/ref = 1/E_ref[e^{q − max q}]``, so its logarithm is ``−log1p(−E_ref[1 − e^{q − max q}])``
    with no cancellation: it keeps its digits where the ratio is 1 + 1e-12, as Δ_k of SS (18) needs.
    Row by row, for the rows that Policy.importance_ratio cannot take block by block.
    """
    T, contexts = q.shape
    A = ref.shape[1]
    B = contexts // A
    for t in range(T):
        for s in range(contexts):
            if not states[t, s]:
                continue
            values = q[t, (s % B) * A : (s % B) * A + A]
            log_upper[t, s], log_lower[t, s] = extremes_of(ref[s], values)


@njit(cache=True, nogil=True, inline="always")
def extremes_of(ref_row, values):
    """The same two numbers of one row, from its logits [A]."""
    low, high = allowed_range(ref_row, values)
    missing, remaining = 0.0, 0.0
    for a in range(values.shape[0]):
        if ref_row[a] > 0.0:
            missing -= ref_row[a] * np.expm1(values[a] - high)
            remaining += ref_row[a] * np.exp(values[a] - high)
    # with little mass near the maximum the sum itself has the digits
    log_top = -np.log1p(-missing) if missing < 0.5 else max(-np.log(remaining), 0.0)
    return log_top, min(low - high + log_top, 0.0)


@njit(cache=True, nogil=True)
def block_extent(q, extent, span):
    """Write how far each block's values lie inside their range, and the range, both [T, S/A]."""
    T, blocks = extent.shape
    A = q.shape[1] // blocks
    every = np.ones(A)
    for t in range(T):
        for y in range(blocks):
            extent[t, y], span[t, y] = extent_of(every, q[t, y * A : y * A + A])


@njit(cache=True, nogil=True)
def row_extent(ref, rows, q, extent, span):
    """The same of the values that are allowed at the rows t·S + s, into [T, S]."""
    contexts, A = ref.shape
    for row in rows:
        t, s = row // contexts, row % contexts
        first = (s % (contexts // A)) * A
        extent[t, s], span[t, s] = extent_of(ref[s], q[t, first : first + A])


@njit(cache=True, nogil=True, inline="always")
def extent_of(ref_row, values):
    """``max_a min(q − low, high − q)`` and ``high − low`` of the allowed values [A].

    The first is 0 where q takes at most two values.
    """
    low, high = allowed_range(ref_row, values)
    extent = 0.0
    for a in range(values.shape[0]):
        if ref_row[a] > 0.0:
            extent = max(extent, min(values[a] - low, high - values[a]))
    return extent, high - low
