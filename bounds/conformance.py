"""What every claim must keep so that its verdicts can be trusted: a test that anyone can call."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterable
from dataclasses import replace
from types import FunctionType
from typing import Any

import numpy as np

from toymdp import Solution
from toymdp.errors import ClaimError
from toymdp.kinds import KINDS

from .checking import judge
from .claim import Check, Claim, Hypothesis, Outcome
from .facts.kinds import facts_of
from .facts.soup import Soup
from .facts.token_mdp import Facts
from .sides import Sides

SEEDS = 3  # instances of each family that a claim is tried on where none are given
BENT = 1e-3  # relative change of the tables that a second solution is bent by


def assert_conforms(claim: Claim, instances: Iterable[Any] | None = None) -> None:
    """Raise AssertionError, with the rule that is broken, unless the claim keeps these rules.

    1. It says what it is: id, source, statement, reason, a format that exists, and a docstring of
       its function.
    2. It pickles, so that other processes can judge it.
    3. Of the instances, at least one decides it. A proved claim is violated on none. Where several
       decide it, its sides are not the same on all of them.
    4. The same instance gives the same outcome again; all its numbers are finite.
    5. Its numbers come from the facts it is given: another solution of the same instance gives
       others, if a solution enters at all (a cache keyed by the instance would hide rounding).
       What it computes from the instance alone, solving it itself included, this cannot see.
    6. Its verdict turns when a side is moved by more than the error radius.
    7. Every hypothesis is evaluated: without it the claim is not applicable, and undecided where
       it is unknown; it gives a reason unless it holds.

    That a refuted claim is false these rules do not ask: that is for a witness.
    instances: of the claim's world; none: a few seeded ones of every family of that world, which
    can take a minute.
    """
    try:
        _assert_conforms(claim, instances)
    except ClaimError as error:
        raise AssertionError(str(error)) from error


def _assert_conforms(claim: Claim, instances: Iterable[Any] | None) -> None:
    _says_what_it_is(claim)
    try:
        again = pickle.loads(pickle.dumps(claim))
    except Exception as error:
        raise AssertionError(f"{claim.id}: does not pickle ({error})") from error
    assert again == claim, f"{claim.id}: does not survive pickling"
    tried = [] if instances is None else list(instances)
    if instances is None:
        families = KINDS[claim.world].families.values()
        tried = [family(seed) for seed in range(SEEDS) for family in families]
    decided: list[tuple[Any, Check]] = []
    for instance in tried:
        (outcome,) = judge([claim], instance)
        assert (outcome.status, outcome.verdict) != ("proved", "violated"), (
            f"{claim.id}: is said to be proved, and is violated: {outcome}"
        )
        if outcome.verdict in ("holds", "violated"):
            decided.append((instance, outcome))
    assert decided, f"{claim.id}: of {len(tried)} instances none decides it; give one"
    if claim.status not in ("hypothesis", "set-up") and len(decided) > 1:
        sides = {(outcome.lhs, outcome.rhs) for _, outcome in decided}
        same = f"its sides are {min(sides)} on all {len(decided)} instances that decide it"
        assert len(sides) > 1 or min(sides) == (0.0, 0.0), f"{claim.id}: {same}"
    instance, outcome = decided[0]
    _is_finite(outcome)
    assert judge([claim], instance) == [outcome], f"{claim.id}: another outcome the second time"
    _, facts = facts_of(instance)
    soup = Soup(facts, np.array(outcome.lam)) if isinstance(facts, Facts) and outcome.lam else None
    if isinstance(facts, Facts):
        _reads_its_facts(claim, facts, outcome)
    _turns(claim, facts, soup, outcome)
    for hypothesis in claim.hypotheses:
        _is_needed(claim, hypothesis, facts, soup)
    for hypothesis in (*claim.hypotheses, *claim.reported):
        holds, reason = hypothesis.evaluate(facts, soup)
        assert holds is True or reason, f"{hypothesis.id}: gives no reason"


def _says_what_it_is(claim: Claim) -> None:
    shape = r"[a-z0-9-]+(\.[A-Za-z0-9-]+)+"
    assert re.fullmatch(shape, claim.id), f"{claim.id!r}: an id is words of letters joined by dots"
    for name in ("source", "statement", "reason"):
        assert getattr(claim, name).strip(), f"{claim.id}: {name} is empty"
    plain_function = isinstance(claim.sides, FunctionType)
    doc = claim.sides.__doc__ if plain_function else type(claim.sides).__doc__
    assert doc, f"{claim.id}: its function has no docstring: write the statement and its proof"
    assert claim.world in KINDS, f"{claim.id}: no format {claim.world!r}: one of {sorted(KINDS)}"
    hypotheses = (*claim.hypotheses, *claim.reported)
    assert len({h.id for h in hypotheses}) == len(hypotheses), f"{claim.id}: a hypothesis twice"
    for hypothesis in hypotheses:
        assert hypothesis.statement.strip(), f"{hypothesis.id}: statement is empty"


def _is_finite(outcome: Check) -> None:
    for number in (outcome.lhs, outcome.rhs, outcome.slack, outcome.error, *outcome.terms.values()):
        assert number is not None, f"{outcome.claim}: a side is missing"
        assert np.isfinite(number), f"{outcome.claim}: {number!r} is not finite"


def _bent(sol: Solution) -> Solution:
    """The solution with tables that are wrong by a relative 1e-3, in no regular way."""

    def moved(table: Any) -> Any:
        noise = np.random.default_rng(table.size).normal(size=table.shape)
        return table * (1.0 + BENT * noise)

    return replace(sol, Q=moved(sol.Q), V=moved(sol.V), Q_w=moved(sol.Q_w), V_w=moved(sol.V_w))


def _reads_its_facts(claim: Claim, facts: Facts, outcome: Check) -> None:
    def sides(of: Facts) -> Sides:
        if claim.at == "instance":
            return claim.sides(of)
        return claim.sides(of, Soup(of, np.array(outcome.lam)))

    bent, copy = _bent(facts.sol), facts.mdp.replace()
    honest = sides(Facts(facts.sol))
    # on a copy of the instance no cache keyed by it can answer
    apart = sides(Facts(replace(bent, mdp=copy)))
    if (apart.lhs, apart.rhs) != (honest.lhs, honest.rhs):  # else no solution enters
        again = sides(Facts(bent))
        assert (again.lhs, again.rhs) != (honest.lhs, honest.rhs), (
            f"{claim.id}: remembers an instance's numbers, whatever solution it is given"
        )


def _turns(claim: Claim, facts: Any, soup: Soup | None, outcome: Check) -> None:
    assert outcome.error is not None

    def moved(*arguments: Any) -> Sides:
        sides, error = claim.sides(*arguments), outcome.error or 0.0
        by = -10.0 * error if claim.kind == "inequality" else 20.0 * error
        return replace(sides, rhs=sides.lhs + by)

    broken = replace(claim, sides=moved).evaluate(facts, soup)
    assert broken.verdict == "violated", (
        f"{claim.id}: {broken.verdict} though its right side was moved beyond the error radius"
    )


def _is_needed(claim: Claim, hypothesis: Hypothesis, facts: Any, soup: Soup | None) -> None:
    def judged(holds: bool | None) -> Check:
        def answer(_: Any) -> Outcome:
            return holds, f"{hypothesis.id} is replaced"

        other = replace(hypothesis, test=answer)
        gates = tuple(other if h is hypothesis else h for h in claim.hypotheses)
        return replace(claim, hypotheses=gates).evaluate(facts, soup)

    false, unknown = judged(False), judged(None)
    assert false.verdict == "not-applicable", f"{claim.id}: {false.verdict} without {hypothesis.id}"
    assert unknown.verdict == "undecided", f"{claim.id}: {unknown.verdict} on {hypothesis.id}"
