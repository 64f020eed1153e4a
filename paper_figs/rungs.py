"""The ladder of bounds on ten instances: from the exact gap to the printed bound (10).

Each rung is a true statement but the last; an instance on which the last lies below 1 breaks it.
"""

from __future__ import annotations

from matplotlib.figure import Figure

from bounds import Facts, Soup
from bounds.proofs.ladder import RUNGS, ladder
from toymdp import solve, soup_optimum
from toymdp.families import generate
from toymdp.families.classics import rare_first_token

from .cached_table import Row, Track, quietly
from .canvas import BLUE, ORANGE, VERMILION, canvas

FAMILIES = {"dirichlet": (BLUE, "o", "-"), "tree": (ORANGE, "s", "--")}
SEEDS = 200  # of a family, looked through until enough have a gap that can be seen
VISIBLE = 1e-6
QUICK = {"n": 2}


def compute(track: Track = quietly, *, n: int = 9) -> list[Row]:
    """Rows ``{instance, family, rung, value, ratio}``: n random instances and the witness.

    ratio: bound over gap; empty where a rung does not apply.
    """
    chosen = []
    for i, family in enumerate(FAMILIES):
        wanted = (n + 1 - i) // len(FAMILIES)
        chosen += [(family, seed) for seed in _visible(family, wanted)]
    rows = []
    for family, seed in track([*chosen, ("witness", 16)], "rungs"):
        mdp = rare_first_token(seed) if family == "witness" else generate(family, seed)
        sol = solve(mdp)
        for rung in ladder(Soup(Facts(sol), soup_optimum(mdp, sol).lam)):
            if rung.name in ("true gap", *RUNGS):
                rows.append({
                    "instance": f"{family}-{seed}", "family": family, "rung": rung.name,
                    "value": rung.value, "ratio": rung.ratio,
                })  # fmt: skip
    return rows


def _visible(family: str, wanted: int) -> list[int]:
    """The first seeds of a family whose soup leaves a gap above rounding."""
    found: list[int] = []
    for seed in range(SEEDS):
        if len(found) == wanted:
            break
        mdp = generate(family, seed)
        opt = soup_optimum(mdp)
        if opt.lam.any() and opt.gap > VISIBLE:
            found.append(seed)
    return found


def draw(rows: list[Row], width: float) -> Figure:
    """One line an instance, rungs from left to right."""
    figure, axes = canvas(width, 0.78)
    names = ["true gap", *RUNGS]
    labels = {"true gap": "true\ngap", "minimal repair": "minimal\nrepair",
              "printed (10)": "printed\n(10)"}  # fmt: skip
    looks = {**FAMILIES, "witness": (VERMILION, "X", ":")}
    named: set[str] = set()
    for instance in dict.fromkeys(r["instance"] for r in rows):
        own = [r for r in rows if r["instance"] == instance and r["ratio"] is not None]
        family = own[0]["family"]
        ink, marker, style = looks[family]
        axes.plot(
            [names.index(r["rung"]) for r in own], [r["ratio"] for r in own], color=ink,
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
    axes.set_xticks(range(len(names)), [labels.get(x, x) for x in names])
    axes.set_ylabel("times the true gap")
    axes.legend(loc="upper left")
    return figure
