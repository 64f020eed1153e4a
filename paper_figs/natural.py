"""How ordinary a world can be and still break (9) or (10): the trade-off, found by search.

Each point is one search confined to its limits, of one effort in instances; a world found within
tighter limits counts for the looser ones as well. What is drawn is therefore a lower bound on what is
there: a point below 1 says that this effort found nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bounds.runs.progress import OnProgress, silent
from bounds.runs.task import Task
from bounds.search.ordinary import Ordinary
from bounds.search.packages import require_packages

from .cached_table import Row, rows_of
from .canvas import BLUE, VERMILION, canvas

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOOKS = 10_000
CAPTION = "ordinary worlds that break (9), (10): the largest ratio found"
READING = (
    "Each mark is one search for worlds that meet every hypothesis of the claim and break it,"
    " confined to limits; a panel moves one limit and keeps the others: the least probability"
    " under ref (least ref), the ratio of the largest feature norm to the smallest (norm "
    "ratio), the largest reward over β (reward over beta), the horizon T. Up is the largest "
    "left side over right side found, within a limit or a tighter one; filled marks, above "
    "the line at 1, break the claim, hollow ones found nothing that does, and what lies below"
    " 0.05 is drawn there. Blue circles: (9), the bound on the KL divergence; vermilion squares:"
    " (10), the bound on the gap. What is drawn is a lower bound on what there is: a hollow "
    "mark says only that this effort found nothing."
)
MADE_OF = "Limits: {limits}; {looks} worlds looked at for each mark; seed {seed}."
LIMITS = {
    "least_ref": (0.2, 0.1, 0.03, 0.01), "norm_ratio": (1.0, 2.0, 3.0, 10.0),
    "reward_over_beta": (2.5, 5.0, 10.0, 25.0, 50.0), "horizon": (2, 3, 5, 8),
}  # fmt: skip
# around which the limits are moved one at a time: known worlds break there
BASE = {
    "ss.thm1.kl": {"least_ref": 0.1, "norm_ratio": 3.0, "reward_over_beta": 50.0, "horizon": 2},
    "ss.thm1.gap": {"least_ref": 0.01, "norm_ratio": 1.0, "reward_over_beta": 50.0, "horizon": 3},
}
QUICK = {"looks": 200, "limits": {"least_ref": (0.1, 0.01), "horizon": (2, 3)}}
NAMES = {
    "least_ref": "least probability under ref", "norm_ratio": "largest norm / smallest",
    "reward_over_beta": r"largest $r/\beta$", "horizon": "horizon $T$",
}  # fmt: skip
LEAST, TICKS = 0.05, (0.1, 0.3, 1, 3, 10)  # smaller ratios are drawn at LEAST, not left out
LOOKS_OF = {
    "ss.thm1.kl": ("(9)", BLUE, "o"), "ss.thm1.gap": ("(10)", VERMILION, "s"),
}  # fmt: skip


def compute(
    on_progress: OnProgress = silent,
    *,
    limits: dict[str, tuple[float, ...]] = LIMITS,
    looks: int = LOOKS,
    seed: int = 0,
) -> list[Row]:
    """Rows ``{claim, limits, looks, ratio, verdict, A, L}``, one for each search."""
    require_packages()
    tasks = {
        task.id: task
        for claim, base in BASE.items()
        for panel, values in limits.items()
        for x in sorted({*values, base[panel]})
        for task in [Task.of(searched, claim=claim, looks=looks, seed=seed, **(base | {panel: x}))]
    }
    return rows_of(list(tasks.values()), "natural", on_progress)


def searched(
    claim: str, looks: int, seed: int, least_ref: float, norm_ratio: float,
    reward_over_beta: float, horizon: float,
) -> list[Row]:  # fmt: skip
    """The row of one search; where norms are equal (10) is searched as the claim of that name."""
    import torch

    from bounds.search.within_limits import most_broken

    torch.set_num_threads(1)
    ordinary = Ordinary(least_ref, norm_ratio, reward_over_beta, horizon=int(horizon))
    equal = claim == "ss.thm1.gap" and ordinary.norm_ratio == 1
    state = most_broken(f"{claim}.constant-norm" if equal else claim, ordinary, looks, seed)
    best = state.best
    return [{
        "claim": claim, "least_ref": least_ref, "norm_ratio": norm_ratio,
        "reward_over_beta": reward_over_beta, "horizon": int(horizon), "looks": state.looks,
        "ratio": 0.0 if best is None else max(best.strength, 0.0),
        "verdict": None if best is None else best.check.verdict,
        "A": None if best is None else best.mdp.vocab_size,
        "L": None if best is None else best.mdp.order,
    }]  # fmt: skip


def largest(rows: list[Row], panel: str, claim: str) -> list[tuple[float, float]]:
    """(limit, largest ratio found within the limits, at their T) along one panel, loosest last."""
    base = BASE[claim]
    own = [r for r in rows if r["claim"] == claim]
    points = [r for r in own if all(r[name] == base[name] for name in base if name != panel)]
    found = [(row[panel], max(r["ratio"] for r in own if _covers(row, r))) for row in points]
    return sorted(found, reverse=panel == "least_ref")


def _covers(row: Row, other: Row) -> bool:
    """Whether every world within the other's limits is within the row's, at the same T."""
    return bool(
        other["horizon"] == row["horizon"]
        and other["least_ref"] >= row["least_ref"]
        and other["norm_ratio"] <= row["norm_ratio"]
        and other["reward_over_beta"] <= row["reward_over_beta"]
    )


def seen(rows: list[Row]) -> str:
    """In how many searches each claim broke, and by how much at most."""
    told = []
    for claim, (label, *_) in LOOKS_OF.items():
        ratios = [r["ratio"] for r in rows if r["claim"] == claim]
        broken = sum(ratio > 1 for ratio in ratios)
        told.append(f"{label} broke in {broken} of {len(ratios)}, largest ratio {max(ratios):.3g}")
    return f"What is seen, search by search: {'; '.join(told)}."


def draw(rows: list[Row], width: float) -> Figure:
    """A panel for each limit; filled marks break the claim, the line at 1 is where that begins."""
    curves = {panel: {claim: largest(rows, panel, claim) for claim in LOOKS_OF} for panel in NAMES}
    panels = [p for p in NAMES if any(len(curve) > 1 for curve in curves[p].values())]
    columns = 2 if width < 5 else len(panels)
    lines = -(-len(panels) // columns)
    aspect = 1.15 if lines > 1 else 0.62
    figure, axes = canvas(width, aspect, lines, columns, sharey=True, squeeze=False)
    named: dict[str, Any] = {}
    for place, (axis, panel) in enumerate(zip(axes.flat, panels, strict=False)):
        for claim, (label, ink, marker) in LOOKS_OF.items():
            x = [limit for limit, _ in curves[panel][claim]]
            y = [max(ratio, LEAST) for _, ratio in curves[panel][claim]]
            (named[label],) = axis.plot(x, y, color=ink, marker=marker, mfc="white")
            broken = [(a, b) for a, b in zip(x, y, strict=True) if b > 1]
            axis.plot(*zip(*broken, strict=True) if broken else ([], []), color=ink,
                      marker=marker, ls="none")  # fmt: skip
        axis.axhline(1.0, color="0.4", lw=0.7, zorder=1)
        axis.set(xscale="log", yscale="log", xlabel=NAMES[panel])
        ticks = sorted({x for curve in curves[panel].values() for x, _ in curve})
        axis.set_xticks(ticks, [f"{x:g}" for x in ticks])
        axis.set_yticks(TICKS, [f"{y:g}" for y in TICKS])
        axis.minorticks_off()
        if panel == "least_ref":
            axis.invert_xaxis()
        if place % columns == 0:
            axis.set_ylabel("largest lhs/rhs found")
    figure.legend(list(named.values()), list(named), ncols=2, loc="outside upper center")
    return figure
