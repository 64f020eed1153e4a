"""The report: one self-contained HTML page of a run, readable without a network or scripts.

Instance names and reasons may come from users' files: the template escapes everything but what is
made here (MathML of our own statements, plots, our own style and script), and the page's content
policy admits no script but the one whose hash it names, and nothing from elsewhere.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from latex2mathml.converter import convert
from markupsafe import Markup

from toymdp import Solution

from ..claim import Check, Claim, Verdict
from ..claims.catalogue import CLAIMS
from ..claims.hypotheses import HYPOTHESES
from ..facts.kinds import subject_of
from ..proofs.walk import Explanation, explain, has_proof
from ..records.output import versions
from ..records.witness import Witness, stored_witnesses
from ..runs.cases import Case
from . import plots, tables
from .tables import Row

VERDICTS: tuple[Verdict, ...] = ("holds", "violated", "not-applicable", "undecided")
REASONS = 4  # of a claim's reasons for saying nothing, how many are listed
PRIME = re.compile(r"<msup>(<mi>[^<]*</mi>)<mi>&#x02032;</mi></msup>")
Track = Callable[[Sequence[Any], str], Iterable[Any]]


@dataclass(frozen=True)
class Judged:
    """One instance of a run with its checks, and lines on what it is (a corpus's fit)."""

    case: Case
    checks: Sequence[Check]
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Section:
    """What the page says of one claim. tightness: median, worst, and where the worst is."""

    claim: Claim
    anchor: str
    math: Markup
    counts: Mapping[str, int]
    tightness: tuple[str, str, str]
    plot: Markup | None
    worst: Row | None
    reasons: Sequence[tuple[str, str, int]]
    proof: Explanation | None
    witnesses: Sequence[Witness]


def mathml(statement: str) -> Markup:
    """MathML of a claim's LaTeX; raises ValueError for a command that the converter left as is."""
    # the converter knows \max but not \arg
    found = convert(statement.replace(r"\arg", r"\operatorname{arg}"), display="block")
    left = re.search(r"\\[A-Za-z]+", found)
    if left:
        raise ValueError(f"{left.group()} is not rendered in {statement}")
    # a prime glyph is raised and small of itself: as an exponent it would be too small to see
    return Markup(PRIME.sub(r"<mrow>\1<mo lspace='0' rspace='0'>&#x02032;</mo></mrow>", found))


def anchor(claim_id: str) -> str:
    """The claim's id as an HTML id."""
    return claim_id.replace(".", "-")


def worst_row(claim: Claim, rows: Sequence[Row]) -> Row | None:
    """The row to look at: a violation before anything else, then the largest ratio or distance."""
    decided = [r for r in rows if r.check.slack is not None and r.check.verdict != "undecided"]
    if not decided:
        return None

    def rank(row: Row) -> tuple[bool, float]:
        c = row.check
        assert c.slack is not None
        tight = c.ratio if claim.kind == "inequality" else abs(c.slack)
        return c.verdict == "violated", -c.slack if tight is None else tight

    return max(decided, key=rank)


def sections(judged: Sequence[Judged], track: Track) -> list[Section]:
    """One section for each claim that was judged, in the catalogue's order.

    A violated claim whose printed proof has steps is walked on its worst instance.
    """
    rows: dict[str, list[Row]] = {}
    cases: dict[int, Case] = {}
    for found in judged:
        for check in found.checks:
            rows.setdefault(check.claim, []).append(Row(found.case.name, found.case.family, check))
            cases[id(check)] = found.case
    stored = stored_witnesses()
    made = []
    for claim_id in track([c for c in CLAIMS if c in rows], "report"):
        claim, own = CLAIMS[claim_id], rows[claim_id]
        worst = worst_row(claim, own)
        proof = None
        if worst is not None and worst.check.verdict == "violated" and has_proof(claim_id):
            subject = subject_of(cases[id(worst.check)].build())[1]
            assert isinstance(subject, Solution)  # proofs with steps speak of token MDPs
            proof = explain(subject, claim_id)
        counts = Counter(r.check.verdict for r in own)
        made.append(
            Section(
                claim, anchor(claim_id), mathml(claim.statement),
                {v: counts[v] for v in VERDICTS}, tables.tightness(claim, own),
                plots.tightness(claim, own), worst, _reasons(own), proof,
                [w for w in stored if w.claim == claim_id],
            )
        )  # fmt: skip
    return made


def _reasons(rows: Sequence[Row]) -> list[tuple[str, str, int]]:
    """Why the claim says nothing: verdict, reason and number of instances, the commonest first.

    Reasons that differ in their numbers only are one reason, shown with the first one's numbers.
    """
    first: dict[tuple[str, str], str] = {}
    counts: Counter[tuple[str, str]] = Counter()
    for r in rows:
        if r.check.verdict in ("not-applicable", "undecided"):
            key = (r.check.verdict, re.sub(r"-?\d[\d.e+-]*", "#", r.check.reason))
            first.setdefault(key, r.check.reason)
            counts[key] += 1
    return [(key[0], first[key], n) for key, n in counts.most_common(REASONS)]


@lru_cache(maxsize=1)
def _environment() -> Environment:
    found = Environment(
        loader=PackageLoader("bounds.report"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    found.filters["short"] = tables.short
    found.filters["weights"] = lambda lam: "(" + ", ".join(f"{x:.4g}" for x in lam) + ")"
    found.filters["place"] = lambda where: ", ".join(f"{k} = {v}" for k, v in where.items())
    return found


def render(
    judged: Sequence[Judged],
    *,
    title: str = "soupcheck report",
    certificates: Mapping[str, Mapping[str, Any]] | None = None,
    track: Track = lambda items, label: items,
) -> str:
    """Return the page.

    certificates: of stored witnesses, by witness name: ``{"verdict", "reason", "lhs", "rhs",
    "bits"}`` with sides as intervals [low, high] or None.
    """
    environment = _environment()
    loader = environment.loader
    assert loader is not None
    style, script = (loader.get_source(environment, f"report.{x}")[0] for x in ("css", "js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    found = sections(judged, track)
    totals = Counter(c.verdict for j in judged for c in j.checks)
    broken = [
        (s, s.counts["violated"]) for s in found
        if s.claim.status == "proved" and s.counts["violated"]
    ]  # fmt: skip
    return environment.get_template("report.html.j2").render(
        title=title, style=Markup(style), script=Markup(script), digest=digest, sections=found,
        judged=judged, totals={v: totals[v] for v in VERDICTS}, verdicts=VERDICTS, broken=broken,
        overview=plots.overview(found), hypotheses=HYPOTHESES, versions=versions(),
        statuses=sorted({s.claim.status for s in found}), certificates=certificates or {},
    )  # fmt: skip
