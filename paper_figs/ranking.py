"""Which method is best after all pairs: final share with its interval, and SS's order beside it.

share = (V − V_ref)/(V_u − V_ref) on prompts not seen before. SS §5 puts RLHF for the user first,
souping next, and P-SOUPS, PAD and PAD-SF below; it orders nothing further.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bounds.experiments import comparison
from bounds.runs.progress import OnProgress, silent

from .cached_table import Row, rows_of
from .canvas import canvas
from .methods import SHARE, TITLES, look_of, of_column

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CAPTION = "final share of every method with its interval, sorted, the paper's order beside it"
READING = (
    "A panel for each simulated world, the best method on top: "
    f"{SHARE}"
    ". Marks are means over seeds, bars two standard errors on each side; hollow marks know "
    "the true reward or weights (*). The column at the right is the order in which the paper "
    "(its section 5) puts the methods that it ranks, – where it does not."
)
MADE_OF = "Drawn of {seeds} seeds with {users} users each (t2i: one), after {N} pairs."
METHODS = (
    "rlhf-learnt", "ss-explicit[m=0]", "mod", "p-soups[rank 2]", "pad-sf", "ss-implicit-printed",
    "best-specialist", "oracle", "pad",
)  # fmt: skip
PAPER = {
    "rlhf-learnt": "1", "ss-explicit[m=0]": "2", "ss-implicit-printed[m=0, budget]": "2",
    "p-soups[rank 2]": "3", "pad-sf": "3", "pad": "3",
}  # fmt: skip
QUICK = {"seeds": 2, "users": 1, "N": 160, "methods": ("rlhf-learnt", "ss-explicit[m=0]", "pad")}


def compute(
    on_progress: OnProgress = silent,
    *,
    seeds: int = 5,
    users: int = 2,
    N: int = 1280,
    methods: tuple[str, ...] = METHODS,
) -> list[Row]:
    """Rows of ``comparison.flat`` at N pairs, with SS's place of the method where it has one."""
    tasks = comparison.tasks(comparison.DOMAINS, seeds, users, [N], methods)
    rows = rows_of(tasks, "ranking", on_progress)
    return [r | {"paper": PAPER.get(r["method"])} for r in rows or ()]


def draw(rows: list[Row], width: float) -> Figure:
    """A panel for each world, best on top; hollow: knows the true reward or weights."""
    domains = [d for d in TITLES if any(r["domain"] == d for r in rows)]
    columns = 1 if width < 5 else 2
    lines = -(-len(domains) // columns)
    methods = {r["method"] for r in rows}
    aspect = lines * (0.042 * len(methods) + 0.13) / (1.0 if columns == 1 else 1.25)
    figure, axes = canvas(width, aspect, lines, columns, sharex=True, squeeze=False)
    low = 0.0
    for panel, domain in zip(axes.flat, domains, strict=False):
        of_method: dict[str, list[Row]] = {}
        for r in rows:
            if r["domain"] == domain and r["share"] is not None:
                of_method.setdefault(r["method"], []).append(r)
        ends = {m: of_column(own, "share") for m, own in of_method.items()}
        order = sorted(ends, key=lambda m: ends[m][0])
        for y, method in enumerate(order):
            look, (mean, error) = look_of(method), ends[method]
            low = min(low, mean - 2 * error)
            knows = of_method[method][0]["oracle"]
            panel.errorbar(
                mean, y, xerr=2 * error, color=look.ink, marker=look.marker or "s", ms=4,
                mfc="white" if knows else look.ink, lw=1.0, capsize=2,
            )  # fmt: skip
            place = of_method[method][0]["paper"] or "–"
            panel.annotate(
                place, (1.06, y), xycoords=("axes fraction", "data"), va="center", ha="center",
                color="0.3",
            )  # fmt: skip
        panel.annotate(
            "paper", (1.06, 1.02), xycoords="axes fraction", va="bottom", ha="center", color="0.3",
            fontsize=6.5,
        )  # fmt: skip
        panel.set_yticks(range(len(order)), [look_of(m).label for m in order])
        panel.set_ylim(-0.6, len(order) - 0.4)
        panel.axvline(1.0, color="0.6", lw=0.6, zorder=1)
        panel.set_title(TITLES[domain])
    for panel in axes[-1]:
        panel.set(xlabel="share, ± two standard errors", xlim=(max(low - 0.03, -0.5), 1.03))
    return figure
