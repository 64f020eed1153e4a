"""EXACT sections 3 to 5.1: verdicts, second computations, sabotage, and the door."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from dataclasses import replace

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from judging import judged, outcome_of

from bounds import Sides
from bounds.claims import exact_selection as exact_claims
from bounds.facts import set_functions
from bounds.facts.attribute_set import AttributeFacts
from toymdp import InstanceError
from toymdp.files import read_json
from toymdp.worlds.attribute_set import CLASSICS, FAMILIES, AttributeSet

CLAIMS = {claim.id: claim for claim in exact_claims.TABLE}
FILTERED = "ex.thm5.1.filter"


def judge(instance, claim):
    return judged(CLAIMS[claim], AttributeFacts(instance))


def table(*values, budget=2):
    return AttributeSet(values=np.array(values), budget=budget)


def policies(seed=0, **changes):
    fields = FAMILIES["tilted-attributes"](seed).fields()
    return AttributeSet(**{**fields, **changes})


# -- verdicts over the families ----------------------------------------------------------------


@pytest.fixture(scope="module")
def verdicts():
    found = {name: Counter() for name in CLAIMS}
    for family in FAMILIES.values():
        for seed in range(60):
            sub = AttributeFacts(family(seed))
            for claim in CLAIMS.values():
                found[claim.id][judged(claim, sub).verdict] += 1
    return found


@pytest.mark.parametrize("name", [c.id for c in CLAIMS.values() if c.status == "proved"])
def test_a_proved_row_is_never_violated(verdicts, name):
    assert verdicts[name]["violated"] == 0
    assert verdicts[name]["undecided"] == 0
    assert verdicts[name]["holds"] >= 100


@pytest.mark.parametrize("name", [c.id for c in CLAIMS.values() if c.status == "refuted"])
def test_a_refuted_row_is_violated_by_a_seeded_instance(verdicts, name):
    assert verdicts[name]["violated"] >= 20


@pytest.mark.parametrize(
    ("classic", "claim", "lhs", "rhs"),
    [
        ("filter-synergy", FILTERED, 10 * (1 - np.exp(-0.18)), 1.0),
        ("filter-submodular", FILTERED, 2 * (1 - np.exp(-1)), 17 / 16),
        ("loud-and-even", "ex.eq10.averaged", -0.6566535432087198, -0.1269280110429725),
    ],
)
def test_classics_break_what_they_are_for(classic, claim, lhs, rhs):
    check = judge(CLASSICS[classic](), claim)
    assert check.verdict == "violated"
    assert all(value is True for value in check.hypotheses.values())
    assert (check.lhs, check.rhs) == pytest.approx((lhs, rhs), rel=1e-12)


def test_the_filter_counterexample_of_the_catalogue():
    """γ = 0.18 exactly as CLAIMS has it, and the filter stops at a."""
    check = judge(CLASSICS["filter-synergy"](), FILTERED)
    assert check.terms["gamma"] == pytest.approx(0.18, rel=1e-14)
    assert (check.terms["F(S_k)"], check.terms["F(S*)"]) == (1.0, 10.0)


def test_monotone_tables_get_three_quarters_and_no_less():
    check = judge(CLASSICS["greedy-three-quarters"](), "ex.thm5.1")
    assert check.verdict == "holds"
    assert check.terms["F(S_k)"] / check.terms["F(S*)"] == 0.75 + 1 / 256


# -- second computations ------------------------------------------------------------------------


def brute_gamma(F):
    """(29) by its definition, set by set."""
    n = len(F).bit_length() - 1
    ratios = []
    for S in range(2**n):
        outside = [a for a in range(n) if not S >> a & 1]
        for size in range(1, len(outside) + 1):
            for L in itertools.combinations(outside, size):
                together = F[S | sum(1 << a for a in L)] - F[S]
                if together != 0:
                    ratios.append(sum(F[S | 1 << a] - F[S] for a in L) / together)
    return min(ratios)


@given(st.lists(st.integers(-4, 9), min_size=8, max_size=8))
def test_submodularity_ratio_against_its_definition(values):
    F = np.array([0, *values[1:]], dtype=np.float64)
    found = set_functions.submodularity_ratio(F, 0.0)
    if not F.any():
        assert found is None
    else:
        assert found == pytest.approx(brute_gamma(F), rel=1e-12)


@given(st.lists(st.integers(0, 5), min_size=15, max_size=15), st.integers(1, 4))
def test_greedy_on_integers_follows_every_tie(values, k):
    F = np.array([0, *values], dtype=np.float64)

    def runs(S, left):
        if left == 0:
            return {F[S]}
        gains = {a: F[S | 1 << a] - F[S] for a in range(4) if not S >> a & 1}
        best = [a for a, g in gains.items() if g == max(gains.values())]
        return set().union(*(runs(S | 1 << a, left - 1) for a in best))

    found = exact_claims.greedy(F, k, 0.0, filtered=False)
    assert (found.least, found.largest) == (min(runs(0, k)), max(runs(0, k)))


def test_the_filter_never_lets_the_value_fall():
    for seed in range(40):
        F = np.append(0.0, np.random.default_rng(seed).normal(size=15))
        best = [exact_claims.greedy(F, k, 0.0, filtered=True).least for k in range(1, 5)]
        assert best[0] >= 0
        assert best == sorted(best)


@pytest.mark.parametrize("seed", range(5))
def test_newton_and_the_cone_solver_find_the_same_optimum(seed):
    rng = np.random.default_rng(seed)
    base, reward, beta = rng.dirichlet(np.ones(4)), rng.normal(size=4), 0.5
    p = cp.Variable(4)
    objective = reward @ p - beta * cp.sum(cp.rel_entr(p, base))
    problem = cp.Problem(cp.Maximize(objective), [cp.sum(p) == 1])
    problem.solve(solver=cp.CLARABEL, tol_gap_abs=1e-11, tol_gap_rel=1e-11)
    found = exact_claims.newton_optimum(base, reward, beta)
    # a value within 1e-11 of the best is β KL(p‖π_r), so p is within about 1e-5 (Pinsker)
    assert found == pytest.approx(p.value, abs=1e-5)
    logs, log_z = exact_claims.tilted_optimum(base[None], reward[None], beta)
    assert found == pytest.approx(np.exp(logs[0]), rel=1e-12)
    assert problem.value == pytest.approx(beta * log_z[0], rel=1e-6)


def test_newton_reaches_optima_of_wide_spread():
    base, reward = np.array([0.5, 0.25, 0.25]), np.array([0.0, 300.0, -200.0])
    found = exact_claims.newton_optimum(base, reward, 1.0)
    assert found[1] == pytest.approx(1.0)


def test_a_forbidden_answer_stays_forbidden():
    world = AttributeSet(
        base=[[1, 2, 0]], tilts=np.ones((1, 1, 3)), reward=[[0, 1, 50]], pairs=[[0, 1, 0]], budget=1
    )
    assert judge(world, "ex.propA1").verdict == "holds"
    assert judge(world, "ex.eq10").verdict == "holds"


@pytest.mark.parametrize("seed", range(10))
def test_the_two_roads_to_the_margins_agree(seed):
    sub = AttributeFacts(FAMILIES["tilted-attributes"](seed))
    assert sub.margins == pytest.approx(sub.second.margins, abs=1e-12)
    assert not np.array_equal(sub.F, sub.second.F)


def test_additive_tilts_make_f_modular():
    """Without interactions the normaliser cancels from (12): γ = 1, greedy is optimal."""
    world = FAMILIES["helpful-attributes"](3)
    plain = AttributeSet(**{**world.fields(), "interactions": None})
    check = judge(plain, "ex.thm5.1")
    assert check.terms["gamma"] == pytest.approx(1.0)
    assert check.terms["F(S_k)"] == pytest.approx(check.terms["F(S*)"])


# -- sabotage -----------------------------------------------------------------------------------


def turned(monkeypatch, target, broken, instance, claim, module=exact_claims):
    """Verdict before and after a function of a module is replaced."""
    before = judge(instance, claim).verdict
    monkeypatch.setattr(module, target, broken)
    return before, judge(instance, claim).verdict


@pytest.mark.parametrize("sign_of_reward_and_beta", [(-1, 1), (1, -2)])
def test_sabotage_closed_form(monkeypatch, sign_of_reward_and_beta):
    sign, power = sign_of_reward_and_beta
    true = exact_claims.tilted_optimum
    world = policies(1, beta=0.5)
    pair = turned(
        monkeypatch, "tilted_optimum", lambda b, r, beta: true(b, sign * r, beta**power), world,
        "ex.propA1",
    )  # fmt: skip
    assert pair == ("holds", "violated")


def test_sabotage_likelihood_sign(monkeypatch):
    true = exact_claims.log_likelihoods
    pair = turned(
        monkeypatch, "log_likelihoods", lambda m, beta: true(-m, beta), policies(1), "ex.eq10"
    )
    assert pair == ("holds", "violated")


BROKEN_GUARANTEES = [lambda g: -np.expm1(-3 * g), lambda g: g, lambda g: np.exp(-g / 8)]


@pytest.mark.parametrize("broken", BROKEN_GUARANTEES)
def test_sabotage_guarantee(monkeypatch, broken):
    world = CLASSICS["greedy-three-quarters"]()
    pair = turned(monkeypatch, "guarantee", broken, world, "ex.thm5.1")
    assert pair == ("holds", "violated")


def test_sabotage_ratio_over_pairs_only(monkeypatch):
    """γ taken over |L| = 1 alone is 1 always, and the bound fails."""
    world = table(0, 1.0625, 1, 1.125, 1, 1.125, 10, 10)
    broken = ("submodularity_ratio", lambda F, tie: 1.0, world, "ex.thm5.1", set_functions)
    pair = turned(monkeypatch, *broken)
    assert pair == ("holds", "violated")


@pytest.mark.parametrize("seed", range(10))
def test_shrinking_the_right_side_of_the_theorem_turns_it(seed):
    claim, sub = CLAIMS["ex.thm5.1"], AttributeFacts(FAMILIES["helpful-attributes"](seed))
    check = judged(claim, sub)

    def shrunk(factor):
        def sides(*args) -> Sides:
            found = claim.sides(*args)
            return replace(found, rhs=factor * found.rhs)

        return judged(replace(claim, sides=sides), sub).verdict

    assert shrunk(1.01 * check.ratio) == "holds"
    assert shrunk(0.99 * check.ratio) == "violated"


# -- hypotheses, each negated alone ---------------------------------------------------------------

ALONE = [
    ("ex.propA1", "attributes-tilt", table(0, 1, 1, 2)),
    ("ex.eq10", "attributes-tilt", table(0, 1, 1, 2)),
    ("ex.eq10.averaged", "pairs-several", policies(0, pairs=[[0, 0, 1]])),
    ("ex.thm5.1", "f-normalised", table(1, 2, 3, 4)),
    ("ex.thm5.1", "f-monotone", CLASSICS["filter-synergy"]()),
    # a and b are worth nothing alone
    ("ex.thm5.1", "f-weakly-submodular", table(0, 0, 0, 1)),
    (FILTERED, "f-normalised", table(-1, 2, 3, 4)),
    (FILTERED, "f-weakly-submodular", table(0, 1, 1, -1)),
]


@pytest.mark.parametrize(("claim", "hypothesis", "instance"), ALONE)
def test_each_hypothesis_alone(claim, hypothesis, instance):
    check = judge(instance, claim)
    false = [name for name, value in check.hypotheses.items() if value is not True]
    assert check.verdict == "not-applicable"
    assert false == [hypothesis]
    assert check.reason == outcome_of(claim, hypothesis, AttributeFacts(instance))[1] != ""


def test_a_table_has_neither_policies_nor_pairs():
    check = judge(table(0, 1, 1, 2), "ex.eq10.averaged")
    assert check.verdict == "not-applicable"
    assert check.hypotheses == {"attributes-tilt": False, "pairs-several": False}


def test_of_tied_maximisers_the_likeliest_speaks():
    """Margins (4, 0) and (2, 2) have one mean: the row must not be broken by the worse of the two."""
    loud = CLASSICS["loud-and-even"]().fields()
    tilts = np.array([[[4.0, 0.0], [0.0, 0.0]], [[2.0, 0.0], [2.0, 0.0]]])
    check = judge(AttributeSet(**{**loud, "tilts": tilts, "reward": tilts[1]}), "ex.eq10.averaged")
    assert check.lhs == pytest.approx(-np.log1p(np.exp(-2.0)), rel=1e-12)
    assert check.terms["F at its maximiser"] == 2.0
    assert check.verdict == "holds"


@pytest.mark.parametrize("values", [(0, 0, 0, 0), (0, 0, 0, 0, 0, 0, 0, 1)])
def test_nothing_to_gain_says_so(values):
    world = table(*values)
    for claim in ("ex.thm5.1", FILTERED):
        check = judge(world, claim)
        assert check.verdict == "not-applicable"
        assert check.reason


def test_no_set_beats_the_empty_one():
    check = judge(table(0, -1, -2, -3), FILTERED)
    assert check.verdict == "not-applicable"
    assert "empty" in check.reason


# -- the door -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FAMILIES)
def test_json_round_trip(tmp_path, name):
    world = FAMILIES[name](4)
    path = tmp_path / "world.json"
    world.save(path)
    again = AttributeSet.from_fields(read_json(path))
    assert AttributeFacts(again).F.tolist() == AttributeFacts(world).F.tolist()
    again.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_text() == path.read_text()
    assert json.loads(path.read_text())["format"] == "attribute-set/1"


GOOD = {
    "format": "attribute-set/1", "base": [[1, 1], [1, 0]], "tilts": [[[0, 1], [0, 1]]],
    "reward": [[0, 1], [1, 0]], "pairs": [[0, 0, 1]], "budget": 1,
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"format": "attribute-set/2"}, "format"),
        ({"bogus": 1}, "bogus"),
        ({"tilts": None}, "tilts"),
        ({"values": [0, 1]}, "base"),
        ({"base": [[1, 1], [0, 0]]}, "base[1]"),
        ({"base": [[1, -1], [1, 0]]}, "base[0]"),
        ({"base": [[1, float("nan")], [1, 0]]}, "base[0][1]"),
        ({"pairs": [[0, 0, 1], [1, 0, 1]]}, "pairs[1]"),
        ({"pairs": [[0, 1, 1]]}, "pairs[0]"),
        ({"pairs": [[2, 0, 1]]}, "pairs[0]"),
        ({"pairs": [[0, 0, 1e300]]}, "pairs[0]"),
        ({"pairs": [[0, 0.5, 1]]}, "pairs[0]"),
        ({"budget": 2}, "budget"),
        ({"budget": 0}, "budget"),
        ({"beta": 0}, "beta"),
        ({"tilts": np.zeros((9, 2, 2)).tolist()}, "number of attributes"),
        ({"interactions": [[[0, 1], [0, 1]]]}, "interactions"),
        ({"meta": 3}, "meta"),
        ({"name": 3}, "name"),
    ],
)
def test_the_door_names_the_field(changes, field):
    with pytest.raises(InstanceError) as caught:
        AttributeSet.from_fields({**GOOD, **changes})
    assert str(caught.value).startswith(f"{field} = ")
    assert "\n" not in str(caught.value)


def test_the_door_of_tables():
    for values in ([0.0], [0.0, 1.0, 2.0], np.zeros(512).tolist()):
        with pytest.raises(InstanceError, match="length of values"):
            AttributeSet(values=values, budget=1)
    with pytest.raises(InstanceError, match="budget = None: missing"):
        AttributeSet.from_fields({"format": "attribute-set/1", "values": [0, 1]})


def test_instances_are_frozen():
    world = CLASSICS["loud-and-even"]()
    with pytest.raises(ValueError, match="read-only"):
        world.tilts[0, 0, 0] = 1.0
