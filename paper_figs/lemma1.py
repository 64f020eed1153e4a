"""How far Q* is from linear in the features (Lemma 1), by feature width and temperature.

Worlds in which the paper's set-up and Assumption 1 hold exactly: ref and rewards come from one
feature map. Left: one vector for all steps, as (6) says. Right: a vector for each step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from bounds import check
from bounds.runs.progress import OnProgress, silent
from bounds.runs.task import Task
from toymdp import solve
from toymdp.families import generate

from .cached_table import Row, rows_of
from .canvas import HEAT, canvas

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CAPTION = "how far Q* is from linear: feature width against temperature"
READING = (
    "Left: one coefficient vector ν for all steps, as (6) and Lemma 1 say. Right: a vector "
    "for each step. Across, the temperature β; up, the number d of features. Colour is the "
    "root-mean-square residual of the least-squares fit of Q*, as a share of the spread of "
    "Q*: its median over worlds. Grey cells with a ring: the fit is exact in every world. In "
    "every world drawn the paper's set-up and Assumption 1 hold: ref and the rewards come "
    "from one feature map."
)
MADE_OF = (
    "Drawn of {n} softmax worlds (4 tokens, order 2, 3 steps, 16 contexts) a cell, at d of "
    "{widths} and β of {betas}."
)
CLAIMS = {
    "ss.lemma1": r"one $\nu$, as (6)",
    "ss.lemma1.per-step": r"$\nu_t$ each step, $\circ$ exact",
}
SIZE = {"A": 4, "L": 2, "T": 3, "K": 1}  # 16 contexts
QUICK = {"n": 2, "widths": (2, 8, 16), "betas": (0.25, 1.0)}


def compute(
    on_progress: OnProgress = silent,
    *,
    n: int = 12,
    widths: tuple[int, ...] = (1, 2, 3, 4, 6, 8, 10, 12, 14, 15, 16, 18),
    betas: tuple[float, ...] = (0.0625, 0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0),
) -> list[Row]:
    """Rows ``{claim, width, beta, residual, holds}``: rms residual over the spread of Q*.

    residual: median over n worlds of the worst-fitted Q; holds: in how many it is rounding.
    """
    tasks = [Task.of(residuals, width=d, beta=beta, n=n) for d in widths for beta in betas]
    return rows_of(tasks, "lemma1", on_progress)


def residuals(width: int, beta: float, n: int) -> list[Row]:
    """A row for each claim over n worlds of one feature width and temperature."""
    shares: dict[str, list[tuple[float, bool]]] = {claim: [] for claim in CLAIMS}
    for seed in range(n):
        sol = solve(generate("softmax", seed, d=width, beta=beta, **SIZE))
        for c in check(sol, ",".join(CLAIMS)):
            if c.lhs is not None:
                share = c.terms["relative rms residual"]
                shares[c.claim].append((share, c.verdict == "holds"))
    return [
        {
            "claim": claim, "width": width, "beta": beta, "worlds": len(seen),
            "residual": median(x for x, _ in seen) if seen else None,
            "holds": sum(h for _, h in seen),
        }
        for claim, seen in shares.items()
    ]  # fmt: skip


def draw(rows: list[Row], width: float) -> Figure:
    """Two heat maps with one scale; cells where the lemma holds are marked."""
    from matplotlib.colors import LogNorm

    figure, panels = canvas(width, 0.72, 1, 2, sharey=True)
    widths = sorted({r["width"] for r in rows})
    betas = sorted({r["beta"] for r in rows})
    seen = [r["residual"] for r in rows if r["residual"] is not None and not r["holds"]]
    norm = LogNorm(min(seen), max(seen))
    rows_at, columns_at = _edges(widths), _edges([math.log2(beta) for beta in betas])
    for axes, (claim, title) in zip(panels, CLAIMS.items(), strict=True):
        grid = np.full((len(widths), len(betas)), np.nan)
        for r in rows:
            if r["claim"] != claim:
                continue
            if r["worlds"] and r["holds"] == r["worlds"]:
                axes.plot(
                    math.log2(r["beta"]), r["width"], "o", ms=2.2, mfc="none", mec="0.25", mew=0.6
                )
            elif r["residual"] is not None:
                grid[widths.index(r["width"]), betas.index(r["beta"])] = r["residual"]
        image = axes.pcolormesh(columns_at, rows_at, grid, norm=norm, cmap=HEAT)
        axes.set_facecolor("0.92")
        axes.set_title(title, fontsize=7)
        axes.set(xlabel=r"temperature $\beta$")
        every = [beta for beta in betas if math.log2(beta) % (4 if len(betas) > 4 else 1) == 0]
        powers = [int(math.log2(beta)) for beta in every]
        axes.set_xticks(powers, [f"$2^{{{p}}}$" if p < 0 else f"{2**p}" for p in powers])
        axes.set_yticks([d for d in widths if d % 4 == 0] or widths)
        axes.tick_params(length=0)
        for side in axes.spines.values():
            side.set_visible(False)
    panels[0].set_ylabel("feature width $d$ (16 contexts)")
    bar = figure.colorbar(image, ax=panels, location="right", pad=0.02, aspect=28)
    ticks = [x for x in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0) if min(seen) <= x <= max(seen)]
    bar.set_ticks(ticks, labels=[f"{x:g}" for x in ticks])
    bar.ax.minorticks_off()
    bar.set_label("residual of $Q^*$, share of its spread")
    bar.outline.set_visible(False)
    return figure


def _edges(centres: Sequence[float]) -> list[float]:
    """Edges of cells around places on an axis, half-way between neighbours."""
    middles = [(a + b) / 2 for a, b in pairwise(centres)]
    if not middles:
        return [centres[0] - 0.5, centres[0] + 0.5]
    return [2 * centres[0] - middles[0], *middles, 2 * centres[-1] - middles[-1]]
