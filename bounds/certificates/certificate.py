"""From a witness file to PROVED or NOT PROVED, with the enclosures."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import reduce
from pathlib import Path
from typing import Any

from flint import arb, ctx

from .catalogue import STATEMENTS, Statement
from .hypotheses import HYPOTHESES
from .instance import File, Witness, need, read, witness_of
from .maximisers import maximisers
from .objective import Box
from .small_worlds import SMALL, world_of
from .statements import Point, Sides
from .values import Values

MOST_BITS = 4096
MOST_WEIGHTS = 8  # the search for λ* starts from 2^K orthants
SET_UP = "ss.asm0"  # reported where it is no hypothesis
AGREES = 1e-6  # share of its size by which an expected side may leave the enclosure


@dataclass(frozen=True)
class Certificate:
    """Outcome of a certification.

    proved: the claim is false on this instance. lhs, rhs, weights: closed intervals [low, high]
    that contain both sides and each λ_k (None where the claim names none, or none was reached);
    for a claim about λ* they hold every maximiser if proved, else they are those of one box that
    could not be decided. hypotheses: id -> true, false or null (could not be decided); reported:
    shown, not needed. boxes: how many were examined; kept: how many were left, all of which break
    the claim.
    """

    claim: str
    proved: bool
    reason: str
    sha256: str
    lhs: tuple[float, float] | None = None
    rhs: tuple[float, float] | None = None
    where: Mapping[str, int] | None = None
    weights: list[tuple[float, float] | None] | None = None
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
    middle = float(x.mid())
    if math.isfinite(middle) and x == arb(middle):
        return middle, middle
    low, high = float(x.lower().mid()), float(x.upper().mid())
    rounded = math.nextafter(low, -math.inf), math.nextafter(high, math.inf)
    return rounded if all(map(math.isfinite, rounded)) else None


def hull(balls: list[arb]) -> arb:
    """The smallest ball around some balls."""
    return reduce(arb.union, balls)


def certify(
    path: Path,
    *,
    bits: int = 128,
    seconds: float = 300.0,
    progress: Callable[[int, int], None] = lambda done, waiting: None,
) -> Certificate:
    """Certify a witness file. bits: working precision to start with; it is doubled when undecided.

    progress: called with how many boxes are done and how many wait. Raises WitnessError for a bad file.
    """
    file, began = read(path), time.monotonic()
    known = sorted({*STATEMENTS, *SMALL})
    if file.claim in SMALL:
        return _of_small_world(file, bits, began)
    witness = witness_of(file)
    need(witness.claim in STATEMENTS, f"claim {witness.claim!r}: certified are {known}")
    statement = STATEMENTS[witness.claim]
    given = statement.at == "every"
    need(given == (witness.lam is not None),
         f"lambda: {witness.claim} needs {'a list' if given else 'null'}")  # fmt: skip
    need(
        statement.at != "optimum" or witness.instance.K <= MOST_WEIGHTS,
        f"rewards: λ* is enclosed for at most K = {MOST_WEIGHTS}, found K = {witness.instance.K}",
    )
    before, ctx.prec = ctx.prec, bits
    try:
        notes = {h: HYPOTHESES[h](witness.instance, witness.lam)
                 for h in dict.fromkeys((*statement.hypotheses, SET_UP))}  # fmt: skip
        failed = [h for h in statement.hypotheses if not notes[h][0]]
        attempt = (
            _Attempt(True, f"hypothesis {failed[0]}: {notes[failed[0]][1]}") if failed else None
        )
        while attempt is None or not attempt.decided:
            attempt = _attempt(witness, statement, began + seconds, progress)
            if attempt.decided or time.monotonic() > began + seconds or ctx.prec >= MOST_BITS:
                break
            ctx.prec *= 2
        return Certificate(
            witness.claim, attempt.proved, attempt.reason, witness.sha256,
            None if attempt.sides is None else interval(attempt.sides.lhs),
            None if attempt.sides is None else interval(attempt.sides.rhs),
            None if attempt.sides is None else attempt.sides.where,
            None if attempt.weights is None else [interval(x) for x in attempt.weights],
            {h: notes[h][0] for h in statement.hypotheses},
            {h: notes[h][0] for h in notes if h not in statement.hypotheses},
            {h: text for h, (_, text) in notes.items()},
            attempt.boxes, attempt.kept, ctx.prec, time.monotonic() - began,
        )  # fmt: skip
    finally:
        ctx.prec = before


@dataclass(frozen=True)
class _Attempt:
    """The outcome at one precision; decided: a higher precision would say the same."""

    decided: bool
    reason: str
    sides: Sides | None = None
    weights: list[arb] | None = None
    proved: bool = False
    boxes: int = 0
    kept: int = 0


def _attempt(
    witness: Witness, statement: Statement, deadline: float, progress: Callable[[int, int], None]
) -> _Attempt:
    """One try at the current precision."""
    values, lam = Values(witness.instance), witness.lam
    if statement.at == "optimum":
        return _at_optimum(witness, statement, values, deadline, progress)
    point = None if lam is None else Point.exact(witness.instance, lam)
    weights = None if lam is None else [arb(x) for x in lam]
    return _judged(list(statement.sides(values, point)), witness.expected, weights)


def _judged(
    places: list[Sides], expected: Mapping[str, float], weights: list[arb] | None = None
) -> _Attempt:
    """What the sides at all places say; the worst of them is shown."""
    if not places:
        return _Attempt(True, "the claim says nothing on this instance", weights=weights)
    broken = [x for x in places if x.lhs > x.rhs]
    shown = max(broken or places, key=lambda x: float((x.lhs - x.rhs).mid()))
    if broken:
        wrong = _unexpected(expected, shown)
        return _Attempt(True, wrong or "lhs > rhs", shown, weights, not wrong)
    holds = all(x.lhs <= x.rhs for x in places)
    return _Attempt(holds, "the claim holds here" if holds else "the balls overlap", shown, weights)


def _of_small_world(file: File, bits: int, began: float) -> Certificate:
    """The same for a claim about another world; a wider ball is not met with more bits."""
    statement, world = SMALL[file.claim], world_of(file)
    before, ctx.prec = ctx.prec, bits
    try:
        notes = {h: test(world) for h, test in statement.hypotheses.items()}
        failed = next((h for h, (holds, _) in notes.items() if not holds), None)
        attempt = (
            _judged(list(statement.sides(world)), file.expected)
            if failed is None
            else _Attempt(True, f"hypothesis {failed}: {notes[failed][1]}")
        )
        sides = attempt.sides
        return Certificate(
            file.claim, attempt.proved, attempt.reason, file.sha256,
            None if sides is None else interval(sides.lhs),
            None if sides is None else interval(sides.rhs),
            None if sides is None else sides.where, None,
            {h: holds for h, (holds, _) in notes.items()}, {},
            {h: text for h, (_, text) in notes.items()}, bits=ctx.prec,
            seconds=time.monotonic() - began,
        )  # fmt: skip
    finally:
        ctx.prec = before


def _unexpected(expectations: Mapping[str, float], sides: Sides) -> str:
    """What the file expects of the sides and is not so, if anything."""
    for name, x in (("lhs", sides.lhs), ("rhs", sides.rhs)):
        expected = expectations[name]
        tolerance = arb(0, AGREES * abs(expected) + 1e-12)
        if not (x + tolerance).overlaps(arb(expected)):
            return f"expected.{name} = {expected} is not what was found"
    return ""


def _at_optimum(
    witness: Witness, statement: Statement, values: Values, deadline: float,
    progress: Callable[[int, int], None],
) -> _Attempt:  # fmt: skip
    """Every box that may hold a maximiser of J must break the claim; the sides are their hulls."""

    def sides(box: Box, J: arb) -> Sides | None:
        return next(statement.sides(values, Point.of(box, J)), None)

    def breaks(box: Box, J: arb) -> bool:
        over_box = sides(box, J)
        return over_box is not None and bool(over_box.lhs > over_box.rhs)

    enclosed = maximisers(values, breaks, deadline, progress)
    ratio = arb(witness.instance.beta_prime / witness.instance.beta)
    if enclosed.undecided is not None:
        J, box = enclosed.undecided
        at_box, weights = sides(box, J), [ratio * x for x in box.u]
        holds = at_box is not None and bool(at_box.lhs < at_box.rhs)
        late = time.monotonic() > deadline
        reason = "λ* may lie where the claim may hold"
        if late:
            reason = "time ran out"
        elif holds:
            reason = "the claim holds at this λ, and no other is proved to be better"
        return _Attempt(holds or late, reason, at_box, weights, boxes=enclosed.boxes)
    optimum = hull([enclosed.best, *(upper for upper, _ in enclosed.kept)])
    of_kept = [sides(box, optimum) for _, box in enclosed.kept]
    shown = Sides(hull([x.lhs for x in of_kept if x]), hull([x.rhs for x in of_kept if x]),
                  {"t": 0, "s": witness.instance.start})  # fmt: skip
    weights = [
        hull([ratio * x for x in xs]) for xs in zip(*(b.u for _, b in enclosed.kept), strict=True)
    ]
    wrong = _unexpected(witness.expected, shown)
    return _Attempt(
        True, wrong or "lhs > rhs", shown, weights, not wrong, enclosed.boxes, len(enclosed.kept)
    )
