"""What a claim and a hypothesis are, and what checking a claim on one instance gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from traceback import extract_tb
from typing import Any, Literal, get_args

import numpy as np

from toymdp.errors import ClaimError, NoTable, SolverError

from .sides import (
    Kind,
    NotApplicable,
    Sides,
    Undecidable,
    Verdict,
    decide,
    error_radius,
    rounding_floor,
)
from .subject import AtLambda, Owner, Subject

Status = Literal["proved", "refuted", "open", "hypothesis", "set-up"]
# where a claim is judged: once on the instance, at λ*, or at every λ of the standard set
At = Literal["instance", "optimum", "every"]

# a quantity that could not be computed: no value exists, a linear system is singular in double
# precision, a number leaves the doubles
NO_NUMBER = (SolverError, np.linalg.LinAlgError, OverflowError)
# what says that a statement is not judged on this instance: it says nothing there, or is written
# for a table that a sparse instance has not
NOT_HERE = (NotApplicable, NoTable)
NO_SIDES = (*NOT_HERE, Undecidable, *NO_NUMBER)

Outcome = tuple[bool | None, str]
Margin = tuple[int, float]
_WORST_FIRST: tuple[Verdict, ...] = ("violated", "undecided", "holds")


@dataclass(frozen=True)
class Hypothesis:
    """A condition on an instance, or on one λ of it: id, what it says, and its test.

    test: facts (``of="instance"``) or soup (``of="lambda"``) -> True, False or None (rounding cannot
    tell), and a reason for the latter two.
    """

    id: str
    statement: str
    test: Callable[[Any], Outcome]
    of: Literal["instance", "lambda"] = "instance"

    def evaluate(self, facts: Owner, soup: Owner | None = None) -> Outcome:
        """Return the outcome, computed once for the facts, or for the soup that it speaks of.

        Raises ValueError if it speaks of a λ and there is none.
        """
        owner = facts if self.of == "instance" else soup
        if owner is None:
            raise ValueError(f"{self.id} speaks of a λ: give the soup")
        outcome: Outcome = owner.once(self._judge)
        return outcome

    def _judge(self, owner: Owner) -> Outcome:
        try:
            told: tuple[object, object] = self.test(owner)  # of somebody else's claim, too
            holds, reason = told
        except (Undecidable, NoTable, *NO_NUMBER) as failure:
            return None, str(failure)
        except NotApplicable as outcome:
            return False, str(outcome)
        except Exception as error:
            raise failed(f"hypothesis {self.id}", error) from error
        if not isinstance(holds, bool | np.bool_ | None) or not isinstance(reason, str):
            kinds = f"({type(holds).__name__}, {type(reason).__name__})"
            wrong = TypeError(f"returned {kinds}: must be True, False or None, and a reason")
            raise failed(f"hypothesis {self.id}", wrong)
        return None if holds is None else bool(holds), reason


@dataclass(frozen=True)
class Check:
    """Outcome of one claim on one instance.

    lhs, rhs, slack, error are None where they could not be computed. hypotheses: id -> whether it
    holds (None: could not be decided). reason: why not-applicable or undecided, else empty.
    lam: the λ [K] it was judged at (the worst of them, where it speaks of all), or None.
    """

    claim: str
    status: Status
    kind: Kind
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


# (facts) where a claim is judged on the instance, (facts, soup) where it speaks of a λ
SidesFunction = Callable[..., Sides]


@dataclass(frozen=True)
class Claim:
    """One numbered statement: what it says, what is known of it, and how to evaluate it.

    statement: LaTeX; title: what it says in a few words.
    sides: ``f(facts)`` where ``at`` is "instance", else ``f(facts, soup)``.
    world: the format of the instances it speaks of. hypotheses gate applicability; reported ones
    are shown but do not. reason: one line on why the status is what it is.
    zero: whether the statement also stands at λ = 0.
    needs_optimum: whether its sides ask for λ* of the facts, whatever λ they are judged at.
    Of a refuted claim: true_when, the weakest natural hypothesis under which the statement holds as
    it is printed; true_by, ids of proved claims that say so; blames, id of the first step of the
    printed proof that breaks.
    """

    id: str
    source: str
    statement: str
    status: Status
    kind: Kind
    at: At
    sides: SidesFunction
    reason: str
    hypotheses: tuple[Hypothesis, ...] = ()
    reported: tuple[Hypothesis, ...] = ()
    zero: bool = False
    needs_optimum: bool = False
    world: str = "token-mdp/1"
    true_when: str = ""
    true_by: tuple[str, ...] = ()
    blames: str = ""
    title: str = ""

    def __post_init__(self) -> None:
        for name, kinds in (("status", Status), ("kind", Kind), ("at", At)):
            if getattr(self, name) not in get_args(kinds):
                raise ValueError(
                    f"{self.id}: {name} = {getattr(self, name)!r}: must be one of {get_args(kinds)}"
                )
        for hypothesis in (*self.hypotheses, *self.reported):
            if not isinstance(hypothesis, Hypothesis):
                raise ValueError(f"{self.id}: {hypothesis!r} is no Hypothesis")
        of_lambda = [h.id for h in (*self.hypotheses, *self.reported) if h.of == "lambda"]
        if self.at == "instance" and of_lambda:
            raise ValueError(f"{self.id}: is judged at no λ, but {of_lambda[0]} speaks of one")

    @property
    def named(self) -> str:
        """The id, and in words what it says."""
        return f"{self.id}: {self.title}" if self.title else self.id

    def evaluate(
        self, facts: Subject, soup: AtLambda | None = None, *, known: Sides | None = None
    ) -> Check:
        """Judge the claim, at one λ where it speaks of one.

        known: the sides by the first method, where they have been computed already.
        """
        return self.begin(facts, soup, known=known)()

    def begin(
        self,
        facts: Subject,
        soup: AtLambda | None = None,
        *,
        known: Sides | None = None,
        pool: Executor | None = None,
    ) -> Callable[[], Check]:
        """Compute the sides by the first method; the function returned does the rest and judges.

        pool: computes the second in the meantime.
        """
        base, reasons, blocked = self._hypotheses(facts, soup)
        if blocked is not None:
            return partial(replace, blocked)
        second = partial(self._second_sides, facts, soup)
        later = second if pool is None else pool.submit(second).result
        try:
            sides = known or self._sides(facts, soup)
        except NO_SIDES as outcome:
            # drop the exception: its traceback keeps the tables alive
            return partial(replace, self._without_sides(outcome, base))
        return partial(self._judge, base, reasons, sides, later, facts.depth)

    def _sides(self, facts: Subject, soup: AtLambda | None) -> Sides:
        try:
            sides = self.sides(facts) if self.at == "instance" else self.sides(facts, soup)
            if not isinstance(sides, Sides):
                raise TypeError(f"returned {type(sides).__name__}, not Sides")
        except (*NOT_HERE, Undecidable, SolverError):
            raise
        except Exception as error:
            raise failed(self.id, error) from error
        return sides

    def _second_sides(self, facts: Subject, soup: AtLambda | None) -> Sides:
        if self.at == "instance":
            return self._sides(facts.second, None)
        assert soup is not None
        return self._sides(soup.second.facts, soup.second)

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
        except NO_SIDES as outcome:
            return self._without_sides(outcome, base)
        if not np.isfinite([sides.lhs, sides.rhs, error]).all():
            text = f"a side is not finite (lhs {sides.lhs}, rhs {sides.rhs})"
            return Check(verdict="undecided", reason=text, **base)
        verdict, reason = decide(self.kind, sides, error)
        unknown = [h.id for h in self.hypotheses if base["hypotheses"][h.id] is None]
        if unknown:
            verdict, reason = "undecided", f"{unknown[0]}: {reasons[unknown[0]]}"
        return Check(
            verdict=verdict, lhs=sides.lhs, rhs=sides.rhs, slack=sides.slack, error=error,
            reason=reason or sides.note, terms=sides.terms, where=sides.where, **base,
        )  # fmt: skip

    def margin(self, facts: Subject, soup: AtLambda | None = None) -> tuple[Margin, Sides] | Check:
        """How far the claim is from failing at this λ, with the sides; a Check where there are none.

        By one method only: it ranks many λ, and only the worst needs the second. Violations beyond
        the radius come first, then what the radius leaves open, and in each the least slack in
        units of the rounding floor. For an equality that is minus the distance, and distances
        within the radius count as equal, so that rounding does not decide which λ is reported.
        """
        base, _, blocked = self._hypotheses(facts, soup)
        if blocked is not None:
            return blocked
        try:
            sides = self._sides(facts, soup)
        except NO_SIDES as outcome:
            return self._without_sides(outcome, base)
        floor = rounding_floor(sides, facts.depth)
        if not (floor > 0 and np.isfinite([sides.slack, sides.error]).all()):
            return (0, -np.inf), sides
        verdict, _ = decide(self.kind, sides, floor + sides.error)
        place = _WORST_FIRST.index(verdict)
        if self.kind == "inequality":
            return (place, sides.slack / floor), sides
        return (place, -abs(sides.slack) / floor if verdict != "holds" else 0.0), sides

    def _without_sides(self, outcome: Exception, base: Mapping[str, Any]) -> Check:
        verdict: Verdict = "not-applicable" if isinstance(outcome, NOT_HERE) else "undecided"
        return Check(verdict=verdict, reason=str(outcome), **base)

    def _hypotheses(
        self, facts: Subject, soup: AtLambda | None
    ) -> tuple[dict[str, Any], dict[str, str], Check | None]:
        """Fields common to every outcome, reasons, and the outcome if a hypothesis is false."""
        met: dict[str, bool | None] = {}
        reasons: dict[str, str] = {}
        for hypothesis in (*self.hypotheses, *self.reported):
            met[hypothesis.id], reasons[hypothesis.id] = hypothesis.evaluate(facts, soup)
        base: dict[str, Any] = {
            "claim": self.id, "status": self.status, "kind": self.kind, "hypotheses": met,
            "lam": None if soup is None else tuple(float(x) for x in soup.lam),
        }  # fmt: skip
        false = [h.id for h in self.hypotheses if met[h.id] is False]
        if not false:
            return base, reasons, None
        return base, reasons, Check(verdict="not-applicable", reason=reasons[false[0]], **base)


def failed(what: str, error: Exception) -> ClaimError:
    """What to raise where the code of a claim or a hypothesis fails: a fault, not an outcome.

    It says at which line of its file: the first frame below ours, as deep as that file goes.
    """
    frames = extract_tb(error.__traceback__)[1:]
    own = [frame for frame in frames if frame.filename == frames[0].filename]
    place = f", {Path(own[-1].filename).name}:{own[-1].lineno}" if own else ""
    return ClaimError(f"{what}: its function failed ({type(error).__name__}: {error}{place})")
