"""EXACT's set function F on the subsets of n attributes, as a table [2**n]: its submodularity ratio."""

from __future__ import annotations

import numpy as np

from ..facts.attribute_set import AttributeFacts
from ..sides import EPS, Array


def rounding(facts: AttributeFacts) -> float:
    """Differences of F below this are rounding: it decides ties only, never a verdict."""
    return 32 * EPS * facts.depth * facts.size


def submodularity_ratio(F: Array, tie: float) -> float | None:
    """γ of (29), the infimum of ``Σ_{a∈L} Δ(a|S)/Δ(L|S)`` over all S and disjoint L.

    Pairs with Δ(L|S) = 0 (within ``tie``) have no ratio, and (32) asks nothing of them where F is
    monotone. None if no pair has one (F is constant).
    """
    n = len(F).bit_length() - 1
    masks = np.arange(len(F))
    member = (masks[:, None] >> np.arange(n) & 1).astype(np.float64)
    least = np.inf
    for S in range(len(F)):
        gains = F[S | 1 << np.arange(n)] - F[S]
        alone, together = member @ gains, F[masks | S] - F[S]
        counted = ((masks & S) == 0) & (np.abs(together) > tie)
        if counted.any():
            least = min(least, float((alone[counted] / together[counted]).min()))
    return least if np.isfinite(least) else None


def ratio_of(facts: AttributeFacts) -> float | None:
    """γ of the instance's F."""
    return submodularity_ratio(facts.F, rounding(facts))
