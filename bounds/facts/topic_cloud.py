"""What the claims of EXACT section 5.2 are judged on."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import comb, prod

import numpy as np
import scipy  # whose parts are imported when they are first asked for

from toymdp.cached import cached_property
from toymdp.instance import nudged
from toymdp.worlds.topic_cloud import TopicCloud

from ..sides import EPS, Array, Undecidable
from .once import ComputesOnce

MOST_CENTRES = 200_000  # combinations of atom counts that are summed


@dataclass(frozen=True)
class Centres:
    """Joint values ``μ̂_c − μ_c`` [N, C, d], all or a sample; weights [N] and their error."""

    shift: Array
    weights: Array
    drawn: bool
    relative: float = 0.0


@dataclass(frozen=True)
class TopicFacts(ComputesOnce):
    """What the claims of EXACT section 5.2 are judged on; the second time their inputs are nudged."""

    instance: TopicCloud
    is_second: bool = False

    @cached_property
    def second(self) -> TopicFacts:
        """The same draws from nudged inputs, so that rounding alone differs."""
        return TopicFacts(self.instance, is_second=True)

    @property
    def depth(self) -> int:
        """Additions in one mean of a cloud."""
        return int(self.means.size * self.instance.counts.max())

    def read(self, key: str) -> Array:
        """A table of the instance, nudged the second time."""
        values: Array = getattr(self.instance, key)
        return nudged(values, len(key)) if self.is_second else values

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
        atoms = [(points[weights > 0], weights[weights > 0]) for points, weights in pairs]
        return tuple((points, weights / weights.sum()) for points, weights in atoms)

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

    @cached_property
    def centres(self) -> Centres:
        """All values of the centres of clouds on atoms, a sample for Gaussian clouds.

        Raises Undecidable where the values are too many.
        """
        return self._sampled() if self.atoms is None else self._listed()

    def _sampled(self) -> Centres:
        N, rng = self.instance.draws, np.random.default_rng([self.instance.seed, 1])
        noise = np.einsum("ncd,cde->nce", rng.normal(size=(N, *self.means.shape)), self.roots)
        return Centres(
            noise / self.instance.counts[:, None] ** 0.5, np.full(N, 1.0 / N), drawn=True
        )

    def _listed(self) -> Centres:
        """Every combination of atom counts with its multinomial probability."""
        assert self.atoms is not None
        sizes = [
            (int(n), len(w)) for n, (_, w) in zip(self.instance.counts, self.atoms, strict=True)
        ]
        rows = prod(comb(n + M - 1, M - 1) for n, M in sizes)
        if rows > MOST_CENTRES:
            raise Undecidable(f"{rows} combinations of atom counts exceed {MOST_CENTRES}")
        shifts, logs = [], []
        for (n, M), (points, w) in zip(sizes, self.atoms, strict=True):
            counts = compositions(n, M)
            shifts.append(counts @ points / n)
            each = scipy.special.xlogy(counts, w) - scipy.special.gammaln(counts + 1)
            logs.append(scipy.special.gammaln(n + 1) + each.sum(axis=1))
        grid = np.indices([len(s) for s in shifts]).reshape(len(shifts), -1)
        shift = np.stack([s[i] for s, i in zip(shifts, grid, strict=True)], axis=1)
        weights = np.exp(np.sum([log[i] for log, i in zip(logs, grid, strict=True)], axis=0))
        # the largest logarithm that was cancelled is what the exponential amplifies
        relative = 8 * EPS * float(sum(scipy.special.gammaln(n + 1) + n for n, _ in sizes))
        return Centres(shift, weights / weights.sum(), drawn=False, relative=relative)


def compositions(n: int, M: int) -> Array:
    """All ways [rows, M] to write n as an ordered sum of M whole numbers ≥ 0: stars and bars."""
    bars = np.array(list(combinations(range(n + M - 1), M - 1)))
    edges = np.pad(bars, ((0, 0), (1, 1)), constant_values=((0, 0), (-1, n + M - 1)))
    return np.asarray(np.diff(edges, axis=1) - 1, dtype=np.float64)
