"""``preference-pairs/1``: one user's compared answers, for Appendix C of Spectral Souping."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy

from ..arrays import Array
from ..errors import InstanceError
from ..instance import Instance
from ..validators import in_nats, positive, table

FORMAT = "preference-pairs/1"
# a prior covariance whose eigenvalues spread further than this leaves its inverse no digits
CONDITION_LIMIT = 1e10
SYMMETRY_TOLERANCE = 1e-9


def covariance(name: str, value: Any, K: int) -> Array:
    """Return ``value`` as a symmetric positive definite [K, K] matrix."""
    matrix = table(name, value, (K, K))
    if np.abs(matrix - matrix.T).max() > SYMMETRY_TOLERANCE * np.abs(matrix).max():
        raise InstanceError.of(
            name, "a matrix", "must be symmetric", "average it with its transpose"
        )
    matrix = 0.5 * (matrix + matrix.T)
    spread = np.linalg.eigvalsh(matrix)
    if spread[0] <= 0 or spread[-1] > CONDITION_LIMIT * spread[0]:
        rule = f"must be positive definite with condition number ≤ {CONDITION_LIMIT:g}"
        raise InstanceError.of(f"least eigenvalue of {name}", float(spread[0]), rule, "widen it")
    return matrix


@dataclass(frozen=True, eq=False, kw_only=True)
class PreferencePairs(Instance):
    """An instance of format ``preference-pairs/1``; the fields are the file's keys.

    differences: [N, K] ``R_k(first) − R_k(second)``, the specialists' returns, reward units.
    labels: [N], +1 where the user preferred the first answer, −1 the second (default all +1).
    beta: temperature of Δ = ±difference/β as Appendix C prints it (reward units per nat).
    prior_mean: [K] λ̄_0. prior_covariance: [K, K] S_0, positive definite.

    Raises InstanceError naming field, value, rule and remedy.
    """

    differences: Array
    prior_mean: Array
    prior_covariance: Array
    beta: float = 1.0
    labels: Array = None  # type: ignore[assignment]  # an array in the object
    name: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    format: str = FORMAT

    def __post_init__(self) -> None:
        self.check_labels(self.name, self.meta, self.format)
        differences = table("differences", self.differences, (None, None))
        N, K = differences.shape
        given: Array | None = self.labels
        labels = np.ones(N) if given is None else table("labels", given, (N,))
        if (np.abs(labels) != 1.0).any():
            n = int(np.argmax(np.abs(labels) != 1.0))
            raise InstanceError.of(f"labels[{n}]", labels[n], "must be +1 or −1", "correct it")
        self.put(
            differences=differences, labels=labels, beta=positive("beta", self.beta),
            prior_mean=table("prior_mean", self.prior_mean, (K,)),
            prior_covariance=covariance("prior_covariance", self.prior_covariance, K),
        )  # fmt: skip
        in_nats("differences", self.differences, "beta", self.beta)


# -- families ------------------------------------------------------------------------------


def _random(
    seed: int, stream: int, name: str, width: float, lean: float, N: int | None, K: int | None
) -> PreferencePairs:
    """A user λ drawn around the prior, answering as Bradley–Terry says.

    width: scale of S_0. lean: how far the prior mean is drawn from 0.
    """
    rng = np.random.default_rng([seed, stream])
    N = int(rng.integers(1, 7)) if N is None else N
    K = int(rng.integers(1, 5)) if K is None else K
    root = rng.normal(size=(K, K))
    prior = width * (root @ root.T / K + 0.2 * np.eye(K))
    mean = lean * rng.normal(size=K)
    user = rng.multivariate_normal(mean, prior, method="cholesky")
    differences, beta = rng.normal(size=(N, K)), float(rng.choice([0.5, 1.0, 2.0]))
    wins = rng.random(N) < scipy.special.expit(differences @ user / beta)
    return PreferencePairs(
        name=f"{name}-{seed}", differences=differences, labels=np.where(wins, 1.0, -1.0),
        beta=beta, prior_mean=mean, prior_covariance=prior,
    )  # fmt: skip


def narrow_prior(seed: int, *, N: int | None = None, K: int | None = None) -> PreferencePairs:
    """A prior that knows something: most Newton steps are short."""
    return _random(seed, 11, "narrow-prior", 0.2, 0.3, N, K)


def wide_prior(seed: int, *, N: int | None = None, K: int | None = None) -> PreferencePairs:
    """A prior so wide, and so far off, that some Newton iterations overshoot."""
    return _random(seed, 12, "wide-prior", 30.0, 2.0, N, K)


FAMILIES: dict[str, Callable[..., PreferencePairs]] = {
    "narrow-prior": narrow_prior,
    "wide-prior": wide_prior,
}


def one_answer() -> PreferencePairs:
    """K = 1, Δ = 1, λ̄ = 0, S = 4: the maximum is 1.0426, the printed iteration ends at 0.7025."""
    return PreferencePairs(
        name="one-answer", differences=np.ones((1, 1)), prior_mean=np.zeros(1),
        prior_covariance=np.array([[4.0]]),
    )  # fmt: skip


def newton_cycle() -> PreferencePairs:
    """K = 1, Δ = 1, λ̄ = −20, S = 400: undamped Newton jumps between −20 and 380 for ever."""
    return PreferencePairs(
        name="newton-cycle", differences=np.ones((1, 1)), prior_mean=np.array([-20.0]),
        prior_covariance=np.array([[400.0]]),
    )  # fmt: skip


def wide_and_sure() -> PreferencePairs:
    """K = 1, Δ = 1, λ̄ = 0, S_0 = 1e4: (19) at S = 500 lies above the mean of 100 and 900."""
    return PreferencePairs(
        name="wide-and-sure", differences=np.ones((1, 1)), prior_mean=np.zeros(1),
        prior_covariance=np.array([[1e4]]),
    )  # fmt: skip


CLASSICS: dict[str, Callable[[], PreferencePairs]] = {
    "one-answer": one_answer,
    "newton-cycle": newton_cycle,
    "wide-and-sure": wide_and_sure,
}
