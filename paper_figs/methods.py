"""How the methods of a comparison are called and drawn, the same in every figure."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev

from .cached_table import Row
from .canvas import BLACK, BLUE, GREEN, GREY, ORANGE, PINK, SKY, VERMILION


@dataclass(frozen=True)
class Look:
    """label: in print; * for what knows the true reward or weights, which is drawn dashed."""

    label: str
    ink: str
    marker: str


LOOKS = {
    "rlhf-learnt": Look("RLHF, learnt", BLACK, "o"),
    "ss-explicit[m=0]": Look("souping", BLUE, "s"),
    "mod": Look("MOD", GREEN, "^"),
    "p-soups[rank 2]": Look("P-SOUPS", ORANGE, "D"),
    "pad-sf": Look("PAD-SF", PINK, "v"),
    "ss-implicit-printed": Look("printed sampler", VERMILION, "X"),
    "best-specialist": Look("best specialist", GREY, "P"),
    "oracle": Look("soup in budget *", BLUE, ""),
    "pad": Look("PAD *", SKY, ""),
}
NAMES = {"ss-implicit-printed[m=0, budget]": "ss-implicit-printed"}  # one variant, its id says all
TITLES = {
    "ultrafeedback": "ultrafeedback", "sleep": "sleep", "t2i myopic": "t2i, myopic bases",
    "t2i solved": "t2i, solved bases",
}  # fmt: skip


def look_of(method: str) -> Look:
    """The look of a row's method."""
    return LOOKS[NAMES.get(method, method)]


def over_seeds(rows: list[Row], key: str) -> tuple[float, float]:
    """Mean and standard error of a column: users of a seed are averaged, seeds are the sample."""
    by_seed: dict[int, list[float]] = {}
    for r in rows:
        if r[key] is not None:
            by_seed.setdefault(r["seed"], []).append(r[key])
    means = [fmean(x) for x in by_seed.values()]
    return fmean(means), stdev(means) / sqrt(len(means)) if len(means) > 1 else 0.0
