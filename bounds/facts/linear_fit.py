"""``X(t, s, a) = ψ((s, a))·ν``: does such a ν exist, and which is the shortest.

CLAIMS: ν is compared on reachable rows only, and where it is not unique a bound is evaluated at
the least-norm choice, which is linear in X. So fitting a few fields once gives every ν that the
bounds name, and their combinations.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from toymdp import TokenMDP
from toymdp.cached import cached_property
from toymdp.worlds.features import Dense, Features, IntArray, Tabular

from ..sides import EPS, Array, Mask

# singular values below this share of the largest are linear dependence, not a direction
RANK_TOLERANCE = 1e-12
# a fit is only trusted if its rounding resolves the field to this share of its size
FIT_RESOLUTION = 1e-7


@dataclass(frozen=True, eq=False)
class Fit:
    """Least-squares coordinates of M fields on the features, over reachable (t, s').

    nu: [M, D], least norm. residual: [M, T, S] (0 where unreachable), in the fields' units.
    error: [M], radius of the rounding in each residual. size: [M], largest |X|.
    largest: [M], largest |residual|. radius: [M], of the rounding in ``‖ν‖₂``.
    """

    nu: Array
    residual: Array
    error: Array
    size: Array
    largest: Array
    radius: Array

    def exists(self) -> list[bool | None]:
        """For each field: is there an exact ν; None where rounding cannot tell."""
        verdicts: list[bool | None] = []
        for largest, error, size in zip(self.largest, self.error, self.size, strict=True):
            if error > FIT_RESOLUTION * max(size, np.finfo(float).tiny):
                verdicts.append(None)
            elif largest <= error:
                verdicts.append(True)
            else:
                verdicts.append(False if largest > 8 * error else None)
        return verdicts


def _directions(sigma: Array) -> Mask:
    """Which singular values, the largest first, are directions and not linear dependence."""
    smallest = RANK_TOLERANCE * sigma[0] if len(sigma) else 0.0
    return np.asarray(sigma > smallest)


def _of_one_length(counts: IntArray, width: int) -> Iterator[IntArray]:
    """Rows of equally many entries, as many at a time as 2**22 numbers of so many features."""
    for n in np.unique(counts[counts > 1]).tolist():
        rows = np.flatnonzero(counts == n)
        yield from np.array_split(rows, 1 + len(rows) * n * width // 2**22)


class FeatureFit:
    """The column space of an instance's feature rows at the reachable next contexts."""

    def __init__(self, mdp: TokenMDP) -> None:
        self.mdp = mdp
        self.used = mdp.reach.nexts
        features = mdp.features
        assert isinstance(features, Dense | Tabular)  # made when the instance was read
        self.features: Features = features
        norms = (
            features.norms(mdp.steps)
            if isinstance(features, Dense)
            else features.scales(mdp.steps, mdp.n_contexts)
        )
        self.norms: Array = np.asarray(norms)

    @property
    def per_step(self) -> bool:
        """Whether the features carry the step."""
        return bool(self.features.per_step)

    @cached_property
    def _dense(self) -> tuple[Array, Array, Array, Array]:
        """Rows [n, d], root multiplicities [n], and the truncated SVD as (left, right/sigma)."""
        features = self.features
        assert isinstance(features, Dense)
        if features.per_step:
            rows, count = features.values[self.used], np.ones(int(self.used.sum()))
        else:
            times = self.used.sum(axis=0)
            rows, count = features.values[times > 0], times[times > 0].astype(float)
        root = np.sqrt(count)
        left, sigma, right = np.linalg.svd(root[:, None] * rows, full_matrices=False)
        live = _directions(sigma)
        return rows, root, left[:, live], right[live].T / sigma[live]

    @cached_property
    def rewards(self) -> Fit:
        """Fit of r_1..r_K and r_w, by one ν for all steps."""
        mdp = self.mdp
        rewards = np.vstack([mdp.rewards, mdp.reward_w])
        return self.fit(
            np.broadcast_to(rewards[:, None], (len(rewards), mdp.steps, mdp.n_contexts))
        )

    @property
    def independent(self) -> bool:
        """Whether the feature rows of the reachable (t, s') are linearly independent.

        With features that ignore the step, a context met at two steps has one row twice.
        """
        if not self.per_step and (self.used.sum(axis=0) > 1).any():
            return False
        if isinstance(self.features, Dense):
            rows, _, left, _ = self._dense
            return bool(left.shape[1] == len(rows))
        return True

    @cached_property
    def diameters(self) -> Array:
        """``diam_a ψ((s,·))`` [T, S] over allowed tokens; of one-hots the two largest scales."""
        mdp, features, rows = self.mdp, self.features, self.mdp.rows
        stacked = self.norms if self.per_step else self.norms[:1]
        diameters = np.zeros((len(stacked), mdp.n_contexts))
        for t, norms in enumerate(stacked):
            if isinstance(features, Tabular):
                scale = norms[rows.nexts]
                top = rows.lightest(-scale, np.ones(len(scale), dtype=bool))
                both = rows.largest(scale), rows.largest(np.where(top, -np.inf, scale))
                several = rows.counts > 1
                diameters[t, several] = np.hypot(*both)[several]
                continue
            values = features.values[t] if features.per_step else features.values
            for s in _of_one_length(rows.counts, features.width):
                psi = values[rows.padded(s)[1]]
                for i in range(1, psi.shape[1]):  # each token against those before it
                    apart = np.linalg.norm(psi[:, :i] - psi[:, i : i + 1], axis=2).max(axis=1)
                    diameters[t, s] = np.maximum(diameters[t, s], apart)
        return np.broadcast_to(diameters, (mdp.steps, mdp.n_contexts))

    def fit(self, X: Array, known_to: float = 0.0) -> Fit:
        """Fit fields X [M, T, S] on next contexts.

        known_to: size of what X was computed from, where that may be larger than X itself.
        """
        if isinstance(self.features, Tabular) and self.per_step:
            return self._interpolate(X, known_to)
        X = np.where(self.used, X, 0.0)
        nu, fitted, reach = (
            self._fit_dense(X) if isinstance(self.features, Dense) else self._fit_tabular(X)
        )
        residual = np.where(self.used, X - fitted, 0.0)
        size = np.maximum(np.abs(X).max(axis=(1, 2), initial=0.0), known_to)
        terms = nu.shape[1] if isinstance(self.features, Dense) else 1
        unit = 16 * EPS * (self.mdp.steps + terms)
        largest = np.abs(residual).max(axis=(1, 2))
        # where a field leaves the span, what is left of it turns with the span
        error = unit * (size + reach.max(axis=(1, 2)) + self._condition * largest)
        entries = np.where(self.used, np.abs(X) + known_to + reach, 0.0)
        return Fit(nu, residual, error, size, largest, unit * self._moved(entries))

    def _moved(self, errors: Array) -> Array:
        """How far ‖ν‖ may move [M] if the entries of a field move by ``errors`` [M, T, S] ≥ 0."""
        seen = self.used.any(axis=0)
        entries = errors[:, self.used] if self.per_step else errors.max(axis=1)[:, seen]
        if not isinstance(self.features, Dense):
            return np.asarray(np.linalg.norm(entries / self.norms[0, seen], axis=1))
        _, root, left, right = self._dense
        return np.asarray(np.linalg.norm((entries * root) @ np.abs(right @ left.T).T, axis=1))

    @property
    def _condition(self) -> float:
        """Of the feature rows: how much further than a row their span turns. 1 of one-hots."""
        if not isinstance(self.features, Dense):
            return 1.0
        rows, root, _, right = self._dense
        return float(np.linalg.norm(root[:, None] * rows) * np.linalg.norm(right))

    def at(self, nu: Array, t: int, s: int) -> float:
        """``ψ(t, s')·ν`` at a reachable next context, ν [D] one of a fit's."""
        features = self.features
        if isinstance(features, Dense):
            return float((features.values[t, s] if features.per_step else features.values[s]) @ nu)
        # one coordinate for each place that is reached, or for each context that is
        seen = np.atleast_2d(self.used.any(axis=0))
        kept, row = (self.used, t) if features.per_step else (seen, 0)
        return float(self.norms[t, s] * nu[kept[:row].sum() + kept[row, :s].sum()])

    def _interpolate(self, X: Array, known_to: float) -> Fit:
        """One coordinate for each (t, s'): any field is fitted, and nothing is left."""
        field = X.reshape(len(X), -1).take(np.flatnonzero(self.used), axis=1)
        size = np.maximum(np.abs(field).max(axis=1, initial=0.0), known_to)
        nothing = np.zeros(len(X))
        residual = np.broadcast_to(nothing[:, None, None], X.shape)
        error = 16 * EPS * (self.mdp.steps + 1) * size
        nu = field / self.norms[self.used]
        entries = (np.abs(field) + known_to) / self.norms[self.used]
        radius = 16 * EPS * (self.mdp.steps + 1) * np.linalg.norm(entries, axis=1)
        return Fit(nu, residual, error, size, nothing, radius)

    def _mean_over_steps(self, X: Array) -> Array:
        """[M, S]: mean of a field over the steps at which the context is reached."""
        times = self.used.sum(axis=0)
        return np.asarray(X.sum(axis=1) / np.where(times > 0, times, 1))

    def _fit_dense(self, X: Array) -> tuple[Array, Array, Array]:
        features = self.features
        assert isinstance(features, Dense)
        rows, root, left, right = self._dense
        seen = self.used.any(axis=0)
        target = X[:, self.used] if features.per_step else self._mean_over_steps(X)[:, seen]
        nu = ((target * root) @ left) @ right.T
        # refined once: the decomposition is right to a share of the largest row, this of each row
        nu += (((target - nu @ rows.T) * root) @ left) @ right.T
        # the rounding of ψ·ν grows with the sizes of the products that cancel in it
        fitted, reach = np.zeros((2, *X.shape))
        for table, flat in ((fitted, nu @ rows.T), (reach, np.abs(nu) @ np.abs(rows).T)):
            if features.per_step:
                table[:, self.used] = flat
            else:
                table[:, :, seen] = flat[:, None, :]
        return nu, fitted, reach

    def _fit_tabular(self, X: Array) -> tuple[Array, Array, Array]:
        """One coordinate for each s', the same at every step."""
        mean = self._mean_over_steps(X)
        nu = np.where(self.used.any(axis=0), mean / self.norms[0], 0.0)
        fitted = np.broadcast_to(mean[:, None, :], X.shape)
        return nu[:, self.used.any(axis=0)], fitted, np.zeros(X.shape)

    def fit_each_step(self, X: Array, known_to: float = 0.0) -> Fit:
        """Fit with a ν_t of its own for every step: residuals only (ν is left empty)."""
        parts = []
        for t in range(self.mdp.steps):
            single = _OneStep(self, t)
            parts.append(single.fit(X[:, t : t + 1], known_to))
        return Fit(
            np.empty((len(X), 0)),
            np.concatenate([p.residual for p in parts], axis=1),
            np.max([p.error for p in parts], axis=0),
            np.max([p.size for p in parts], axis=0),
            np.max([p.largest for p in parts], axis=0),
            np.zeros(len(X)),
        )


class _OneStep(FeatureFit):
    """The rows of a single step."""

    def __init__(self, whole: FeatureFit, t: int) -> None:
        self.mdp = whole.mdp
        self.features = whole.features
        self.used = whole.used[t : t + 1]
        self.norms = whole.norms[t : t + 1]
        self.t = t

    @cached_property
    def _dense(self) -> tuple[Array, Array, Array, Array]:
        features = self.features
        assert isinstance(features, Dense)
        values = features.values[self.t] if features.per_step else features.values
        rows = values[self.used[0]]
        left, sigma, right = np.linalg.svd(rows, full_matrices=False)
        live = _directions(sigma)
        return rows, np.ones(len(rows)), left[:, live], right[live].T / sigma[live]
