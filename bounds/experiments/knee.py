"""Is there a knee? Two straight segments against a smooth curve, judged on seeds that neither saw."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean

import numpy as np

from toymdp.arrays import Array

from ..records.output import Record
from .findings import Side, Triple

SCALES = tuple(np.geomspace(0.3, 60.0, 40).tolist())  # specialists, of the smooth curve's bend


def knee(side: Side, records: Sequence[Record], domain: str) -> list[Triple]:
    """(seed, error of a smooth curve, error of two segments) on the seed's shares over K."""
    seen: dict[int, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for r in side.rows(records, domain):
        if r[side.key] is not None:
            seen[r["seed"]][r["bases"]].append(r[side.key])
    return held_out({s: {k: fmean(x) for k, x in c.items()} for s, c in seen.items()})


def held_out(curves: Mapping[int, Mapping[int, float]]) -> list[Triple]:
    """(seed, mean squared error of a smooth curve there, of two segments), shares squared.

    curves: seed -> {K: share}. Each is fitted to the mean of the other seeds: ``a + b e^{−K/c}``, and
    ``a + bK + c max(0, κ − K)`` with a knee κ inside the range.
    Empty where fewer than three seeds share four sizes.
    """
    sizes = sorted(set.intersection(*(set(c) for c in curves.values()))) if curves else []
    if len(curves) < 3 or len(sizes) < 4:
        return []
    K = np.array(sizes, dtype=np.float64)
    rows = {seed: np.array([curve[k] for k in sizes]) for seed, curve in curves.items()}
    bends = [np.stack([np.ones_like(K), np.exp(-K / c)], axis=1) for c in SCALES]
    knees = [
        np.stack([np.ones_like(K), K, np.maximum(0.0, knee - K)], axis=1)
        for knee in np.linspace(K[1], K[-2], 40)
    ]
    errors = []
    for seed, row in rows.items():
        others = np.mean([other for s, other in rows.items() if s != seed], axis=0)
        smooth, segments = (_nearest(others, shapes) for shapes in (bends, knees))
        bent, kneed = (float(np.mean((row - fit) ** 2)) for fit in (smooth, segments))
        errors.append((seed, bent, kneed))
    return errors


def _nearest(y: Array, shapes: list[Array]) -> Array:
    """The least-squares fit of y [n] by the columns of one of the shapes [n, m], the best of them."""
    fits = [X @ np.linalg.lstsq(X, y, rcond=None)[0] for X in shapes]
    return min(fits, key=lambda fit: float(np.sum((fit - y) ** 2)))
