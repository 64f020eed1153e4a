"""Two ledgers compared: which checks are new or gone, whose verdict turned, whose numbers moved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from toymdp import InstanceError
from toymdp.lines import read_lines, rows_in
from toymdp.shown import html_table, short

from ..sides import Verdict
from .output import Record
from .record import is_check

if TYPE_CHECKING:
    import pandas

What = Literal["verdict", "instance", "numbers", "only in A", "only in B"]
NEEDED = ("instance", "sha256", "claim", "verdict", "slack", "error")
_ORDER = get_args(What)
_SAID: dict[What, str] = {
    "verdict": "with another verdict", "instance": "of instances whose content changed",
    "numbers": "whose numbers moved", "only in A": "only in A", "only in B": "only in B",
}  # fmt: skip


@dataclass(frozen=True)
class Change:
    """One check that is not the same in both.

    what: "verdict" turned; "instance": the content of the file of that name changed; "numbers": the
    slack moved by more than both error radii together; or the check stands in one of them only.
    before, after: the verdicts. slack_before, slack_after: rhs − lhs in either. changed: whether the
    content of the instance is another, whatever that did to this check.
    """

    what: What
    instance: str
    claim: str
    before: str | None
    after: str | None
    slack_before: float | None
    slack_after: float | None
    changed: bool


class Comparison(list[Change]):
    """The changes, turned verdicts first; empty where the ledgers say the same.

    same: how many checks do. shared: the instances that both speak of.
    """

    def __init__(self, changes: Iterable[Change], same: int, shared: Iterable[str] = ()) -> None:
        super().__init__(sorted(changes, key=lambda c: (_ORDER.index(c.what), c.instance, c.claim)))
        self.same, self.shared = same, frozenset(shared)

    @property
    def turned(self) -> list[Change]:
        """Those whose verdict is another."""
        return [change for change in self if change.what == "verdict"]

    @property
    def told(self) -> list[Change]:
        """Those that say more than that an instance is another, or is there in one ledger only."""
        return [c for c in self if c.what != "instance" and c.instance in self.shared]

    def instances(self) -> list[str]:
        """A line for each instance that is another, or is there in one ledger only."""
        checks: dict[str, list[Change]] = {}
        for change in self:
            if change.changed or change.instance not in self.shared:
                checks.setdefault(change.instance, []).append(change)
        lines = []
        for name, of_it in sorted(checks.items()):
            what = "content changed" if name in self.shared else of_it[0].what
            line = f"{name}: {what}, {len(of_it)} checks"
            if name in self.shared:
                line += f", {sum(c.what == 'verdict' for c in of_it)} verdicts turned"
            lines.append(line)
        return lines

    def says(self) -> str:
        """The counts of checks in a line."""
        counts = Counter(change.what for change in self)
        told = [f"{counts[what]} {said}" for what, said in _SAID.items() if counts[what]]
        return ", ".join([f"{self.same} checks the same", *told])

    def rows(self) -> list[dict[str, str]]:
        """The changes as words, for a table."""
        return [
            {
                "what": c.what, "instance": c.instance, "claim": c.claim, "A": c.before or "–",
                "B": c.after or "–", "slack in A": short(c.slack_before),
                "slack in B": short(c.slack_after),
            }
            for c in self
        ]  # fmt: skip

    def _repr_html_(self) -> str:
        rows = self.rows()
        header = list(rows[0]) if rows else ["what"]
        return html_table(self.says(), [list(row.values()) for row in rows], header)

    def to_frame(self) -> pandas.DataFrame:
        """A pandas frame, a row a change; needs pandas, which soupcheck does not install."""
        import pandas

        names = [f.name for f in fields(Change)]
        return pandas.DataFrame([[getattr(c, n) for n in names] for c in self], columns=names)


def compare(a: str | Path, b: str | Path) -> Comparison:
    """Compare two ledgers, the files of ``verify --json``: A is before, B after.

    Checks are matched by family, instance and claim (and, where a file holds several of these, by
    their order). Raises InstanceError for a file that is no ledger.
    """
    before, after = _by_check(read_ledger(Path(a))), _by_check(read_ledger(Path(b)))
    changes, same = [], 0
    for key in [*before, *(key for key in after if key not in before)]:
        one, two = before.get(key), after.get(key)
        what = _what(one, two)
        if what is None:
            same += 1
            continue
        known: Any = one or two
        before_it, after_it = (
            (None, None) if row is None else (row["verdict"], row["slack"]) for row in (one, two)
        )
        changed = one is not None and two is not None and one["sha256"] != two["sha256"]
        changes.append(
            Change(
                what, known["instance"], known["claim"], before_it[0], after_it[0], before_it[1],
                after_it[1], changed,
            )
        )  # fmt: skip
    names = ({row["instance"] for row in rows.values()} for rows in (before, after))
    return Comparison(changes, same, set.intersection(*names))


def read_ledger(path: Path) -> list[Record]:
    """The checks that a ledger holds. Raises InstanceError, with the line, for what is none."""
    rows = []
    for place, row in rows_in("\n".join(read_lines(path, (b"{",))), str(path)):
        if not is_check(row):
            continue
        for key in NEEDED:
            if key not in row:
                raise InstanceError.of(
                    f"{place}: {key}", None, "missing", "give a ledger of verify"
                )
        _known(f"{place}: verdict", row["verdict"], str(row["verdict"]) in get_args(Verdict))
        for key in ("instance", "claim", "sha256"):
            _known(f"{place}: {key}", row[key], isinstance(row[key], str))
        for key in ("slack", "error"):
            number = isinstance(row[key], int | float) and not isinstance(row[key], bool)
            _known(f"{place}: {key}", row[key], number or row[key] is None)
        rows.append(row)
    return rows


def _known(place: str, value: object, fits: bool) -> None:
    if not fits:
        raise InstanceError.of(place, value, "is not what verify writes", "give a ledger of verify")


def _by_check(rows: Iterable[Record]) -> dict[tuple[Any, ...], Record]:
    seen: Counter[tuple[Any, ...]] = Counter()
    found = {}
    for row in rows:
        key = str(row.get("family")), row["instance"], row["claim"]
        found[*key, seen[key]] = row
        seen[key] += 1
    return found


def _what(one: Record | None, two: Record | None) -> What | None:
    if one is None or two is None:
        return "only in B" if one is None else "only in A"
    if one["verdict"] != two["verdict"]:
        return "verdict"
    if one["sha256"] != two["sha256"]:
        return "instance"
    if (one["slack"] is None) != (two["slack"] is None):
        return "numbers"
    if one["slack"] is None:
        return None
    radius = (one["error"] or 0.0) + (two["error"] or 0.0)
    return "numbers" if abs(one["slack"] - two["slack"]) > radius else None
