"""Specialists as products of two factors, and their average: factor by factor, or product by product."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..arrays import Array
from ..cached import cached_property

Merge = Literal["factors", "delta", "equal"]


@dataclass(frozen=True, eq=False)
class Factors:
    """``B_k`` [K, rows, ρ] and ``A_k`` [K, ρ, A] with ``B_kA_k`` ≈ Q_k/β in nats, rows centred."""

    B: Array
    A: Array

    @cached_property
    def products(self) -> Array:
        """``B_kA_k`` [K, rows, A]: the specialists' own logits."""
        return np.asarray(self.B @ self.A)

    def merged(self, w: Array, merge: Merge) -> Array:
        """The logits [rows, A] of the average with weights w [K]."""
        if merge == "delta":
            return np.tensordot(w, self.products, 1)
        return np.asarray(np.tensordot(w, self.B, 1) @ np.tensordot(w, self.A, 1))

    def gradient(self, w: Array, merge: Merge, slope: Array) -> Array:
        """Gradient [K] by w of a function of the merged logits with gradient slope [rows, A]."""
        if merge == "delta":
            return np.tensordot(self.products, slope, 2)
        B, A = np.tensordot(w, self.B, 1), np.tensordot(w, self.A, 1)
        return np.asarray(
            np.tensordot(self.B, slope @ A.T, 2) + np.tensordot(self.A, B.T @ slope, 2)
        )
