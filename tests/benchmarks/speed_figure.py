"""Two panels of speed.py's sweeps: the share of the machine's limit, and cost against each size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from paper_figs import canvas

STYLES = {
    "soft_values": (canvas.BLUE, "o-"), "NumPy, two buffers": (canvas.VERMILION, "s--"),
    "scipy CSR": (canvas.GREEN, "^--"), "JAX jit": (canvas.PINK, "v--"),
    "NumPy, structured": (canvas.BLACK, "D--"), "numexpr": (canvas.SKY, "P:"),
    "torch bmm": (canvas.ORANGE, "X--"), "NumPy, row by row": (canvas.GREY, "*:"),
}  # fmt: skip


def draw(sweeps: dict[str, Any], path: Path) -> None:
    """Write the figure; the format is that of the file's name."""
    import matplotlib

    matplotlib.use("Agg")
    figure, (left, right) = canvas.canvas(canvas.WIDTHS["icml-page"], 0.62, 1, 2)
    for name, (colour, style) in STYLES.items():
        found = [
            (point["at"], row["share"])
            for point in sweeps["S"] for row in point["rows"] if row["name"] == name
        ]  # fmt: skip
        if found:
            left.plot(*zip(*found, strict=True), style, color=colour, label=name, markersize=4)
    left.set(xscale="log", yscale="log", xlabel="contexts S (A = 8, T = 16, K = 8)")
    left.set_ylabel("share of the traffic limit")
    left.axhline(1.0, color=canvas.GREY, linewidth=0.8)
    left.legend(fontsize=6, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.2), frameon=False)
    marks = ("o-", "s--", "^-.", "v:")
    colours = (canvas.BLUE, canvas.VERMILION, canvas.GREEN, canvas.PINK)
    for (axis, points), mark, colour in zip(sweeps.items(), marks, colours, strict=True):
        at = np.array([float(point["at"]) for point in points])
        ms = np.array(
            [row["ms"] for p in points for row in p["rows"] if row["name"] == "soft_values"]
        )
        slope = np.polyfit(np.log(at[1:]), np.log(ms[1:]), 1)[0]  # the first pays for the call
        right.plot(
            at / at[0], ms, mark, color=colour, markersize=4,
            label=f"${axis}$ from {at[0]:g}: exponent {slope:.2f}",
        )  # fmt: skip
    right.set(xscale="log", yscale="log", xlabel="size, in its first", ylabel="CPU ms")
    right.legend(fontsize=6, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2, frameon=False)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.minorticks_off()
    figure.subplots_adjust(wspace=0.32)
    figure.savefig(path, dpi=200, bbox_inches="tight")
