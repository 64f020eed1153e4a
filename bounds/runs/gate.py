"""The gate: what must hold of the proved claims, and how much of them a run has checked at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..claims.catalogue import CLAIMS

VERDICTS = ("holds", "violated", "not-applicable", "undecided", "error")


@dataclass
class Gate:
    """Verdicts of the proved claims, counted by claim, and what keeps the gate shut.

    strict: an undecided proved claim keeps it shut. require_applicable: so does a proved claim that
    was applicable nowhere, and a run without any. expected: claims asked for by name, with the
    world each speaks of: they count as applicable nowhere where the run has no instance of it.
    refused: how many of the files given were no instances, or have no solution: that keeps it shut.
    """

    strict: bool = False
    require_applicable: bool = False
    expected: Mapping[str, str] = field(default_factory=dict)
    claims: dict[str, Counter[str]] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    witnesses: Counter[bool] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    refused: int = 0

    def count(self, claim: str, status: str, verdict: str, reason: str, n: int = 1) -> None:
        """Count n verdicts; those of claims that are not proved say nothing to the gate."""
        if status == "proved":
            self.claims.setdefault(claim, Counter())[verdict] += n
            if verdict == "not-applicable":
                self.reasons.setdefault(claim, reason)

    def add(self, about: Mapping[str, Any], checks: Iterable[Mapping[str, Any]]) -> None:
        """Take in the records of one instance: its own, then those of its checks."""
        self.refused += bool(about["refused"])
        for c in checks:
            self.count(c["claim"], c["status"], c["verdict"], c["reason"])
            what = f"{c['instance']}: {c['claim']} is proved but"
            if c["status"] == "proved" and c["verdict"] == "violated":
                place = "at the λ that was given" if c["lambda_name"] == "given" else "here"
                known = CLAIMS.get(c["claim"])
                of_best = (
                    c["lambda_name"] == "given" and known is not None and known.at == "optimum"
                )
                why = "; a claim about λ*: this λ falls short of what the best soup is proved to reach"
                self.failures.append(
                    f"{what} violated {place}: lhs {c['lhs']}, rhs {c['rhs']}{why * of_best}"
                )
            elif c["status"] == "proved" and c["verdict"] == "undecided" and self.strict:
                self.failures.append(f"{what} undecided here: {c['reason']}")
            elif c["status"] == "proved" and c["verdict"] == "error":
                self.failures.append(f"{what} was not judged here")
        witness = about["witness"]
        if witness is not None:
            breaks = witness["verdict"] == "violated"
            self.witnesses[breaks] += 1
            if not breaks:
                self.failures.append(
                    f"witness {about['instance']} no longer breaks {witness['claim']}: "
                    f"{witness['verdict']}"
                )

    @property
    def nowhere(self) -> dict[str, str]:
        """The proved claims that were applicable nowhere, each with the first reason."""
        absent = {
            claim: f"the run has no {world} instance"
            for claim, world in self.expected.items()
            if claim not in self.claims
        }
        silent = {
            claim: self.reasons[claim]
            for claim, verdicts in self.claims.items()
            if set(verdicts) == {"not-applicable"}
        }
        return absent | silent

    def lines(self) -> list[str]:
        """What was checked: counts over all proved claims, those applicable nowhere, witnesses."""
        total = sum(self.claims.values(), Counter())
        counts = ", ".join(f"{total[v]} {v}" for v in VERDICTS if v != "error" or total[v])
        lines = [f"{total.total()} checks of {len(self.claims)} proved claims: {counts}"]
        lines += [f"applicable nowhere: {claim} ({why})" for claim, why in self.nowhere.items()]
        if self.witnesses:
            lines.append(f"{self.witnesses[True]} of {self.witnesses.total()} witnesses break")
            lines[-1] += " their claim"
        return lines

    def shut_by(self) -> list[str]:
        """A line for each reason to fail: none, and the gate is open."""
        lines = list(self.failures)
        if self.refused:
            lines.append(f"files or instances that were refused, and not checked: {self.refused}")
        if self.require_applicable:
            lines += [
                f"{claim} is proved but was applicable nowhere: {why}"
                for claim, why in self.nowhere.items()
            ]
        if not self.claims and not self.witnesses and not lines:
            remedy = "ask for proved ones, or leave the gate out"
            lines.append(f"nothing to check: no proved claim was judged and no witness; {remedy}")
        return lines
