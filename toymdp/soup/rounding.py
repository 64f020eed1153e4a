"""Radii around the solver's floats, so that bounds hold for the exact values behind them.

J is defined through the exact Q of the instance's exact numbers (reference weights normalised by
definition, ``r_w = Σ w_k r_k``). The floats stand in for them:

- soft values are non-expansive, so ``|V̂_t − V_t| ≤ max |V̂_t − β log E_ref e^{Q̂_t/β}| +
  max |V̂_{t+1} − V_{t+1}|``: Bellman residuals add up to a radius of V, each enlarged by the rounding
  of the residual itself;
- the logit of a soup at c is then off by at most ``2·radius/β`` (both ends of a difference of two
  tokens, |c|₁ ≤ 1) plus its own rounding and that of the reference row: eps;
- a sum of n terms is off by at most ``γ_n = nε/(1 − nε)``, ε = 2⁻⁵³, times the sum of absolute
  values: kappa is 16 ε (A + 64), several times γ of the longest chain of operations.

Assumed: IEEE binary64 rounding to nearest, subnormals not flushed, and exp and log of the library
within 4 units in the last place (glibc and the vector libraries LLVM may call state less).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..exact.policy import Policy
from ..exact.solution import Solution
from ..worlds.features import Array
from ..worlds.token_mdp import TokenMDP

UNIT = 2.0**-53
LEAST_WEIGHT = 1e-280  # smaller reference probabilities are not accurate to a few units
NEAR_ZERO = 1e-6  # tilt in nats of the pieces around u = 0 where of KL only KL ≥ 0 is used


def lightest(mdp: TokenMDP) -> float:
    """Least reference probability of a token with weight, 0 where it underflowed."""
    return float(mdp.ref[(mdp.ref_weights > 0) & ~mdp.ended[:, None]].min())


def value_radius(mdp: TokenMDP, Q: Array, V: Array, reward_error: float = 0.0) -> Array:
    """Radius [T+1] of V [T+1, S] around the exact soft values at the reachable states.

    Q = r + V[1:], in reward units; reward_error: radius of r itself.
    """
    residual = np.abs(mdp.beta * Policy(mdp, Q / mdp.beta).log_partition - V[:-1])
    worst = np.where(mdp.reach.states, residual, 0.0).max(axis=1)
    used = float(np.where(mdp.reach.nexts, np.abs(Q), 0.0).max())
    # forming Q and Q/β and the exponents: a few units of the largest Q; the reference row, the
    # exponentials, their sum and its logarithm: a few units each, of β times one nat
    nats = 16.0 * (mdp.vocab_size + 4.0 - np.log(lightest(mdp)))
    rounding = UNIT * (64.0 * used + nats * mdp.beta)
    radius = np.zeros(len(V))
    for t in range(len(worst) - 1, -1, -1):
        radius[t] = radius[t + 1] + 1.001 * worst[t] + rounding + reward_error
    return radius


@dataclass(frozen=True, eq=False)
class BoundInputs:
    """What the kernels of a bound read.

    q: [T, S, K] = Q/β. reward: [S] ≥ r_w. cap: [T+1, S] ≥ V_w. eps: radius of a logit, nats;
    kappa: of sums, relative; near: |u|₁ below which of KL only KL ≥ 0 is used.
    """

    q: Array
    reward: Array
    cap: Array
    near: float
    eps: float
    kappa: float

    @classmethod
    def of(cls, sol: Solution) -> BoundInputs:
        """Collect the tables of a finite-horizon solution, with their radii."""
        mdp = sol.mdp
        K, A = mdp.n_rewards, mdp.vocab_size
        parts = np.abs(mdp.w)[:, None] * np.abs(mdp.rewards)
        reward_error = 4.0 * K * UNIT * float(parts.sum(axis=0).max())
        radius = max(float(value_radius(mdp, Q, V)[0]) for Q, V in zip(sol.Q, sol.V, strict=True))
        cap_radius = value_radius(mdp, sol.Q_w, sol.V_w, reward_error)
        cap = sol.V_w + (cap_radius + 8 * UNIT * np.abs(sol.V_w).max(axis=1))[:, None]
        q = np.ascontiguousarray(np.moveaxis(sol.Q, 0, 2) / mdp.beta)
        largest = float(np.abs(q[mdp.reach.nexts]).max())
        row = 16.0 * (A + 8.0 - np.log(lightest(mdp)))
        eps = 2.0 * radius / mdp.beta + UNIT * ((8.0 * K + 64.0) * largest + row)
        kappa = 16.0 * UNIT * (A + 64.0)
        near = NEAR_ZERO / max(largest, NEAR_ZERO)
        return cls(q, mdp.reward_w + reward_error, cap, near, eps, kappa)
