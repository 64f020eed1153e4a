"""Simulated users: a mixture of attributes, and a part that no attribute knows."""

from __future__ import annotations

import numpy as np

from ..arrays import Array


def orthonormal(rows: Array) -> Array:
    """An orthonormal basis [r, S] of the span of rows [n, S] and of the constants."""
    given = np.vstack([np.ones(rows.shape[1]), rows])
    _, size, Vt = np.linalg.svd(given, full_matrices=False)
    return np.asarray(Vt[size > 1e-12 * size[0]])


def mixed_user(attributes: Array, weights: Array, direction: Array, outside: float) -> Array:
    """A user's reward [S], reward units: ``√(1−ρ²) b + ρ‖b‖ o`` with ``b = Σ_j weights_j a_j``.

    attributes: [n, S]; weights: [n]; direction: [S], whose part outside the attributes' span (and
    the constants, which no answer shows) is o after normalising. outside: ρ in [0, 1), the share of
    the norm that lies outside.
    """
    inside = weights @ attributes
    if outside == 0.0:
        return np.asarray(inside)
    basis = orthonormal(attributes)
    other = direction - basis.T @ (basis @ direction)
    scale = float(np.linalg.norm(inside) / np.linalg.norm(other))
    return np.asarray(np.sqrt(1.0 - outside**2) * inside + outside * scale * other)
