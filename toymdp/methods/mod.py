"""MOD: the geometric mixture ``Π π_k^{w_k}`` with weights on the simplex (Shi 2024)."""

from __future__ import annotations

import numpy as np

from ..arrays import Array
from ..learning.feedback import Feedback
from ..learning.logistic import on_simplex
from .collect import returns
from .explicit import soup
from .method import Bases, Domain, Facts, Fitted


def weights_of(domain: Domain, bases: Bases, feedback: Feedback) -> Array:
    """w [K] on the simplex under which the pairs are likeliest; no prior is needed."""
    X = returns(domain, bases, feedback)
    return on_simplex(X, feedback.targets, np.full(bases.n, 1.0 / bases.n))


def fit(domain: Domain, bases: Bases, feedback: Feedback, seed: int) -> Fitted:
    """The soup at λ = w, since ``Π π_k^{w_k} = ref·Π (π_k/ref)^{w_k}`` on the simplex."""
    w = weights_of(domain, bases, feedback)
    return soup(bases, w, Facts(w, True, evaluations=bases.n))
