"""The tables of an experiment, from its records alone: shares against pairs, and where the rest goes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from rich.table import Table
from rich.text import Text

from ..experiments.experiment import Experiment
from ..experiments.findings import LOSSES, Held
from ..experiments.seeds import Mean, over_seeds
from ..records.output import Record
from .grid import Grid

NOTES = (
    "small worlds, simulated users; exactness is about the worlds, not about Gemma or people",
    "open details are read as named; the papers' percentages (83, 88, 72 % of RLHF) are quoted, "
    "never reproduced",
    "± is the standard error over seeds, users of a seed averaged first; share is "
    "(value − V_ref)/(V_u − V_ref); regret is V_u − value, and its share of V_u − V_ref is 1 − share; "
    "* knows the true reward or weights",
)
RANKED = ("ultrafeedback", "t2i", "sleep", "bases")  # whose users rank answers in SS §5 and B.1
NONE = "–"
MOST_COLUMNS = 7  # of shares with their errors, that fit beside a name; every other is shown beyond
SIGNS = {"pairs": "N", "bases": "K", "offline": "n"}
# columns of the second table, and the keys of the records that they show
HEADS = {
    "V/V_u": "value", "at KL_u": "share_matched_kl", "right": "accuracy", "raw": "accuracy_raw",
    "wins": "win_bt", "by rank": "win_rank",
    "greedy": "greedy_ratio", "to w": "to_w", "width": "width",
    "to λ*": "to_best", "own": "own_share", "|λ|₁": "lambda_l1",
    "span": "span", "estim.": "estimation", "souping": "souping", "special.": "specialists",
    "accept": "acceptance", "s": "seconds",
}  # fmt: skip
Key = tuple[str, str, str]  # domain, method, variant
Read = Callable[[Record], float | None]


def cell(found: Mean | None, digits: int = 2) -> str:
    """``0.86±0.02``, or a dash."""
    if found is None:
        return NONE
    mean, error = found
    return f"{mean:z.{digits}f}" + ("" if error is None else f"±{error:.{digits}f}")


def groups(records: Iterable[Record], kind: str) -> dict[Key, list[Record]]:
    """The records on train or test prompts by method and variant, in the order they come."""
    found: dict[Key, list[Record]] = defaultdict(list)
    for record in records:
        if record["prompts"] == kind:
            found[record["domain"], record["method"], record["variant"]].append(record)
    return found


def tables(records: Sequence[Record], kind: str = "test") -> list[Text | Table]:
    """What a terminal shows: a heading, and each table under its title."""
    found: list[Text | Table] = [Text(heading(records), "bold")]
    for _, both in grids(records, kind):
        for grid in both:
            found += [Text(grid.title), grid.rich]
    return found


def heading(records: Sequence[Record]) -> str:
    """Which run it was."""
    first = records[0]
    seeds, users = (len({r[key] for r in records}) for key in ("seed", "user"))
    ranked = first["labels"] == "rank" or first["experiment"] not in RANKED
    printed = "" if ranked else " (SS: --labels rank)"
    return (
        f"{first['experiment']}: labels {first['labels']}{printed}, {first['outside']:.0%} of the users' "
        f"norm outside, {seeds} seeds, {users} users"
    )


def axis_of(records: Sequence[Record]) -> tuple[str, list[int]]:
    """What a curve runs along, and its sizes: how many specialists where that varies, else pairs."""
    axis = next((a for a in ("bases", "offline") if any(r.get(a) for r in records)), "pairs")
    return axis, sorted({r[axis] for r in records if r[axis] is not None})


def grids(records: Sequence[Record], kind: str = "test") -> list[tuple[str, list[Grid]]]:
    """For each domain: share and regret against pairs, and at the most pairs what else is known."""
    by_method = groups(records, kind)
    axis, sizes = axis_of(records)
    sizes = sizes if len(sizes) <= MOST_COLUMNS else [*sizes[:-1:2], sizes[-1]]
    found = []
    for domain in dict.fromkeys(key[0] for key in by_method):
        part = {key: rows for key, rows in by_method.items() if key[0] == domain}
        title = f"{domain}: share of the way from ref to RLHF on {kind} prompts"
        largest = f" at {SIGNS[axis]} = {sizes[-1]}" if sizes else ""
        short = f"{domain}: regret V_u − value on {kind} prompts, reward units; 1 − share{largest}"
        at = [(f"{SIGNS[axis]} = {size}", size) for size in sizes]
        lost = ("1 − share", sizes[-1] if sizes else None, _lost)
        found.append((domain, [
            _curves(title, part, axis, [(*x, _share) for x in at]),
            _curves(short, part, axis, [*((*x, _regret) for x in at), lost]),
            _details(f"{domain}, means{largest}; losses are shares of V_u − V_ref", part, axis, sizes),
        ]))  # fmt: skip
    return found


def name_of(key: Key, rows: Sequence[Record]) -> str:
    """Method and variant as tables have them; * for what knows the true reward or weights."""
    return f"{key[1]}{'*' if rows[0]['oracle'] else ''} {key[2]}".rstrip()


def at_size(rows: Sequence[Record], axis: str, size: int | None) -> list[Record]:
    """The records at one size; those of a method on which it does not bear count at every size."""
    return [r for r in rows if r[axis] in (size, None)]


def _curves(
    title: str, by_method: dict[Key, list[Record]], axis: str,
    columns: Sequence[tuple[str, int | None, Read]],
) -> Grid:  # fmt: skip
    """A row a method: means with their errors; columns: head, size, what is read from a record."""
    heads = tuple(head for head, _, _ in columns)
    rows = []
    for key, own in by_method.items():
        means = (
            over_seeds((r["seed"], of(r)) for r in at_size(own, axis, size))
            for _, size, of in columns
        )
        rows.append((name_of(key, own), *(cell(mean) for mean in means)))
    return Grid(title, ("method", *heads), tuple(rows), heads)


def _share(record: Record) -> float | None:
    value: float | None = record["share"]
    return value


def _regret(record: Record) -> float | None:
    # a file that an older release began, and this one goes on with, does not have it
    value: float | None = record.get("regret")
    return value


def _lost(record: Record) -> float | None:
    return None if record["share"] is None else 1.0 - record["share"]


def _details(
    title: str, by_method: dict[Key, list[Record]], axis: str, sizes: Sequence[int]
) -> Grid:
    largest = sizes[-1] if sizes else None
    cells = {
        key: {head: _detail(at_size(rows, axis, largest), head) for head in HEADS}
        for key, rows in by_method.items()
    }
    # a column that says nothing of any method here is left out
    shown = tuple(head for head in HEADS if any(row[head] != NONE for row in cells.values()))
    rows = tuple(
        (name_of(key, own), *(cells[key][head] for head in shown)) for key, own in by_method.items()
    )
    return Grid(title, ("method", *shown), rows, shown)


def loss_of(record: Record, loss: str) -> float | None:
    """One of the four losses as a share of V_u − V_ref."""
    way = None if record["losses"] is None else record["V_u"] - record["V_ref"]
    return record["losses"][loss] / way if way else None


def _detail(rows: Sequence[Record], head: str) -> str:
    def of(record: Record) -> float | None:
        if (key := HEADS[head]) in LOSSES:
            return loss_of(record, key)
        if head == "accept":
            return None if record["acceptance"] is None else float(record["acceptance"]["token"])
        if head == "V/V_u":
            return record["value"] / record["V_u"] if record["value"] and record["V_u"] else None
        value: float | None = record.get(key)
        return value

    found = over_seeds((r["seed"], of(r)) for r in rows)
    # the errors are those of the share: a second column of them would leave no room for the rest
    return cell(found and (found[0], None), 3 if head == "s" else 2)


def findings(rows: Sequence[Held]) -> Grid:
    """What the papers report, and what was measured: sides, difference, verdict, what explains it."""
    several = len({row.domain for row in rows}) > 1  # else the heading says which
    world = ("world",) if several else ()
    lines = (
        (
            row.finding.source, row.finding.says, *((row.domain,) if several else ()),
            f"{row.sides[0]:z.2f}, {row.sides[1]:z.2f}", cell(row.difference, 3), row.word, row.why,
        )
        for row in rows
    )  # fmt: skip
    return Grid(
        "What the papers report, and what is seen here",
        ("source", "reports", *world, "seen", "difference", "verdict", "why"), tuple(lines),
        ("seen", "difference"),
    )  # fmt: skip


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


def notes(chosen: Experiment) -> list[str]:
    """How open details are read, and what the numbers are not."""
    return [*(f"read: {line}" for line in chosen.readings), *NOTES]
