"""True gap against two bounds: the printed (10) and the sharp one that replaces it.

Points above the diagonal are bounds; a point below it is a violation. Random instances that meet
every hypothesis of Theorem 1 lie above it, and the rare-first-token witness falls through.
"""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from bounds import check
from toymdp import solve, soup_optimum
from toymdp.classics import rare_first_token
from toymdp.families import generate

FAMILIES = ("dirichlet", "tree")
RARITIES = (2, 4, 6, 8, 10, 12, 14, 16)
BOUNDS = {"ss.thm1.gap": "printed", "ss.thm1.gap.sharp": "sharp"}
VISIBLE = 1e-9  # gaps below this are rounding: the soup is the optimum


def compute(n: int = 60) -> list[dict[str, Any]]:
    """Rows ``{family, instance, bound, gap, value, verdict}`` at λ*, in reward units."""
    cases = [(f, f"{f}-{i}", generate(f, i)) for f in FAMILIES for i in range(n)]
    cases += [("witness", f"rarity-{r}", rare_first_token(r)) for r in RARITIES]
    rows = []
    for family, name, mdp in cases:
        sol = solve(mdp)
        opt = soup_optimum(mdp, sol)
        if opt.gap < VISIBLE or not opt.lam.any():
            continue
        for c in check(sol, ",".join(BOUNDS), optimum=opt, lam=opt.lam):
            if c.lhs is not None:
                rows.append({
                    "family": family, "instance": name, "bound": BOUNDS[c.claim],
                    "gap": c.lhs, "value": c.rhs, "verdict": c.verdict,
                })  # fmt: skip
    return rows


def draw(rows: list[dict[str, Any]]) -> Figure:
    """One panel, log-log."""
    figure, axes = plt.subplots()
    looks: dict[tuple[str, str], dict[str, Any]] = {
        ("random", "printed"): {"marker": "s", "color": "C1", "label": "printed (10), random"},
        ("random", "sharp"): {"marker": "o", "color": "C0", "label": "sharp, random"},
        ("witness", "printed"): {"marker": "v", "color": "k", "label": "printed (10), witness"},
        ("witness", "sharp"): {"marker": "D", "color": "C2", "label": "sharp, witness"},
    }
    for (kind, bound), look in looks.items():
        chosen = [
            r for r in rows
            if r["bound"] == bound and (r["family"] == "witness") == (kind == "witness")
        ]  # fmt: skip
        x, y = [r["gap"] for r in chosen], [r["value"] for r in chosen]
        axes.scatter(x, y, s=11, linewidths=0.4, edgecolors="white", zorder=3, **look)
    axes.set(xscale="log", yscale="log")
    low = min(min(r["gap"], r["value"]) for r in rows)
    high = max(max(r["gap"], r["value"]) for r in rows)
    axes.plot([low, high], [low, high], color="0.4", lw=0.8, zorder=2)
    axes.fill_between([low, high], [low / 10] * 2, [low, high], color="0.9", zorder=1, lw=0)
    axes.set(ylim=(low / 3, high * 3), xlim=(min(r["gap"] for r in rows) / 2, 2.0))
    axes.text(0.52, 0.40, "violated", transform=axes.transAxes, color="0.35", style="italic")
    axes.set(xlabel=r"true gap $V_w - J(\lambda^*)$", ylabel="bound on it")
    axes.legend(loc="lower center", bbox_to_anchor=(0.52, 0.0), handletextpad=0.2)
    return figure
