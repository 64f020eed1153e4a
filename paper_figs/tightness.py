"""True gap against three bounds: the printed (10), its minimal repair, and Bennett's.

Points above the diagonal are bounds; a point below it is a violation. Random instances that meet
every hypothesis of Theorem 1 lie above it, and the rare-first-token witness falls through.
"""

from __future__ import annotations

from itertools import cycle
from statistics import median
from typing import TYPE_CHECKING, Any

from bounds import check
from bounds.records.queries import Rows
from bounds.runs.progress import OnProgress, silent
from bounds.runs.task import Task
from toymdp import solve, soup_optimum
from toymdp.families import generate
from toymdp.families.classics import rare_first_token

from .cached_table import Row, rows_of
from .canvas import BLUE, GREEN, ORANGE, OTHERS, canvas

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

CROWD = 1500  # rows from which on marks are small
CAPTION = "true gap against the printed, the minimal and the Bennett bound"
READING = (
    "Each mark is one bound on one instance: across, the true gap V_w − J(λ*); up, the bound "
    "on it; both in reward units, on log axes. On the diagonal a bound is tight, above it "
    "loose, in the shaded half below it violated. Orange: the printed bound (10) of Theorem "
    "1. Hollow green: the minimal repair, (10) with the two broken steps of its proof mended "
    "and nothing else. Blue: Bennett's inequality put into the exact identity of the gap. The"
    " shape of a mark names its family."
)
MADE_OF = (
    "Drawn of {n} seeds of each of the random families dirichlet, unit-norm and tree, and of "
    "the rare-first-token witness (large crosses), whose decisive first token has probability"
    " 2 to the power of minus its rarity under ref, at rarity {rarities}; an instance whose "
    "gap is below 1e-9, which is rounding, is left out."
)
FAMILIES = {"dirichlet": "o", "unit-norm": "s", "tree": "^"}
# and of families that only a sweep has
SHAPES = {
    **FAMILIES, "witness": "X", "softmax": "v", "low-rank": "D", "corpus": "P", "corpus-one-hot": "p",
}  # fmt: skip
BOUNDS = {
    "ss.thm1.gap": "printed", "ss.thm1.gap.minimal": "minimal", "ss.thm1.gap.bennett": "Bennett",
}  # fmt: skip
VISIBLE = 1e-9  # gaps below this are rounding: the soup is the optimum
MOST = 2000  # points of a sweep for each bound: more would be a blot, in a file of many megabytes
# a fair sample: the hashes of the worlds know nothing of their gaps
WORLDS = f"""
SELECT family, instance || '-' || lower(left(hex(sha256), 8)) AS instance,
       claim AS bound, lhs AS gap, rhs AS value, verdict FROM rows
WHERE list_contains(?, claim) AND verdict IN ('holds', 'violated') AND lhs >= ? AND rhs > 0
  AND steps IS NULL
QUALIFY row_number() OVER (PARTITION BY claim ORDER BY sha256) <= {MOST}
ORDER BY bound, sha256
"""
QUICK = {"n": 6, "rarities": (4, 8, 12, 16)}


def compute(
    on_progress: OnProgress = silent,
    *,
    n: int = 60,
    rarities: tuple[int, ...] = (2, 4, 6, 8, 10, 12, 14, 16),
) -> list[Row]:
    """Rows ``{family, instance, bound, gap, value, verdict}`` at λ*, in reward units."""
    tasks = [Task.of(bounds_on, family=f, seed=i) for f in FAMILIES for i in range(n)]
    tasks += [Task.of(bounds_on, family="witness", seed=r) for r in rarities]
    return rows_of(tasks, "tightness", on_progress)


def bounds_on(family: str, seed: int) -> list[Row]:
    """A row for each bound on one instance; seed: the rarity of a witness."""
    witness = family == "witness"
    mdp = rare_first_token(seed) if witness else generate(family, seed)
    sol = solve(mdp)
    opt = soup_optimum(mdp, sol)
    if opt.gap < VISIBLE or not opt.lam.any():
        return []
    return [
        {
            "family": family, "instance": f"{'rarity' if witness else family}-{seed}",
            "bound": BOUNDS[c.claim], "gap": c.lhs, "value": c.rhs, "verdict": c.verdict,
        }
        for c in check(sol, ",".join(BOUNDS), optimum=opt, lam=opt.lam)
        if c.lhs is not None
    ]  # fmt: skip


def from_parts(parts: Rows) -> list[Row]:
    """The same rows, of the instances of a sweep."""
    found = parts.ask(WORLDS, list(BOUNDS), VISIBLE)
    return [{**row, "bound": BOUNDS[row["bound"]]} for row in found]


def seen(rows: list[Row]) -> str:
    """Of each bound: how far above the gap, and on how many instances it is violated."""
    told = []
    for bound in dict.fromkeys(r["bound"] for r in rows):
        own = [r for r in rows if r["bound"] == bound]
        times = median(r["value"] / r["gap"] for r in own)
        broken = sum(r["verdict"] == "violated" for r in own)
        told.append(
            f"{bound}: {times:.4g} times the gap in the median, violated on {broken} of {len(own)}"
        )
    return f"What is seen: {'; '.join(told)}."


def draw(rows: list[Row], width: float) -> Figure:
    """One panel, log-log: colour is the bound, shape the family."""
    figure, axes = canvas(width, 0.86)
    inks, shapes = _looks(rows)
    low = min(min(r["gap"], r["value"]) for r in rows)
    high = max(max(r["gap"], r["value"]) for r in rows)
    size, edge = (11, 0.45) if len(rows) < CROWD else (4, 0.2)
    for bound, ink in inks.items():
        for family, marker in shapes.items():
            chosen = [r for r in rows if (r["bound"], r["family"]) == (bound, family)]
            # the repair is hollow: in print without colour the three look alike
            hollow = bound == "minimal"
            look: dict[str, Any] = {"edgecolors": ink if hollow else "white", "s": size}
            if family == "witness":
                look = {"edgecolors": "black", "s": 26}
            axes.scatter(
                [r["gap"] for r in chosen], [r["value"] for r in chosen],
                facecolors="none" if hollow else ink, marker=marker, linewidths=edge,
                zorder=4 if family == "witness" else 3, **look,
            )  # fmt: skip
    axes.set(xscale="log", yscale="log")
    left, right = min(r["gap"] for r in rows) / 2, max(r["gap"] for r in rows) * 3
    axes.plot([low / 9, high], [low / 9, high], color="0.3", lw=0.8, zorder=2)
    axes.fill_between([low / 9, high], [low / 9] * 2, [low / 9, high], color="0.9", zorder=1, lw=0)
    axes.set(ylim=(low / 3, high * 3), xlim=(left, right))
    axes.annotate(
        "violated", (0.97, 0.05), xycoords="axes fraction", ha="right", color="0.3", style="italic"
    )
    of_gap = set(inks) <= set(BOUNDS.values())
    label = r"true gap $V_w - J(\lambda^*)$, reward units" if of_gap else "left side"
    axes.set(xlabel=label, ylabel="bound on it" if of_gap else "right side")
    columns = (
        2 if not of_gap else 4 if len(shapes) <= 5 else 3
    )  # three where names are many, and long
    handles = _legend(inks, shapes, columns)
    figure.legend(handles=handles, ncols=columns, loc="outside upper center")
    return figure


def _looks(rows: list[Row]) -> tuple[dict[str, str], dict[str, str]]:
    """A colour for each bound and a marker for each family; those of the figure where they are known."""
    known = dict(zip(BOUNDS.values(), (ORANGE, GREEN, BLUE), strict=True))
    families = dict.fromkeys(r["family"] for r in rows)
    inks, shapes = dict(known), {f: mark for f, mark in SHAPES.items() if f in families}
    if not {r["bound"] for r in rows} <= set(known):
        found = dict.fromkeys(r["bound"] for r in rows)
        inks = dict(zip(found, OTHERS, strict=False))
    if set(shapes) != set(families):
        shapes = dict(zip(families, cycle("os^DvP"), strict=False))
    return inks, shapes


def _legend(inks: dict[str, str], shapes: dict[str, str], columns: int) -> list[Line2D]:
    from matplotlib.lines import Line2D

    def mark(marker: str, ink: str, label: str) -> Line2D:
        face = "none" if label == "minimal" else ink
        edge = ink if label == "minimal" else "none"
        look: dict[str, Any] = {"marker": marker, "mfc": face, "mec": edge, "ms": 4}
        return Line2D([], [], ls="none", label=label, **look)

    bounds = [mark("o", ink, {"printed": "printed (10)"}.get(b, b)) for b, ink in inks.items()]
    families = [mark(m, "0.45", f) for f, m in shapes.items()]
    if len(families) == 1 or len(bounds) != len(BOUNDS):
        return bounds if len(families) == 1 else [*bounds, *families]
    # columns fill downwards: bounds in the first row, families in those below
    blank, rows = Line2D([], [], ls="none", label=" "), 1 + -(-len(families) // columns)
    first = [*bounds, *[blank] * (columns - len(bounds))]
    cells = [*first, *families, *[blank] * (columns * (rows - 1) - len(families))]
    return [cells[columns * row + column] for column in range(columns) for row in range(rows)]
