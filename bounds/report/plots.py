"""Plots of the report, as SVG to be put into a page: text stays text, colours follow the page."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

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
    """The worst ratio of every inequality, one row a claim."""
    worst = [
        (s.claim.id, s.numbers.worst["verdict"], s.numbers.worst["ratio"])
        for s in reversed(sections)
        if s.claim.kind == "inequality" and s.numbers.worst is not None
        and s.numbers.worst["ratio"] is not None
    ]  # fmt: skip
    if not worst:
        return None
    marks = [(i, verdict, ratio) for i, (_, verdict, ratio) in enumerate(worst)]
    name = "Largest left side / right side of every inequality; right of 1 it is violated"
    label = "largest left side / right side"
    return _strips(marks, [claim for claim, _, _ in worst], label, name, "overview", 1.0)


def _strips(
    marks: Sequence[tuple[int, str, float]], names: Sequence[str], label: str, title: str,
    salt: str, line: float | None,
) -> Markup:  # fmt: skip
    """Marks (row, verdict, value) over named rows."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    positive = [value for _, _, value in marks if value > 0]
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
        if line is not None:
            axes.axvline(line, color="#000000", lw=0.8)
        axes.set_xscale("log")
        high = max([*positive, line or 0.0, 10 * floor])
        axes.set_xlim(floor / 2, high * 5)
        axes.set_ylim(-0.6, len(names) - 0.4)
        axes.set_yticks(range(len(names)), names)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="y", color="#767676", alpha=0.25, lw=0.6)
        axes.set_xlabel(label + ("; left edge: 0" if any(v == 0 for _, _, v in marks) else ""))
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
