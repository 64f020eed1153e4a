"""``topic-cloud/1``: prompts in a feature space, gathered around the centres of latent topics.

EXACT section 5.2: ``φ(x) = μ_{t(x)} + ε``, a user's m = Σ n_c past prompts, and a test prompt of
topic j. Noise is Gaussian, or lives on a few atoms (bounded clouds), where every expectation is a
finite sum.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arrays import Array
from ..errors import InstanceError
from ..instance import Instance
from ..validators import check_bytes, integer, positive, table
from .preference_pairs import SYMMETRY_TOLERANCE

FORMAT = "topic-cloud/1"
SUM_TOLERANCE = 1e-9
MOST_PROMPTS = 1e9


@dataclass(frozen=True, eq=False, kw_only=True)
class TopicCloud(Instance):
    """An instance of format ``topic-cloud/1``; the fields are the file's keys.

    means: [C, d] μ_c. counts: [C] n_c ≥ 1. proportions: [C] p_c (default n_c/m). topic: j of the
    test prompt. Either covariances [C, d, d], positive semidefinite, of Gaussian noise; or points
    [C, M, d] and weights [C, M] of noise on atoms (weight 0: no atom).
    separation, sigma, delta: r, σ, δ of (16)–(19). seed, draws: of the Monte Carlo estimates.

    Raises InstanceError naming field, value, rule and remedy.
    """

    means: Array
    counts: NDArray[Any]
    separation: float
    sigma: float
    delta: float
    topic: int = 0
    proportions: Array = None  # type: ignore[assignment]  # an array in the object
    covariances: Array | None = None
    points: Array | None = None
    weights: Array | None = None
    seed: int = 0
    draws: int = 4096
    name: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    format: str = FORMAT

    def __post_init__(self) -> None:
        self.check_labels(self.name, self.meta, self.format)
        means = table("means", self.means, (None, None))
        C, d = means.shape
        counts = table("counts", self.counts, (C,), np.inf)
        odd = (counts < 1) | (counts > MOST_PROMPTS) | (counts != np.round(counts))
        if odd.any():
            c = int(np.argmax(odd))
            raise InstanceError.of(
                f"counts[{c}]", counts[c], "must be a whole number ≥ 1", "fix it"
            )
        given: Array | None = self.proportions
        shares = counts / counts.sum() if given is None else given
        self.put(
            means=means, counts=counts, proportions=_simplex("proportions", shares, C),
            separation=positive("separation", self.separation),
            sigma=positive("sigma", self.sigma), delta=positive("delta", self.delta),
            seed=integer("seed", self.seed, 0), draws=integer("draws", self.draws, 2),
            topic=integer("topic", self.topic, 0),
        )  # fmt: skip
        check_bytes("draws", self.draws, 8 * C * (self.draws + 1) * (8 * d + 8 * C))
        if self.delta >= 1:
            raise InstanceError.of("delta", self.delta, "is a probability below 1", "lower it")
        if self.topic >= C:
            raise InstanceError.of("topic", self.topic, f"must be 0..{C - 1}", "correct it")
        gaussian, atoms = self.covariances is not None, self.points is not None
        if gaussian == atoms or atoms != (self.weights is not None):
            rule = "either covariances, or points and weights"
            raise InstanceError.of("noise", "given twice or not at all", rule, "give one of them")
        if gaussian:
            self.put(covariances=_covariances(self.covariances, C, d))
        else:
            points = table("points", self.points, (C, None, d))
            M = points.shape[1]
            weights = table("weights", self.weights, (C, M))
            rows = [_simplex(f"weights[{c}]", row, M) for c, row in enumerate(weights)]
            self.put(points=points, weights=np.array(rows))


def _simplex(name: str, value: Any, n: int) -> Array:
    """n weights, non-negative, summing to 1 within SUM_TOLERANCE."""
    weights = table(name, value, (n,))
    if (weights < 0).any():
        i = int(np.argmin(weights))
        raise InstanceError.of(f"{name}[{i}]", weights[i], "must be ≥ 0", "correct it")
    if abs(weights.sum() - 1.0) > SUM_TOLERANCE:
        raise InstanceError.of(f"sum of {name}", float(weights.sum()), "must be 1", "divide by it")
    return weights


def _covariances(value: Any, C: int, d: int) -> Array:
    """[C, d, d] symmetric positive semidefinite; a cloud may be a point or a segment."""
    matrices = table("covariances", value, (C, d, d))
    flipped = np.swapaxes(matrices, 1, 2)
    size = np.abs(matrices).max(axis=(1, 2))
    bad = np.abs(matrices - flipped).max(axis=(1, 2)) > SYMMETRY_TOLERANCE * size
    bad |= np.linalg.eigvalsh(0.5 * (matrices + flipped))[:, 0] < -SYMMETRY_TOLERANCE * size
    if bad.any():
        c = int(np.argmax(bad))
        rule = "must be symmetric positive semidefinite"
        raise InstanceError.of(f"covariances[{c}]", "a matrix", rule, "correct it")
    return np.asarray(0.5 * (matrices + flipped))


# -- families ------------------------------------------------------------------------------


def mixed_topics(seed: int, *, C: int | None = None, d: int | None = None) -> TopicCloud:
    """Gaussian clouds that overlap, a few prompts each; half with proportions of their own."""
    rng = np.random.default_rng([seed, 31])
    C = int(rng.integers(1, 5)) if C is None else C
    d = int(rng.integers(1, 4)) if d is None else d
    root = rng.normal(size=(C, d, d))
    means = rng.normal(size=(C, d)) * rng.choice([0.5, 2.0, 5.0])
    counts = rng.integers(1, 7, size=C)
    return TopicCloud(
        name=f"mixed-topics-{seed}", means=means, counts=counts, topic=int(rng.integers(C)),
        covariances=root @ np.swapaxes(root, 1, 2) / d, separation=1.0, sigma=1.0,
        proportions=rng.dirichlet(np.ones(C)) if rng.random() < 0.5 else counts / counts.sum(),
        delta=float(rng.uniform(0.01, 0.2)), seed=seed,
    )  # fmt: skip


def bounded_topics(
    seed: int, *, C: int | None = None, d: int | None = None, M: int | None = None
) -> TopicCloud:
    """Clouds of two or three atoms each: every expectation is a finite sum."""
    rng = np.random.default_rng([seed, 32])
    C = int(rng.integers(1, 4)) if C is None else C
    d = int(rng.integers(1, 4)) if d is None else d
    M = int(rng.integers(2, 4)) if M is None else M
    weights = rng.dirichlet(np.ones(M), size=C)
    points = rng.normal(size=(C, M, d))
    points -= np.einsum("cm,cmd->cd", weights, points)[:, None]
    return TopicCloud(
        name=f"bounded-topics-{seed}", means=rng.normal(size=(C, d)) * rng.choice([0.5, 2.0]),
        counts=rng.integers(1, 6, size=C), topic=int(rng.integers(C)), points=points,
        weights=weights, separation=0.5, sigma=2.0, delta=float(rng.uniform(0.01, 0.2)), seed=seed,
    )  # fmt: skip


def separated_topics(
    seed: int, *, C: int | None = None, d: int | None = None, delta: float | None = None
) -> TopicCloud:
    """Gaussian clouds under (16), r = 8σ to 10σ, with as many prompts as (18) asks for."""
    rng = np.random.default_rng([seed, 33])
    C = int(rng.integers(2, 4)) if C is None else C
    d = int(rng.integers(1, 4)) if d is None else d
    sigma, ratio = float(rng.uniform(0.5, 2.0)), float(rng.uniform(8.0, 10.0))
    steps = rng.uniform(1.0, 1.3, size=C)
    means = np.zeros((C, d))
    means[:, 0] = np.cumsum(steps) * sigma * ratio
    delta = float(10.0 ** rng.uniform(-9, -1)) if delta is None else delta
    needed = samples_needed(sigma, means[1, 0] - means[0, 0], C, d, delta)
    shrink = rng.uniform(0.5, 1.0, size=(C, 1, 1))
    return TopicCloud(
        name=f"separated-topics-{seed}", means=means, topic=int(rng.integers(C)),
        counts=np.ceil(2 * needed) + rng.integers(0, 50, size=C), sigma=sigma,
        covariances=np.eye(d) * shrink * sigma**2, separation=sigma * ratio, delta=delta,
        seed=seed, draws=512,
    )  # fmt: skip


# With this constant in (18) step 1 of the paper's proof is rigorous: |μ̂_c − μ_c| exceeds
# (4σ√d + 2σ√(2 log(2C/δ)))/√n_c with probability δ/(2C) at most, and n_c of (18) makes it ≤ r/4
SAMPLE_CONSTANT = 512.0


def samples_needed(sigma: float, r: float, C: int, d: int, delta: float) -> float:
    """Right side of (18): ``C₀ σ²/r² (d + log(C/δ))`` for C topics."""
    return float(SAMPLE_CONSTANT * (sigma / r) ** 2 * (d + np.log(C / delta)))


FAMILIES: dict[str, Callable[..., TopicCloud]] = {
    "mixed-topics": mixed_topics,
    "bounded-topics": bounded_topics,
    "separated-topics": separated_topics,
}


def rare_jump() -> TopicCloud:
    """Two topics at distance 1; noise of topic 0 jumps 5/8 of the way once in 2**20 prompts.

    r/σ = 8.42 for its exact sub-Gaussian σ, δ = 1e-8, and (18) asks 145 prompts of the 256. All
    past prompts are as good as exact, but the test prompt that jumps is taken for topic 1.
    """
    q, jump = 2.0**-20, 0.625
    points = np.zeros((2, 2, 1))
    points[0, :, 0] = -jump * q, jump * (1.0 - q)
    return TopicCloud(
        name="rare-jump", means=np.array([[0.0], [1.0]]), counts=np.array([256, 256]), topic=0,
        points=points, weights=np.array([[1.0 - q, q], [1.0, 0.0]]), separation=1.0,
        sigma=0.11873, delta=1e-8,
    )  # fmt: skip


def gaussian_tail() -> TopicCloud:
    """Two Gaussian topics on a line, r = 8σ, 400 prompts each, δ = 1e-7: P_err = Φ(−4) nearly."""
    return TopicCloud(
        name="gaussian-tail", means=np.array([[0.0], [8.0]]), counts=np.array([400, 400]), topic=0,
        covariances=np.ones((2, 1, 1)), separation=8.0, sigma=1.0, delta=1e-7,
    )  # fmt: skip


def two_points() -> TopicCloud:
    """Two topics without noise, one prompt each: pooling at random has variance 1/8, (17) none."""
    return TopicCloud(
        name="two-points", means=np.array([[0.0], [1.0]]), counts=np.array([1, 1]), topic=0,
        covariances=np.zeros((2, 1, 1)), separation=1.0, sigma=0.1, delta=0.1,
    )  # fmt: skip


def crowded_neighbour() -> TopicCloud:
    """Two topics at distance 4 whose prompts jump by ±4 once in 8: of 32 prompts of the other some come near.

    The nearest past prompt is of the wrong topic with chance 0.47, the nearest centre with 0.066.
    """
    points = np.zeros((2, 3, 1))
    points[:, :, 0] = -4.0, 0.0, 4.0
    return TopicCloud(
        name="crowded-neighbour", means=np.array([[0.0], [4.0]]), counts=np.array([2, 32]), topic=0,
        points=points, weights=np.array([[0.0625, 0.875, 0.0625]] * 2), separation=4.0, sigma=2.0,
        delta=0.1,
    )  # fmt: skip


CLASSICS: dict[str, Callable[[], TopicCloud]] = {
    "rare-jump": rare_jump,
    "gaussian-tail": gaussian_tail,
    "two-points": two_points,
    "crowded-neighbour": crowded_neighbour,
}
