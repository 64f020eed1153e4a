"""How the gap grows with how much tastes differ: fourth order in the rewards, second in D.

The specialists' rewards are moved from the user's own to where a world puts them and beyond:
r_k(ε) = r_w + ε (r_k − r_w), so that Σ w_k r_k(ε) = r_w for every ε. Nothing is optimised: the soup is
that of the matched weights λ = (β'/β)w, whose logit error is −D/β.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bounds import Facts, check
from bounds.claims.disagreement import matched, span_ahead
from bounds.runs.progress import OnProgress, silent
from bounds.runs.task import Task
from toymdp import solve
from toymdp.families import generate

from .cached_table import Row, rows_of
from .canvas import BLUE, GREEN, GREY, ORANGE, PINK, VERMILION, canvas

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CAPTION = "the gap of matched weights is of fourth order in how much tastes differ"
READING = (
    "The specialists' rewards are r_k = r_w + ε δ_k, so that the user's own r_w stays and "
    "tastes differ by ε; the soup is that of the matched weights λ = (β'/β)w, and nothing is "
    "optimised. Solid lines with marks: the gap, in reward units, a colour a world; dotted "
    "lines: a proved bound on it, known before any soup on the left, state by state on the "
    "right. Left: against ε; right: against the largest span over actions of D, the "
    "disagreement of the specialists' soft values, at the next step. Dashed: lines of slope 4"
    " and 2 for the eye, as the theory says for small ε. All axes are logarithmic."
)
MADE_OF = (
    "Drawn of {n} dirichlet worlds (4 tokens, order 2, 5 steps, 3 specialists) at ε of "
    "{steps}; gaps within rounding of 0 are left out."
)
SIZE = {"A": 4, "L": 2, "T": 5, "K": 3}
APRIORI, STATE_WISE = "ss.thm1.gap.apriori", "ss.thm1.gap.apriori.state-wise"
VISIBLE = 10.0  # rounding radii that a gap must exceed to be drawn
INKS = ((BLUE, "o"), (VERMILION, "s"), (GREEN, "^"), (ORANGE, "D"), (PINK, "v"))
STEPS = tuple(2.0 ** (half / 2) for half in range(-10, 9))  # ε, 1/32 to 16
QUICK = {"n": 2, "steps": (0.25, 1.0, 4.0)}


def compute(
    on_progress: OnProgress = silent,
    *,
    n: int = 5,
    steps: tuple[float, ...] = STEPS,
) -> list[Row]:
    """Rows ``{seed, epsilon, gap, apriori, span, state_wise}`` in reward units, at λ = (β'/β)w.

    span: the largest ``span_a D_{t+1}`` at a reachable state. apriori, state_wise: both bounds on the
    gap. Gaps within rounding of 0 are left out.
    """
    tasks = [Task.of(gaps_of, seed=seed, steps=list(steps)) for seed in range(n)]
    return rows_of(tasks, "disagreement", on_progress)


def gaps_of(seed: int, steps: list[float]) -> list[Row]:
    """A row for each ε on one world."""
    mdp = generate("dirichlet", seed, **SIZE)
    rows = []
    for epsilon in steps:
        rewards = mdp.reward_w + epsilon * (mdp.rewards - mdp.reward_w)
        sol = solve(mdp.replace(rewards=rewards))
        facts = Facts(sol)
        soup = matched(facts)
        if soup.gap <= VISIBLE * soup.value_error:
            continue
        apriori, state_wise = check(sol, f"{APRIORI},{STATE_WISE}", optimum=facts.optimum)
        rows.append({
            "seed": seed, "epsilon": epsilon, "gap": soup.gap, "apriori": apriori.rhs,
            "span": float(span_ahead(facts)[facts.judged].max()), "state_wise": state_wise.rhs,
        })  # fmt: skip
    return rows


def draw(rows: list[Row], width: float) -> Figure:
    """Left: gap against ε, and the bound that is known beforehand. Right: gap against the span of D."""
    figure, (left, right) = canvas(width, 0.62, 1, 2, sharey=True)
    for seed in sorted({r["seed"] for r in rows}):
        ink, marker = INKS[seed % len(INKS)]
        line = [r for r in rows if r["seed"] == seed]
        gaps, looks = (
            [r["gap"] for r in line],
            {"color": ink, "marker": marker, "ms": 2.5, "lw": 0.7},
        )
        left.plot([r["epsilon"] for r in line], gaps, **looks)
        right.plot([r["span"] for r in line], gaps, **looks)
        left.plot(
            [r["epsilon"] for r in line], [r["apriori"] for r in line], color=ink, lw=0.6, ls=":"
        )
        right.plot(
            [r["span"] for r in line], [r["state_wise"] for r in line], color=ink, lw=0.6, ls=":"
        )
    for axes, name, power in ((left, "epsilon", 4), (right, "span", 2)):
        small = sorted(rows, key=lambda r: r[name])[: max(2, len(rows) // 3)]
        x0, y0 = small[0][name], min(r["gap"] for r in small) / 8
        x1 = 8.0 * x0
        axes.plot([x0, x1], [y0, y0 * 8.0**power], color=GREY, lw=0.8, ls="--")
        axes.annotate(
            f"slope {power}", (x1, y0 * 8.0**power), ha="left", va="top", color=GREY, fontsize=6
        )
        axes.set(xscale="log", yscale="log")
    left.set(
        xlabel=r"$\varepsilon$: $r_k = r_w + \varepsilon\,\delta_k$",
        ylabel=r"gap at $(\beta'/\beta)\,w$",
    )
    right.set(xlabel=r"largest span$_a\,D_{t+1}$")
    right.plot([], [], color=GREY, lw=0.7, marker="o", ms=2.5, label="gap, a colour a world")
    right.plot([], [], color=GREY, lw=0.6, ls=":", label="proved bound")
    right.legend(loc="upper left", fontsize=6)  # where no line is
    return figure
