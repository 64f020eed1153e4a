"""Populations whose every instance is an ordinary world, and the ideas that they start from.

Each limit is part of how a parameter becomes a number: ``ref = least + (1 − n·least)·softmax(·)`` over
the n allowed tokens, ``r = most·sigmoid(·)`` at β = 1, w as asked. A soup of claims about λ* is c·w
with c ≤ 1: the first term of (10) vanishes there whatever c is.

Where w is uniform, half of the populations are *mirrored*: turning the last K tokens round turns the
rewards into one another and leaves ref as it is, so that J is symmetric in λ and λ* ∝ w is no
coincidence of the numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from ..sides import Array, Mask
from .batch_solver import FORBIDDEN, Batch, Sizes, Tensor
from .ordinary import ROUNDING, Ordinary
from .population import Population

INSIDE = 1e-3 * ROUNDING  # share by which numbers stay inside a limit: what rounding may take
LONGEST_AT_RANDOM, MOST_TOKENS, MOST_CONTEXTS = 12, 5, 36
HIGH, LOW = 3.0, -4.0  # parameters of a reward near its largest value, and near 0


@dataclass(frozen=True)
class OrdinaryPopulation(Population):
    """A population within limits; the columns of its parameters are those of ``Population``."""

    ordinary: Ordinary
    mirrored: bool

    def parts(self, theta: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """``log ref`` [B, S, A], rewards [B, K, S], w [B, K], λ [B, K]."""
        z, limits = self.sizes, self.ordinary
        logits, tastes, weights, raw = torch.split(theta, [z.S * z.A, z.K * z.S, z.K, z.K], dim=1)
        tastes = tastes.reshape(-1, z.K, z.S)
        if self.mirrored:
            contexts, first = turned(z)
            logits, tastes = logits[:, first], tastes[:, 0][:, contexts]
        allowed = torch.as_tensor(self.allowed)
        free = torch.where(allowed, logits.reshape(-1, z.S, z.A), FORBIDDEN)
        number = allowed.sum(dim=-1, keepdim=True)
        least = (torch.full_like(free[..., :1], limits.least_ref) * (1 + INSIDE)).minimum(
            1 / number
        )
        ref = least + (1 - number * least).clamp_min(0.0) * torch.softmax(free, dim=-1)
        log_ref = torch.where(allowed, ref.log(), FORBIDDEN)
        rewards = limits.reward_over_beta * (1 - INSIDE) * torch.sigmoid(tastes)
        w = torch.softmax(weights, dim=1)
        if limits.weights is not None:
            w = torch.tensor(limits.weights, dtype=theta.dtype).expand_as(w)
        return log_ref, rewards, w, raw / raw.abs().sum(dim=1, keepdim=True).clamp_min(1.0)

    def candidate(self, batch: Batch, lam: Tensor) -> Tensor:
        """The soup c·w [B, K] that stands for λ*: as large as lam, along w."""
        return lam.abs().sum(dim=1, keepdim=True) * batch.w

    def single(self, i: int, copies: int = 1) -> OrdinaryPopulation:
        """The population of ``copies`` instances with the allowed tokens of instance i."""
        return replace(self, allowed=np.repeat(self.allowed[i : i + 1], copies, axis=0))


def turned(sizes: Sizes) -> tuple[Array, Array]:
    """How the last K tokens turn: σ^{-k} of every context [K, S], and one (s, a) of each orbit [S·A].

    σ moves each of the last K tokens to the next, the last to the first of them. A table t [S·A] that
    is read as ``t[first]`` is the same at (s, a) and (σ s, σ a). Worked: A = 3, L = 1, K = 2 gives
    contexts [[0, 1, 2], [0, 2, 1]] and first [0, 1, 1, 3, 4, 5, 3, 5, 4].
    """
    A, L, K = sizes.A, sizes.L, sizes.K
    digits = np.arange(sizes.S)[:, None] // A ** np.arange(L - 1, -1, -1) % A
    tokens = np.arange(A)
    contexts, pairs = [], []
    for k in range(K):
        turn = np.where(tokens < A - K, tokens, A - K + (tokens - (A - K) + k) % K)
        back = np.argsort(turn)
        contexts.append(back[digits] @ A ** np.arange(L - 1, -1, -1))
        moved = turn[digits] @ A ** np.arange(L - 1, -1, -1)
        pairs.append((moved[:, None] * A + turn).reshape(-1))
    return np.stack(contexts), np.min(pairs, axis=0)


def ordinary_population(
    rng: np.random.Generator, ordinary: Ordinary, count: int
) -> tuple[OrdinaryPopulation, Tensor]:
    """``count`` random instances of one random size, half of them begun from an idea."""
    sizes = ordinary_sizes(rng, ordinary)
    K, S, A = sizes.K, sizes.S, sizes.A
    mirrored = bool(ordinary.equal_weights and A > K and rng.random() < 0.5)
    allowed: Mask = np.ones((count, S, A), dtype=bool)
    if ordinary.may_forbid:
        allowed = rng.random((count, S, A)) >= rng.choice([0.0, 0.3, 0.5], size=(count, 1, 1))
        allowed[:, np.arange(S), rng.integers(A, size=S)] = True  # a row keeps a token
        if mirrored:
            allowed = allowed.reshape(count, -1)[:, turned(sizes)[1]].reshape(count, S, A)
            allowed[~allowed.any(axis=2)] = True
    population = OrdinaryPopulation(sizes, allowed, ordinary, mirrored)
    theta = rng.normal(size=(count, population.width))
    theta[:, : S * A] *= 2.0
    theta[:, S * A : S * A + K * S] *= 3.0
    for row in theta[::2]:
        row += 0.5 * row + _idea(rng, sizes)
    size = np.where(rng.random(count) < 0.5, 1.5, rng.uniform(0.5, 1.0, size=count))
    theta[:, -K:] = size[:, None] / K
    return population, torch.as_tensor(theta)


def ordinary_sizes(rng: np.random.Generator, ordinary: Ordinary) -> Sizes:
    """Sizes of a round: as many tokens as the least probability leaves room for, five at most.

    Short worlds are mostly trees (L = 2), long ones loops, unless L is asked for.
    """
    K = ordinary.rewards
    most = min(max(MOST_TOKENS, K + 2), int((1 + ROUNDING) / ordinary.least_ref))
    A = int(rng.integers(min(3, most), most + 1))
    T = ordinary.horizon or round(float(np.exp(rng.uniform(np.log(2), np.log(LONGEST_AT_RANDOM)))))
    L = 2 if A**2 <= MOST_CONTEXTS and rng.random() < (0.7 if T <= 4 else 0.1) else 1
    return Sizes(A, ordinary.order or L, T, K)


def _idea(rng: np.random.Generator, sizes: Sizes) -> Array:
    """Parameters [n] of a trap: tokens on which the specialists conflict, behind a gate or in a loop.

    Each specialist likes one of K tokens, after the gate or always; hub tokens are good for everyone.
    What ref gives the gate and the conflict, how good the hubs are, and which tokens they are, is
    drawn at random.
    """
    z = sizes
    order = rng.permutation(z.A - z.K) if z.A > z.K else rng.permutation(z.A)
    gate = int(order[0])
    conflict = np.arange(z.A - z.K, z.A) if z.A > z.K else order[: z.K]
    last, before = np.arange(z.S) % z.A, np.arange(z.S) // z.A % z.A
    logits, tastes = np.zeros((z.S, z.A)), np.full((z.K, z.S), LOW)
    logits[:, conflict] += rng.choice([-3.0, 0.0, 3.0], size=(z.S, 1))
    logits[:, gate] += rng.choice([-3.0, 0.0, 3.0], size=z.S)
    behind = np.ones(z.S, dtype=bool) if z.L == 1 or rng.random() < 0.3 else before == gate
    for k in range(z.K):
        tastes[k, behind & (last == conflict[k % len(conflict)])] = HIGH
    hubs = ~np.isin(last, conflict) & (rng.random(z.S) < 0.7)
    tastes[:, hubs] = rng.uniform(-1.0, HIGH, size=int(hubs.sum()))
    return np.concatenate([logits.ravel(), tastes.ravel(), np.zeros(2 * z.K)])
