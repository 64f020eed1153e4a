"""From a witness file to PROVED or NOT PROVED, with the enclosures."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from flint import arb, ctx

from .hypotheses import HYPOTHESES
from .instance import Witness, load, need
from .maximisers import Box, Search, maximisers
from .statements import Point, Sides
from .table import STATEMENTS, Statement
from .values import Values

MOST_BITS = 4096
AGREES = 1e-6  # share of its size by which an expected side may leave the enclosure


@dataclass(frozen=True)
class Certificate:
    """Outcome of a certification.

    proved: the claim is false on this instance. lhs, rhs, weights: closed intervals [low, high]
    that contain both sides and each λ_k (None where the claim names none, or none was reached);
    for a claim about λ* they hold every maximiser. hypotheses: id -> true, false or null (could
    not be decided); reported: shown, not needed. boxes: examined; kept: those left, all broken.
    """

    claim: str
    proved: bool
    reason: str
    sha256: str
    lhs: tuple[float, float] | None = None
    rhs: tuple[float, float] | None = None
    where: Mapping[str, int] | None = None
    weights: list[tuple[float, float]] | None = None
    hypotheses: Mapping[str, bool | None] = field(default_factory=dict)
    reported: Mapping[str, bool | None] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    boxes: int = 0
    kept: int = 0
    bits: int = 0
    seconds: float = 0.0

    @property
    def verdict(self) -> str:
        """PROVED or NOT PROVED."""
        return "PROVED" if self.proved else "NOT PROVED"

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"verdict": self.verdict, **asdict(self)}


def interval(x: arb) -> tuple[float, float] | None:
    """Binary64 numbers around a ball, rounded outward; None if they do not exist."""
    if x == arb(float(x.mid())):
        return float(x.mid()), float(x.mid())
    low, high = float(x.lower().mid()), float(x.upper().mid())
    found = math.nextafter(low, -math.inf), math.nextafter(high, math.inf)
    return found if all(map(math.isfinite, found)) else None


def certify(
    path: Path,
    *,
    bits: int = 128,
    seconds: float = 300.0,
    progress: Callable[[int, int], None] = lambda done, waiting: None,
) -> Certificate:
    """Certify a witness file. bits: working precision to start with; it is doubled when undecided.

    progress: told how many boxes are done and how many wait. Raises WitnessError for a bad file.
    """
    witness, began = load(path), time.monotonic()
    need(
        witness.claim in STATEMENTS, f"claim {witness.claim!r}: certified are {sorted(STATEMENTS)}"
    )
    statement = STATEMENTS[witness.claim]
    given = statement.at == "every"
    need(given == (witness.lam is not None),
         f"lambda: {witness.claim} needs {'a list' if given else 'null'}")  # fmt: skip
    before, ctx.prec = ctx.prec, bits
    try:
        return _decide(witness, statement, bits, began, seconds, progress)
    finally:
        ctx.prec = before


def _decide(
    witness: Witness, statement: Statement, bits: int, began: float, seconds: float,
    progress: Callable[[int, int], None],
) -> Certificate:  # fmt: skip
    """Hypotheses first, then the sides, at a precision that grows until they are decided."""
    hypotheses, reported, notes = _hypotheses(witness, statement)
    known: dict[str, Any] = {
        "claim": witness.claim, "sha256": witness.sha256, "hypotheses": hypotheses,
        "reported": reported, "notes": notes,
    }  # fmt: skip

    def outcome(reason: str, proved: bool = False, **more: Any) -> Certificate:
        found = {**known, **more, "seconds": time.monotonic() - began}
        return Certificate(proved=proved, reason=reason, **found)

    failed = [h for h, holds in hypotheses.items() if not holds]
    if failed:
        return outcome(f"hypothesis {failed[0]}: {notes[failed[0]]}")
    while True:
        ctx.prec = bits
        found = _attempt(witness, statement, began + seconds, progress)
        late = time.monotonic() > began + seconds
        if found.pop("decided") or late or bits >= MOST_BITS:
            return outcome(bits=bits, **found)
        bits *= 2


def _hypotheses(
    witness: Witness, statement: Statement
) -> tuple[dict[str, bool | None], dict[str, bool | None], dict[str, str]]:
    verdicts: dict[str, bool | None] = {}
    notes: dict[str, str] = {}
    for name in dict.fromkeys((*statement.hypotheses, "ss.asm0")):
        verdicts[name], notes[name] = HYPOTHESES[name](witness.instance, witness.lam)
    needed = {h: verdicts[h] for h in statement.hypotheses}
    return needed, {h: x for h, x in verdicts.items() if h not in needed}, notes


def _attempt(
    witness: Witness, statement: Statement, deadline: float, progress: Callable[[int, int], None]
) -> dict[str, Any]:
    """One try at the current precision: the fields of the certificate, and whether it is final."""
    values = Values(witness.instance)
    if statement.at == "optimum":
        return _at_optimum(witness, statement, values, deadline, progress)
    lam = witness.lam
    point = None if lam is None else Point.exact(witness.instance, lam)
    places = list(statement.sides(values, point))
    if not places:
        return {"decided": True, "reason": "the claim says nothing on this instance"}
    broken = [x for x in places if x.lhs > x.rhs]
    weights = None if lam is None else [interval(arb(x)) for x in lam]
    shown = max(broken or places, key=lambda x: float((x.lhs - x.rhs).mid()))
    found = {**_sides(shown.lhs, shown.rhs), "where": shown.where, "weights": weights}
    if broken:
        return {"decided": True, **_judge(witness, shown.lhs, shown.rhs), **found}
    holds = all(x.lhs <= x.rhs for x in places)
    reason = "the claim holds here" if holds else "the balls overlap"
    return {"decided": holds, "reason": reason, **found}


def _sides(lhs: arb, rhs: arb) -> dict[str, Any]:
    return {"lhs": interval(lhs), "rhs": interval(rhs)}


def _judge(witness: Witness, lhs: arb, rhs: arb) -> dict[str, Any]:
    """Proved, unless what the file expects is not what was found."""
    for name, x in (("lhs", lhs), ("rhs", rhs)):
        expected = witness.expected[name]
        room = arb(0, AGREES * abs(expected) + 1e-12)
        if not (x + room).overlaps(arb(expected)):
            return {"reason": f"expected.{name} = {expected} is not what was found"}
    return {"proved": True, "reason": "lhs > rhs"}


def _at_optimum(
    witness: Witness, statement: Statement, values: Values, deadline: float,
    progress: Callable[[int, int], None],
) -> dict[str, Any]:  # fmt: skip
    """Sides over every box that may hold a maximiser of J."""

    def sides(box: Box, J: arb) -> Sides | None:
        return next(statement.sides(values, Point.of(box, J)), None)

    def breaks(box: Box, J: arb) -> bool:
        found = sides(box, J)
        return found is not None and bool(found.lhs > found.rhs)

    search: Search = maximisers(values, breaks, deadline, progress)
    boxes = [box for _, box in search.kept] or ([search.open] if search.open else [])
    ratio = arb(witness.instance.beta_prime / witness.instance.beta)
    found: dict[str, Any] = {"boxes": search.boxes, "kept": len(search.kept)}
    top = search.best
    for upper, _ in search.kept:
        top = top.max(upper)
    hulls: list[list[arb]] = []
    holds = False
    for box in boxes:
        s = sides(box, search.best.union(top))
        holds = s is not None and bool(s.lhs < s.rhs)
        hulls.append([*([s.lhs, s.rhs] if s else []), *(ratio * x for x in box.nu)])
    joined = hulls[0]
    for other in hulls[1:]:
        joined = [x.union(y) for x, y in zip(joined, other, strict=True)]
    *both, _ = joined[:2], joined
    K = witness.instance.K
    found["weights"] = [interval(x) for x in joined[-K:]]
    if len(joined) > K:
        found |= _sides(*both[0]) | {"where": {"t": 0, "s": witness.instance.start}}
    if search.open is not None:
        late = time.monotonic() > deadline
        reason = "time ran out" if late else "λ* may lie where the claim holds"
        return {"decided": late or holds, "reason": reason, **found}
    return {"decided": True, **_judge(witness, *both[0]), **found}
