"""Many records in little memory: counts and numbers by claim, as tables and the page show them.

Of each check its number is kept (8 bytes), and of each claim the record to look at; nothing else
grows with a run but the list of instances, which a page needs and a table does not.
"""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from toymdp.shown import brief

from ..records.output import Record
from ..records.record import is_check, rank

VERDICTS = ("holds", "violated", "not-applicable", "undecided")
REASONS = 4  # of a claim's reasons for saying nothing, how many are told
NUMBER = re.compile(r"-?\d[\d.e+-]*")


def weights(lam: Iterable[float]) -> str:
    """λ in print."""
    return "(" + ", ".join(f"{x:.4g}" for x in lam) + ")"


def size_of(record: Mapping[str, Any]) -> float | None:
    """What a plot shows of a check: lhs/rhs of an inequality, |lhs − rhs| of an equality.

    None where the sides were not compared, or rhs is not positive.
    """
    if record["slack"] is None or record["verdict"] == "not-applicable":
        return None
    if record["kind"] == "equality":
        return abs(float(record["slack"]))
    return float(record["lhs"] / record["rhs"]) if record["rhs"] > 0 else None


@dataclass
class ClaimSummary:
    """What a run's records say of one claim.

    sizes: by family and verdict, of each check that has one (size_of). most: the largest of them
    and its instance (an inequality's undecided ones, quotients of two roundings, left out).
    worst: the record to look at. reasons: first wording and number of each reason for saying
    nothing; reasons that differ in their numbers only are one.
    """

    kind: str
    status: str
    counts: Counter[str] = field(default_factory=Counter)
    sizes: dict[tuple[str, str], array[float]] = field(default_factory=dict)
    most: tuple[float, str] | None = None
    worst: Record | None = None
    reasons: dict[tuple[str, str], tuple[str, int]] = field(default_factory=dict)

    def add(self, record: Record) -> None:
        """Take in one more record of this claim."""
        verdict = record["verdict"]
        self.counts[verdict] += 1
        size = size_of(record)
        if size is not None:
            key = str(record["family"]), verdict
            self.sizes.setdefault(key, array("d")).append(size)
            if self.kind == "equality" or verdict != "undecided":
                self.most = max(self.most or (size, record["instance"]), (size, record["instance"]))
        place = rank(record)
        before = None if self.worst is None else rank(self.worst)
        if place is not None and (before is None or place > before):
            self.worst = record
        if verdict in ("not-applicable", "undecided"):
            alike = verdict, NUMBER.sub("#", record["reason"])
            wording, n = self.reasons.get(alike, (record["reason"], 0))
            self.reasons[alike] = wording, n + 1

    def quantiles(self, *shares: float) -> list[float]:
        """Quantiles of what ``most`` is the largest of."""
        counted = [
            x for (_, v), part in self.sizes.items()
            if v != "undecided" or self.kind == "equality" for x in part
        ]  # fmt: skip
        found: list[float] = np.quantile(counted, shares).tolist()
        return found

    @property
    def tightness(self) -> tuple[str, str, str, str]:
        """Median, 90 % quantile and largest of lhs/rhs (of |lhs − rhs| of an equality), and where."""
        if self.most is None:
            return "–", "–", "–", ""
        largest, instance = self.most
        middle, high = self.quantiles(0.5, 0.9)
        return brief(middle), brief(high), brief(largest), instance if largest else ""

    @property
    def silences(self) -> list[tuple[str, str, int]]:
        """Why the claim says nothing: verdict, reason, number of instances, the commonest first."""
        listed = [(verdict, wording, n) for (verdict, _), (wording, n) in self.reasons.items()]
        return sorted(listed, key=lambda row: -row[2])[:REASONS]


@dataclass
class Summary:
    """A run by claim, in the order in which the claims were met.

    instances: name, family and notes of each instance. walks: by claim, the latest.
    """

    claims: dict[str, ClaimSummary] = field(default_factory=dict)
    instances: list[tuple[str, str, tuple[str, ...]]] = field(default_factory=list)
    walks: dict[str, Record] = field(default_factory=dict)

    def add(self, record: Record) -> None:
        """Take in a record of any kind."""
        if is_check(record):
            if record["claim"] not in self.claims:
                self.claims[record["claim"]] = ClaimSummary(record["kind"], record["status"])
            self.claims[record["claim"]].add(record)
        elif record["record"] == "instance":
            notes = tuple(record["notes"])
            self.instances.append((record["instance"], record["family"], notes))
        elif record["record"] == "walk":
            self.walks[record["claim"]] = record


def summarise(records: Iterable[Record]) -> Summary:
    """The summary of records: a run's, or the lines of a ledger."""
    summary = Summary()
    for record in records:
        summary.add(record)
    return summary
