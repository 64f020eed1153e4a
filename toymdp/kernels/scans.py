"""Compiled scans of tables, each one pass: the largest entry, the least slack, a value put in place.

Tables and masks are flat arrays of one length. NaN counts as the worst of all: it is
returned, never skipped.
"""

from __future__ import annotations

import numpy as np

from .compiled import njit


@njit(cache=True, nogil=True)
def largest(f, mask):
    """Return the largest ``|f|`` at the marked places, 0 if none is marked."""
    most = 0.0
    for i in range(f.shape[0]):
        if mask[i] and not abs(f[i]) <= most:
            most = abs(f[i])
            if np.isnan(most):
                break
    return most


@njit(cache=True, nogil=True)
def farthest(f, g, mask):
    """Return the largest ``|f − g|`` at the marked places and where it is; 0 and −1 if none is marked.

    Equal tables are farthest apart at the first marked place.
    """
    most, place = 0.0, -1
    for i in range(f.shape[0]):
        if mask[i] and (place < 0 or not abs(f[i] - g[i]) <= most):
            most, place = abs(f[i] - g[i]), i
            if np.isnan(most):
                break
    return most, place


@njit(cache=True, nogil=True)
def tightest(lhs, rhs, mask, floor):
    """Return where ``rhs − lhs`` is least among the marked places, −1 if none is left.

    Places where neither side exceeds ``floor`` in size are skipped.
    """
    place, least = -1, np.inf
    for i in range(lhs.shape[0]):
        if mask[i] and not (abs(lhs[i]) <= floor and abs(rhs[i]) <= floor):
            slack = rhs[i] - lhs[i]
            if place < 0 or not slack >= least:
                place, least = i, slack
                if np.isnan(slack):
                    break
    return place


@njit(cache=True, nogil=True)
def fill(f, places, value):
    """Set f to ``value`` at the given places."""
    for i in places:
        f[i] = value
