"""Share of bespoke RLHF against the number of the user's pairs: Figures 1 and 2, exactly.

share = (V − V_ref)/(V_u − V_ref) on prompts not seen before: 0 is ref, 1 the policy trained for the
user's true reward. Methods that know the true reward or weights are dashed (*); the best soup sees no
pairs and is level, PAD only chooses its strength by them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bounds.experiments import comparison
from bounds.runs.progress import OnProgress, silent

from .cached_table import Row, rows_of
from .canvas import canvas
from .methods import LOOKS, SHARE, TITLES, along_pairs, line_of, look_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

CAPTION = "share of bespoke RLHF against the number of pairs, every method, four worlds"
READING = (
    "A panel for each simulated world: preferences over answers (ultrafeedback), sleep "
    "coaching (sleep), prompts for images (t2i) with specialists that look one step ahead "
    "(myopic) or are solved. Across, the number of the user's pairs; up, the share of bespoke"
    " RLHF: "
    f"{SHARE}"
    ". Lines are means over seeds, bands one standard error on each side. Dashed and *: knows"
    " the true reward or weights; level lines see no pairs. Shares below −0.1 are left out of"
    " the picture."
)
MADE_OF = "Drawn of {seeds} seeds with {users} users each (t2i: one), at {pairs} pairs."
METHODS = (
    "rlhf-learnt", "ss-explicit[m=0]", "mod", "p-soups[rank 2]", "pad-sf", "ss-implicit-printed",
    "best-specialist", "oracle", "pad",
)  # fmt: skip
LOWEST = -0.1  # shares below it are left out of the picture, not of the table
QUICK = {
    "seeds": 2, "users": 1, "pairs": (20, 160),
    "methods": ("rlhf-learnt", "ss-explicit[m=0]", "mod", "pad"),
}  # fmt: skip


def compute(
    on_progress: OnProgress = silent,
    *,
    seeds: int = 5,
    users: int = 2,
    pairs: tuple[int, ...] = (20, 40, 160, 1280),
    methods: tuple[str, ...] = METHODS,
) -> list[Row]:
    """Rows of ``comparison.flat``, for each domain, user, method and number of pairs."""
    tasks = comparison.tasks(comparison.DOMAINS, seeds, users, pairs, methods)
    return rows_of(tasks, "adaptation", on_progress)


def draw(rows: list[Row], width: float) -> Figure:
    """A panel for each world; lines are means, bands one standard error over seeds on each side."""
    domains = [d for d in TITLES if any(r["domain"] == d for r in rows)]
    columns = 2 if width < 5 else len(domains)
    lines = -(-len(domains) // columns)
    aspect = 1.3 if lines > 1 else 0.75
    figure, axes = canvas(width, aspect, lines, columns, sharex=True, sharey=True, squeeze=False)
    sizes = sorted({r["pairs"] for r in rows if r["pairs"] is not None})
    named: dict[str, Line2D] = {}
    for place, (panel, domain) in enumerate(zip(axes.flat, domains, strict=False)):
        own = [r for r in rows if r["domain"] == domain and r["share"] is not None]
        for method in dict.fromkeys(r["method"] for r in own):
            of_method = [r for r in own if r["method"] == method]
            look = look_of(method)
            style = "--" if of_method[0]["oracle"] else "-"
            named[look.label] = line_of(
                panel, of_method, "share", sizes, look.ink, look.marker, style
            )
        panel.set_title(TITLES[domain])
        panel.axhline(1.0, color="0.6", lw=0.6, zorder=1)
        panel.axhline(0.0, color="0.6", lw=0.6, zorder=1)
        panel.set(ylim=(LOWEST, 1.05))
        along_pairs(panel, sizes)
        if place % columns == 0:
            panel.set_ylabel("share")
        if place // columns == lines - 1:
            panel.set_xlabel("pairs $N$")
    order = [look.label for look in LOOKS.values() if look.label in named]
    figure.legend(
        [named[label] for label in order], order, ncols=3 if width < 5 else 5,
        loc="outside upper center", handlelength=1.8, columnspacing=1.0,
    )  # fmt: skip
    return figure
