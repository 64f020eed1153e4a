"""The ladder of bounds on ten instances: from the exact gap to the printed bound (10).

Each rung is a true statement but the last; an instance on which the last lies below 1 breaks it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bounds import Facts, Soup
from bounds.proofs.ladder import RUNGS, ladder
from bounds.runs.progress import OnProgress, silent
from bounds.runs.task import Task
from toymdp import solve, soup_optimum
from toymdp.families import generate
from toymdp.families.classics import rare_first_token

from .cached_table import Row, rows_of
from .canvas import BLUE, ORANGE, OTHERS, VERMILION, canvas

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# what the rungs are, for those who have only the figure
LADDER = (
    "From left to right: the gap's exact identity; Bennett, by the mean, variance and maximum of the "
    "soup's logit error e; chord, by its mean, least and largest value; span, by its range alone; mean "
    "shift and feature shift, by how far the soup moves the mean of e, and of the features; features, by "
    "the diameter of the features; the minimal repair, (10) with the two broken steps of its proof "
    "mended; and (10) as printed, the one that is not always true. A bound that does not apply has no "
    "mark."
)
CAPTION = "the ladder of bounds, instance by instance"
READING = (
    "Each line is one instance at λ*, each place across a bound on its gap V_w − J(λ*); up, "
    "bound over gap on a log axis. On the line at 1 a bound is the gap itself; in the shaded "
    "part below it is no bound at all. "
    f"{LADDER}"
)
MADE_OF = (
    "Drawn of {n} random instances, the first seeds of dirichlet (blue circles) and tree "
    "(orange squares) with a gap above 1e-6, and of the stored witness (large crosses, "
    "dotted) with a rare first token of probability 2 to the power of −16 under ref."
)
FAMILIES = {"dirichlet": (BLUE, "o", "-"), "tree": (ORANGE, "s", "--")}
SEEDS = 200  # of a family, looked through until enough have a gap that can be seen
VISIBLE = 1e-6
QUICK = {"n": 2}


def compute(on_progress: OnProgress = silent, *, n: int = 9) -> list[Row]:
    """Rows ``{instance, family, rung, value, ratio}``: n random instances and the witness.

    ratio: bound over gap; empty where a rung does not apply.
    """
    chosen = []
    for i, family in enumerate(FAMILIES):
        wanted = (n + 1 - i) // len(FAMILIES)
        chosen += [(family, seed) for seed in _visible(family, wanted)]
    chosen.append(("witness", 16))
    tasks = [Task.of(rungs_of, family=family, seed=seed) for family, seed in chosen]
    return rows_of(tasks, "rungs", on_progress)


def rungs_of(family: str, seed: int) -> list[Row]:
    """A row for each rung of one instance; seed: the rarity of a witness."""
    mdp = rare_first_token(seed) if family == "witness" else generate(family, seed)
    sol = solve(mdp)
    soup = Soup(Facts(sol), soup_optimum(mdp, sol).lam)
    return rungs_on(soup, f"{family}-{seed}", family)


def rungs_on(soup: Soup, instance: str, family: str) -> list[Row]:
    """A row for each rung on a soup's gap."""
    return [
        {
            "instance": instance, "family": family, "rung": rung.name,
            "value": rung.value, "ratio": rung.ratio,
        }
        for rung in ladder(soup) if rung.name in ("true gap", *RUNGS)
    ]  # fmt: skip


def _visible(family: str, wanted: int) -> list[int]:
    """The first seeds of a family whose soup leaves a gap above rounding."""
    seeds: list[int] = []
    for seed in range(SEEDS):
        if len(seeds) == wanted:
            break
        mdp = generate(family, seed)
        opt = soup_optimum(mdp)
        if opt.lam.any() and opt.gap > VISIBLE:
            seeds.append(seed)
    return seeds


def seen(rows: list[Row]) -> str:
    """On how many instances the printed bound is none."""
    last = [r["ratio"] for r in rows if r["rung"] == list(RUNGS)[-1] and r["ratio"] is not None]
    broken = sum(ratio < 1 for ratio in last)
    return f"What is seen: (10) as printed lies below the gap on {broken} of {len(last)} instances."


def draw(rows: list[Row], width: float) -> Figure:
    """One line an instance, rungs from left to right."""
    figure, axes = canvas(width, 0.78)
    names = ["true gap", *RUNGS]
    looks = {**FAMILIES, "witness": (VERMILION, "X", ":")}
    unknown = dict.fromkeys(r["family"] for r in rows if r["family"] not in looks)
    looks |= {name: (OTHERS[i % 6], "os^Dv"[i % 5], "-") for i, name in enumerate(unknown)}
    named: set[str] = set()
    for instance in dict.fromkeys(r["instance"] for r in rows):
        line = [r for r in rows if r["instance"] == instance and r["ratio"] is not None]
        family = line[0]["family"]
        ink, marker, style = looks[family]
        axes.plot(
            [names.index(r["rung"]) for r in line], [r["ratio"] for r in line], color=ink,
            marker=marker, ls=style, lw=0.8, ms=5 if family == "witness" else 3,
            label=None if family in named else family,
        )  # fmt: skip
        named.add(family)
    axes.axhline(1.0, color="0.3", lw=0.8, zorder=1)
    low = axes.get_ylim()[0]
    axes.set(yscale="log")
    low = min(r["ratio"] for r in rows if r["ratio"] is not None) / 5
    axes.axhspan(low, 1.0, color="0.92", zorder=0, lw=0)
    axes.set_ylim(bottom=low)
    axes.annotate("no bound", (0.02, 0.04), xycoords="axes fraction", style="italic", color="0.3")
    axes.set_xticks(range(len(names)), names, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_ylabel("times the true gap")
    axes.legend(loc="upper left")
    return figure
