"""Plots of the report, as SVG to be put into a page: text stays text, colours follow the page."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from ..proofs.dependence import edges
from .sections import Section

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# inks that the page's style replaces, so that a plot is legible in the dark as well
INKS = {
    "#000000": "currentColor", "#0072b2": "var(--holds)", "#d55e00": "var(--violated)",
    "#767676": "var(--quiet)",
}  # fmt: skip
MARKS = {"holds": ("o", "#0072b2"), "violated": ("X", "#d55e00"), "undecided": ("|", "#767676")}
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9.0,
    "axes.spines.top": False, "axes.spines.right": False, "axes.spines.left": False,
    "axes.linewidth": 0.7, "figure.constrained_layout.use": True,
}  # fmt: skip
WIDTH = 4.6  # inches at most: a phone shows it at four fifths
ROW = 0.24
FAR = 1e-8  # of a ratio: what is below it is drawn at the left edge


def tightness(section: Section) -> Markup | None:
    """Strip plot by family: lhs/rhs of an inequality, |lhs − rhs| of an equality; log scale.

    None where no check has a number to show, or where all are exactly 0. Exact zeros among others
    stand at the left edge.
    """
    seen = [
        (family, verdict, size)
        for (family, verdict), sizes in section.numbers.sizes.items()
        for size in sizes
        if verdict in MARKS and size >= 0
    ]
    if not any(size for _, _, size in seen):
        return None
    families = list(dict.fromkeys(family for family, _, _ in seen))[::-1]
    marks = [(families.index(family), verdict, size) for family, verdict, size in seen]
    equality = section.claim.kind == "equality"
    label = "|left − right|" if equality else "left side / right side"
    name = f"{section.claim.id}: {label} on {len(seen)} instances, by family"
    return _strips(marks, families, label, name, section.claim.id, None if equality else 1.0)


def overview(sections: Sequence[Section]) -> Markup | None:
    """The ratios of every inequality, one row a claim: the worst, and where most of them lie."""
    worst = [
        (s, s.numbers.worst["verdict"], s.numbers.worst["ratio"])
        for s in reversed(sections)
        if s.claim.kind == "inequality" and s.numbers.worst is not None
        and s.numbers.worst["ratio"] is not None
    ]  # fmt: skip
    if not worst:
        return None
    marks = [(i, verdict, ratio) for i, (_, verdict, ratio) in enumerate(worst)]
    name = (
        "Left side / right side of every inequality, the largest marked; right of 1 it is violated"
    )
    spans = [s.numbers.quantiles(0.1, 0.5, 0.9) for s, _, _ in worst]
    return _strips(
        marks,
        [s.claim.id for s, _, _ in worst],
        "left side / right side",
        name,
        "overview",
        1.0,
        spans,
    )


def bands(rows: Sequence[tuple[str, Sequence[float], Mapping[str, Any]]]) -> Markup:
    """Rows (claim, quantiles 1, 10, 50, 90, 99 % of left/right, worst): two bars, a dot, a mark."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    least = min(q for _, quantiles, _ in rows for q in quantiles if q > 0)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.75 + 0.8 * ROW * len(rows)), facecolor="none")
        axes: Any = figure.subplots()
        axes.set_facecolor("none")
        for i, (_, quantiles, worst) in enumerate(rows):
            q1, q10, middle, q90, q99 = (max(q, least / 10.0) for q in quantiles)
            axes.plot([q1, q99], [i, i], color="#767676", lw=1.2, solid_capstyle="butt")
            axes.plot([q10, q90], [i, i], color="#0072b2", lw=4.0, solid_capstyle="butt")
            axes.plot([middle], [i], marker="o", ms=4, color="#000000", ls="none")
            marker, ink = MARKS["violated" if worst["violated"] else "holds"]
            axes.plot([worst["size"]], [i], marker=marker, ms=5, color=ink, mfc="none", ls="none")
        axes.axvline(1.0, color="#000000", lw=0.8)
        axes.set_xscale("log")
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.set_yticks(range(len(rows)), [claim for claim, _, _ in rows])
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="y", color="#767676", alpha=0.25, lw=0.6)
        axes.set_xlabel("left side / right side")
        title = "Left side / right side of every inequality: quantiles and the largest"
        return drawn(figure, title, "bands")


ARCS = {
    "step": ("#d55e00", "-", "a step of its printed proof"),
    "lemma": ("#0072b2", "-", "used by our proof of it"),
    "instead": ("#767676", "--", "true in its place"),
}  # fmt: skip


def dependence(sections: Sequence[Section]) -> Markup | None:
    """What rests on what: arcs from each claim to its steps, lemmas and repairs (dots)."""
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Arc

    shown = {s.claim.id for s in sections}
    arcs = [edge for edge in edges() if edge[0] in shown and edge[1] in shown]
    if not arcs:
        return None
    tied = {claim for source, target, _ in arcs for claim in (source, target)}
    rows = [s.claim.id for s in sections if s.claim.id in tied][::-1]
    with mpl.rc_context({**STYLE, "svg.hashsalt": "dependence"}):
        figure = Figure(figsize=(WIDTH, 0.9 + 0.8 * ROW * len(rows)), facecolor="none")
        axes: Any = figure.subplots()
        axes.set_facecolor("none")
        for source, target, how in arcs:
            ink, line, _ = ARCS[how]
            a, b = rows.index(source), rows.index(target)
            height, width = abs(a - b), 2.0 * abs(a - b) ** 0.6
            axes.add_patch(Arc((0.0, (a + b) / 2), width, height, theta1=-90, theta2=90,
                               color=ink, ls=line, lw=0.9, alpha=0.8))  # fmt: skip
            axes.plot([0.0], [b], marker="o", ms=3.5, color=ink, clip_on=False)
        axes.set_xlim(0.0, 1.05 * len(rows) ** 0.6)
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.set_yticks(range(len(rows)), rows)
        axes.tick_params(axis="y", length=0)
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
        keys = [Line2D([], [], color=ink, ls=line, marker="o", ms=3.5, label=says)
                for ink, line, says in ARCS.values()]  # fmt: skip
        figure.legend(handles=keys, loc="outside lower right", frameon=False, fontsize=8.0)
        target_file = io.StringIO()
        figure.savefig(target_file, format="svg", metadata={"Date": None, "Creator": None})
    name = f"What rests on what: {len(arcs)} ties between {len(rows)} claims"
    return _inline(target_file.getvalue(), name, "dependence")


def _strips(
    marks: Sequence[tuple[int, str, float]], names: Sequence[str], label: str, title: str,
    salt: str, line: float | None, spans: Sequence[Sequence[float]] = (),
) -> Markup:  # fmt: skip
    """Marks (row, verdict, value) over named rows; spans: 10 %, 50 % and 90 % quantile of each row."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    positive = [value for _, _, value in marks if value > 0]
    positive += [value for span in spans for value in span if value >= FAR]
    low = min([*positive, line or min(positive, default=1.0)]) if positive else 1e-3
    floor = low / 10.0
    with mpl.rc_context(STYLE):
        # no pyplot: a report must not disturb the figures of the program that makes it
        figure = Figure(figsize=(WIDTH, 0.75 + ROW * len(names)), facecolor="none")
        axes: Any = figure.subplots()
        axes.set_facecolor("none")
        for verdict, (marker, ink) in MARKS.items():
            points = [(i, value) for i, v, value in marks if v == verdict]
            if points:
                axes.plot(
                    [max(value, floor) for _, value in points], [i for i, _ in points], ls="none",
                    marker=marker, color=ink, mfc="none" if marker == "o" else ink, mew=0.8,
                    ms=6 if marker == "X" else 5, label=verdict,
                )  # fmt: skip
        for i, (left, middle, right) in enumerate(spans):
            if right > 0:
                axes.plot(
                    [max(left, floor), right], [i, i], color="#767676", lw=2.2, alpha=0.6, zorder=1
                )
                axes.plot(max(middle, floor), i, "|", color="#767676", ms=7, mew=1.5, zorder=1)
        if line is not None:
            axes.axvline(line, color="#000000", lw=0.8)
        axes.set_xscale("log")
        high = max([*positive, line or 0.0, 10 * floor])
        axes.set_xlim(floor / 2, high * 5)
        axes.set_ylim(-0.6, len(names) - 0.4)
        axes.set_yticks(range(len(names)), names)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="y", color="#767676", alpha=0.25, lw=0.6)
        edge = "≈ 0" if spans else "0"
        reached = any(value < floor for _, _, value in marks) or any(s[0] < floor for s in spans)
        axes.set_xlabel(f"{label}; left edge: {edge}" if reached else label)
        return drawn(figure, title, salt)


def drawn(figure: Figure, title: str, salt: str) -> Markup:
    """A figure as part of a page; salt: what tells it from the page's other pictures."""
    import matplotlib as mpl

    target = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": salt}):
        figure.savefig(target, format="svg", metadata={"Date": None, "Creator": None})
    return _inline(target.getvalue(), title, re.sub(r"\W", "-", salt))


def _inline(svg: str, title: str, prefix: str) -> Markup:
    """Matplotlib's SVG as part of a page: own ids, the page's colours, a name for who cannot see.

    Its parts are ours and matplotlib's; no instance name enters.
    """
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)
    # the label speaks for the picture; its tick labels read aloud would be noise
    svg = svg.replace("<g ", '<g aria-hidden="true" ', 1)
    svg = re.sub(r'\bid="', f'id="{prefix}-', svg)
    svg = re.sub(r'(href="#|url\(#)', rf"\g<1>{prefix}-", svg)
    for ink, themed in INKS.items():
        svg = svg.replace(ink, themed)
    # text without a fill of its own is black
    svg = svg.replace(
        "<svg ", f'<svg role="img" aria-label="{escape(title)}" fill="currentColor" ', 1
    )
    return Markup(re.sub(r"\s*\n\s*", "\n", svg))
