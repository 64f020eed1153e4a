"""Which pairs to have labelled: those that narrow λ's posterior most (PReF, Shenfeld 2025)."""

from __future__ import annotations

from typing import Literal

import numpy as np
import scipy  # whose parts are imported when they are first asked for

from ..learning.feedback import Feedback
from ..learning.logistic import fit
from ..threads import one_blas_thread
from .collect import returns
from .method import Bases, Domain

REFIT = 5  # labels after which λ̂ is fitted again
By = Literal["information", "variance"]


@one_blas_thread()
def narrowing(
    domain: Domain, bases: Bases, pool: Feedback, n: int, *, by: By = "information"
) -> Feedback:
    """n pairs of the pool, one after another the best by λ's posterior given the labels so far.

    by: "variance", of the margin ``λ·x``, is ``xᵀΣx``; Σ is Laplace's covariance under N(0, s²I), 1/s²
    the mean square of the pool's X, since cross-validation needs labels. "information" is
    ``c xᵀΣx`` with ``c = σ(λ̂·x) σ(−λ̂·x)``: a label replaces Σ⁻¹ by ``Σ⁻¹ + c x xᵀ``, so that det Σ falls
    by ``1 + c xᵀΣx``. By variance alone long pairs are taken whose answer is known beforehand.

    λ̂ is fitted again after every ``REFIT`` labels; in between Σ narrows by the pairs taken, since c hangs
    on no label. Labels of pairs that are not taken are not read; the choice of fewer is part of that of
    more. Raises InstanceError where n is not 1..len(pool).
    """
    X = returns(domain, bases, pool)
    square = float(np.mean(X**2))
    if n >= len(pool) or square == 0.0:  # all are asked for, or none tells anything
        return pool.take(n)
    precision, mean = square * np.eye(bases.n), np.zeros(bases.n)
    left, order = np.ones(len(pool), dtype=bool), np.zeros(0, dtype=np.int64)
    while len(order) < n:
        known = fit(X[order], pool.targets[order], mean, precision)
        z = X @ known.mean
        curvature = scipy.special.expit(z) * scipy.special.expit(-z)
        wide = X @ known.covariance  # [N, K], the rows Σx
        variance = (wide * X).sum(axis=1)
        for _ in range(min(REFIT, n - len(order))):
            worth = variance if by == "variance" else curvature * variance
            i = int(np.argmax(np.where(left, worth, -np.inf)))
            narrower = curvature[i] / (1.0 + curvature[i] * variance[i])
            along = wide @ X[i]  # [N], xᵀΣx_i
            wide = wide - narrower * np.outer(along, wide[i])
            variance = variance - narrower * along**2
            left[i], order = False, np.append(order, i)
    return pool.at(order)
