"""Spectral souping, explicit: ``ref·exp(Σ λ_k Q_k/β)`` with λ learnt from pairs (§4, Appendix C)."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..arrays import Array
from ..learning import appendix_c
from ..learning.feedback import Feedback
from ..learning.logistic import Chosen, cross_validated, laplace
from .collect import returns
from .method import Bases, Domain, Facts, Fitted

Mean = Literal["m=0", "m=1/K"]


def prior_mean(mean: Mean, K: int) -> Array:
    """[K]: 0, the reference policy; or 1/K, all specialists alike. The paper names none."""
    return np.zeros(K) if mean == "m=0" else np.full(K, 1.0 / K)


def into_budget(lam: Array) -> Array:
    """λ [K] scaled into the domain of (7) with β' = β, ``|λ|₁ ≤ 1``."""
    return np.asarray(lam / max(1.0, float(np.abs(lam).sum())))


def weights_of(
    domain: Domain, bases: Bases, feedback: Feedback, mean: Mean = "m=0"
) -> tuple[Array, Chosen]:
    """X [N, K], the returns' differences, and λ by batch maximum a posteriori."""
    X = returns(domain, bases, feedback)
    return X, cross_validated(X, feedback.targets, prior_mean(mean, bases.n))


def width(X: Array, chosen: Chosen) -> Array | None:
    """[K, K]: Laplace's covariance at the fit's λ; None where no pair looks."""
    if not np.isfinite(chosen.precision):
        return None
    return laplace(X, chosen.mean, chosen.precision * np.eye(len(chosen.mean)))


def soup(bases: Bases, lam: Array, facts: Facts) -> Fitted:
    """The soup at λ with β' = β: logits ``Σ λ_k Q_k/β``."""
    return Fitted(bases.mixed(lam), facts)


def fit(
    domain: Domain, bases: Bases, feedback: Feedback, seed: int, *,
    mean: Mean = "m=0", budget: bool = False,
) -> Fitted:  # fmt: skip
    """λ by Bradley–Terry with prior N(m, s²I); budget: scaled into ``|λ|₁ ≤ 1`` afterwards."""
    X, chosen = weights_of(domain, bases, feedback, mean)
    lam = into_budget(chosen.mean) if budget else chosen.mean
    hyper = {"ridge": chosen.ridge, "s": chosen.precision**-0.5}
    # scaled into the budget λ is no posterior's maximum
    wide = None if budget else width(X, chosen)
    return soup(bases, lam, Facts(lam, True, hyper, evaluations=bases.n + 1, covariance=wide))


def sequential(
    domain: Domain, bases: Bases, feedback: Feedback, seed: int, *,
    step: appendix_c.Step = "S_n", over_beta: bool = False,
) -> Fitted:  # fmt: skip
    """(21), (22) from N(0, s²I), one pair after another; s that of the batch fit.

    step: the covariance in (22). over_beta: Δ divided by β as Appendix C prints it, in which λ then
    tends to βw: its soup is still taken at λ.
    """
    X, chosen = weights_of(domain, bases, feedback)
    deltas = X * feedback.labels[:, None] / (domain.beta if over_beta else 1.0)
    prior = chosen.precision * np.eye(bases.n)
    lam, precision = appendix_c.sequential(deltas, np.zeros(bases.n), prior, step)
    hyper = {"ridge": chosen.ridge, "s": chosen.precision**-0.5}
    wide = np.asarray(np.linalg.inv(precision))
    return soup(bases, lam, Facts(lam, True, hyper, evaluations=bases.n + 1, covariance=wide))
