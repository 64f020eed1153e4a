"""Means over worlds: the seed is the unit of every error bar, since users share a world."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from math import sqrt
from statistics import fmean, stdev

Mean = tuple[float, float | None]  # and its standard error, where there are two seeds or more


def over_seeds(values: Iterable[tuple[int, float | None]]) -> Mean | None:
    """Mean and standard error of (seed, value): users of a seed are averaged, seeds are the sample."""
    by_seed: dict[int, list[float]] = defaultdict(list)
    for seed, value in values:
        if value is not None:
            by_seed[seed].append(value)
    means = [fmean(x) for x in by_seed.values()]
    if not means:
        return None
    return fmean(means), stdev(means) / sqrt(len(means)) if len(means) > 1 else None
