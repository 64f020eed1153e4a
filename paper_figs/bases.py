"""Share of the optimum against the number of specialists K, by leave-out: Figure 3, exactly.

Four attribute rewards are drawn; a specialist is trained for a mixture near one of them, a user
has a mixture of their own that no specialist saw. A model of feature width d knows each Q_k only
through d features (its least-squares fit), as an adapter of limited width would; 52 features are
as many as there are reachable (t, s'), and every fit is exact. Specialists are removed one by one
in random order and the soup is re-optimised on those that are left.

share = (J(λ*) − J(0))/(V_w − J(0)): 0 is ref, 1 the policy trained for the user alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import mean, stdev
from typing import TYPE_CHECKING

import numpy as np

from bounds import Facts
from bounds.runs.progress import OnProgress, silent
from bounds.runs.task import Task
from toymdp import Solution, TokenMDP, solve
from toymdp.soup.ascent import ascend
from toymdp.soup.objective import SoupObjective
from toymdp.soup.starts import projection
from toymdp.worlds.features import Array

from .cached_table import Row, rows_of
from .canvas import BLACK, BLUE, VERMILION, canvas

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CAPTION = "share of the optimum against the number of specialists, three feature widths"
A, L, T, ATTRIBUTES = 4, 2, 4, 4
ROWS = A + (T - 1) * A**L  # reachable (t, s')
QUICK = {"n": 2, "widths": (13, 52), "most": 3}


def world(seed: int, d: int, most: int) -> TokenMDP:
    """Specialists 0..most−1 and, last, the user, whose weight is 1: a model of width d.

    Worlds of one seed differ in their features only, and narrower features are part of wider.
    """
    rng = np.random.default_rng([seed, 0xBA5E])
    S = A**L
    weights = rng.gamma(1.0, size=(S, A))
    attributes = rng.normal(size=(ATTRIBUTES, S))
    near = 0.6 * np.eye(ATTRIBUTES)[np.arange(most) % ATTRIBUTES]
    mixtures = near + 0.4 * rng.dirichlet(np.ones(ATTRIBUTES), size=most)
    user = rng.dirichlet(np.ones(ATTRIBUTES))
    features = rng.normal(size=(T, S, ROWS))
    return TokenMDP(
        vocab_size=A, order=L, horizon=T, start=[0] * L, ref_weights=weights,
        rewards=np.vstack([mixtures, user]) @ attributes, beta=0.5, w=np.eye(most + 1)[-1],
        features={"kind": "dense", "values": features[:, :, :d]},
    )  # fmt: skip


def shares(sol: Solution, order: Sequence[int]) -> list[float]:
    """Share of the optimum with the first 1, 2, ... specialists of an order, each as fitted.

    Every basis contains the one before: its optimum, padded with 0, is a start of the next ascent,
    so a share never falls as specialists are added.
    """
    fitted = sol.Q - Facts(sol).value_fit.residual[: len(sol.Q)]
    values: list[float] = []
    best: Array = np.zeros(0)
    for K in range(1, len(order) + 1):
        part = replace(sol, Q=np.ascontiguousarray(fitted[order[:K]]))
        objective = SoupObjective(part)
        corner = np.eye(K)[-1]
        starts = [corner, -corner, np.append(best, 0.0), projection(part)]
        ends = [ascend(objective, nu) for nu in starts if nu.any()]
        top = max(ends, key=lambda end: end.value)
        rest = objective.value(np.zeros(K))
        best = np.array(top.u) if top.value > rest else np.zeros(K)
        values.append((max(top.value, rest) - rest) / (sol.value_w - rest))
    return values


def compute(
    on_progress: OnProgress = silent,
    *,
    n: int = 24,
    widths: tuple[int, ...] = (13, 26, 52),
    most: int = 8,
) -> list[Row]:
    """Rows ``{width, K, user, share}``: n users, one random order of leaving out for each."""
    tasks = [Task.of(shares_of, user=i, widths=list(widths), most=most) for i in range(n)]
    return rows_of(tasks, "bases", on_progress)


def shares_of(user: int, widths: list[int], most: int) -> list[Row]:
    """The rows of one user."""
    order = np.random.default_rng([user, 1]).permutation(most).tolist()
    rows = []
    for d in widths:
        by_size = shares(solve(world(user, d, most)), order)
        rows += [{"width": d, "K": K, "user": user, "share": x} for K, x in enumerate(by_size, 1)]
    return rows


def draw(rows: list[Row], width: float) -> Figure:
    """Mean over users with its standard error, a line for each width."""
    figure, axes = canvas(width, 0.72)
    looks = [(VERMILION, "^", ":"), (BLUE, "s", "--"), (BLACK, "o", "-")]
    for d, (ink, marker, style) in zip(sorted({r["width"] for r in rows}), looks, strict=False):
        counts = sorted({r["K"] for r in rows})
        seen = [[r["share"] for r in rows if (r["width"], r["K"]) == (d, K)] for K in counts]
        middle = np.array([mean(x) for x in seen])
        error = np.array([stdev(x) / len(x) ** 0.5 for x in seen])
        axes.fill_between(counts, middle - error, middle + error, color=ink, alpha=0.15, lw=0)
        axes.plot(counts, middle, color=ink, marker=marker, ls=style, label=f"width {d}")
    axes.set(xlabel="number of specialists $K$ that are left", ylim=(None, 1.02))
    axes.set_ylabel("share of the optimum")
    axes.set_xticks(counts)
    axes.axhline(1.0, color="0.6", lw=0.6, zorder=1)
    axes.legend(loc="best")
    return figure
