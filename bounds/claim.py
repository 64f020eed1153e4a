"""What a claim is, what checking it on one instance gives, and how a verdict is reached.

A claim's function returns two sides in floating point. It runs twice, on two solutions of the same
instance that share no recursion; what differs between the runs is rounding, and that (with a floor
of a few units in the last place of everything that was subtracted) is the error radius. A sign
inside the radius is ``undecided``; rounding never decides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from toymdp import SolverError
from toymdp.exact.scans import tightest
from toymdp.soup.optimum import SoupOptimum

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Verdict = Literal["holds", "violated", "not-applicable", "undecided"]
Status = Literal["proved", "refuted", "open", "hypothesis", "set-up"]
Kind = Literal["inequality", "equality"]
# where a claim is judged: once on the instance, at λ*, or at every λ of the standard set
At = Literal["instance", "optimum", "every"]

EPS = float(np.finfo(np.float64).eps)
# an equality is only "seen" if its error radius resolves it to this share of its size
RESOLUTION = 1e-6


class Subject(Protocol):
    """What a claim is judged on: a solved token MDP, or an instance of another world.

    shadow: the same subject computed on another road, so that what differs is rounding.
    cache: for what several claims share. depth: length of the longest sum, for the rounding floor.
    """

    @property
    def cache(self) -> dict[Any, Any]:
        """Free for claims to share what they computed."""
        ...

    @property
    def shadow(self) -> Subject:
        """The second road."""
        ...

    @property
    def depth(self) -> int:
        """Length of the longest chain of additions."""
        ...


class Undecidable(Exception):  # noqa: N818  # an outcome, not an error
    """Raised by a claim's function when a quantity it needs could not be computed."""


class NotApplicable(Exception):  # noqa: N818
    """Raised by a claim's function when its statement says nothing on this instance."""


@dataclass(frozen=True)
class Sides:
    """Both sides of a claim at its worst place, on one solution and one λ.

    scale: size of what was added and subtracted to get them, for the rounding floor.
    error: error radius that the computation itself knows of (a fit, a solver), if any.
    where: {"t", "s", "a", "k"} as far as they apply. terms: what makes up the right side.
    """

    lhs: float
    rhs: float
    scale: float
    terms: Mapping[str, float] = field(default_factory=dict)
    where: Mapping[str, int] | None = None
    error: float = 0.0
    note: str = ""

    @property
    def slack(self) -> float:
        """``rhs − lhs``."""
        return self.rhs - self.lhs


@dataclass(frozen=True)
class Check:
    """Outcome of one claim on one instance.

    lhs, rhs, slack, error are None where they could not be computed. hypotheses: id -> whether it
    holds (None: could not be decided). reason: why not-applicable or undecided, else empty.
    lam: the λ [K] it was judged at (the worst of them, where it speaks of all), or None.
    """

    claim: str
    status: Status
    verdict: Verdict
    lhs: float | None = None
    rhs: float | None = None
    slack: float | None = None
    error: float | None = None
    hypotheses: Mapping[str, bool | None] = field(default_factory=dict)
    reason: str = ""
    terms: Mapping[str, float] = field(default_factory=dict)
    where: Mapping[str, int] | None = None
    lam: tuple[float, ...] | None = None
    lam_name: str | None = None
    evidence: str | None = None
    assumed: tuple[str, ...] = ()

    @property
    def ratio(self) -> float | None:
        """``lhs / rhs``, how tight the claim is here; above 1 it is violated. None where 0/0."""
        if self.lhs is None or self.rhs is None or not self.rhs > 0:
            return None
        return self.lhs / self.rhs


# each claim's function names the subject of its own world
SidesFunction = Callable[[Any, Array | None, SoupOptimum | None], Sides]


@dataclass(frozen=True)
class Claim:
    """One numbered statement: what it says, what is known of it, and how to evaluate it.

    statement: LaTeX. world: the format of the instances it speaks of. hypotheses gate
    applicability; reported ones are shown but do not.
    reason: one line on why the status is what it is.
    zero: whether the statement also stands at λ = 0.
    """

    id: str
    source: str
    statement: str
    status: Status
    kind: Kind
    at: At
    sides: SidesFunction
    reason: str
    hypotheses: tuple[str, ...] = ()
    reported: tuple[str, ...] = ()
    zero: bool = False
    needs_optimum: bool = False
    world: str = "token-mdp/1"

    def evaluate(
        self,
        subject: Subject,
        lam: Array | None,
        optimum: SoupOptimum | None,
        *,
        own: Sides | None = None,
    ) -> Check:
        """Judge the claim at one λ [K] (None where it names none).

        own: the sides on the first road, where they are known.
        """
        return self.begin(subject, lam, optimum, own=own)()

    def begin(
        self,
        subject: Subject,
        lam: Array | None,
        optimum: SoupOptimum | None,
        *,
        own: Sides | None = None,
        pool: Executor | None = None,
    ) -> Callable[[], Check]:
        """Take the first road now and return what takes the second and judges: see ``evaluate``.

        pool: takes the second road in the meantime.
        """
        base, reasons, blocked = self._hypotheses(subject, lam)
        if blocked is not None:
            return partial(replace, blocked)
        second = partial(self.sides, subject.shadow, lam, optimum)
        later = second if pool is None else pool.submit(second).result
        try:
            sides = own or self.sides(subject, lam, optimum)
        except (NotApplicable, Undecidable, SolverError) as outcome:
            # the outcome itself would keep its traceback, and with it every table, alive
            return partial(replace, self._without_sides(outcome, base))
        return partial(self._judge, base, reasons, sides, later, subject.depth)

    def _judge(
        self,
        base: dict[str, Any],
        reasons: Mapping[str, str],
        sides: Sides,
        second: Callable[[], Sides],
        depth: int,
    ) -> Check:
        try:
            error = error_radius(sides, second(), depth)
        except (NotApplicable, Undecidable, SolverError) as outcome:
            return self._without_sides(outcome, base)
        if not np.isfinite([sides.lhs, sides.rhs, error]).all():
            text = f"a side is not finite (lhs {sides.lhs}, rhs {sides.rhs})"
            return Check(verdict="undecided", reason=text, **base)
        verdict, reason = decide(self.kind, sides, error)
        unknown = [h for h in self.hypotheses if base["hypotheses"][h] is None]
        if unknown:
            verdict, reason = "undecided", f"{unknown[0]}: {reasons[unknown[0]]}"
        return Check(
            verdict=verdict, lhs=sides.lhs, rhs=sides.rhs, slack=sides.slack, error=error,
            reason=reason or sides.note, terms=sides.terms, where=sides.where, **base,
        )  # fmt: skip

    def margin(
        self, subject: Subject, lam: Array | None, optimum: SoupOptimum | None
    ) -> tuple[float, Sides] | Check:
        """Slack in units of its rounding floor, with the sides; a Check where there is none.

        By one road only: it ranks many λ, so that the second need be taken for the worst alone.
        For an equality the margin is minus the distance, and distances below the floor are alike:
        which λ is reported shall not hang on rounding.
        """
        base, _, blocked = self._hypotheses(subject, lam)
        if blocked is not None:
            return blocked
        try:
            sides = self.sides(subject, lam, optimum)
        except (NotApplicable, Undecidable, SolverError) as outcome:
            return self._without_sides(outcome, base)
        floor = rounding_floor(sides, subject.depth) + sides.error
        slack = sides.slack if self.kind == "inequality" else -max(abs(sides.slack), floor)
        return slack / floor if floor > 0 and np.isfinite(slack) else -np.inf, sides

    def _without_sides(self, outcome: Exception, base: Mapping[str, Any]) -> Check:
        verdict: Verdict = "not-applicable" if isinstance(outcome, NotApplicable) else "undecided"
        return Check(verdict=verdict, reason=str(outcome), **base)

    def _hypotheses(
        self, subject: Subject, lam: Array | None
    ) -> tuple[dict[str, Any], dict[str, str], Check | None]:
        """Fields common to every outcome, reasons, and the outcome if a hypothesis is false."""
        from .claims.hypotheses import HYPOTHESES

        facts: dict[str, bool | None] = {}
        reasons: dict[str, str] = {}
        for name in (*self.hypotheses, *self.reported):
            facts[name], reasons[name] = HYPOTHESES[name].evaluate(subject, lam)
        base: dict[str, Any] = {
            "claim": self.id, "status": self.status, "hypotheses": facts,
            "lam": None if lam is None else tuple(float(x) for x in lam),
        }  # fmt: skip
        false = [h for h in self.hypotheses if facts[h] is False]
        if not false:
            return base, reasons, None
        return base, reasons, Check(verdict="not-applicable", reason=reasons[false[0]], **base)


def rounding_floor(sides: Sides, depth: int) -> float:
    """A few units in the last place of everything that was added up."""
    return float(32 * EPS * np.sqrt(depth) * (sides.scale + abs(sides.lhs) + abs(sides.rhs)))


def error_radius(sides: Sides, shadow: Sides, depth: int) -> float:
    """Radius around the slack within which rounding could move it."""
    moved = 4.0 * abs(sides.slack - shadow.slack)
    return rounding_floor(sides, depth) + moved + sides.error


def decide(kind: Kind, sides: Sides, error: float) -> tuple[Verdict, str]:
    """Return verdict and reason from the two sides and the error radius."""
    slack = sides.slack
    if kind == "inequality":
        if slack > error:
            return "holds", ""
        if slack < -error:
            return "violated", ""
        return "undecided", f"slack {slack:.3g} is inside the error radius {error:.3g}"
    if abs(slack) > 8 * error:
        return "violated", ""
    if abs(slack) > error:
        return "undecided", f"|slack| {abs(slack):.3g} is close to the error radius {error:.3g}"
    size = max(abs(sides.lhs), abs(sides.rhs), sides.scale)
    if error > RESOLUTION * size:
        return "undecided", f"error radius {error:.3g} is too wide to see an equality"
    return "holds", ""


def worst(lhs: Array, rhs: Array, mask: Mask, scale: float, names: tuple[str, ...]) -> Sides:
    """Pick the place of least slack among the marked ones where there is anything to compare.

    lhs, rhs, mask: arrays of one shape whose axes are ``names``. Places where both sides vanish
    within rounding (a single allowed token, equal policies) compare 0 with 0 and are passed over.

    Raises NotApplicable if no place is left.
    """
    least = tightest(lhs, rhs, mask, 64 * EPS * scale)
    if least < 0:
        raise NotApplicable("both sides vanish at every reachable state: nothing to compare")
    place = np.unravel_index(least, lhs.shape)
    where = {name: int(i) for name, i in zip(names, place, strict=True)}
    return Sides(float(lhs[place]), float(rhs[place]), scale, where=where)
