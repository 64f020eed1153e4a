"""The tables of an experiment, from its records alone: shares against pairs, and where the rest goes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from rich.table import Table
from rich.text import Text

from ..experiments.findings import Held
from ..experiments.seeds import Mean, over_seeds
from ..records.output import Record

NOTES = (
    "small worlds, simulated users; exactness is about the worlds, not about Gemma or people",
    "open details are read as named; the papers' percentages (83, 88, 72 % of RLHF) are quoted, "
    "never reproduced",
    "± is the standard error over seeds, users of a seed averaged first; share is "
    "(value − V_ref)/(V_u − V_ref); * knows the true reward or weights",
)
NONE = "–"
MOST_COLUMNS = 7  # of shares with their errors, that fit beside a name; every other is shown beyond
SIGNS = {"pairs": "N", "bases": "K", "offline": "n"}
LOSSES = ("span", "estimation", "souping", "specialists")
# columns of the second table, and the keys of the records that they show
HEADS = {
    "V/V_u": "value", "at KL_u": "share_matched_kl", "right": "accuracy", "raw": "accuracy_raw",
    "wins": "win_bt", "by rank": "win_rank",
    "greedy": "greedy_ratio", "to w": "to_w", "width": "width",
    "to λ*": "to_best", "own": "own_share", "|λ|₁": "lambda_l1",
    "span": "span", "estim.": "estimation", "souping": "souping", "special.": "specialists",
    "accept": "acceptance", "s": "seconds",
}  # fmt: skip
STYLES = {True: "green", False: "bold red", None: "yellow"}
Key = tuple[str, str, str]  # domain, method, variant


def cell(found: Mean | None, digits: int = 2) -> str:
    """``0.86±0.02``, or a dash."""
    if found is None:
        return NONE
    mean, error = found
    return f"{mean:.{digits}f}" + ("" if error is None else f"±{error:.{digits}f}")


def groups(records: Iterable[Record], kind: str) -> dict[Key, list[Record]]:
    """The records on train or test prompts by method and variant, in the order they come."""
    found: dict[Key, list[Record]] = defaultdict(list)
    for record in records:
        if record["prompts"] == kind:
            found[record["domain"], record["method"], record["variant"]].append(record)
    return found


def tables(records: Sequence[Record], kind: str = "test") -> list[Text | Table]:
    """Share against pairs, and at the largest number of pairs what else is known."""
    by_method = groups(records, kind)
    # what a curve runs along: how many specialists where that varies, else how many pairs
    axis = next((a for a in ("bases", "offline") if any(r.get(a) for r in records)), "pairs")
    sizes = sorted({r[axis] for r in records if r[axis] is not None})
    sizes = sizes if len(sizes) <= MOST_COLUMNS else [*sizes[:-1:2], sizes[-1]]
    first = records[0]
    seeds = len({r["seed"] for r in records})
    users = len({r["user"] for r in records})
    heading = (
        f"{first['experiment']}: labels {first['labels']}, {first['outside']:.0%} of the users' norm "
        f"outside, {seeds} seeds, {users} users"
    )
    found: list[Text | Table] = [Text(heading, "bold")]
    for domain in dict.fromkeys(key[0] for key in by_method):
        part = {key: rows for key, rows in by_method.items() if key[0] == domain}
        found.append(Text(f"{domain}: share of the way from ref to RLHF on {kind} prompts"))
        found.append(_shares(part, axis, sizes))
        if sizes:
            found.append(
                Text(f"means at {SIGNS[axis]} = {sizes[-1]}; losses are shares of V_u − V_ref")
            )
        found.append(_details(part, axis, sizes))
    return found


def _name(key: Key, rows: Sequence[Record]) -> Text:
    text = Text(key[1] + ("*" if rows[0]["oracle"] else ""))
    return text.append(f" {key[2]}", "dim") if key[2] else text


def _at(rows: Sequence[Record], axis: str, size: int | None) -> list[Record]:
    """The records at one size; those of a method on which it does not bear count at every size."""
    return [r for r in rows if r[axis] in (size, None)]


def _shares(by_method: dict[Key, list[Record]], axis: str, sizes: Sequence[int]) -> Table:
    table = Table(header_style="bold")
    table.add_column("method", no_wrap=True)
    for size in sizes:
        table.add_column(f"{SIGNS[axis]} = {size}", justify="right", no_wrap=True)
    for key, rows in by_method.items():
        cells = [
            cell(over_seeds((r["seed"], r["share"]) for r in _at(rows, axis, size)))
            for size in sizes
        ]
        table.add_row(_name(key, rows), *cells)
    return table


def _details(by_method: dict[Key, list[Record]], axis: str, sizes: Sequence[int]) -> Table:
    largest = sizes[-1] if sizes else None
    table = Table(header_style="bold")
    table.add_column("method", no_wrap=True)
    # a column that says nothing of any method here is left out
    cells = {
        key: {head: _detail(_at(rows, axis, largest), head) for head in HEADS}
        for key, rows in by_method.items()
    }
    shown = [head for head in HEADS if any(row[head] != NONE for row in cells.values())]
    for head in shown:
        table.add_column(head, justify="right", no_wrap=True)
    for key, rows in by_method.items():
        table.add_row(_name(key, rows), *(cells[key][head] for head in shown))
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
        value: float | None = record.get(loss)
        return value

    found = over_seeds((r["seed"], of(r)) for r in rows)
    # the errors are those of the share: a second column of them would leave no room for the rest
    return cell(found and (found[0], None), 3 if head == "s" else 2)


def findings(rows: Sequence[Held]) -> Table:
    """What the papers report, and what was measured: sides, difference, verdict, what explains it."""
    table = Table(
        title="What the papers report, and what is seen here", title_justify="left",
        header_style="bold",
    )  # fmt: skip
    for name in ("source", "reports", "world"):
        table.add_column(name, overflow="fold")
    for name in ("seen", "difference"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("why", overflow="fold")
    for row in rows:
        table.add_row(
            row.finding.source, row.finding.says, row.domain, seen(row), cell(row.difference, 3),
            Text(row.word, STYLES[row.verdict]), row.why,
        )  # fmt: skip
    return table


def seen(row: Held) -> str:
    """The means of both sides, or a dash where the finding is measured in another way."""
    left, right = row.sides
    return NONE if left is None or right is None else f"{left:.2f}, {right:.2f}"


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
