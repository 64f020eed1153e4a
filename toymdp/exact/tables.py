"""Policies as tables ``π(a|t,s)`` [T, S, A], evaluated from every context at once.

A ``Policy`` is ref times a function of the next context; a method may also look at the state before
(a greedy choice, a gate, a mixture of policies). Its table is ref times ``exp(logits)`` with logits
on next contexts [T, S] or on triples [T, S, A], −∞ where it gives a token up; tokens that ref forbids
stay forbidden. Finite horizons only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..arrays import Array
from ..errors import InstanceError
from ..worlds.token_mdp import TokenMDP
from .backward import Recursion, fits, soft_backward


def on_triples(f: Array, A: int) -> Array:
    """``f[.., s'(s, a)]`` as [.., S, A] of f [.., S] on next contexts.

    With ``s = x1·B + y`` the next contexts of s are the A that begin at ``y·A``, whatever x1 is.
    """
    S = f.shape[-1]
    block = f.reshape(*f.shape[:-1], 1, S // A, A)
    return np.broadcast_to(block, (*f.shape[:-1], A, S // A, A)).reshape(*f.shape[:-1], S, A)


def tilt(mdp: TokenMDP, logits: Array) -> Array:
    """The table [T, S, A] of ``π ∝ ref·exp(logits)``; rows without a token that ref allows are 0.

    logits: [T, S] on next contexts or [T, S, A], nats; −∞ gives a token up. Raises InstanceError
    where every allowed token of a state is given up, or a logit is NaN or +∞.
    """
    G = on_triples(logits, mdp.vocab_size) if logits.ndim == 2 else logits
    live = mdp.ref > 0
    top = np.where(live, G, -np.inf).max(axis=-1, keepdims=True)
    lost = live.any(axis=-1) & ~np.isfinite(top[..., 0])
    if lost.any():
        t, s = np.argwhere(lost)[0]
        rule = "must be finite for some allowed token, and never NaN or +inf"
        raise InstanceError.of(f"logits[{t}][{s}]", G[t, s], rule, "correct the method")
    # a forbidden token may have any logit, also one that would overflow
    weights = mdp.ref * np.exp(np.where(live, G - np.where(np.isfinite(top), top, 0.0), -np.inf))
    total = weights.sum(axis=-1, keepdims=True)
    return np.asarray(weights / np.where(total > 0, total, 1.0))


def log_ratio(mdp: TokenMDP, table: Array) -> Array:
    """``log π/ref`` [T, S, A] in nats: −∞ where π gives a token up, 0 where ref forbids it."""
    ref = np.broadcast_to(mdp.ref, table.shape)
    with np.errstate(divide="ignore"):
        return np.log(table, where=ref > 0, out=np.zeros_like(table)) - np.log(
            ref, where=ref > 0, out=np.zeros_like(table)
        )


@dataclass(frozen=True, eq=False)
class Optimum:
    """The optimum of one reward, from every context.

    Q: [T, S] on next contexts; V: [T+1, S]; reward units, (3) and (4). logits: [T, S, A]
    ``log π_u/ref = (Q − V)/β`` in nats, whatever it underflows to as a probability.
    """

    reward: Array
    Q: Array
    V: Array
    logits: Array


def optima(mdp: TokenMDP, rewards: Array) -> tuple[Array, Array]:
    """Q [M, T, S] and V [M, T+1, S] of rewards [M, S]: (3), (4) at every context, reward units."""
    if mdp.horizon is None:
        raise InstanceError.of("horizon", None, "tables need an end", "set a finite horizon")
    rewards = np.ascontiguousarray(rewards)
    method: Recursion = "exp" if fits(rewards, mdp.beta, mdp.horizon) else "log"
    V, Q = soft_backward(mdp.ref, mdp.reach.live, rewards, mdp.beta, mdp.horizon, method)
    return Q, V


def optimum(mdp: TokenMDP, reward: Array) -> Optimum:
    """The optimum of a reward [S]."""
    Q, V = (x[0] for x in optima(mdp, reward[None]))
    logits = (on_triples(Q, mdp.vocab_size) - V[:-1, :, None]) / mdp.beta
    return Optimum(reward, Q, V, logits)


@dataclass(frozen=True, eq=False)
class Worth:
    """What a table is worth under one reward, from every context [S] as the start.

    value: ``E_π Σ (r − β KL(π‖ref))`` by backward evaluation, reward units. other: the same as
    ``V_u − β E_π Σ KL(π‖π_u)``, true of every policy. kl: ``E_π Σ KL(π‖π_u)``, kl_ref: to ref, nats.
    """

    value: Array
    other: Array
    kl: Array
    kl_ref: Array


def worth(mdp: TokenMDP, table: Array, best: Optimum) -> Worth:
    """Evaluate a table [T, S, A] under the reward that ``best`` is the optimum of."""
    ratio = log_ratio(mdp, table)
    used = table > 0
    ratio = np.where(used, ratio, 0.0)
    kl_ref = (table * ratio).sum(axis=-1)
    kl = (table * np.where(used, ratio - best.logits, 0.0)).sum(axis=-1)
    earned = (table * on_triples(best.reward, mdp.vocab_size)).sum(axis=-1)
    steps = np.stack([earned - mdp.beta * kl_ref, kl, kl_ref], axis=1)
    U = np.zeros((3, mdp.n_contexts))
    for t in range(len(table) - 1, -1, -1):
        ahead = on_triples(U, mdp.vocab_size)
        U = steps[t] + np.einsum("sa,csa->cs", table[t], ahead)
    return Worth(U[0], best.V[0] - mdp.beta * U[1], U[1], U[2])


def divergences(refs: Array, logits: Array) -> Array:
    """``E_π Σ KL(π‖ref)`` [W, S] in nats from every context, ``π ∝ ref·exp(logits)``, W worlds at once.

    refs: [W, S, A]; logits: [W, T, S, A], finite. By ``log π/ref = logits − log E_ref exp(logits)``.
    """
    A = refs.shape[-1]
    live = (refs > 0)[:, None]
    top = np.where(live, logits, -np.inf).max(axis=-1, keepdims=True)
    G = np.where(live, logits - np.where(np.isfinite(top), top, 0.0), 0.0)
    weights = refs[:, None] * np.exp(G)
    total = weights.sum(axis=-1)
    total = np.where(total > 0, total, 1.0)
    tables = weights / total[..., None]
    steps = (tables * G).sum(axis=-1) - np.log(total)
    U = np.zeros((len(refs), refs.shape[1]))
    for t in range(logits.shape[1] - 1, -1, -1):
        U = steps[:, t] + (tables[:, t] * on_triples(U, A)).sum(axis=-1)
    return np.asarray(U)


def value_and_slope(
    mdp: TokenMDP, logits: Array, reward: Array, starts: Array
) -> tuple[float, Array]:
    """``Σ_s starts(s) V^π(s)`` of ``π ∝ ref·exp(logits)`` and its derivative [T, S] by the logits.

    logits: [T, S] on next contexts; starts: [S], weights of start contexts. The derivative at (t, s')
    is ``Σ_s d_t(s) π(a|s) [r + U_{t+1} − β log π/ref − their mean]``, d the occupancy; reward units.
    """
    A, S = mdp.vocab_size, mdp.n_contexts
    table = tilt(mdp, logits)
    ratio = np.where(table > 0, log_ratio(mdp, table), 0.0)
    T = len(table)
    gains = np.empty_like(table)
    U = np.zeros(S)
    for t in range(T - 1, -1, -1):
        gains[t] = on_triples(reward + U, A) - mdp.beta * ratio[t]
        U = (table[t] * gains[t]).sum(axis=-1)
        gains[t] -= U[:, None]
    slope = np.empty((T, S))
    d = np.asarray(starts, dtype=np.float64)
    for t in range(T):
        flow = d[:, None] * table[t]
        slope[t] = (flow * gains[t]).reshape(A, S // A, A).sum(axis=0).ravel()
        d = flow.reshape(A, S // A, A).sum(axis=0).ravel()
    return float(starts @ U), slope
