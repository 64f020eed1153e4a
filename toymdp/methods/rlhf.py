"""Bespoke RLHF: the exact optimum of the user's reward, and of what pairs say of it."""

from __future__ import annotations

import numpy as np

from ..arrays import Array
from ..exact.tables import optima
from ..learning.feedback import Feedback
from ..learning.logistic import cross_validated
from .collect import context_counts
from .method import Bases, Domain, Facts, Fitted


def optimal_for(domain: Domain, rewards: Array) -> tuple[Array, ...]:
    """[W] of the logits ``Q/β`` [T, S] of the optimum of rewards [W, S] at β."""
    pairs = zip(domain.worlds, rewards, strict=True)
    return tuple(optima(mdp, reward[None])[0][0] / domain.beta for mdp, reward in pairs)


def bespoke(domain: Domain, bases: Bases, feedback: Feedback, seed: int) -> Fitted:
    """π_u of the true reward, (2)."""
    best = domain.best(feedback.user)
    return Fitted(tuple(one.Q / domain.beta for one in best))


def learnt(domain: Domain, bases: Bases, feedback: Feedback, seed: int) -> Fitted:
    """The exact optimum of r̂, a table on next contexts: what DPO tends to with all the compute.

    r̂ is the maximum a posteriori of Bradley–Terry under a Gaussian prior of mean 0, its width by
    cross-validation. A policy trained on the same pairs could not do better on their likelihood.
    """
    counts = context_counts(domain, feedback)
    chosen = cross_validated(counts, feedback.targets, np.zeros(counts.shape[1]))
    reward = chosen.mean.reshape(len(domain.worlds), -1)
    return Fitted(optimal_for(domain, reward), Facts(hyper={"ridge": chosen.ridge}))
