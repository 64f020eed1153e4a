"""J of (8) for two specialists, over the whole budget, with every ascent and the optimum.

Drawn in ν = βλ/β', so the budget is |ν|₁ ≤ 1. J is not concave and has kinks on the axes, hence
its local maxima. In this world (the paper's own set-up) the best soup *subtracts* a specialist.
"""

from __future__ import annotations

from math import isqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from bounds.runs.progress import OnProgress, silent
from bounds.runs.task import Task
from toymdp import Solution, solve, soup_optimum
from toymdp.families import generate
from toymdp.soup.objective import SoupObjective

from .cached_table import Row, rows_of
from .canvas import HEAT, VERMILION, canvas

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CAPTION = "J for two specialists over the whole budget, and its maxima"
READING = (
    "Across and up, the two weights as shares of the budget, βλ_1/β' and βλ_2/β', which fill "
    "the diamond; colour and lines are J, the objective of (8), in reward units, with levels "
    "crowded towards the top. Star: the optimum λ*, with the upper bound on J that branch and"
    " bound proves where it can; white circles: other local maxima at which an ascent ended; "
    "black square: the user's weights (β'/β)w. J is not concave and has kinks on the dotted "
    "axes."
)
MADE_OF = (
    "Drawn of one softmax world (4 tokens, order 2, 4 steps, 2 specialists; seed {seed}) on a"
    " grid of {points} points a side; branch and bound to {tolerance}."
)
SIZE = {"A": 4, "L": 2, "T": 4, "K": 2}
LOCAL = 1e-3  # ends closer than this in ν are one local maximum
QUICK = {"points": 21}


def compute(
    on_progress: OnProgress = silent, *, seed: int = 15, points: int = 121, tolerance: float = 1e-4
) -> list[Row]:
    """Rows ``{kind, label, nu0, nu1, J}``: the grid row by row, then what stands on it.

    kind: "grid", "weights" (λ = (β'/β)w), "local", "optimum", and "upper bound": what branch and
    bound proves of J over the whole budget, to the tolerance. J in reward units. The grid is square
    in (ν0 + ν1, ν0 − ν1).
    """
    tasks = [Task.of(surface, seed=seed, points=points, tolerance=tolerance)]
    return rows_of(tasks, "landscape", on_progress)


def surface(seed: int, points: int, tolerance: float) -> list[Row]:
    """The rows of one world."""
    return surface_of(solve(generate("softmax", seed, **SIZE)), points, tolerance)


def surface_of(sol: Solution, points: int, tolerance: float) -> list[Row]:
    """The rows of a solution with two specialists."""
    objective = SoupObjective(sol)
    opt = soup_optimum(sol.mdp, sol, tolerance=tolerance)
    axis = np.linspace(-1.0, 1.0, points)
    rows = []
    for p in axis:
        nus = np.stack([(p + axis) / 2, (p - axis) / 2], axis=1)
        rows += [_row("grid", "", nu, J) for nu, J in zip(nus, objective.values(nus), strict=True)]
    w = sol.mdp.w
    rows.append(_row("weights", "user weights", w, objective.value(w)))
    best = opt.mu * sol.mdp.beta
    ends: list[Any] = [best]
    for ascent in sorted(opt.starts, key=lambda a: -a.value):
        nu = np.array(ascent.u)
        if all(np.abs(nu - other).sum() > LOCAL for other in ends):
            ends.append(nu)
            rows.append(_row("local", ascent.start, nu, ascent.value))
    rows.append(_row("optimum", opt.start, best, opt.J))
    if opt.upper_bound is not None:  # else no proof is possible, as until eos
        rows.append(_row("upper bound", opt.evidence, best, opt.upper_bound))
    return rows


def _row(kind: str, label: str, nu: Any, J: float) -> Row:
    return {
        "kind": kind, "label": label, "nu0": float(nu[0]), "nu1": float(nu[1]), "J": float(J)
    }  # fmt: skip


def seen(rows: list[Row]) -> str:
    """How many maxima there are, and whether the best soup subtracts."""
    best = next(r for r in rows if r["kind"] == "optimum")
    maxima = 1 + sum(r["kind"] == "local" for r in rows)
    least = min(best["nu0"], best["nu1"])
    sign = "subtracts a specialist" if least < 0 else "subtracts no specialist"
    return f"What is seen: local maxima found, {maxima}; the best soup {sign}."


def draw(rows: list[Row], width: float) -> Figure:
    """Filled contours on the diamond of the budget."""
    from matplotlib.patheffects import withStroke
    from matplotlib.ticker import MaxNLocator

    figure, axes = canvas(width, 0.86)
    grid = [r for r in rows if r["kind"] == "grid"]
    n = isqrt(len(grid))
    x, y, J = (np.array([r[key] for r in grid]).reshape(n, n) for key in ("nu0", "nu1", "J"))
    best = next(r for r in rows if r["kind"] == "optimum")
    # levels crowd towards the top, where the maxima are
    levels = best["J"] - (best["J"] - J.min()) * np.linspace(1.0, 0.0, 22) ** 2
    image = axes.contourf(x, y, J, levels=levels, cmap=HEAT)
    axes.contour(x, y, J, levels=levels[1:-1], colors="k", linewidths=0.25, alpha=0.6)
    axes.axhline(0, color="white", lw=0.5, ls=":")
    axes.axvline(0, color="white", lw=0.5, ls=":")
    proved = [f", proved $J \\leq {r['J']:.4f}$" for r in rows if r["kind"] == "upper bound"]
    top = f"$\\lambda^*$: $J = {best['J']:.4f}${''.join(proved)}"
    looks = {
        "optimum": ("*", 9, VERMILION, top),
        "local": ("o", 7, "white", "local maximum"),
        "weights": ("s", 2.8, "black", "user weights"),
    }
    for kind, (marker, size, ink, label) in looks.items():
        chosen = [r for r in rows if r["kind"] == kind]
        if not chosen:
            continue
        values = [f"{r['J']:.4f}" for r in chosen]
        named = label if kind == "optimum" else f"{label}: {', '.join(values)}"
        axes.plot(
            [r["nu0"] for r in chosen], [r["nu1"] for r in chosen], ls="none", marker=marker,
            ms=size, mfc=ink, mec="k", mew=0.6, label=named, zorder=4, clip_on=False,
        )  # fmt: skip
    halo = withStroke(linewidth=1.5, foreground="white")  # numbers stand on any colour
    # where colours are alike, numbers tell the maxima apart
    for r in rows:
        if r["kind"] in ("optimum", "local"):
            side = 1 if r["nu0"] >= 0 else -1
            axes.annotate(
                f"{r['J']:.4f}", (r["nu0"], r["nu1"]), xytext=(7 * side, 4), fontsize=6.5,
                textcoords="offset points", ha="left" if side > 0 else "right",
                weight="bold" if r["kind"] == "optimum" else "normal", path_effects=[halo],
            )  # fmt: skip
    axes.set(xlabel=r"$\beta\lambda_1/\beta'$", ylabel=r"$\beta\lambda_2/\beta'$", aspect="equal")
    bar = figure.colorbar(image, ax=axes, pad=0.02, aspect=25)
    bar.set_ticks(
        [x for x in MaxNLocator(6).tick_values(J.min(), best["J"]) if levels[0] < x < levels[-1]]
    )
    bar.set_label("$J$, reward units")
    bar.outline.set_visible(False)
    figure.legend(loc="outside upper center", ncols=1, handletextpad=0.2)
    return figure
