"""Pictures of an experiment's records, as SVG for its page: curves, final shares, losses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from ..experiments.findings import LOSSES
from ..experiments.seeds import Mean, over_seeds
from ..records.output import Record
from .experiments import SIGNS, Key, at_size, loss_of, name_of
from .plots import STYLE, drawn

# what is drawn as a curve, the first of these that were run; tables and marks have all
LEAD = (
    "rlhf-learnt", "ss-explicit", "mod", "p-soups", "pad-sf", "ss-implicit-printed", "pad", "exact",
    "drift", "reward", "base", "ss-sequential", "best-specialist", "oracle",
)  # fmt: skip
MOST = 8
LOOKS = (
    ("#000000", "o", "-"), ("#0072b2", "s", "-"), ("#009e73", "^", "-"), ("#e69f00", "D", "-"),
    ("#cc79a7", "v", "-"), ("#d55e00", "X", "-"), ("#56b4e9", "P", "-"), ("#767676", "*", "-"),
)  # fmt: skip
INKS = {"span": "#0072b2", "estimation": "#e69f00", "souping": "#009e73", "specialists": "#d55e00"}
HATCHES = {"span": "", "estimation": "////", "souping": "....", "specialists": "xxxx"}
WIDTH, ROW = 6.4, 0.23  # inches
LEAST = -0.5  # shares below it are left out of the pictures, not of the tables

ByMethod = dict[Key, list[Record]]


def pictures(
    domain: str, by_method: ByMethod, axis: str, sizes: Sequence[int]
) -> list[tuple[Markup, str]]:
    """The pictures of one domain that its records have, with what they show."""
    found = []
    if len(sizes) > 1:
        found.append((
            _curves(domain, by_method, axis, sizes),
            "Share of the way from ref to RLHF, ± one standard error over seeds; dashed: knows the true "
            "reward or weights.",
        ))  # fmt: skip
    last = sizes[-1] if sizes else None
    ends = {key: at_size(rows, axis, last) for key, rows in by_method.items()}
    found.append((
        _marks(domain, ends),
        "Share at the largest size, ± two standard errors; hollow: knows the true reward or weights.",
    ))  # fmt: skip
    split = {key: rows for key, rows in ends.items() if any(r["losses"] for r in rows)}
    if split:
        found.append((
            _losses(domain, split),
            "Where the rest goes: shares of V_u − V_ref that are lost; what is negative is to the left "
            "of 0.",
        ))  # fmt: skip
    return found


def _share(rows: Sequence[Record]) -> Mean | None:
    return over_seeds((r["seed"], r["share"]) for r in rows)


def _axes(height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), facecolor="none")
    axes: Any = figure.subplots()
    axes.set_facecolor("none")
    return figure, axes


def _curves(domain: str, by_method: ByMethod, axis: str, sizes: Sequence[int]) -> Markup:
    import matplotlib as mpl

    first: dict[str, Key] = {}
    for key in by_method:  # of each method the first variant
        first.setdefault(key[1], key)
    with mpl.rc_context(STYLE | {"axes.spines.left": True, "text.parse_math": False}):
        figure, axes = _axes(3.4)
        shown = [first[name] for name in LEAD if name in first][:MOST]
        for (ink, marker, _), key in zip(LOOKS, shown, strict=False):
            rows = by_method[key]
            means = [(n, _share(at_size(rows, axis, n))) for n in sizes]
            points = [(n, *mean) for n, mean in means if mean is not None]
            if not points:
                continue
            at = [n for n, *_ in points]
            low, high = ([m + sign * (e or 0.0) for _, m, e in points] for sign in (-1, 1))
            axes.fill_between(at, low, high, color=ink, alpha=0.15, lw=0)
            axes.plot(
                at, [m for _, m, _ in points], color=ink, marker=marker, ms=4, lw=1.2,
                ls="--" if rows[0]["oracle"] else "-", label=name_of(key, rows),
            )  # fmt: skip
        axes.axhline(1.0, color="#767676", lw=0.6)
        axes.set_xscale("log")
        axes.set_xticks(sizes, [str(n) for n in sizes])
        axes.minorticks_off()
        axes.set_ylim(max(LEAST, axes.get_ylim()[0]), 1.05)
        axes.set(xlabel=f"{axis} ({SIGNS[axis]})", ylabel="share")
        figure.legend(loc="outside right upper", frameon=False)
        return drawn(figure, f"{domain}: share against {axis}", f"{domain} curves")


def _marks(domain: str, ends: ByMethod) -> Markup:
    import matplotlib as mpl

    means = {key: mean for key, rows in ends.items() if (mean := _share(rows)) is not None}
    order = sorted(means, key=lambda key: means[key][0])
    with mpl.rc_context(STYLE | {"text.parse_math": False}):
        figure, axes = _axes(0.8 + ROW * len(order))
        for y, key in enumerate(order):
            middle, error = means[key]
            knows = ends[key][0]["oracle"]
            axes.errorbar(
                middle, y, xerr=2.0 * (error or 0.0), color="#0072b2", marker="o", ms=5, capsize=2, lw=1.0,
                mfc="none" if knows else "#0072b2",
            )  # fmt: skip
        axes.set_yticks(range(len(order)), [name_of(key, ends[key]) for key in order])
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="y", color="#767676", alpha=0.25, lw=0.6)
        axes.axvline(1.0, color="#767676", lw=0.6)
        axes.set_ylim(-0.7, len(order) - 0.3)
        axes.set_xlim(max(LEAST, axes.get_xlim()[0]), 1.05)
        axes.set_xlabel("share")
        return drawn(figure, f"{domain}: final share of every method", f"{domain} marks")


def _losses(domain: str, split: ByMethod) -> Markup:
    import matplotlib as mpl
    from matplotlib.patches import Patch

    with mpl.rc_context(STYLE | {"text.parse_math": False, "hatch.linewidth": 0.6}):
        figure, axes = _axes(1.0 + ROW * len(split))
        names = []
        for y, (key, rows) in enumerate(reversed(split.items())):
            names.append(name_of(key, rows))
            ends = [0.0, 0.0]
            for loss in LOSSES:
                mean = over_seeds((r["seed"], loss_of(r, loss)) for r in rows)
                if mean is None:
                    continue
                side = int(mean[0] < 0)
                axes.barh(
                    y, mean[0], left=ends[side], color=INKS[loss], hatch=HATCHES[loss], ec="white",
                    height=0.7, lw=0.3,
                )  # fmt: skip
                ends[side] += mean[0]
        axes.set_yticks(range(len(names)), names)
        axes.tick_params(axis="y", length=0)
        axes.axvline(0.0, color="#000000", lw=0.8)
        axes.set_xlabel("share that is lost")
        figure.legend(
            handles=[Patch(fc=INKS[x], hatch=HATCHES[x], ec="white", label=x) for x in LOSSES],
            ncols=4, loc="outside upper center", frameon=False,
        )  # fmt: skip
        return drawn(figure, f"{domain}: what is lost", f"{domain} losses")
