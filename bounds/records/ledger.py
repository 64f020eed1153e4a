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


@dataclass(frozen=True)
class Change:
    """One check that is not the same in both.

    what: "verdict" turned; "instance": the content of the file of that name changed; "numbers": the
    slack moved by more than both error radii together; or the check stands in one of them only.
    before, after: the verdicts. slack_before, slack_after: rhs − lhs in either.
    """

    what: What
    instance: str
    claim: str
    before: str | None
    after: str | None
    slack_before: float | None
    slack_after: float | None


class Comparison(list[Change]):
    """The changes, turned verdicts first; empty where the ledgers say the same.

    same: how many checks do.
    """

    def __init__(self, changes: Iterable[Change], same: int) -> None:
        super().__init__(sorted(changes, key=lambda c: (_ORDER.index(c.what), c.instance, c.claim)))
        self.same = same

    @property
    def turned(self) -> list[Change]:
        """Those whose verdict is another."""
        return [change for change in self if change.what == "verdict"]

    def says(self) -> str:
        """The counts in a line."""
        counts = Counter(change.what for change in self)
        told = [f"{counts[what]} {what}" for what in _ORDER if counts[what]]
        return ", ".join([f"{self.same} the same", *told])

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
        verdicts, slacks = (
            [None if row is None else row[key] for row in (one, two)]
            for key in ("verdict", "slack")
        )
        changes.append(Change(what, known["instance"], known["claim"], *verdicts, *slacks))
    return Comparison(changes, same)


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
