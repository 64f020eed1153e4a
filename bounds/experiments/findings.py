"""What the papers' Sections 5 and 6 report, one row a finding, held against an experiment's records.

A finding is a difference of two sides, paired by seed and user. It holds if the difference is above
two standard errors over seeds, does not if it is below minus two, and is undecided between.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ..records.output import Record
from .seeds import Mean, over_seeds

Size = Literal["few", "most", "all"]
Triple = tuple[int, float, float]  # seed, left side, right side
FEW = 20  # pairs from which "few" is counted
SAME = 0.05  # shares that are this near count as comparable
ERRORS = 2.0  # standard errors, beyond which a sign counts
WORDS = {True: "holds", False: "does not", None: "undecided"}
LOSSES = ("span", "estimation", "souping", "specialists")


@dataclass(frozen=True)
class Side:
    """One side of a comparison: a method's column, at a size.

    names: the method with its variant, the first that was run. pairs, bases: which sizes, of those
    that were run. domain: of the records; None: the one that is looked at.
    """

    names: tuple[str, ...]
    pairs: Size = "most"
    key: str = "share"
    prompts: str = "test"
    bases: Size = "most"
    domain: str | None = None

    def values(self, records: Sequence[Record], domain: str) -> dict[tuple[int, int], float]:
        """(seed, user) -> the mean over the records that fit; empty where none was run."""
        seen = self.rows(records, domain)
        found: dict[tuple[int, int], list[float]] = defaultdict(list)
        for r in seen:
            if (value := r.get(self.key)) is not None:
                found[r["seed"], r["user"]].append(value)
        return {who: sum(x) / len(x) for who, x in found.items()}

    def rows(self, records: Sequence[Record], domain: str) -> list[Record]:
        """The records of this side."""
        wanted, kind = self.domain or domain, self.prompts
        own = [r for r in records if r["domain"] == wanted and r["prompts"] == kind]
        name = next((n for n in self.names if any(named(r) == n for r in own)), None)
        own = [r for r in own if named(r) == name]
        for key, size in (("pairs", self.pairs), ("bases", self.bases)):
            sizes = sorted({r[key] for r in own if r.get(key) is not None})
            if not sizes or size == "all":
                continue
            few = [n for n in sizes if key == "bases" or n >= FEW] or sizes
            own = [r for r in own if r.get(key) in (None, few[0] if size == "few" else sizes[-1])]
        return own


@dataclass(frozen=True)
class Finding:
    """One row: what a paper reports, and what is measured for it.

    source, says: where, and in which words. experiment: whose records are asked. left, right: the
    sides; right may be a number. same: that they are comparable, in place of left above right.
    domains: a prefix of those it is about. of: a measure of its own, (seed, left, right) each.
    """

    source: str
    says: str
    experiment: str
    left: Side
    right: Side | float
    same: bool = False
    domains: str = ""
    of: Callable[[Side, Sequence[Record], str], list[Triple]] | None = None


@dataclass(frozen=True)
class Held:
    """A finding on one domain. sides: the two means; difference: with its standard error.

    verdict: whether it holds; None: undecided. why: what explains it, from the same records.
    """

    finding: Finding
    domain: str
    sides: tuple[float, float]
    difference: Mean
    verdict: bool | None
    why: str

    @property
    def word(self) -> str:
        """The verdict as it is printed."""
        return WORDS[self.verdict]


def named(record: Record) -> str:
    """Method and variant of a record, as options write it."""
    variant = record["variant"]
    return f"{record['method']}[{variant}]" if variant else str(record["method"])


def held(finding: Finding, records: Sequence[Record], domain: str) -> Held | None:
    """A finding on one domain; None where its sides were not run."""
    triples = (finding.of or paired(finding.right))(finding.left, records, domain)
    difference = over_seeds((seed, left - right) for seed, left, right in triples)
    one, other = (over_seeds((triple[0], triple[i]) for triple in triples) for i in (1, 2))
    if difference is None or one is None or other is None:
        return None
    return Held(
        finding, domain, (one[0], other[0]), difference, decide(difference, finding.same),
        _why(finding, records, domain),
    )  # fmt: skip


def paired(right: Side | float) -> Callable[[Side, Sequence[Record], str], list[Triple]]:
    """The measure of most findings: both sides of each user."""

    def of(left: Side, records: Sequence[Record], domain: str) -> list[Triple]:
        one = left.values(records, domain)
        other = (
            right.values(records, domain) if isinstance(right, Side) else dict.fromkeys(one, right)
        )
        return [(who[0], one[who], other[who]) for who in sorted(set(one) & set(other))]

    return of


def decide(difference: Mean, same: bool) -> bool | None:
    """Whether a difference is positive (or small, where sides are to be comparable); None: too near."""
    mean, error = difference
    if error is None:
        return None
    size = SAME - abs(mean) if same else mean
    if abs(size) <= ERRORS * error:
        return None
    return size > 0


def _why(finding: Finding, records: Sequence[Record], domain: str) -> str:
    """Where the sides lose what they lose, as shares of V_u − V_ref; else what they are on train prompts."""
    sides = [side for side in (finding.left, finding.right) if isinstance(side, Side)]
    if finding.of is not None or (
        finding.same and len(sides) == 2 and sides[0].names == sides[1].names
    ):
        return ""
    parts = []
    for side in sides:
        rows = [r for r in side.rows(records, domain) if r["losses"] and r["share"] is not None]
        lost = {
            loss: over_seeds((r["seed"], r["losses"][loss] / (r["V_u"] - r["V_ref"])) for r in rows)
            for loss in LOSSES
        }
        sizes = {loss: mean[0] for loss, mean in lost.items() if mean and abs(mean[0]) >= 0.005}
        if sizes:
            order = sorted(sizes, key=lambda loss: -abs(sizes[loss]))
            words = ", ".join(f"{loss} {sizes[loss]:.2f}" for loss in order)
            parts.append(f"{named(rows[0])} loses {words}")
    if parts:
        return "; ".join(dict.fromkeys(parts))
    trains = (replace(side, prompts="train").values(records, domain) for side in sides)
    means = [over_seeds((who[0], x) for who, x in seen.items()) for seen in trains]
    words = ", ".join(f"{mean[0]:.2f}" for mean in means if mean)
    return f"on train prompts {words}" if words else ""


def evaluate(findings: Sequence[Finding], records: Sequence[Record]) -> list[Held]:
    """Every finding on every domain of the records that it is about, in the table's order."""
    domains = list(dict.fromkeys(r["domain"] for r in records))
    name = records[0]["experiment"] if records else ""
    found = [
        held(finding, records, domain)
        for finding in findings if finding.experiment == name
        for domain in domains if domain.startswith(finding.domains)
    ]  # fmt: skip
    return [row for row in found if row is not None]
