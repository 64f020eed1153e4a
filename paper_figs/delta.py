"""The penalty Δ_k of (18) against the Rényi divergence that can stand in its place.

Both at the start context, in nats, for every specialist of every instance. Δ_k knows only the
extremes of π_k/ref; where the ratio takes two values it is exact, and with many tokens it is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bounds import Facts
from bounds.claims.delta import two_valued_states
from bounds.runs.progress import OnProgress, silent
from bounds.runs.task import Task
from toymdp import solve
from toymdp.families import generate

from .cached_table import Row, rows_of
from .canvas import BLUE, GREEN, ORANGE, VERMILION, canvas

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CAPTION = "the penalty Δ_k against the Rényi divergence D₂"
READING = (
    "Each mark is one specialist of one instance at the start context. Across, the Rényi "
    "divergence D₂ of ref from its policy π_k, in nats; up, how many times that the penalty "
    "Δ_k of (18) is, on log axes. Both charge for a negative weight; Δ_k knows only the "
    "extremes of π_k/ref, so that it is exact (on the line at 1) where the ratio takes two "
    "values, which hollow marks are, and too large elsewhere. Colour and shape name the "
    "family."
)
MADE_OF = (
    "Drawn of {n} seeds of each of the random families dirichlet, unit-norm, tree and "
    "softmax; specialists with a D₂ of at most 1e-8, which have nothing to choose, are left "
    "out."
)
FAMILIES = {
    "dirichlet": ("o", BLUE), "unit-norm": ("s", ORANGE), "tree": ("^", GREEN),
    "softmax": ("v", VERMILION),
}  # fmt: skip
VISIBLE = 1e-8  # both vanish where the specialist has nothing to choose
QUICK = {"n": 6}


def compute(on_progress: OnProgress = silent, *, n: int = 60) -> list[Row]:
    """Rows ``{family, instance, k, renyi, delta, two_valued}``."""
    tasks = [Task.of(penalties, family=f, seed=i) for f in FAMILIES for i in range(n)]
    return rows_of(tasks, "delta", on_progress)


def penalties(family: str, seed: int) -> list[Row]:
    """A row for each specialist of one instance that has something to choose."""
    sol = solve(generate(family, seed))
    start = sol.mdp.start_context
    facts = Facts(sol)
    renyi, delta, two = facts.renyi_divergences, facts.deltas, two_valued_states(facts)
    return [
        {
            "family": family, "instance": f"{family}-{seed}", "k": k,
            "renyi": float(renyi[k, 0, start]), "delta": float(delta[k, 0, start]),
            "two_valued": bool(two[k, 0, start]),
        }
        for k in range(sol.mdp.n_rewards) if renyi[k, 0, start] > VISIBLE
    ]  # fmt: skip


def draw(rows: list[Row], width: float) -> Figure:
    """How many times too large Δ_k is; hollow where the ratio takes two values."""
    figure, axes = canvas(width, 0.78)
    for family, (marker, ink) in FAMILIES.items():
        for two in (False, True):
            chosen = [r for r in rows if r["family"] == family and r["two_valued"] == two]
            # two equal numbers may differ by rounding, which a log axis must not turn into a scale
            times = [max(1.0, r["delta"] / r["renyi"]) for r in chosen]
            axes.scatter(
                [r["renyi"] for r in chosen], times, marker=marker, s=11,
                facecolors="none" if two else ink, edgecolors=ink, linewidths=0.6, zorder=3,
                label=None if two else family,
            )  # fmt: skip
    axes.scatter([], [], marker="o", facecolors="none", edgecolors="0.3", linewidths=0.6, s=11,
                 label="two-valued ratio")  # fmt: skip
    axes.axhline(1.0, color="0.3", lw=0.8, zorder=2)
    axes.set(xscale="log", yscale="log")
    axes.set(xlabel=r"$D_2(\mathrm{ref}\,\|\,\pi_k)$, nats", ylabel=r"$\Delta_k / D_2$")
    axes.legend(loc="center left", handletextpad=0.1)  # fewest points: D₂ is seldom small
    return figure
