"""A population of instances as one matrix of real numbers, every hypothesis met by construction.

ref is a softmax of free logits over its allowed tokens; ``r_k = GAIN·softplus(·) ≥ 0``; w is a softmax;
λ is projected radially into the ℓ₁ ball. Per-step one-hot or constant-norm features come later
(bounds.search.witness_features), so rewards and Q are linear in them. Nothing else about an instance is
fixed: sizes, allowed tokens and all numbers are drawn at random.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from toymdp import TokenMDP

from ..sides import Array, Mask
from .batch_solver import FORBIDDEN, Batch, Sizes, Tensor, reachable, solve_batch

GAIN = 4.0  # reward units per unit of a reward's parameter
LARGEST_T, LARGEST_A = 20, 5  # of random sizes


@dataclass(frozen=True)
class Population:
    """Sizes, allowed tokens [B, S, A], and how a parameter matrix [B, n] becomes instances.

    Columns: S·A reference logits, K·S rewards, K user weights, K coordinates of λ.
    """

    sizes: Sizes
    allowed: Mask

    @property
    def width(self) -> int:
        """Number of parameters n."""
        z = self.sizes
        return z.S * z.A + z.K * z.S + 2 * z.K

    def parts(self, theta: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """``log ref`` [B, S, A], rewards [B, K, S], w [B, K], λ [B, K]."""
        z = self.sizes
        blocks = torch.split(theta, [z.S * z.A, z.K * z.S, z.K, z.K], dim=1)
        logits = blocks[0].reshape(-1, z.S, z.A)
        allowed = torch.as_tensor(self.allowed)
        log_ref = torch.log_softmax(torch.where(allowed, logits, FORBIDDEN), dim=-1)
        rewards = GAIN * torch.nn.functional.softplus(blocks[1]).reshape(-1, z.K, z.S)
        lam = blocks[3] / blocks[3].abs().sum(dim=1, keepdim=True).clamp_min(1.0)
        return log_ref, rewards, torch.softmax(blocks[2], dim=1), lam

    def solve(self, theta: Tensor, reach: tuple[Mask, Mask]) -> tuple[Batch, Tensor]:
        """The solved batch and its λ [B, K]."""
        log_ref, rewards, w, lam = self.parts(theta)
        return solve_batch(self.sizes, log_ref, rewards, w, reach), lam

    def candidate(self, batch: Batch, lam: Tensor) -> Tensor:
        """The soup [B, K] that stands for λ* in claims about it: w, on the full budget."""
        return batch.w

    def reach(self) -> tuple[Mask, Mask]:
        """Reachable states and next contexts [B, T, S]."""
        return reachable(self.sizes, self.allowed)

    def single(self, i: int, copies: int = 1) -> Population:
        """The population of ``copies`` instances with the allowed tokens of instance i."""
        return Population(self.sizes, np.repeat(self.allowed[i : i + 1], copies, axis=0))

    def instance(self, theta: Tensor, i: int) -> tuple[TokenMDP, Array]:
        """Instance i as a TokenMDP with unit one-hot features, and its λ [K]."""
        z = self.sizes
        with torch.no_grad():
            log_ref, rewards, w, lam = self.parts(theta)
        # relative to each row's likeliest token: its weight is then exactly 1
        row = log_ref[i] - log_ref[i].amax(dim=1, keepdim=True)
        weights = np.where(self.allowed[i], np.exp(row.numpy()), 0.0)
        fields: dict[str, Any] = {
            "vocab_size": z.A, "order": z.L, "horizon": z.T, "start": [0] * z.L,
            "ref_weights": weights, "rewards": rewards[i].numpy(), "beta": 1.0,
            "w": w[i].numpy() / w[i].numpy().sum(),
            "features": {"kind": "tabular", "per_step": True, "scale": 1.0},
        }  # fmt: skip
        return TokenMDP(**fields), lam[i].numpy().copy()


def random_sizes(rng: np.random.Generator) -> Sizes:
    """Sizes of a round: short horizons as likely as long ones on a logarithmic scale."""
    A = int(rng.integers(2, LARGEST_A + 1))
    T = round(float(np.exp(rng.uniform(0.0, np.log(LARGEST_T)))))
    L = 2 if A <= 3 and T <= 6 and rng.random() < 0.2 else 1
    return Sizes(A, L, T, 2)


def random_population(
    rng: np.random.Generator, sizes: Sizes, count: int
) -> tuple[Population, Tensor]:
    """``count`` random instances: logits of spread 1 to 4, some tokens forbidden in some of them."""
    S, A = sizes.S, sizes.A
    share = rng.choice([0.0, 0.0, 0.3, 0.5], size=(count, 1, 1))
    forbidden = rng.random((count, S, A)) < share
    forbidden[:, np.arange(S), rng.integers(A, size=S)] = False  # a row keeps a token
    population = Population(sizes, ~forbidden)
    theta = rng.normal(size=(count, population.width))
    theta[:, : S * A] *= rng.uniform(1.0, 4.0, size=(count, 1))
    theta[:, S * A : S * A + sizes.K * S] *= 2.0
    theta[:, -2 * sizes.K : -sizes.K] *= 0.5
    return population, torch.as_tensor(theta)
