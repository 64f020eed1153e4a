"""The tables, the picture and the page of a sweep: aggregates of its rows, never a list of instances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from toymdp.shown import brief, short

from ..claims.catalogue import CLAIMS
from ..records.output import Record
from ..records.queries import VERDICTS
from .grid import Grid

if TYPE_CHECKING:
    from markupsafe import Markup

HEADS = {"not-applicable": "n/a", "undecided": "undec."}
QUANTILE_HEADS = ("1 %", "10 %", "median", "90 %", "99 %")


def ordered(summary: Sequence[Record]) -> list[Record]:
    """In the catalogue's order; claims that it does not know at the end."""
    place = {claim: i for i, claim in enumerate(CLAIMS)}
    return sorted(summary, key=lambda row: place.get(row["claim"], len(place)))


def counts(summary: Sequence[Record], by: Sequence[str] = (), *, wide: bool = True) -> Grid:
    """Verdicts, quantiles of lhs/rhs where the sides are told apart, and the row to look at first.

    Worst: the largest of them, or of an equality the largest distance Δ.

    wide: with the status, all quantiles and an instance's name, for which a terminal has no room.
    """
    verdicts = [v for v in VERDICTS if wide or any(r[v] for r in summary)]
    heads = (
        "claim", *(["status"] if wide else []), *by, "n", *(HEADS.get(v, v) for v in verdicts),
        *(QUANTILE_HEADS if wide else QUANTILE_HEADS[2 : 4 if by else 5]), "worst",
        *(["where"] if wide else []),
    )  # fmt: skip
    made = [_row(r, by) for r in ordered(summary)]
    rows = tuple(tuple(row[head] for head in heads) for row in made)
    text = ("claim", "status", "family", "where")
    title = "Verdicts and left/right over instances"
    return Grid(title, heads, rows, tuple(h for h in heads if h not in text), ("claim", "family"))


def _row(record: Mapping[str, Any], by: Sequence[str]) -> dict[str, str]:
    quantiles = record["quantiles"] or [None] * len(QUANTILE_HEADS)
    # of an equality there is a distance, and no quotient
    unseen = record["kind"] == "equality"
    shown = ["–" if unseen or q is None else brief(q) for q in quantiles]
    most, where = "–", ""
    if (worst := record["worst"]) is not None:
        most = f"Δ {worst['size']:.0e}" if record["kind"] == "equality" else brief(worst["size"])
        where = worst["instance"] if worst["size"] else ""
    return {
        "claim": record["claim"], "status": record["status"], "n": f"{record['n']:,}",
        **{b: "–" if record[b] is None else str(record[b]) for b in by},
        **{HEADS.get(v, v): f"{record[v]:,}" if record[v] else "·" for v in VERDICTS},
        **dict(zip(QUANTILE_HEADS, shown, strict=True)), "worst": most, "where": where,
    }  # fmt: skip


def worst_rows(rows: Sequence[Record]) -> Grid:
    """The rows of one claim that come first, with what makes their instance."""
    heads = ("instance", "point", "verdict", "lhs", "rhs", "size", "λ")
    shown = tuple(
        (
            row["instance"], point_of(row), row["verdict"], short(row["lhs"]), short(row["rhs"]),
            short(row["size"]), row["lambda_name"] or "",
        )
        for row in rows
    )  # fmt: skip
    return Grid("To look at first", heads, shown, ("lhs", "rhs", "size"))


def point_of(row: Mapping[str, Any]) -> str:
    """The parameters that a row's instance was asked for."""
    given = {k[2:]: v for k, v in row.items() if k.startswith("p_") and v is not None}
    return ",".join(f"{name}={value:g}" for name, value in given.items())


def bands(summary: Sequence[Record]) -> Markup | None:
    """Quantiles of lhs/rhs of every inequality, a row each, and its largest."""
    from . import plots  # with it comes markupsafe

    rows = [
        (r["claim"], r["quantiles"], r["worst"])
        for r in reversed(ordered(summary))
        if r["kind"] == "inequality" and r["worst"] is not None and r["worst"]["size"] > 0
    ]
    return plots.bands(rows) if rows else None


def page(summary: Sequence[Record], gate: Sequence[str], done: str) -> str:
    """The page of a sweep; done: how much of it there is."""
    from .page import filled

    return filled(
        "sweep.html.j2", title="soupcheck sweep", heading=done, grid=counts(summary), gate=gate,
        picture=bands(summary),
    )  # fmt: skip
