"""Verdicts and error radii against 80 digits and more, on instances made to lose digits.

The truth is that of tests/second_code, with as many digits as the rarest token needs. On every
instance: no ``holds`` where a place is violated beyond the stated radius, no ``violated`` where
nothing is, and no slack that is further from the true one than its radius says.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from nasty_worlds import Fields, nasty
from second_code import SECOND, Nothing, Pair, Truth, World
from second_code.instance import mp, number
from second_code.linear import solve_system
from second_code.solve import Mix, Unbounded

from bounds import CLAIMS, Check, Facts, check
from bounds.claims.catalogue import TABLES
from bounds.sides import EPS
from toymdp import SolverError, TokenMDP, solve

# no number of the instance on one side at least: fits, quadratures, what holds by construction;
# and proved equalities, whose true distance is 0
LEFT_OUT = (
    "ss.asm0", "ss.asm1", "ss.asm2", "ss.eq11", "ss.eq13", "ss.eq13.single-vector",
    "ss.gaussian", "ss.gaussian.given", "ss.proof.single-exponential",
)  # fmt: skip
ENDLESS = 1e12  # expected steps from which on a refusal to solve is accepted
SINGULAR = -1.0
TOKEN_CLAIMS = {c.id for table in TABLES for c in table if c.world == "token-mdp/1"}


def digits_for(mdp: TokenMDP) -> int:
    """80, and twice those of the rarest token: what it adds must not vanish beside 1."""
    rarest = float(mdp.ref[mdp.ref > 0].min())
    return 80 + int(-2 * np.log10(rarest))


def true_steps(world: World) -> float:
    """Most steps until ``eos`` of an optimal policy, SINGULAR where 40 digits do not tell it ends."""
    states, most = world.states[0], 0.0
    for reward in world.rewards:
        gain = {n: mp.exp(number(reward[n]) / world.beta) for _, n in world.used()}
        system = [
            [int(s == t) - sum(p * gain[n] for _, n, p in world.moves[s] if n == t) for t in states]
            for s in states
        ]
        try:
            steps = [x for (x,) in solve_system(system, [[mp.mpf(1)] for _ in states])]
        except ZeroDivisionError:
            return SINGULAR
        if min(steps) <= 0:
            return SINGULAR
        most = max(most, float(max(steps)))
    return most


def true_sides(outcome: Check, truth: Truth, mixes: dict) -> Pair | None:
    """The second code's sides of what was judged; None where it says nothing or proof says 0."""
    claim = CLAIMS[outcome.claim]
    if outcome.lhs is None or claim.id in LEFT_OUT:
        return None
    if claim.kind == "equality" and claim.status == "proved":
        return None
    mix = None
    if outcome.lam is not None:
        if outcome.lam not in mixes:
            mixes[outcome.lam] = Mix(truth, outcome.lam)
        mix = mixes[outcome.lam]
    try:
        return SECOND[claim.id](truth, mix, outcome)
    except (Nothing, Unbounded, ZeroDivisionError):
        return None


def faults_of(outcome: Check, truth: Truth, mixes: dict) -> list[str]:
    """What is wrong with one outcome; "compared" where it was held against the truth."""
    if outcome.kind == "equality" and outcome.status == "proved":
        return [f"{outcome.claim} violated"] if outcome.verdict == "violated" else []
    pair = true_sides(outcome, truth, mixes)
    if pair is None:
        return []
    assert outcome.slack is not None
    assert outcome.error is not None
    lhs, rhs = pair.at(outcome.where)
    slack, size = rhs - lhs, abs(lhs) + abs(rhs) + 1
    nothing = size * mp.mpf(10) ** -40
    faults = ["compared"]
    # the worst of two specialists that are all but the same may be either: then the verdict counts
    elsewhere = not pair.places and pair.where not in (None, outcome.where)
    if abs(slack - outcome.slack) > outcome.error + nothing and not elsewhere:
        faults.append(f"{outcome.claim}: slack {outcome.slack} ± {outcome.error}, is {slack}")
    if outcome.kind == "inequality":
        if outcome.verdict == "violated" and slack >= 0:
            faults.append(f"{outcome.claim} is not violated: {outcome}")
        if outcome.verdict == "holds" and (slack < 0 or pair.least < -outcome.error):
            faults.append(f"{outcome.claim} does not hold: {outcome}")
    elif outcome.verdict == "violated" and abs(slack) <= nothing:
        faults.append(f"{outcome.claim}: sides are equal: {outcome}")
    return faults


def judge(seed: int) -> Counter[str]:
    """Judge one instance. Raises AssertionError with all that is wrong; returns what was seen."""
    fields: Fields = nasty(seed)
    mdp = TokenMDP(name=f"nasty-{seed}", **fields)
    seen: Counter[str] = Counter()
    with mp.workdps(digits_for(mdp)):
        world = World.read(fields)
        try:
            sol = solve(mdp)
            outcomes = check(sol, "ss.*")
            allowed = 32 * EPS * mdp.steps * Facts(sol).size_of_values
        except SolverError:
            steps = true_steps(world)
            assert steps == SINGULAR or steps > ENDLESS, f"seed {seed}: {steps} steps were refused"
            return Counter({"refused": 1})
        truth, mixes = Truth(world), {}
        values = [v[truth.start] for v in truth.V]
        for value, true in zip([*sol.values, sol.value_w], values, strict=True):
            assert abs(value - true) <= allowed, f"seed {seed}: V {value} ± {allowed}, is {true}"
        wrong = []
        for outcome in outcomes:
            if outcome.claim not in TOKEN_CLAIMS:
                continue
            seen[outcome.verdict] += 1
            faults = faults_of(outcome, truth, mixes)
            seen["compared"] += faults[:1] == ["compared"]
            wrong += [fault for fault in faults if fault != "compared"]
    assert not wrong, f"seed {seed}:\n" + "\n".join(wrong)
    return seen


@pytest.mark.parametrize("part", range(5))
def test_nasty_instances(part):
    seen = sum((judge(seed) for seed in range(8 * part, 8 * part + 8)), Counter())
    assert seen["compared"] > 50
    assert min(seen["holds"], seen["violated"]) > 0


@pytest.mark.parametrize("seed", [703, 961, 1049])
def test_instances_that_were_judged_wrongly(seed):
    """Ties beside rewards that cancel; a token of e^-1000 that π_w takes; visits of −2e-27."""
    judge(seed)


@pytest.mark.long
def test_a_thousand_nasty_instances():
    """What was seen is printed: run it with ``-s``."""
    kinds = {"a horizon": [0, 1], "until eos": [2]}
    table = {name: Counter() for name in kinds}
    for seed in range(1000):
        name = next(n for n, rest in kinds.items() if seed % 3 in rest)
        table[name] += judge(seed) + Counter(instances=1)
    for name, seen in table.items():
        print(f"\n{name}: " + ", ".join(f"{key} {n}" for key, n in sorted(seen.items())))
        assert seen["refused"] < 0.2 * seen["instances"]
        assert seen["compared"] > 10 * seen["instances"]
