"""From the true gap to the printed bound (10), one proof step at a time, on the stored witness.

Each step of Appendix A.2 replaces a quantity by one that should be no smaller; its slack is what
it adds. The first bar that goes down is the step that breaks. What the steps leave between their
sum and the bound (Cauchy–Schwarz on the reward term, a mean where a step was judged at its worst)
is the last bar.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bounds.claims.catalogue import CLAIMS
from bounds.proofs.walk import Explanation, explain
from bounds.runs.progress import OnProgress, silent
from bounds.runs.task import Task
from toymdp import solve, soup_optimum
from toymdp.families.classics import rare_first_token

from .cached_table import Row, rows_of
from .canvas import BLACK, BLUE, GREY, VERMILION, canvas

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CAPTION = "from the gap to the printed bound, step by step, to the step that breaks"
READING = (
    "From the left side of the claim (top bar) to its right side (last bar), one step of the "
    "printed proof a bar, in the proof's order. Each step puts in place of a quantity one "
    "that should be no smaller; its bar is what it adds, right side less left. Blue steps add"
    " and so hold; a vermilion bar goes down and breaks, hatched where it is the first. A step "
    "without a bar either adds nothing or does not apply here; the table says why. The last "
    "bar before the bound is what the steps leave between their sum and the bound: "
    "Cauchy–Schwarz on the reward term, and means where a step was judged at its worst."
)
MADE_OF = (
    "Drawn of claim {claim} at λ* on the stored witness with a rare first token, whose "
    "probability under ref is 2 to the power of minus {rarity}."
)
WORDS = {
    "ss.lemma1": "Lemma 1: $Q^*$ is linear",
    "ss.eq8.onehot": "best soup ≥ each specialist",
    "ss.proof.nonneg.without": r"$|\lambda_k|$ put for $\lambda_k$",
    "ss.proof.A": "one policy worst for all $k$",
    "ss.proof.B": r"$\Delta_k$ pays for $\lambda_k<0$",
    "ss.proof.C.jensen": "mean of a power (Jensen)",
    "ss.proof.C.lipschitz": "log-mean-exp is Lipschitz",
    "ss.proof.kl-mean": r"mean logit error $\leq$ norms",
    "ss.proof.kl-step": r"normalisers, by $E_{ref}\Vert\psi\Vert$",
    "ss.proof.kl-step.norm-of-mean": r"normalisers, by $\Vert E_{ref}|\psi|\Vert$",
}
QUICK: dict[str, object] = {}


def compute(
    on_progress: OnProgress = silent, *, claim: str = "ss.thm1.gap", rarity: int = 16
) -> list[Row]:
    """Rows ``{kind, step, label, slack, level, verdict, why, unit}``: level is the running sum.

    A step without sides (one expression, or a hypothesis that is false) adds nothing; why says which.
    """
    tasks = [Task.of(walked, claim=claim, rarity=rarity)]
    return rows_of(tasks, "waterfall", on_progress)


def walked(claim: str, rarity: int) -> list[Row]:
    """The rows of one claim's proof on the witness of this rarity."""
    sol = solve(rare_first_token(rarity))
    return steps_of(explain(sol, claim, soup_optimum(sol.mdp, sol)))


def steps_of(walk: Explanation) -> list[Row]:
    """The rows of the proof of an inequality that was walked."""
    gap, bound, claim = walk.claim.lhs, walk.claim.rhs, walk.claim.claim
    assert gap is not None
    assert bound is not None
    what, unit = ("gap", "reward units") if "gap" in claim.split(".") else ("KL", "nats")
    source = CLAIMS[claim].source
    printed = f"printed {source.removeprefix('SS ')}" if source.startswith("SS ") else "bound"
    level, rows = gap, [_row("gap", claim, f"true {what}", gap, gap)]
    for i, (step, c) in enumerate(walk.steps):
        level += c.slack or 0.0
        kind = "first broken" if i == walk.first_broken else "step"
        label = WORDS.get(step.claim, step.claim)
        rows.append(_row(kind, step.claim, label, c.slack, level, c.verdict, c.reason))
    rest = bound - level
    rows.append(_row("rest", "", "Cauchy–Schwarz, means", rest, level + rest))
    rows.append(_row("bound", claim, printed, bound, bound))
    return [row | {"unit": unit} for row in rows]


def _row(
    kind: str, step: str, label: str, slack: float | None, level: float, verdict: str = "", why: str = ""
) -> Row:  # fmt: skip
    return {
        "kind": kind, "step": step, "label": label, "slack": slack, "level": level,
        "verdict": verdict, "why": why,
    }  # fmt: skip


def draw(rows: list[Row], width: float) -> Figure:
    """Horizontal waterfall, top to bottom in the proof's order."""
    figure, axes = canvas(width, 0.74)
    before = 0.0
    places = [*[x for r in rows for x in (r["level"], r["level"] - (r["slack"] or 0.0))], 0.0]
    span = max(places) - min(places)
    for i, r in enumerate(rows):
        whole = r["kind"] in ("gap", "bound")
        start, end = (0.0, r["level"]) if whole else (before, r["level"])
        if r["kind"] == "first broken":
            look = {"color": VERMILION, "hatch": "////", "edgecolor": "white"}
        else:
            look = {"color": BLACK if whole else BLUE if end >= start else VERMILION}
        axes.barh(i, end - start, left=start, height=0.62, linewidth=0, zorder=3, **look)
        if i + 1 < len(rows):
            axes.plot([end, end], [i, i + 1], color="0.5", lw=0.5, zorder=2)
        if whole:
            text = f"{end:.2g}"
        elif r["slack"] is None:
            text = "both sides equal" if "both sides" in r["why"] else r["verdict"]
        else:
            text = f"{r['slack']:+.2g}".replace("-", "−") if abs(r["slack"]) > 1e-9 * span else "0"
        if r["kind"] == "first broken":
            text += "  first to break"
        ink = (
            VERMILION
            if r["kind"] == "first broken"
            else GREY
            if text == "0" or r["slack"] is None
            else BLACK
        )
        axes.annotate(
            text, (max(start, end) + 0.025 * span, i), va="center", fontsize=6.5, color=ink,
            zorder=4, bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6},
        )  # fmt: skip
        before = end
    axes.axvline(0, color="0.3", lw=0.6, zorder=1)
    axes.set_yticks(range(len(rows)), [r["label"] for r in rows])
    axes.invert_yaxis()
    axes.set_xlim(min(places) - 0.05 * span, max(places) + 0.85 * span)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(str(rows[0]["unit"]))
    return figure
