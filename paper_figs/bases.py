"""Share of RLHF against the number of specialists K, by leave-out: Figure 3, exactly.

Specialists are removed in a random order of the seed. A model of width d knows each Q_k only through
d features (its least-squares fit), as an adapter of limited width would; of 125 features every fit is
exact. The table is the record of ``soupcheck experiment bases``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bounds.experiments import comparison
from bounds.runs.progress import OnProgress, silent

from .cached_table import Row, rows_of
from .canvas import BLACK, BLUE, GREEN, SKY, VERMILION, canvas
from .methods import SHARE, of_column

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CAPTION = "share of RLHF by number of specialists: three feature widths, and who chooses λ"
READING = (
    "Specialists are removed at random; across, how many are left; up, the share of RLHF: "
    f"{SHARE}"
    ". Left: λ learnt from the pairs by souping, at feature widths d: a model of width d "
    "knows each specialist's Q only through d features. Right: at the largest width, λ "
    "learnt, the user's true weights, and the best λ within the budget and of any size; * "
    "knows the true reward or weights, and is dashed. Lines are means over seeds, bands one "
    "standard error on each side; shares below −0.15 are left out of the picture."
)
MADE_OF = "Drawn of {seeds} seeds with {users} users each, λ learnt from {N} pairs a user."
SOUP, BUDGET = "ss-explicit[m=0]", "oracle"
METHODS = (SOUP, BUDGET, "oracle-free", "pad")
LOOKS = {
    "oracle-free": (GREEN, "^", "--", "best λ of any size *"), BUDGET: (BLUE, "s", "--", "best in budget *"),
    "pad": (SKY, "D", "--", "true weights *"), SOUP: (BLACK, "o", "-", "learnt"),
}  # fmt: skip
WIDTHS = ((VERMILION, "^", ":"), (BLUE, "s", "--"), (BLACK, "o", "-"))
LOWEST = -0.15  # shares below it are left out of the picture, not of the table
QUICK = {"seeds": 2, "users": 1, "full": False}


def compute(
    on_progress: OnProgress = silent,
    *,
    seeds: int = 6,
    users: int = 2,
    N: int = 320,
    full: bool = True,
) -> list[Row]:
    """Rows of ``comparison.flat`` with the number of bases; domain: "width d". full: every size."""
    tasks = comparison.tasks(("bases",), seeds, users, [N], METHODS, quick=not full)
    return rows_of(tasks, "bases", on_progress)


def draw(rows: list[Row], width: float) -> Figure:
    """λ from pairs at each width; then, at full width, λ from pairs and by who knows more."""
    figure, (left, right) = canvas(width, 0.85, 1, 2, sharey=True)
    widths = sorted({int(r["domain"].split()[1]) for r in rows})
    for (ink, marker, style), d in zip(WIDTHS[-len(widths) :], widths, strict=True):
        own = [r for r in rows if (r["domain"], r["method"]) == (f"width {d}", SOUP)]
        _line(left, own, ink, marker, style, f"width {d}")
    for method, look in LOOKS.items():
        own = [r for r in rows if (r["domain"], r["method"]) == (f"width {widths[-1]}", method)]
        _line(right, own, *look)
    counts = sorted({r["bases"] for r in rows})
    for panel, title in ((left, "learnt λ"), (right, f"width {widths[-1]}")):
        panel.set(xscale="log", xlabel="specialists $K$", title=title, ylim=(LOWEST, 1.05))
        panel.set_xticks(counts, [str(k) for k in counts])
        panel.minorticks_off()
        for level in (0.0, 1.0):
            panel.axhline(level, color="0.6", lw=0.6, zorder=1)
        panel.legend(loc="lower center", bbox_to_anchor=(0.5, 1.12), handlelength=1.8)
    left.set_ylabel("share of RLHF")
    return figure


def _line(panel: Any, rows: list[Row], ink: str, marker: str, style: str, label: str) -> None:
    """Means over seeds with their standard errors."""
    counts = sorted({r["bases"] for r in rows})
    seen = [of_column([r for r in rows if r["bases"] == k], "share") for k in counts]
    mean, error = np.array(seen).T
    panel.fill_between(counts, mean - error, mean + error, color=ink, alpha=0.15, lw=0)
    panel.plot(counts, mean, color=ink, marker=marker, ls=style, ms=2.8, lw=0.9, label=label)
