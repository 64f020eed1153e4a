"""The best single specialist: by the pairs, or by its true value."""

from __future__ import annotations

import numpy as np

from ..exact.tables import tilt, worth
from ..learning.feedback import Feedback
from ..learning.logistic import loss
from .collect import returns
from .method import Bases, Domain, Facts, Fitted


def alone(bases: Bases, k: int) -> Fitted:
    """The specialist π_k."""
    return Fitted(bases.mixed(np.eye(bases.n)[k]), Facts(hyper={"k": k}))


def by_pairs(domain: Domain, bases: Bases, feedback: Feedback, seed: int) -> Fitted:
    """The specialist under whose returns the pairs are likeliest; of equals the first."""
    X = returns(domain, bases, feedback)
    return alone(bases, int(np.argmin([loss(x, feedback.targets) for x in X.T])))


def by_value(domain: Domain, bases: Bases, feedback: Feedback, seed: int) -> Fitted:
    """The specialist of the largest true value over the train prompts."""
    best = domain.best(feedback.user)
    values = np.zeros(bases.n)
    for w, mdp in enumerate(domain.worlds):
        for k, Q in enumerate(bases.Q[w]):
            values[k] += domain.starts(w) @ worth(mdp, tilt(mdp, Q / domain.beta), best[w]).value
    return alone(bases, int(np.argmax(values)))
