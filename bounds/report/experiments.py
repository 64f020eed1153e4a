"""The tables of an experiment, from its records alone: shares against pairs, and where the rest goes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from math import sqrt
from statistics import fmean, stdev

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from ..records.output import Record

NOTES = (
    "small worlds, simulated users; exactness is about the worlds, not about Gemma or people",
    "open details are read as named; the papers' percentages (83, 88, 72 % of RLHF) are quoted, "
    "never reproduced",
    "± is the standard error over seeds, users of a seed averaged first; share is "
    "(value − V_ref)/(V_u − V_ref); * knows the true reward or weights",
)
LOSSES = ("span", "estimation", "souping", "specialists")
# columns of the second table, and the keys of the records that they show
HEADS = {
    "V/V_u": "value", "at KL_u": "share_matched_kl", "right": "accuracy", "|λ|₁": "lambda_l1",
    "span": "span", "estim.": "estimation", "souping": "souping", "special.": "specialists",
    "accept": "acceptance", "s": "seconds",
}  # fmt: skip
Key = tuple[str, str]  # method, variant


def mean_and_error(values: Iterable[tuple[int, float | None]]) -> tuple[float, float | None] | None:
    """Mean and standard error of (seed, value): users of a seed are averaged, seeds are the sample."""
    by_seed: dict[int, list[float]] = defaultdict(list)
    for seed, value in values:
        if value is not None:
            by_seed[seed].append(value)
    means = [fmean(x) for x in by_seed.values()]
    if not means:
        return None
    return fmean(means), stdev(means) / sqrt(len(means)) if len(means) > 1 else None


def cell(found: tuple[float, float | None] | None, digits: int = 2) -> str:
    """``0.86±0.02``, or a dash."""
    if found is None:
        return "–"
    mean, error = found
    return f"{mean:.{digits}f}" + ("" if error is None else f"±{error:.{digits}f}")


def groups(records: Iterable[Record], kind: str) -> dict[Key, list[Record]]:
    """The records on train or test prompts by method and variant, in the order they come."""
    found: dict[Key, list[Record]] = defaultdict(list)
    for record in records:
        if record["prompts"] == kind:
            found[record["method"], record["variant"]].append(record)
    return found


def tables(records: Sequence[Record], kind: str = "test") -> list[Table]:
    """Share against pairs, and at the largest number of pairs what else is known."""
    by_method = groups(records, kind)
    sizes = sorted({r["pairs"] for r in records if r["pairs"] is not None})
    first = records[0]
    seeds = len({r["seed"] for r in records})
    users = len({r["user"] for r in records})
    title = (
        f"{first['experiment']}: share of the way from ref to RLHF on {kind} prompts\n"
        f"labels {first['labels']}, {first['outside']:.0%} of the users' norm outside the span, "
        f"{seeds} seeds, {users} users"
    )
    return [_shares(title, by_method, sizes), _details(by_method, sizes)]


def _name(key: Key, rows: Sequence[Record]) -> Text:
    text = Text(key[0] + ("*" if rows[0]["oracle"] else ""))
    return text.append(f" {key[1]}", "dim") if key[1] else text


def _at(rows: Sequence[Record], size: int | None) -> list[Record]:
    """The records at a number of pairs; those of a method that sees none count at every number."""
    return [r for r in rows if r["pairs"] in (size, None)]


def _shares(title: str, by_method: dict[Key, list[Record]], sizes: Sequence[int]) -> Table:
    table = Table(title=escape(title), title_justify="left", header_style="bold")
    table.add_column("method", no_wrap=True)
    for size in sizes:
        table.add_column(f"N = {size}", justify="right", no_wrap=True)
    for key, rows in by_method.items():
        cells = [
            cell(mean_and_error((r["seed"], r["share"]) for r in _at(rows, size))) for size in sizes
        ]
        table.add_row(_name(key, rows), *cells)
    return table


def _details(by_method: dict[Key, list[Record]], sizes: Sequence[int]) -> Table:
    largest = sizes[-1] if sizes else None
    title = f"Means at N = {largest}: losses in shares of V_u − V_ref, which add up to 1 − share"
    table = Table(title=title, title_justify="left", header_style="bold")
    table.add_column("method", no_wrap=True)
    for head in HEADS:
        table.add_column(head, justify="right", no_wrap=True)
    for key, rows in by_method.items():
        there = _at(rows, largest)
        table.add_row(_name(key, rows), *(_detail(there, head) for head in HEADS))
    return table


def _detail(rows: Sequence[Record], head: str) -> str:
    def of(record: Record) -> float | None:
        if (loss := HEADS[head]) in LOSSES:
            way = None if record["losses"] is None else record["V_u"] - record["V_ref"]
            return record["losses"][loss] / way if way else None
        if head == "accept":
            return None if record["acceptance"] is None else float(record["acceptance"]["token"])
        if head == "V/V_u":
            return record["value"] / record["V_u"] if record["value"] and record["V_u"] else None
        value: float | None = record[loss]
        return value

    found = mean_and_error((r["seed"], of(r)) for r in rows)
    # the errors are those of the share: a second column of them would leave no room for the rest
    return cell(found and (found[0], None), 3 if head == "s" else 2)


def problems(records: Iterable[Record]) -> list[str]:
    """One line for each status but "done": how often, and the first reason."""
    found: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for r in records:
        if r["status"] != "done":
            found[r["method"], r["variant"], r["status"]].append(r["reason"])
    return [
        f"{method} {variant}".strip() + f": {len(reasons)} records {status}: {reasons[0]}"
        for (method, variant, status), reasons in found.items()
    ]
