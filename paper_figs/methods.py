"""How the methods of a comparison are called and drawn, the same in every figure."""

from __future__ import annotations

from dataclasses import dataclass

from bounds.experiments.seeds import over_seeds

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


def of_column(rows: list[Row], key: str) -> tuple[float, float]:
    """Mean and standard error of a column over seeds; 0 where there is one seed."""
    mean = over_seeds((r["seed"], r[key]) for r in rows)
    assert mean is not None
    return mean[0], mean[1] or 0.0
