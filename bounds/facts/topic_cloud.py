"""What the claims of EXACT section 5.2 are judged on."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from toymdp.instance import nudged
from toymdp.worlds.topic_cloud import TopicCloud

from ..claim import Array


@dataclass(frozen=True)
class TopicSubject:
    """What the claims of EXACT section 5.2 are judged on; the second road nudges its inputs."""

    instance: TopicCloud
    twin: bool = False
    cache: dict[Any, Any] = field(default_factory=dict)

    @cached_property
    def shadow(self) -> TopicSubject:
        """The second road: the same draws from nudged inputs, so that rounding alone differs."""
        return TopicSubject(self.instance, twin=True)

    @property
    def depth(self) -> int:
        """Additions in one mean of a cloud."""
        return int(self.means.size * self.instance.counts.max())

    def read(self, key: str) -> Array:
        """A table of the instance, nudged on the second road."""
        values: Array = getattr(self.instance, key)
        return nudged(values, len(key)) if self.twin else values

    @cached_property
    def means(self) -> Array:
        """[C, d] μ_c."""
        return self.read("means")

    @cached_property
    def shares(self) -> Array:
        """[C] p_c."""
        return self.read("proportions")

    @cached_property
    def atoms(self) -> tuple[tuple[Array, Array], ...] | None:
        """Atoms [M_c, d] and their weights [M_c] by topic, without atoms of weight 0, or None."""
        if self.instance.points is None:
            return None
        pairs = zip(self.read("points"), self.read("weights"), strict=True)
        kept = [(points[weights > 0], weights[weights > 0]) for points, weights in pairs]
        return tuple((points, weights / weights.sum()) for points, weights in kept)

    @cached_property
    def offsets(self) -> Array:
        """[C, d] E[ε | c], 0 if (15) holds."""
        if self.atoms is None:
            return np.zeros_like(self.means)
        return np.array([weights @ points for points, weights in self.atoms])

    @cached_property
    def covariances(self) -> Array:
        """[C, d, d] Σ_c."""
        if self.atoms is None:
            matrices = self.read("covariances")
            return np.asarray(0.5 * (matrices + np.swapaxes(matrices, 1, 2)))
        centred = [(p - b, w) for (p, w), b in zip(self.atoms, self.offsets, strict=True)]
        return np.array([(p * w[:, None]).T @ p for p, w in centred])

    @cached_property
    def roots(self) -> Array:
        """[C, d, d] symmetric square roots of Σ_c, which move continuously with Σ_c."""
        spread, axes = np.linalg.eigh(self.covariances)
        scaled = axes * np.sqrt(np.maximum(spread, 0.0))[:, None, :]
        return np.asarray(scaled @ np.swapaxes(axes, 1, 2))


subject = TopicSubject
