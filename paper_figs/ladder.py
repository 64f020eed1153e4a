"""The ladder of bounds at λ* over 1,000 instances of each family: median and 90 % quantile of bound/gap.

The table behind it is what is said of the ladder in numbers; ``rungs`` shows ten instances one by one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bounds import Facts, Soup
from bounds.proofs.ladder import RUNGS, ladder
from bounds.runs.progress import OnProgress, silent
from bounds.runs.task import Task
from toymdp import solve, soup_optimum
from toymdp.families import generate

from .cached_table import Row, rows_of
from .canvas import BLUE, GREEN, ORANGE, PINK, SKY, canvas
from .rungs import LADDER

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CAPTION = "the ladder of bounds over families: median and 90 % quantile"
READING = (
    "Each place across is a bound on the gap V_w − J(λ*); up, bound over gap on a log axis. A"
    " mark is the median over the instances of a family to which the bound applies, the line "
    "from it ends at the 90 % quantile; colour and shape name the family. On the line at 1 a "
    "bound is the gap itself. "
    f"{LADDER}"
)
MADE_OF = (
    "Drawn of {n} seeds of each of the random families dirichlet, unit-norm, tree, softmax "
    "and low-rank; instances whose gap is below 1e-9, which is rounding, are left out."
)
FAMILIES = {
    "dirichlet": (BLUE, "o"), "unit-norm": (SKY, "s"), "tree": (ORANGE, "^"),
    "softmax": (GREEN, "D"), "low-rank": (PINK, "v"),
}  # fmt: skip
BLOCK = 50  # instances of a task
VISIBLE = 1e-9  # gaps below this are rounding: the soup is the optimum
QUICK = {"n": 12}


def compute(on_progress: OnProgress = silent, *, n: int = 1000) -> list[Row]:
    """Rows ``{family, rung, drawn, visible, applies, median, p90}``, one for each rung of a family.

    visible: instances whose gap at λ* is not rounding. applies: those of them at which the rung's
    hypotheses hold; median, p90: of bound/gap over these, empty where there are none.
    """
    tasks = [
        Task.of(ratios, family=f, first=i, last=min(i + BLOCK, n))
        for f in FAMILIES for i in range(0, n, BLOCK)
    ]  # fmt: skip
    every = rows_of(tasks, "ladder", on_progress)
    return [_quantiles(f, rung, n, every) for f in FAMILIES for rung in RUNGS]


def ratios(family: str, first: int, last: int) -> list[Row]:
    """``{family, seed, rung, ratio}`` at λ*, for each rung of the instances of a visible gap."""
    rows: list[Row] = []
    for seed in range(first, last):
        mdp = generate(family, seed)
        sol = solve(mdp)
        opt = soup_optimum(mdp, sol)
        if opt.gap < VISIBLE or not opt.lam.any():
            continue
        rows += [
            {"family": family, "seed": seed, "rung": rung.name, "ratio": rung.ratio}
            for rung in ladder(Soup(Facts(sol), opt.lam)) if rung.name in RUNGS
        ]  # fmt: skip
    return rows


def _quantiles(family: str, rung: str, drawn: int, every: list[Row]) -> Row:
    chosen = [r["ratio"] for r in every if (r["family"], r["rung"]) == (family, rung)]
    known = [x for x in chosen if x is not None]
    median, p90 = np.quantile(known, [0.5, 0.9]).tolist() if known else (None, None)
    return {
        "family": family, "rung": rung, "drawn": drawn, "visible": len(chosen),
        "applies": len(known), "median": median, "p90": p90,
    }  # fmt: skip


def draw(rows: list[Row], width: float) -> Figure:
    """A mark at the median, a line up to the 90 % quantile, families side by side on each rung."""
    figure, axes = canvas(width, 0.78)
    names = list(RUNGS)
    for i, (family, (ink, marker)) in enumerate(FAMILIES.items()):
        line = [r for r in rows if r["family"] == family and r["median"] is not None]
        x = np.array([names.index(r["rung"]) for r in line]) + 0.15 * (i - 2)
        low, high = (np.array([r[key] for r in line]) for key in ("median", "p90"))
        axes.vlines(x, low, high, color=ink, lw=1.0)
        axes.plot(x, low, color=ink, marker=marker, ms=3, ls="none", label=family)
        axes.plot(x, high, color=ink, marker="_", ms=4, ls="none")
    axes.axhline(1.0, color="0.3", lw=0.8, zorder=1)
    axes.set(yscale="log", ylabel="times the gap: median, 90 %")
    axes.set_xticks(range(len(names)), names, rotation=40, ha="right", rotation_mode="anchor")
    axes.legend(loc="upper left", fontsize="small")
    return figure
