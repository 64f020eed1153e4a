"""The certificates' balls hold what the second code finds, ties of the hard minimum included."""

from __future__ import annotations

import numpy as np
import pytest
from flint import arb, ctx
from second_code import SECOND
from second_code.instance import mp
from second_code.proof import least_cost
from second_code.solve import Mix, hard_minimum
from test_second_code import Solved, solved

from bounds import CLAIMS
from bounds.certificates import STATEMENTS
from bounds.certificates import values as certified
from bounds.certificates.instance import load
from bounds.certificates.statements import Point
from bounds.records.witness import Witness

# what the normalisation of w by its sum moves: the toolkit takes w as it stands
ROUNDING = 1e-14
LINEAR = ("wide-dense", "one-hot-forbidding", "binary-ended")  # where every nu exists
# the best λ ≥ 0 is enclosed by a search of its own: tests/test_span_claims.py
OF_LAMBDA = sorted(
    claim for claim, statement in STATEMENTS.items()
    if statement.at != "instance" and claim != "ss.eq8.simplex"
)  # fmt: skip
# judged by least-squares residuals that are places of their own
RESIDUALS = (
    "ss.lemma1", "ss.lemma1.per-step", "ss.proof.single-exponential", "ss.eq13.single-vector",
    "ss.gaussian.given",
)  # fmt: skip


@pytest.fixture(autouse=True)
def precision():
    """The working precision at which certificates start."""
    before, ctx.prec = ctx.prec, 128
    yield
    ctx.prec = before


def holds(ball: arb, number) -> bool:
    """Whether a ball overlaps the number up to the rounding of w."""
    text = mp.nstr(mp.mpf(number), 40)
    return bool(ball.overlaps(arb(text) + arb(0, ROUNDING * (1 + abs(float(number))))))


def of_witness(case: Solved, lam, tmp_path) -> tuple[certified.Values, Point | None]:
    path = tmp_path / "witness.json"
    given = None if lam is None else tuple(lam.tolist())
    claim = "ss.lemma1" if lam is None else "ss.proof.A"
    Witness("w", case.mdp, claim, given, 0, {"lhs": 1.0, "rhs": 0.0}).save(path)
    witness = load(path)
    values = certified.Values(witness.instance)
    if witness.lam is None:
        return values, None
    point = Point.exact(witness.instance, witness.lam)
    J = arb(mp.nstr(Mix(case.truth, lam).value, 40)) + arb(0, ROUNDING)
    return values, Point(point.u, point.v, point.zero, J)


@pytest.mark.parametrize("i", [0, 1])
@pytest.mark.parametrize("world", LINEAR)
def test_balls_hold_both_sides_at_given_weights(world, i, tmp_path):
    case = solved(world)
    lam = case.weights(i)
    values, point = of_witness(case, lam, tmp_path)
    for claim in OF_LAMBDA:
        pair = SECOND[claim](case.truth, Mix(case.truth, lam), None)
        places = list(STATEMENTS[claim].sides(values, point))
        (found,) = [x for x in places if pair.where is None or x.where == pair.where]
        assert holds(found.lhs, pair.lhs), claim
        assert holds(found.rhs, pair.rhs), claim
        assert float(found.lhs.rad()) < 1e-12, claim
        if not CLAIMS[claim].id.startswith("ss.thm1.gap"):  # tied policies have different features
            assert float(found.rhs.rad()) < 1e-12, claim


@pytest.mark.parametrize("world", ["wide-dense", "one-hot-forbidding", "narrow-softmax"])
def test_balls_hold_both_sides_of_the_instance(world, tmp_path):
    case = solved(world)
    values, _ = of_witness(case, None, tmp_path)
    for claim in ("ss.eq12", "ss.eq7.logit", "ss.delta.anchor"):
        pair = SECOND[claim](case.truth, None, None)
        places = list(STATEMENTS[claim].sides(values, None))
        here = [x for x in places if x.where == pair.where]
        assert any(holds(x.lhs, pair.lhs) and holds(x.rhs, pair.rhs) for x in here), claim
    for claim in RESIDUALS if world == "narrow-softmax" else ():
        pair = SECOND[claim](case.truth, None, None)
        found = max(STATEMENTS[claim].sides(values, None), key=lambda x: float(x.lhs))
        if claim == "ss.lemma1.per-step":  # the toolkit reports the worst share, not the worst
            assert float(found.lhs) >= float(pair.lhs) - 1e-12
        else:
            assert holds(found.lhs, pair.lhs), claim


def test_the_hard_minimum_holds_every_policy_that_may_attain_it(tmp_path):
    """Tied tokens lead to features of different norms: the ball holds the least and the largest."""
    case = solved("one-hot-forbidding")
    lam = case.weights(0)
    values, point = of_witness(case, lam, tmp_path)
    mix = Mix(case.truth, lam)
    cost = least_cost(mix)
    least, shortest = hard_minimum(case.truth.world, cost)
    _, longest = hard_minimum(case.truth.world, cost, longest=True)
    assert longest > shortest + 0.1
    fields = {}
    for place in values.world.used:
        rewards = [arb(r[place[1]]) for r in (*values.world.rewards, values.world.rewards_w)]
        fields[place] = sum(
            (v * (rewards[-1] - r) for v, r in zip(point.v, rewards, strict=False)), arb(0)
        )
    first, path = certified.hard_minimum(values, fields, values.norms)
    assert holds(first, least / mix.size)
    assert holds(path, shortest)
    assert holds(path, longest)
    assert float(path.rad()) < 0.51 * float(longest - shortest)


def test_the_printed_bound_is_taken_at_the_longest_features_of_tied_policies(tmp_path):
    """So that a proof that (10) is broken holds for whichever policy the paper means."""
    case = solved("one-hot-forbidding")
    lam = case.weights(0)
    values, point = of_witness(case, lam, tmp_path)
    mix = Mix(case.truth, lam)
    pair = SECOND["ss.thm1.gap"](case.truth, mix, None)
    _, longest = hard_minimum(case.truth.world, least_cost(mix), longest=True)
    (found,) = STATEMENTS["ss.thm1.gap"].sides(values, point)
    more = (longest - pair.terms["E_min Σ‖psi‖"]) * pair.terms["reward error"]
    assert more > 0.01
    assert holds(found.rhs, pair.rhs)
    assert holds(found.rhs, pair.rhs + more)
    assert np.isfinite(float(found.rhs))
