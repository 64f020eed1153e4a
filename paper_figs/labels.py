"""What labels tell: answers by chance (Bradley–Terry) fix the size of λ, rankings do not.

A user who ranks prefers the better answer always, so that any larger λ explains the labels better: what
bounds it is the budget of (7), or weights on the simplex.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bounds.experiments import comparison
from bounds.runs.progress import OnProgress, silent

from .cached_table import Row, rows_of
from .canvas import BLACK, BLUE, GREEN, SKY, canvas
from .methods import SHARE, along_pairs, line_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

CAPTION = "share against pairs, by how users answer: by chance or rank, with and without a budget"
READING = (
    "Left, users answer by chance (Bradley–Terry); right, by rank: the better answer always. "
    "Across, the number of pairs; up, "
    f"{SHARE}"
    ". Labels by chance fix the size of λ; a ranking is explained the better the larger λ, so"
    " that souping needs the budget of (7) there (dashed), or weights on the simplex (MOD). "
    "Lines are means over seeds, bands one standard error on each side; shares below −0.5 are"
    " left out of the picture."
)
MADE_OF = (
    "Drawn of {seeds} seeds of the ultrafeedback world with {users} users each, at {pairs} pairs."
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
    sizes = sorted({r["pairs"] for r in rows})
    for panel, (mode, title) in zip(axes, TITLES.items(), strict=True):
        for method, (ink, marker, style, label) in LOOKS.items():
            own = [r for r in rows if (r["labels"], r["method"]) == (mode, method)]
            named[label] = line_of(panel, own, "share", sizes, ink, marker, style)
        for level in (0.0, 1.0):
            panel.axhline(level, color="0.6", lw=0.6, zorder=1)
        panel.set(xlabel="pairs $N$", title=title, ylim=(LOWEST, 1.05))
        along_pairs(panel, sizes)
    axes[0].set_ylabel("share")
    figure.legend(
        list(named.values()), list(named), ncols=2 if width < 5 else 4, loc="outside upper center",
        handlelength=1.8, columnspacing=1.0,
    )  # fmt: skip
    return figure
