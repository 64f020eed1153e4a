"""What any policy is worth: under any reward, at any temperature, and how far it is from ref.

Methods are compared by this alone: a policy that was learnt, mixed or written by hand is evaluated
exactly, whatever reward it was made for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..arrays import Array
from .policy import Policy

# of the size of the values: what is left of a difference below this is rounding
ROUNDING = 1e-12


@dataclass(frozen=True)
class Evaluation:
    """A policy's worth from the start context.

    value: ``E_π Σ (reward − β KL(π‖ref))``, reward units. kl: ``E_π Σ KL(π‖ref)``, nats.
    """

    value: float
    kl: float


def evaluate(policy: Policy, reward: Array, beta: float) -> Evaluation:
    """Evaluate a policy exactly, from the start context.

    reward: [S] on next contexts, any reward. beta: price of a nat, reward units; 0: the plain
    return. Raises SolverError where a policy until ``eos`` ends too rarely to have a value.
    """
    mdp = policy.mdp
    if np.shape(reward) != (mdp.n_contexts,):
        raise ValueError(f"reward of shape {np.shape(reward)}, not [{mdp.n_contexts}]")
    kl = divergence_from_ref(policy)
    value = policy.value(reward, -beta * kl)[0, mdp.start_context]
    return Evaluation(float(value), float((policy.occupancy.states * kl).sum()))


def divergence_from_ref(policy: Policy) -> Array:
    """``KL(π‖ref)`` [T, S] in nats; logits of −∞ (a token the policy gives up) are allowed."""
    G = policy.logits
    if np.isfinite(G).all():
        return policy.divergence(Policy(policy.mdp, np.zeros_like(G)))
    # KL = E_π[G] − log E_ref e^G; where G is −∞ the policy has no weight
    kl = policy.mean(np.where(np.isfinite(G), G, 0.0)) - policy.log_partition
    return np.maximum(kl, 0.0)


def share(value: float, V_ref: float, V_u: float, size: float = 0.0) -> float | None:
    """How much of the way from ref to the best policy ``value`` is: 0 at ``V_ref``, 1 at ``V_u``.

    ``(value − V_ref)/(V_u − V_ref)``, all in reward units. None where the denominator is within
    rounding of values of their size, or of ``size`` (what they are sums of): there is nothing to gain.
    """
    way = V_u - V_ref
    if abs(way) <= ROUNDING * max(abs(V_ref), abs(V_u), size):
        return None
    return (value - V_ref) / way
