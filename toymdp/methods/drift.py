"""Drift: ref tilted by a weighted sum of attribute log-ratios (Kim 2025)."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from ..arrays import Array
from ..learning.feedback import Feedback
from ..learning.logistic import cross_validated
from .attributes import Margins
from .method import Bases, Domain, Facts, Fitted

Weights = Literal["logistic", "mean"]


def features(domain: Domain, feedback: Feedback) -> Array:
    """[N, n]: ``log π^a/ref`` of the preferred answer less the other, for each attribute, nats."""
    n = domain.attributes.shape[1]
    return Margins(domain, feedback).of(slice(None), np.eye(n)).T


def coarser(domain: Domain) -> Domain:
    """The domain with attributes as a model of order L − 1 has them: blind to the oldest token."""
    A = domain.mdp.vocab_size
    blind = domain.attributes.reshape(*domain.attributes.shape[:2], A, -1).mean(axis=2)
    tiled = np.broadcast_to(blind[:, :, None, :], (*blind.shape[:2], A, blind.shape[2]))
    return replace(domain, attributes=tiled.reshape(domain.attributes.shape))


def fit(
    domain: Domain, bases: Bases, feedback: Feedback, seed: int, *,
    weights: Weights = "logistic", small: bool = False,
) -> Fitted:  # fmt: skip
    """``ref·exp((1/β_D) Σ p_a log π^a/ref)``, β_D = 1.

    weights: p by Bradley–Terry on the margins, its prior by cross-validation; or "mean", the closed
    form p ∝ mean margin, of unit length. small: log-ratios of a model that sees L − 1 tokens.
    """
    seen = coarser(domain) if small else domain
    D = features(seen, feedback)
    hyper: dict[str, float] = {}
    if weights == "mean":
        p = D.mean(axis=0)
        p = p / (np.linalg.norm(p) or 1.0)
    else:
        # chances are those of reward units, as everywhere: β log π^a/ref
        chosen = cross_validated(domain.beta * D, np.ones(len(D)), np.zeros(D.shape[1]))
        p, hyper = chosen.mean, {"ridge": chosen.ridge}
    T = domain.mdp.steps
    logits = tuple(np.tile(p @ a / domain.beta, (T, 1)) for a in seen.attributes)
    return Fitted(logits, Facts(hyper=hyper, evaluations=len(p) + 1))
