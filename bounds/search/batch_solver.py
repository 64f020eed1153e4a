"""Many small language MDPs at once, solved differentiably in float64.

The same quantities as toymdp and bounds compute for one instance, written a second time over a
leading batch axis so that torch can differentiate through them. β = β' = 1 throughout: rewards in
units of β leave every statement of Theorem 1 as it is, and β' is no parameter (ss.betaprime).

Axes: B instances, K rewards, N soups, T steps, S contexts, A tokens. Tables over ``[..., S]`` are on
next contexts and are read at ``(s, a)`` through ``next = (s·A + a) mod S``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ..sides import Mask

Tensor = torch.Tensor
FORBIDDEN = -1e4  # log-weight of a token that ref forbids: exp of it is 0 in every sum


@dataclass(frozen=True)
class Sizes:
    """Vocabulary A, order L, horizon T, number of rewards K; the start context is 0."""

    A: int
    L: int
    T: int
    K: int

    @property
    def S(self) -> int:
        """Contexts."""
        return int(self.A**self.L)

    def next_contexts(self) -> Tensor:
        """[S, A]: context reached from s by token a."""
        contexts = (np.arange(self.S)[:, None] * self.A + np.arange(self.A)) % self.S
        return torch.as_tensor(contexts)


@dataclass(frozen=True)
class Batch:
    """B solved instances of one size.

    log_ref: [B, S, A], FORBIDDEN where not allowed. rewards: [B, K, S]. w: [B, K].
    used: [B, T, S], reachable next contexts. visited: [B, T, S], reachable states.
    Q: [B, K+1, T, S], the user's last. V: [B, K+1, T+1, S].
    """

    sizes: Sizes
    log_ref: Tensor
    rewards: Tensor
    w: Tensor
    used: Tensor
    visited: Tensor
    Q: Tensor
    V: Tensor

    @property
    def reward_w(self) -> Tensor:
        """``r_w`` [B, S]."""
        return torch.einsum("bk,bks->bs", self.w, self.rewards)

    def at_tokens(self, table: Tensor) -> Tensor:
        """A table [B, ..., S] on next contexts, read at (s, a): [B, ..., S, A]."""
        return table[..., self.sizes.next_contexts()]

    def log_policy(self, logits: Tensor) -> Tensor:
        """Log of ``π ∝ ref·exp(logits)``: [B, ..., S] on next contexts -> [B, ..., S, A]."""
        middle = (1,) * (logits.dim() - 2)
        ref = self.log_ref.reshape(len(self.log_ref), *middle, *self.log_ref.shape[1:])
        return torch.log_softmax(ref + self.at_tokens(logits), dim=-1)

    def soup_logits(self, lam: Tensor) -> Tensor:
        """``Σ λ_k Q_k`` [B, N, T, S] of soups lam [B, N, K]."""
        return torch.einsum("bnk,bkts->bnts", lam, self.Q[:, :-1])


def reachable(sizes: Sizes, allowed: Mask) -> tuple[Mask, Mask]:
    """Reachable states and next contexts, each [B, T, S], of masks allowed [B, S, A]."""
    B, T, S, A = len(allowed), sizes.T, sizes.S, sizes.A
    nexts = sizes.next_contexts().numpy()
    states, used = np.zeros((B, T, S), dtype=bool), np.zeros((B, T, S), dtype=bool)
    current = np.zeros((B, S), dtype=bool)
    current[:, 0] = True
    for t in range(T):
        states[:, t] = current
        taken = current[:, :, None] & allowed
        for s in range(S):
            for a in range(A):
                used[:, t, nexts[s, a]] |= taken[:, s, a]
        current = used[:, t]
    return states, used


def solve_batch(
    sizes: Sizes, log_ref: Tensor, rewards: Tensor, w: Tensor, reach: tuple[Mask, Mask]
) -> Batch:
    """Soft backward induction (2)–(4) at β = 1 for all rewards and ``r_w``.

    log_ref: [B, S, A] normalised by row. rewards: [B, K, S]. w: [B, K]. reach: from ``reachable``.
    """
    user = torch.einsum("bk,bks->bs", w, rewards)[:, None]
    every = torch.cat([rewards, user], dim=1)
    nexts = sizes.next_contexts()
    V = [torch.zeros_like(every)]
    Q: list[Tensor] = []
    for _ in range(sizes.T):
        q = every + V[-1]
        Q.append(q)
        V.append(torch.logsumexp(log_ref[:, None] + q[..., nexts], dim=-1))
    states, used = (torch.as_tensor(mask) for mask in reach)
    stack = torch.stack(Q[::-1], dim=2), torch.stack(V[::-1], dim=2)
    return Batch(sizes, log_ref, rewards, w, used, states, *stack)


def soup_values(batch: Batch, lam: Tensor) -> Tensor:
    """J [B, N] of (8) from the start for soups lam [B, N, K], none of them 0."""
    log_pi = batch.log_policy(batch.soup_logits(lam))
    pi = log_pi.exp()
    size = lam.abs().sum(dim=-1)
    ref = batch.log_ref[:, None, None]
    kl = (pi * (log_pi - ref)).sum(dim=-1)  # [B, N, T, S]
    reward = batch.reward_w[:, None]
    nexts = batch.sizes.next_contexts()
    U = torch.zeros_like(kl[:, :, 0])
    for t in range(batch.sizes.T - 1, -1, -1):
        ahead = (reward + U)[..., nexts]
        U = (pi[:, :, t] * ahead).sum(dim=-1) - kl[:, :, t] / size[..., None]
    return U[..., 0]


def occupancy(batch: Batch, pi: Tensor) -> Tensor:
    """Probability [B, T, S] of each state under a policy pi [B, T, S, A] from the start."""
    nexts = batch.sizes.next_contexts().reshape(-1)
    current = torch.zeros_like(pi[:, 0, :, 0])
    current[:, 0] = 1.0
    by_step = [current]
    for t in range(batch.sizes.T - 1):
        flow = (current[..., None] * pi[:, t]).reshape(len(current), -1)
        current = torch.zeros_like(current).index_add(1, nexts, flow)
        by_step.append(current)
    return torch.stack(by_step, dim=1)
