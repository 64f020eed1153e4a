"""The true linear statement in Lemma 1's place: exp(V/β) lies in the column space of Π_y.

Contexts that share their last L−1 tokens form a block Π_y of next-token laws. On worlds whose
blocks have a chosen rank the desirability exp(V/β) lies in the block's column space to the last
digit, whatever the reward; V itself, which is what a linear lemma would need, does not.
"""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from bounds import check
from bounds.runs.progress import OnProgress, silent
from bounds.runs.task import Task
from toymdp import Solution, solve
from toymdp.families import generate

from .cached_table import Row, rows_of
from .canvas import BLUE, ORANGE, canvas

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CAPTION = "the linear statement that is true in Lemma 1's place"
READING = (
    "Contexts that share all tokens but their oldest form a block Π of next-token laws. Blue "
    "circles: the largest residual of the desirability exp(V/β) off the column space of its "
    "block, a share of its largest entry: rounding, since the statement is a theorem. Orange "
    "squares: the same residual of V itself, which is what Lemma 1 would need, a share of the"
    " variation of V over the block. Across, the rank of the blocks; up, the residual on a "
    "log axis, with exact zeros on its lowest line; black bars are medians."
)
MADE_OF = "Drawn of {n} low-rank worlds (6 tokens, order 2, 4 steps, 1 reward) at rank {ranks}."
SIZE = {"A": 6, "L": 2, "T": 4, "K": 1}
QUICK = {"n": 2, "ranks": (2, 4)}


def compute(
    on_progress: OnProgress = silent, *, n: int = 25, ranks: tuple[int, ...] = (1, 2, 3, 4, 5)
) -> list[Row]:
    """Rows ``{rank, instance, beta, desirability, error, verdict, value}``.

    desirability: largest residual of exp(V/β), a share of its largest entry, and its error radius.
    value: the same residual of V, a share of its largest distance from its mean over the block.
    """
    tasks = [Task.of(residuals, rank=rank, seed=i) for rank in ranks for i in range(n)]
    return rows_of(tasks, "desirability", on_progress)


def residuals(rank: int, seed: int) -> list[Row]:
    """The row of one world."""
    sol = solve(generate("low-rank", seed, rank=rank, **SIZE))
    (c,) = check(sol, "ss.lemma1.desirability")
    return [{
        "rank": rank, "instance": f"low-rank-{seed}", "beta": sol.mdp.beta,
        "desirability": c.lhs, "error": c.error, "verdict": c.verdict,
        "value": value_residual(sol, rank),
    }]  # fmt: skip


def value_residual(sol: Solution, rank: int) -> float:
    """Largest share of V_w(·, y) that leaves the column space of Π_y, over blocks and steps.

    Π_y's rows sum to 1, so a constant is in its column space and only V's variation matters.
    """
    mdp = sol.mdp
    A = mdp.vocab_size
    blocks = mdp.ref.reshape(A, -1, A).transpose(1, 0, 2)
    worst = 0.0
    for t in range(1, mdp.steps):
        live = mdp.reach.states[t].reshape(A, -1).T
        for Pi, V, used in zip(blocks, sol.V_w[t].reshape(A, -1).T, live, strict=True):
            if used.sum() <= rank:
                continue
            basis = np.linalg.svd(Pi[used], full_matrices=False)[0][:, :rank]
            varies = V[used] - V[used].mean()
            size = float(np.abs(varies).max())
            if size > 1e-9 * float(np.abs(V[used]).max()):
                left = V[used] - basis @ (basis.T @ V[used])
                worst = max(worst, float(np.abs(left).max()) / size)
    return worst


def draw(rows: list[Row], width: float) -> Figure:
    """Residuals by rank, log scale; each mark is an instance, the bar the median."""
    figure, axes = canvas(width, 0.72)
    floor = 1e-17  # exact zeros are drawn here
    looks = {
        "value": ("s", ORANGE, r"$V$, what Lemma 1 would need"),
        "desirability": ("o", BLUE, r"$e^{V/\beta}$, the true statement"),
    }
    ranks = sorted({r["rank"] for r in rows})
    for key, (marker, ink, label) in looks.items():
        for rank in ranks:
            seen = [r[key] for r in rows if r["rank"] == rank and r[key] is not None]
            heights = [max(x, floor) for x in seen]
            places = rank + np.linspace(-0.25, 0.25, len(heights))
            axes.scatter(places, heights, marker=marker, s=9, color=ink, edgecolors="white",
                         linewidths=0.3, zorder=3, label=label if rank == ranks[0] else None)  # fmt: skip
            if heights:
                axes.plot([rank - 0.33, rank + 0.33], [median(heights)] * 2, color="k", lw=1.0,
                          zorder=4)  # fmt: skip
    axes.set(yscale="log", ylim=(floor / 3, 30.0))
    powers = range(-15, 1, 3)
    axes.set_yticks(
        [floor, *(10.0**p for p in powers)], ["exactly 0", *(f"$10^{{{p}}}$" for p in powers)]
    )
    axes.minorticks_off()
    axes.axhline(3 * floor, color="0.7", lw=0.5, ls=":")
    axes.set_xticks(ranks)
    axes.set(xlabel=r"rank of the blocks $\Pi_y$ (6 tokens)", ylabel="residual, share of size")
    figure.legend(loc="outside upper center", ncols=2, handletextpad=0.1)
    return figure
