"""Soups of a bank's policies: their λ, the numbers that follow from it, their logits.

Three vectors of K numbers belong to a soup ``π~_λ ∝ ref·exp(Σ λ_k Q_k/β')`` of eq (7):

- λ itself, dimensionless, which keeps to the budget ``β|λ|₁ ≤ β'``;
- ``mu = λ/β'``, per reward unit: the factors on the values Q_k, as everywhere in this project;
- ``weights = λβ/β'``, dimensionless: the factors on ``ℓ_k = log π_k/ref = (Q_k − V_k)/β``, which is
  what a language model gives (ss.sec4.explicit.repaired).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bounds import formulas
from toymdp.arrays import Array

from ..backend import torch
from .measures import log_ratios

Tensor = Any


def soup_weights(lam: Tensor, beta: float, beta_prime: float) -> Tensor:
    """``weights = λβ/β'``: the factors on ``log π_k/ref`` in the soup's logits."""
    return lam * (beta / beta_prime)


def soup_mu(lam: Tensor, beta_prime: float) -> Tensor:
    """``mu = λ/β'``: the factors on the values Q_k in the soup's logits, eq (7)."""
    return lam / beta_prime


@dataclass(frozen=True)
class SoupSettings:
    """M soups by name with the temperatures β, β' that they share. lams: λ [M, K]."""

    names: tuple[str, ...]
    lams: Array
    beta: float
    beta_prime: float

    @property
    def weights(self) -> Tensor:
        """``λβ/β'`` [M, K], float64."""
        return soup_weights(torch.as_tensor(self.lams), self.beta, self.beta_prime)

    def temperature(self, m: int) -> float:
        """``β'/|λ|₁`` of soup m, infinite at λ = 0."""
        return float(formulas.soup_temperature(np.abs(self.lams[m]).sum(), self.beta_prime))

    def in_domain(self, m: int) -> bool:
        """Whether soup m keeps to the budget, up to rounding of the sum."""
        used = formulas.budget_used(self.lams[m], self.beta, self.beta_prime)
        return float(used) <= 1 + 1e-12


def mix(z: Tensor, weights: Tensor) -> Tensor:
    """Logits of soups [M, N, c] from raw logits [K+1, N, c] (ref first) and their weights [M, K].

    ``z_ref + Σ_k weights_k (z_k − z_ref)``; what ref forbids stays forbidden, whatever the signs.
    """
    d, live = log_ratios(z)
    mixed = torch.where(live, z[0], 0.0) + torch.einsum("mk,knc->mnc", weights.to(d), d)
    return torch.where(live, mixed, -torch.inf)


@dataclass(frozen=True)
class LogitMixture:
    """The soup as a rule for the next token: logits of K + 1 policies in, mixed logits out.

    weights: [K] of one soup.
    """

    weights: Tensor

    def __call__(self, z: Tensor, ids: Tensor) -> Tensor:
        """Mixed logits [B, A] from raw logits [K+1, B, A]."""
        return mix(z, self.weights[None])[0]
