"""Where Theorem 1's printed bound (10) fails: mass of a rare first token against its reward.

The instance is the rare-first-token witness with two dials: ref gives the first good token mass
2^-rarity, and taking it earns R. The bound sees only what ref sees at the first step; once R pays
for the detour, all good play goes where the bound does not look.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from bounds import check
from bounds.runs.progress import OnProgress, silent
from bounds.runs.task import Task
from toymdp import TokenMDP, solve, soup_optimum
from toymdp.families.classics import rare_first_token

from .cached_table import Row, rows_of
from .canvas import canvas

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CAPTION = "where Theorem 1's printed bound fails: rare-token mass against its reward"
READING = (
    "Across, the probability that ref gives to the one first token that leads to good play; "
    "up, the reward for taking it, in reward units; every cell is one instance. Colour is the"
    " decimal logarithm of printed bound (10) over true gap at λ*: purple, the bound is above"
    " the gap and holds; orange, it is below and is violated; the black line is where the two"
    " are equal. The bound sees only what ref sees at the first step; once the reward pays "
    "for the detour, all good play goes where it does not look."
)
MADE_OF = (
    "Drawn of the rare-first-token world at rarity {rarities} (minus the binary logarithm of "
    "the token's probability) and reward {payments}; the star is the stored witness, rarity "
    "16 and reward 64."
)
RARE = 1  # context (0, 1): the rare first token was taken
WITNESS = (16, 64.0)
PAYMENTS = tuple(2.0 ** (third / 3) for third in range(-3, 22))  # 1/2 to 128, 64 among them
QUICK = {"rarities": (2, 9, 16), "payments": (0.5, 8.0, 64.0)}


def world(rarity: int, payment: float) -> TokenMDP:
    """The witness with another mass 2^-rarity and reward (reward units) of its rare token."""
    mdp = rare_first_token(rarity)
    rewards = mdp.rewards.copy()
    rewards[:, RARE] = payment
    return mdp.replace(rewards=rewards)


def compute(
    on_progress: OnProgress = silent,
    *,
    rarities: tuple[int, ...] = tuple(range(1, 25)),
    payments: tuple[float, ...] = PAYMENTS,
) -> list[Row]:
    """Rows ``{rarity, mass, reward, gap, bound, verdict, beta}`` of ss.thm1.gap at λ*."""
    tasks = [Task.of(bounds_at, rarity=r, payments=list(payments)) for r in rarities]
    return rows_of(tasks, "violation", on_progress)


def bounds_at(rarity: int, payments: list[float]) -> list[Row]:
    """A row for each payment of a token of mass 2^-rarity."""
    rows = []
    for payment in payments:
        sol = solve(world(rarity, payment))
        opt = soup_optimum(sol.mdp, sol)
        (c,) = check(sol, "ss.thm1.gap", optimum=opt)
        rows.append({
            "rarity": rarity, "mass": 2.0**-rarity, "reward": payment, "gap": c.lhs,
            "bound": c.rhs, "verdict": c.verdict, "beta": sol.mdp.beta,
            "witness": (rarity, payment) == WITNESS,
        })  # fmt: skip
    return rows


def seen(rows: list[Row]) -> str:
    """On how many instances the bound is violated, and where it is worst."""
    worst = max(rows, key=lambda r: (r["gap"] or 0.0) / r["bound"] if r["bound"] else 0.0)
    broken = sum(r["verdict"] == "violated" for r in rows)
    return (
        f"What is seen: the bound is violated on {broken} of {len(rows)} instances, at worst by a factor "
        f"of {worst['gap'] / worst['bound']:.3g}."
    )


def draw(rows: list[Row], width: float) -> Figure:
    """Heat map of log2 bound/gap; the zero contour is where the statement stops being true."""
    from matplotlib.colors import TwoSlopeNorm

    figure, axes = canvas(width, 0.78)
    rarities = sorted({r["rarity"] for r in rows})
    payments = sorted({r["reward"] for r in rows})
    grid = np.full((len(payments), len(rarities)), np.nan)
    for r in rows:
        if r["gap"] is not None and r["gap"] > 0:
            at = payments.index(r["reward"]), rarities.index(r["rarity"])
            grid[at] = math.log10(r["bound"] / r["gap"])
    size = float(np.nanmax(np.abs(grid)))
    norm = TwoSlopeNorm(0.0, -size, size)
    image = axes.pcolormesh(rarities, payments, grid, norm=norm, cmap="PuOr", shading="nearest")
    axes.contour(rarities, payments, grid, levels=[0.0], colors="k", linewidths=1.1)
    for word, spot in (("violated", (0.55, 0.62)), ("holds", (0.75, 0.07))):
        axes.annotate(word, spot, xycoords="axes fraction", style="italic", ha="center")
    # common tokens: the strip at the left, where the bound is true again
    axes.annotate("holds", (0.012, 0.5), xycoords="axes fraction", style="italic", va="center",
                  rotation=90)  # fmt: skip
    for r in rows:
        if r["witness"]:
            spot = (r["rarity"], r["reward"])
            axes.plot(*spot, marker="*", ms=9, mfc="white", mec="k", mew=0.7, ls="none")
            axes.annotate("stored witness", spot, xytext=(0, -9), textcoords="offset points",
                          ha="center", va="top", fontsize=6.5)  # fmt: skip
    ticks = [r for r in rarities if r % 4 == 0]
    axes.set_xticks(ticks, [f"$2^{{-{r}}}$" for r in ticks])
    axes.set_yscale("log", base=2)
    axes.set(xlabel="mass of the rare first token under ref", ylabel="its reward $R$")
    bar = figure.colorbar(image, ax=axes, pad=0.02, aspect=25)
    bar.set_label(r"$\log_{10}$ printed bound / true gap")
    bar.outline.set_visible(False)
    return figure
