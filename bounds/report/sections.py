"""What a page says of one claim: the catalogue's words, and the run's numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..claim import Claim
from ..claims.catalogue import CLAIMS, hypotheses
from ..records.output import Record
from ..records.witness import Witness, stored_witnesses
from .summary import ClaimSummary, Summary, weights


@dataclass(frozen=True)
class Walk:
    """A proof walked on the worst instance. broken: place of the first step that breaks, or None.

    saviour: what would have saved that step, in words. at: the λ and the place. reading: how the
    statement is read.
    """

    steps: Sequence[Record]
    repairs: Sequence[Record]
    broken: int | None
    saviour: str
    at: str
    reading: str


@dataclass(frozen=True)
class Section:
    """One claim on the page. asks_for: its hypotheses in words."""

    claim: Claim
    asks_for: Sequence[str]
    numbers: ClaimSummary
    walk: Walk | None
    witnesses: Sequence[Witness]

    @property
    def anchor(self) -> str:
        """The claim's id as an HTML id."""
        return anchor(self.claim.id)


def anchor(claim_id: str) -> str:
    """A claim's id as an HTML id."""
    return claim_id.replace(".", "-")


def sections(summary: Summary) -> list[Section]:
    """One section for each claim that was judged, in the catalogue's order."""
    stored = stored_witnesses()
    return [
        Section(
            claim, [h.statement for h in claim.hypotheses], summary.claims[claim.id],
            _walk(claim.id, summary), [w for w in stored if w.claim == claim.id],
        )
        for claim in CLAIMS.values() if claim.id in summary.claims
    ]  # fmt: skip


def _walk(claim: str, summary: Summary) -> Walk | None:
    """The walk of a claim, if it was walked on its worst instance."""
    record, worst = summary.walks.get(claim), summary.claims[claim].worst
    if record is None or worst is None or worst["verdict"] != "violated":
        return None
    if (record["instance"], record["sha256"]) != (worst["instance"], worst["sha256"]):
        return None
    explanation: dict[str, Any] = record["explanation"]
    steps, first = explanation["steps"], explanation["first_broken"]
    lam, (t, s) = explanation["lambda"], explanation["place"].values()
    at = f"{f'λ = {weights(lam)}, ' if lam else ''}t = {t}, s = {s}"
    broken, saviour, known = None, "", hypotheses()
    if first is not None:
        broken = [step["claim"] for step in steps].index(first["claim"])
        saviour = first["saved_by"]
        saviour = known[saviour].statement if saviour in known else saviour
    return Walk(steps, explanation["repairs"], broken, saviour, at, explanation["reading"])
