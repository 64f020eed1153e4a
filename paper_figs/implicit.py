"""The implicit soup: what the printed sampler draws from, and what a sound one costs.

A sound bound M gives the explicit soup's law exactly, whatever is accepted; §4's printed bound is the
geometric mean of the ratio, no bound at all, and its law is another (ss.sec4.implicit).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bounds.experiments import comparison
from bounds.runs.progress import OnProgress, silent

from .cached_table import Row, rows_of
from .canvas import BLUE, GREEN, SKY, VERMILION, canvas
from .methods import SHARE, along_pairs, line_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CAPTION = "the implicit soup: share and acceptance of the printed sampler and of a sound one"
READING = (
    "Left: the share of the implicit soup, drawn by rejection from ref: "
    f"{SHARE}"
    ". Blue, the explicit soup; green, a sampler whose bound on the ratio is sound, which has"
    " the explicit soup's law; vermilion, the sampler as printed in section 4, whose bound is "
    "the geometric mean of the ratio and so none: its law is another. Right: the chance that "
    "a draw of ref is accepted, a token or a whole answer at a time. Across, the number of "
    "pairs. Lines are means over seeds, bands one standard error on each side; λ is scaled "
    "into the budget."
)
MADE_OF = (
    "Drawn of {seeds} seeds of the ultrafeedback world with {users} users each, at {pairs} pairs."
)
SOUND, EXPLICIT = "ss-implicit[m=0, budget]", "ss-explicit[m=0, budget]"
PRINTED = "ss-implicit-printed[m=0, budget]"
SHARES = {
    EXPLICIT: (BLUE, "s", "-", "explicit"), SOUND: (GREEN, "x", ":", "sound sampler"),
    PRINTED: (VERMILION, "X", "--", "as printed"),
}  # fmt: skip
RATES = (
    (SOUND, "token", GREEN, "o", "-", "sound, a token"),
    (SOUND, "answer", SKY, "D", "--", "sound, an answer"),
    (PRINTED, "token", VERMILION, "X", "--", "printed, a token"),
)
QUICK = {"seeds": 2, "users": 1, "pairs": (20, 160)}


def compute(
    on_progress: OnProgress = silent,
    *,
    seeds: int = 8,
    users: int = 2,
    pairs: tuple[int, ...] = (20, 40, 80, 160, 320, 640, 1280),
) -> list[Row]:
    """Rows of ``comparison.flat`` on ultrafeedback, λ scaled into the budget everywhere."""
    tasks = comparison.tasks(("ultrafeedback",), seeds, users, pairs, tuple(SHARES))
    return rows_of(tasks, "implicit", on_progress)


def draw(rows: list[Row], width: float) -> Figure:
    """Shares on the left, chances that a draw of ref is accepted on the right; bands as elsewhere."""
    figure, (left, right) = canvas(width, 0.85, 1, 2)
    sizes = sorted({r["pairs"] for r in rows})
    shares = [(method, "share", *look) for method, look in SHARES.items()]
    rates = [(method, f"accepted_{of}", *look) for method, of, *look in RATES]
    for panel, lines, label in ((left, shares, "share"), (right, rates, "accepted")):
        for method, column, ink, marker, style, name in lines:
            own = [r for r in rows if r["method"] == method]
            line_of(panel, own, str(column), sizes, ink, marker, style, 3.2).set_label(name)
        panel.set(xlabel="pairs $N$", ylabel=label, ylim=(0.0, 1.0))
        along_pairs(panel, sizes)
        panel.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return figure
