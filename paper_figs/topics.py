"""When retrieval helps: EXACT's accuracy less that of one attribute set for all pairs.

A user likes three attributes, of which some turn into dislikes in every other topic; topics' embeddings
are r apart, over their noise σ. Theorem 5.2 speaks of pooling the pairs of a topic, here a cluster of
embeddings, or the topic itself; Algorithms 1 and 2 take the attributes of the one nearest pair.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bounds.experiments import comparison
from bounds.runs.progress import OnProgress, silent

from .cached_table import Row, rows_of
from .canvas import BLACK, BLUE, ORANGE, VERMILION, canvas
from .methods import of_column

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CAPTION = "retrieval less pooling in accuracy, by how far tastes turn and topics are apart"
READING = (
    "A user likes three attributes, of which some turn into dislikes in every other topic: a "
    "colour and shape for how many. Across, how far apart the topics' embeddings are, over "
    "their noise; up, the accuracy of EXACT's retrieval less that of one attribute set for "
    "all pairs (pooling), so that retrieval helps above 0. Left: attributes of the one "
    "nearest pair, as Algorithm 2 has it; right: of all pairs of its cluster, and dotted, of "
    "its true topic. Means over seeds, bars one standard error on each side."
)
MADE_OF = (
    "Drawn of {seeds} seeds with {users} users each and {pairs} pairs a user; {turned} "
    "attributes turn; separations {separations}."
)
POOLED = "exact[k=3, pooled]"
PANELS = {
    "exact[k=3]": "nearest pair\n(Algorithm 2)",
    "exact[k=3, clustered]": "pairs of its cluster\n(dotted: of its topic)",
}  # fmt: skip
KNOWN = "exact[k=3, topic-pooled]"
LOOKS = ((BLACK, "o", "-"), (BLUE, "s", "--"), (ORANGE, "D", "-."), (VERMILION, "^", ":"))
QUICK = {"seeds": 2, "users": 1, "pairs": 40, "turned": (0, 3), "separations": (1.0, 4.0)}


def compute(
    on_progress: OnProgress = silent,
    *,
    seeds: int = 8,
    users: int = 1,
    pairs: int = 80,
    turned: tuple[int, ...] = (0, 1, 2, 3),
    separations: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0),
) -> list[Row]:
    """Rows of ``comparison.of_topics``, each with its accuracy less that of pooling."""
    tasks = comparison.topics(seeds, users, pairs, turned, separations)
    rows = rows_of(tasks, "topics", on_progress) or ()
    unit = ("turned", "separation", "seed", "user")
    pooled = {tuple(r[k] for k in unit): r["accuracy"] for r in rows if r["method"] == POOLED}
    return [r | {"gain": r["accuracy"] - pooled[tuple(r[k] for k in unit)]} for r in rows]


def draw(rows: list[Row], width: float) -> Figure:
    """A panel for each way to retrieve, a line for each number of attributes that turn."""
    figure, axes = canvas(width, 0.85, 1, 2, sharey=True)
    apart = sorted({r["separation"] for r in rows})
    for panel, (method, title) in zip(axes, PANELS.items(), strict=True):
        for (ink, marker, style), turned in zip(
            LOOKS, sorted({r["turned"] for r in rows}), strict=False
        ):
            own = [r for r in rows if (r["method"], r["turned"]) == (method, turned)]
            seen = [of_column([r for r in own if r["separation"] == x], "gain") for x in apart]
            mean, error = np.array(seen).T
            panel.errorbar(
                apart, mean, yerr=error, color=ink, marker=marker, ls=style, ms=3, lw=0.9, capsize=1.5,
                label=f"{turned} of 3 turn",
            )  # fmt: skip
            if method != "exact[k=3]":
                known = [r for r in rows if (r["method"], r["turned"]) == (KNOWN, turned)]
                panel.axhline(of_column(known, "gain")[0], color=ink, ls=":", lw=0.7, zorder=1)
        panel.axhline(0.0, color="0.6", lw=0.6, zorder=1)
        panel.set(xscale="log", xlabel="separation $r/\\sigma$", title=title)
        panel.set_xticks(apart, [f"{x:g}" for x in apart])
        panel.minorticks_off()
    axes[0].set_ylabel("accuracy less pooling's")
    lines, names = axes[0].get_legend_handles_labels()
    figure.legend(lines, names, ncols=2 if width < 5 else 4, loc="outside upper center")
    return figure
