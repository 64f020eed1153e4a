"""Policies improved on values under other policies: SF-GPI (Barreto 2018), VAS (Han 2024).

Both take the weights as known: the mixture of the base rewards nearest to the user's.
"""

from __future__ import annotations

import numpy as np

from ..arrays import Array
from ..exact.tables import log_ratio, on_triples, tilt
from ..learning.feedback import Feedback
from ..worlds.token_mdp import TokenMDP
from .method import Bases, Domain, Facts, Fitted
from .pad import nearest_weights


def action_values(mdp: TokenMDP, table: Array, rewards: Array, *, priced: bool) -> Array:
    """``Q^π`` [M, T, S] on next contexts of rewards [M, S] under a table [T, S, A], reward units.

    priced: less ``β KL(π‖ref)`` of the steps to come.
    """
    T, S, A = table.shape
    ratio = np.where(table > 0, log_ratio(mdp, table), 0.0)
    price = mdp.beta * (table * ratio).sum(axis=-1) if priced else np.zeros((T, S))
    Q, U = np.empty((len(rewards), T, S)), np.zeros((len(rewards), S))
    for t in range(T - 1, -1, -1):
        Q[:, t] = rewards + U
        U = np.einsum("sa,msa->ms", table[t], on_triples(Q[:, t], A)) - price[t]
    return Q


def sf_gpi(domain: Domain, bases: Bases, feedback: Feedback, seed: int) -> Fitted:
    """``ref·exp(max_k Q_w^{π_k}/β)``: generalised policy improvement, soft in the last step alone."""
    w = bases.once(nearest_weights, domain, feedback.user)
    logits = []
    for mdp, Q in zip(domain.worlds, bases.Q, strict=True):
        reward = (w @ mdp.rewards)[None]
        values = [action_values(mdp, tilt(mdp, q / mdp.beta), reward, priced=True)[0] for q in Q]
        logits.append(np.max(values, axis=0) / mdp.beta)
    return Fitted(tuple(logits), Facts(w, evaluations=bases.n + 1))


def vas(domain: Domain, bases: Bases, feedback: Feedback, seed: int) -> Fitted:
    """``ref·exp(Σ w_k Q_k^{ref}/β)``: values under ref, as controlled decoding learns them."""
    w = bases.once(nearest_weights, domain, feedback.user)
    logits = []
    for mdp in domain.worlds:
        table = np.broadcast_to(mdp.ref, (mdp.steps, *mdp.ref.shape))
        reward = (w @ mdp.rewards)[None]
        logits.append(action_values(mdp, table, reward, priced=False)[0] / mdp.beta)
    return Fitted(tuple(logits), Facts(w, evaluations=bases.n + 1))
