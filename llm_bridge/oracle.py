"""``soupcheck.oracle(mdp)``: a transformers model with LoRA adapters whose exact values are known.

The model is a solved token MDP as a lookup table (see lookup.py): ``ref`` without adapters, the optimal
policy of each reward as an adapter, the bespoke policy as another. Whatever a tool does to it (merge
adapters, train one, sample from it, estimate a divergence), the outcome is again a causal language
model, and what that is worth is computed here without an estimate: its probabilities at every state
that can be reached, and a backward recursion over them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from toymdp import InstanceError, Solution, TokenMDP, solve
from toymdp.arrays import Array, IntArray

from .backend import torch
from .bank import REF, Bank
from .lookup import lookup_bank, state_paths

Tensor = Any
BESPOKE = "user"  # the adapter of π_w


@dataclass(frozen=True, eq=False)
class Oracle:
    """A solved token MDP as a model, and what is exactly true of any policy on it.

    A policy is the name of an adapter (``k0``, ``k1``, …, ``user`` or ``ref``), a causal language model
    over the same tokens, or a table [T, S, A] of probabilities.
    """

    sol: Solution
    bank: Bank

    @property
    def model(self) -> Any:
        """The ``peft.PeftModel``: a transformers model with an adapter for each reward."""
        return self.bank.model

    @property
    def mdp(self) -> TokenMDP:
        """The instance."""
        return self.sol.mdp

    @property
    def names(self) -> tuple[str, ...]:
        """The specialists' adapters, in the order of the instance's rewards."""
        return self.bank.names

    @property
    def prompt(self) -> list[int]:
        """Token ids of the start context: answers have up to ``horizon`` tokens more."""
        return list(self.mdp.start)

    @cached_property
    def _paths(self) -> Mapping[tuple[int, int], list[int]]:
        return state_paths(self.mdp)

    def table(self, policy: Any) -> Array:
        """``π(a | t, s)`` [T, S, A] of a policy at every reachable state; zero elsewhere.

        Raises InstanceError for a model whose logits are not finite there.
        """
        if isinstance(policy, np.ndarray):
            return policy
        if isinstance(policy, str):
            with self.bank.using(policy) as base:
                return self.table(base)
        mdp = self.mdp
        found = np.zeros((mdp.steps, mdp.n_contexts, mdp.vocab_size))
        for t in range(mdp.steps):
            states = [s for step, s in self._paths if step == t]
            ids = torch.tensor([self._paths[t, s] for s in states])
            with torch.no_grad():
                z = (
                    policy(input_ids=ids.to(next(policy.parameters()).device))
                    .logits[:, -1]
                    .double()
                )
            if bool(torch.isnan(z).any()):
                raise InstanceError.of("logits", "NaN", "must be numbers", "check the model")
            found[t, states] = torch.softmax(z, dim=1).cpu().numpy()
        return found

    def value(self, policy: Any, reward: Array | None = None) -> float:
        """``E_π Σ (r − β log π/ref)`` from the start, reward units; reward: [S], default r_w."""
        p = self.table(policy)
        r = self.mdp.reward_w if reward is None else np.asarray(reward, dtype=np.float64)
        each = r[self.following] - self.mdp.beta * log_ratio(p, self.table(REF))
        return self._expected(p, each)

    def kl(self, policy: Any, other: Any = REF) -> float:
        """``KL(π‖other)`` over whole answers, ``E_π Σ log π/other``, nats; inf where it is."""
        p = self.table(policy)
        return max(0.0, self._expected(p, log_ratio(p, self.table(other))))  # below 0 is rounding

    def gap(self, policy: Any) -> float:
        """``V_w − value``: how much worse than the bespoke policy, reward units."""
        return float(self.sol.V_w[0, self.mdp.start_context]) - self.value(policy)

    def soup(self, lam: Array) -> Array:
        """The soup ``ref·exp(Σ λ_k Q_k/β')`` of (7) as a table [T, S, A]; lam: [K].

        From the adapters' own probabilities: ``ref·Π (π_k/ref)^{λ_kβ/β'}``, normalised.
        """
        mdp, ref = self.mdp, self.table(REF)
        logits = np.where(ref > 0, np.log(np.where(ref > 0, ref, 1.0)), -np.inf)
        for weight, name in zip(
            np.asarray(lam) * mdp.beta / mdp.beta_prime, self.names, strict=True
        ):
            logits = logits + weight * log_ratio(self.table(name), ref)
        top = logits.max(axis=2, keepdims=True)
        weights = np.exp(logits - np.where(np.isfinite(top), top, 0.0))
        total = weights.sum(axis=2, keepdims=True)
        return np.asarray(weights / np.where(total > 0, total, 1.0))

    @cached_property
    def following(self) -> IntArray:
        """The next context [S, A] of each state and token."""
        A, S = self.mdp.vocab_size, self.mdp.n_contexts
        return np.asarray((np.arange(S)[:, None] * A + np.arange(A)) % S, dtype=np.int64)

    def to_come(self, p: Array, each: Array) -> Array:
        """``E_π Σ_{t' ≥ t} each[t', s, a]`` [T+1, S], backwards over the reachable states."""
        states = self.mdp.reach.states
        found = np.zeros((self.mdp.steps + 1, self.mdp.n_contexts))
        for t in reversed(range(self.mdp.steps)):
            terms = np.where(p[t] > 0, each[t] + found[t + 1][self.following], 0.0)
            found[t] = np.where(states[t], (p[t] * terms).sum(axis=1), 0.0)
        return found

    def visits(self, p: Array) -> Array:
        """How likely a policy's table is at s after t tokens: [T, S]."""
        states = self.mdp.reach.states
        found = np.zeros((self.mdp.steps, self.mdp.n_contexts))
        found[0, self.mdp.start_context] = 1.0
        for t in range(self.mdp.steps - 1):
            np.add.at(found[t + 1], self.following, found[t][:, None] * p[t])
            found[t + 1] = np.where(states[t + 1], found[t + 1], 0.0)
        return found

    def _expected(self, p: Array, each: Array) -> float:
        """``E_π Σ_t each[t, s, a]`` from the start context."""
        return float(self.to_come(p, each)[0, self.mdp.start_context])


def log_ratio(p: Array, q: Array) -> Array:
    """``log p/q`` [T, S, A], 0 where p is 0, +inf where only q is."""
    with np.errstate(divide="ignore"):
        return np.where(
            p > 0, np.log(np.where(p > 0, p, 1.0)) - np.log(np.where(p > 0, q, 1.0)), 0.0
        )


def oracle(instance: TokenMDP | Solution) -> Oracle:
    """Wrap a token MDP, solved here if it is not yet, as a transformers model with exact values.

    Policies do not depend on features, so those of the instance are set aside. Raises InstanceError
    for an instance without a finite horizon.
    """
    mdp = instance.mdp if isinstance(instance, Solution) else instance
    lookup = {"kind": "tabular", "per_step": True, "scale": 1.0}
    if mdp.horizon is None:
        raise InstanceError.of(
            "horizon", None, "a lookup table needs a finite one", "give the instance a horizon"
        )
    sol = solve(mdp.replace(features=lookup))
    return Oracle(sol, lookup_bank(sol))
