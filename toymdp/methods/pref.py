"""PReF and LoRe: the exact optimum of a reward learnt as a mixture; MODPO: of one that is known.

Shenfeld 2025, Bose 2025, Zhou 2024. They train a policy for each user, which souping avoids: the
distance to them is what souping itself costs.
"""

from __future__ import annotations

import numpy as np

from ..arrays import Array
from ..learning.feedback import Feedback
from .explicit import weights_of, width
from .method import Bases, Domain, Facts, Fitted
from .mod import weights_of as simplex_weights
from .pad import nearest_weights
from .rlhf import optimal_for


def mixed(domain: Domain, weights: Array) -> tuple[Array, ...]:
    """[W] of the logits [T, S] of the optimum of ``Σ_k weights_k r_k``."""
    return optimal_for(domain, np.stack([weights @ mdp.rewards for mdp in domain.worlds]))


def pref(domain: Domain, bases: Bases, feedback: Feedback, seed: int) -> Fitted:
    """The optimum of ``Σ λ̂_k r_k``, λ̂ as ``ss-explicit`` learns it with prior mean 0."""
    X, chosen = weights_of(domain, bases, feedback)
    facts = Facts(chosen.mean, hyper={"ridge": chosen.ridge}, covariance=width(X, chosen))
    return Fitted(mixed(domain, chosen.mean), facts)


def lore(domain: Domain, bases: Bases, feedback: Feedback, seed: int) -> Fitted:
    """The same with weights on the simplex, as LoRe has them."""
    w = simplex_weights(domain, bases, feedback)
    return Fitted(mixed(domain, w), Facts(w))


def modpo(domain: Domain, bases: Bases, feedback: Feedback, seed: int) -> Fitted:
    """The optimum of the nearest mixture of the base rewards: known weights."""
    w = bases.once(nearest_weights, domain, feedback.user)
    return Fitted(mixed(domain, w), Facts(w))
