"""What labels tell: answers by chance (Bradley–Terry) fix the size of λ, rankings do not.

A user who ranks prefers the better answer always, so that any larger λ explains the labels better: what
bounds it is the budget of (7), or weights on the simplex.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bounds.experiments import comparison
from bounds.runs.progress import OnProgress, silent

from .cached_table import Row, rows_of
from .canvas import BLACK, BLUE, GREEN, SKY, canvas
from .methods import of_column

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

CAPTION = (
    "share against pairs, by how users answer: by chance or by rank, with a budget and without"
)
LOOKS = {
    "ss-explicit[m=0]": (SKY, "s", "-", "souping"),
    "ss-explicit[m=0, budget]": (BLUE, "D", "--", "souping in the budget"),
    "mod": (GREEN, "^", "-", "MOD (simplex)"), "rlhf-learnt": (BLACK, "o", "-", "RLHF, learnt"),
}  # fmt: skip
TITLES = {"bt": "labels by chance", "rank": "labels by rank"}
LOWEST = -0.5  # shares below it are left out of the picture, not of the table
QUICK = {"seeds": 2, "users": 1, "pairs": (20, 160)}


def compute(
    on_progress: OnProgress = silent,
    *,
    seeds: int = 8,
    users: int = 2,
    pairs: tuple[int, ...] = (20, 40, 80, 160, 320, 640, 1280),
) -> list[Row]:
    """Rows of ``comparison.flat`` on ultrafeedback, for both ways to answer."""
    tasks = comparison.tasks(("ultrafeedback",), seeds, users, pairs, tuple(LOOKS), ("bt", "rank"))
    return rows_of(tasks, "labels", on_progress)


def draw(rows: list[Row], width: float) -> Figure:
    """A panel for each way to answer; means, bands one standard error over seeds on each side."""
    figure, axes = canvas(width, 0.9, 1, 2, sharey=True)
    named: dict[str, Line2D] = {}
    for panel, (mode, title) in zip(axes, TITLES.items(), strict=True):
        for method, (ink, marker, style, label) in LOOKS.items():
            own = [r for r in rows if (r["labels"], r["method"]) == (mode, method)]
            sizes = sorted({r["pairs"] for r in own})
            seen = [of_column([r for r in own if r["pairs"] == n], "share") for n in sizes]
            mean, error = np.array(seen).T
            panel.fill_between(sizes, mean - error, mean + error, color=ink, alpha=0.15, lw=0)
            (named[label],) = panel.plot(
                sizes, mean, color=ink, marker=marker, ls=style, ms=2.8, lw=0.9
            )
        for level in (0.0, 1.0):
            panel.axhline(level, color="0.6", lw=0.6, zorder=1)
        panel.set(xscale="log", xlabel="pairs $N$", title=title, ylim=(LOWEST, 1.05))
        panel.set_xticks([n for n in (20, 160, 1280) if n in sizes])
        panel.xaxis.set_major_formatter("{x:.0f}")
        panel.minorticks_off()
    axes[0].set_ylabel("share")
    figure.legend(
        list(named.values()), list(named), ncols=2 if width < 5 else 4, loc="outside upper center",
        handlelength=1.8, columnspacing=1.0,
    )  # fmt: skip
    return figure
