"""What keeps a soup from RLHF for the user: four losses, stacked, on each world.

All policies are valued under the user's reward: span (the reward at unlimited pairs is a mixture of the
specialists'), estimation (from this many pairs), souping (a soup in place of that reward's optimum),
specialists (given ones in place of exact). They add up to 1 − share; the last three may be negative.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bounds.experiments import comparison
from bounds.runs.progress import OnProgress, silent

from .cached_table import Row, rows_of
from .canvas import BLUE, GREEN, ORANGE, VERMILION, canvas
from .methods import TITLES, look_of, of_column

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CAPTION = "what is lost to RLHF: span, estimation, souping and specialists, by method and pairs"
READING = (
    "A panel for each simulated world, a bar for each method and number of pairs: what is "
    "lost to RLHF for the user, as a share of V_u − V_ref. Blue, span: the reward at "
    "unlimited pairs is a mixture of the specialists'. Orange, estimation: it is estimated "
    "from this many pairs. Green, souping: a soup in place of the policy that is best for it."
    " Vermilion, specialists: given ones in place of exact ones. The four add up to 1 − "
    "share, which is the black mark; the last three may be negative, and are then stacked to "
    "the left of 0. Means over seeds; * knows the true reward."
)
MADE_OF = "Drawn of {seeds} seeds with {users} users each (t2i: one), at {pairs} pairs."
METHODS = ("ss-explicit[m=0]", "mod", "oracle")
INKS = {
    "span": (BLUE, ""), "estimation": (ORANGE, "////"), "souping": (GREEN, "...."),
    "specialists": (VERMILION, "xxxx"),
}  # fmt: skip
QUICK = {"seeds": 2, "users": 1, "pairs": (40, 320), "methods": ("ss-explicit[m=0]", "mod")}


def compute(
    on_progress: OnProgress = silent,
    *,
    seeds: int = 5,
    users: int = 2,
    pairs: tuple[int, ...] = (40, 160, 1280),
    methods: tuple[str, ...] = METHODS,
) -> list[Row]:
    """Rows of ``comparison.flat``, whose losses are shares of V_u − V_ref."""
    tasks = comparison.tasks(comparison.DOMAINS, seeds, users, pairs, methods)
    return rows_of(tasks, "losses", on_progress)


def draw(rows: list[Row], width: float) -> Figure:
    """Bars of mean losses; what is negative is stacked to the left of 0; the mark is 1 − share."""
    from matplotlib.patches import Patch

    domains = [d for d in TITLES if any(r["domain"] == d for r in rows)]
    rows = [r for r in rows if r["span"] is not None]
    columns = 1 if width < 5 else 2
    lines = -(-len(domains) // columns)
    bars = sorted(
        {(r["method"], r["pairs"] or 0) for r in rows}, key=lambda b: (look_of(b[0]).label, b[1])
    )
    aspect = lines * (0.042 * len(bars) + 0.13) / (1.0 if columns == 1 else 1.25)
    figure, axes = canvas(width, aspect, lines, columns, sharex=True, sharey=True, squeeze=False)
    for panel, domain in zip(axes.flat, domains, strict=False):
        for y, (method, pairs) in enumerate(reversed(bars)):
            wanted = (domain, method, pairs)
            own = [r for r in rows if (r["domain"], r["method"], r["pairs"] or 0) == wanted]
            if not own:
                continue
            ends = [0.0, 0.0]
            for loss, (ink, hatch) in INKS.items():
                size, _ = of_column(own, loss)
                side = int(size < 0)
                panel.barh(
                    y, size, left=ends[side], color=ink, hatch=hatch, height=0.7, ec="white", lw=0.3
                )
                ends[side] += size
            panel.plot(
                1.0 - of_column(own, "share")[0], y, color="black", marker="|", ms=7, mew=1.3
            )
        labels = [look_of(m).label + (f", {n}" if n else "") for m, n in reversed(bars)]
        panel.set_yticks(range(len(bars)), labels)
        panel.axvline(0.0, color="0.3", lw=0.6)
        panel.set_title(TITLES[domain])
    for panel in axes[-1]:
        panel.set_xlabel("share lost (mark: total), by number of pairs")
    panel.set_xlim(right=panel.get_xlim()[1] + 0.01)  # of all: a mark at the edge is seen whole
    patches = [
        Patch(facecolor=ink, hatch=hatch, edgecolor="white", label=loss)
        for loss, (ink, hatch) in INKS.items()
    ]
    figure.legend(handles=patches, ncols=4, loc="outside upper center", columnspacing=1.0)
    return figure
