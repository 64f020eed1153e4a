"""How the methods of a comparison are called and drawn, the same in every figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bounds.experiments.seeds import over_seeds

from .cached_table import Row
from .canvas import BLACK, BLUE, GREEN, GREY, ORANGE, PINK, SKY, VERMILION

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

# what is drawn, for those who have only the figure
SHARE = (
    "share is (V − V_ref)/(V_u − V_ref), by the user's value V of a policy on prompts not seen before: "
    "0 is ref, 1 the policy trained for the user's true reward"
)
TICKS = (20, 160, 1280)  # numbers of pairs that are named on an axis


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


def line_of(
    panel: Axes, rows: list[Row], column: str, sizes: Sequence[int],
    ink: str, marker: str, style: str, size: float = 2.8,
) -> Line2D:  # fmt: skip
    """A column's means over seeds against the pairs, in a band of one standard error on each side.

    Rows that know no number of pairs are level and have no band. size: of the markers, points.
    """
    level = rows[0]["pairs"] is None
    seen = [of_column([r for r in rows if level or r["pairs"] == n], column) for n in sizes]
    mean, error = np.array(seen).T
    if not level:
        panel.fill_between(sizes, mean - error, mean + error, color=ink, alpha=0.15, lw=0)
    (line,) = panel.plot(sizes, mean, color=ink, marker=marker, ls=style, ms=size, lw=0.9)
    return line


def along_pairs(panel: Axes, sizes: Sequence[int]) -> None:
    """Make the axis of abscissae one of numbers of pairs."""
    panel.set_xscale("log")
    panel.set_xticks([n for n in TICKS if n in sizes])
    panel.xaxis.set_major_formatter("{x:.0f}")
    panel.minorticks_off()
