"""One reward, many λ: with more bases than their rank, pairs cannot tell these soups apart.

All rows have the same ``Σ λ_k r_k``, that of the weights nearest to the user, hence the same likelihood
whatever pairs are seen; from two steps on their soups differ (ss.null-space).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import scipy  # whose parts are imported when they are first asked for

from ..arrays import Array
from ..exact.tables import value_and_slope
from ..learning.feedback import Feedback
from .explicit import soup
from .method import Bases, Domain, Facts, Fitted
from .pad import nearest_weights

Choice = Literal["simplex", "least ℓ₂", "least ℓ₁", "best"]
RANK = 1e-9  # of the rewards, relative to the largest singular value
REACH = 50.0  # |λ_k| up to which the best is looked for


def rewards_of(domain: Domain) -> Array:
    """[K, W·S]: the base rewards, less their means, which no pair of one prompt shows."""
    parts = [m.rewards - m.rewards.mean(axis=1)[:, None] for m in domain.worlds]
    return np.concatenate(parts, axis=1)


def chosen(domain: Domain, bases: Bases, user: int, choice: Choice) -> Array:
    """λ [K] with the reward of the nearest weights: those themselves, the shortest, or the best."""
    w = bases.once(nearest_weights, domain, user)
    if choice == "simplex":
        return w
    U, size, _ = np.linalg.svd(rewards_of(domain), full_matrices=True)
    rank = int((size > RANK * size[0]).sum())
    seen, free = U[:, :rank], U[:, rank:]
    shortest = np.asarray(seen @ (seen.T @ w))
    if choice == "least ℓ₂" or rank == bases.n:
        return shortest
    K = bases.n
    if choice == "least ℓ₁":
        found = scipy.optimize.linprog(
            np.ones(2 * K), A_eq=np.hstack([seen.T, -seen.T]), b_eq=seen.T @ w, method="highs"
        )
        return np.asarray(found.x[:K] - found.x[K:])

    def both(z: Array) -> tuple[float, Array]:
        lam = shortest + free @ z
        value, slope = 0.0, np.zeros(K)
        for v, (mdp, Q) in enumerate(zip(domain.worlds, bases.Q, strict=True)):
            logits = np.tensordot(lam, Q, axes=1) / domain.beta
            V, g = value_and_slope(mdp, logits, domain.users[user, v], domain.starts(v))
            value, slope = value + V, slope + np.tensordot(Q, g, axes=2) / domain.beta
        return -value, -(slope @ free)

    n = free.shape[1]
    end = scipy.optimize.minimize(
        both, np.zeros(n), jac=True, method="L-BFGS-B", bounds=[(-REACH, REACH)] * n,
        options={"maxiter": 300},
    )  # fmt: skip
    return np.asarray(shortest + free @ end.x)


def fit(domain: Domain, bases: Bases, feedback: Feedback, seed: int, *, choice: Choice) -> Fitted:
    """The soup at one of them."""
    lam = bases.once(chosen, domain, bases, feedback.user, choice)
    return soup(bases, lam, Facts(lam, True, evaluations=bases.n + 1))
