"""Whether log-ratios of a pretrained model are linear in its state: the theory's own case, and another.

Adapters on the output layer change logits by a fixed linear map of the state, so the fit is perfect as
soon as the states fitted outnumber the state's numbers. Adapters inside the model change the state; what
no linear map explains spoils the fit most where equations are about as many as unknowns. Drawn from what
``soupcheck llm make-smollm`` measured when it made the two banks.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import TYPE_CHECKING

from bounds.runs.progress import OnProgress, silent
from bounds.runs.task import Task

from .cached_table import Row, rows_of
from .canvas import BLUE, GREY, VERMILION, canvas

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CAPTION = "log-ratios of SmolLM2 linear in its state: adapters on the output layer, or inside"
READING = (
    "Across, how many states of SmolLM2 a linear map from state to log-ratio (policy over "
    "reference) is fitted on; up, its R² on states held out; a line for each trained policy. "
    "Blue: adapters on the output layer alone, which change logits by a fixed linear map of "
    "the state, so that the fit is perfect as soon as states outnumber the state's numbers "
    "(dotted). Vermilion, dashed: adapters in the last ten layers, which change the state; no "
    "linear map explains all of them. Triangles at the lower edge: R² below −1."
)
MADE_OF = (
    "Drawn of what was measured when the stored adapters were made: adapters on {banks} (the output "
    "layer, the last ten layers)."
)
QUICK = {"banks": ("output",)}
FILES = (("llm_bridge", "smollm/facts.json"),)
LEAST = -1.0  # of the axis: a fit with about as many unknowns as equations runs wild
LOOKS = {
    "output": (BLUE, "o", "-", "output layer alone"),
    "layers": (VERMILION, "s", "--", "last ten layers"),
}


def compute(
    on_progress: OnProgress = silent, *, banks: tuple[str, ...] = ("output", "layers")
) -> list[Row]:
    """Rows ``{bank, policy, states, width, r2}``: held-out R² when so many states are fitted."""
    return rows_of([Task.of(curves, bank=bank) for bank in banks], "linearity", on_progress)


def curves(bank: str) -> list[Row]:
    """The rows of one bank."""
    (package, file), *_ = FILES
    facts = json.loads((files(package) / file).read_text(encoding="utf-8"))
    found = facts["banks"][bank]["linearity"]
    return [
        {"bank": bank, "policy": policy, "states": int(n), "width": found["width"], "r2": r2}
        for n, row in found["R²"].items()
        for policy, r2 in row.items()
    ]


def draw(rows: list[Row], width: float) -> Figure:
    """R² against states fitted, a line a policy; below ``LEAST`` a mark at the edge says that it is lower."""
    figure, panel = canvas(width, 0.8)
    for bank, (ink, marker, style, name) in LOOKS.items():
        own = [r for r in rows if r["bank"] == bank]
        for i, policy in enumerate(dict.fromkeys(r["policy"] for r in own)):
            line = [(r["states"], r["r2"]) for r in own if r["policy"] == policy]
            panel.plot(*zip(*line, strict=True), color=ink, marker=marker, ls=style, ms=2.6, lw=0.8,
                       alpha=0.8, label=name if i == 0 else None)  # fmt: skip
        low = sorted({r["states"] for r in own if r["r2"] < LEAST})
        panel.plot(low, [LEAST + 0.04] * len(low), color=ink, marker="v", ls="", ms=4)
    d = rows[0]["width"]
    panel.axvline(d, color=GREY, lw=0.8, ls=":")
    panel.annotate(
        f"as many states\nas a state has\nnumbers: {d}", (d, 0.6), xytext=(4, 0),
        textcoords="offset points", color=GREY, fontsize=6,
    )  # fmt: skip
    panel.set(xlabel="states fitted", ylabel="held-out $R^2$ of log-ratios", ylim=(LEAST, 1.06))
    panel.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return figure
