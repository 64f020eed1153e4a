"""Appendix C of Spectral Souping: Newton's step, its repetition as printed, and the repair."""

from __future__ import annotations

from collections import Counter

import cvxpy as cp
import numpy as np
import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st
from judging import judged
from scipy.optimize import minimize
from scipy.special import expit

from bounds.claims import appendix_c as appendix_c_claims
from bounds.facts.preference_pairs import Link, PairFacts
from toymdp import InstanceError
from toymdp.files import read_json
from toymdp.worlds.preference_pairs import CLASSICS, FAMILIES, PreferencePairs

CLAIMS = {claim.id: claim for claim in appendix_c_claims.TABLE}
PRINTED, REPAIRED = "ss.appC.iterated", "ss.appC.iterated.repaired"


def judge(instance, claim):
    return judged(CLAIMS[claim], PairFacts.of(instance))


def one(delta=1.0, mean=0.0, variance=1.0, **more):
    """K = N = 1."""
    return PreferencePairs(
        differences=[[delta]], prior_mean=[mean], prior_covariance=[[variance]], **more
    )


# -- verdicts over the families ----------------------------------------------------------------


@pytest.fixture(scope="module")
def verdicts():
    found = {name: Counter() for name in CLAIMS}
    for family in FAMILIES.values():
        for seed in range(25):
            sub = PairFacts.of(family(seed))
            for claim in CLAIMS.values():
                found[claim.id][judged(claim, sub).verdict] += 1
    return found


def test_verdicts_over_the_families(verdicts):
    assert verdicts["ss.appC"] == {"holds": 50}
    assert verdicts[PRINTED]["violated"] == 50
    assert set(verdicts[REPAIRED]) == {"holds", "not-applicable"}
    assert verdicts[REPAIRED]["holds"] >= 25


def test_the_worked_answer():
    """K = 1, Δ = 1, λ̄ = 0, S = 4: both fixed points by sympy, to fifteen digits."""
    z = sympy.symbols("z")
    chance = 1 / (1 + sympy.exp(-z))
    best = sympy.nsolve(z - 4 * (1 - chance), z, 1, prec=30)
    ends = sympy.nsolve(z - 4 * (1 - chance) / (1 + 4 * chance * (1 - chance)), z, 1, prec=30)
    check = judge(CLASSICS["one-answer"](), PRINTED)
    assert check.verdict == "violated"
    assert (check.lhs, check.rhs) == pytest.approx((float(ends), float(best)), rel=1e-12)
    assert (float(ends), float(best)) == pytest.approx((0.7025, 1.0426), abs=5e-5)
    assert judge(CLASSICS["one-answer"](), REPAIRED).verdict == "holds"


def test_newton_without_damping_may_cycle_for_ever():
    """Why the repair needs newton-contracts: from −20 to 380 and back."""
    link = Link(np.array([-20.0]), np.array([[400.0]]), np.array([1.0]))
    first = appendix_c_claims.repaired_iteration(0.0, link)
    second = appendix_c_claims.repaired_iteration(first, link)
    assert (first, second) == pytest.approx((1.0, 0.0), abs=1e-5)
    assert not appendix_c_claims.limit(link, appendix_c_claims.repaired_iteration)[1]
    check = judge(CLASSICS["newton-cycle"](), REPAIRED)
    assert check.verdict == "not-applicable"
    assert check.hypotheses == {"newton-contracts": False}
    assert "overshoot" in check.reason
    # the printed iteration has no such excuse: it names no hypothesis
    assert judge(CLASSICS["newton-cycle"](), PRINTED).verdict == "violated"


def test_the_hypothesis_is_met_on_either_side():
    assert judge(one(mean=-3.0, variance=3.9), REPAIRED).verdict == "holds"
    assert judge(one(mean=0.0, variance=400.0), REPAIRED).verdict == "holds"
    assert judge(one(mean=-3.0, variance=4.1), REPAIRED).verdict == "not-applicable"


def test_an_answer_that_says_nothing_leaves_the_prior():
    world = one(delta=0.0, mean=0.7)
    assert [judge(world, claim).verdict for claim in CLAIMS] == ["holds"] * 3


def test_the_term_for_the_other_reading_of_one_over_beta():
    """Δ with 1/β in the updates is Newton's step of section 4's loss only at β = 1."""
    term = "off by, loss of section 4"
    assert judge(one(beta=1.0), "ss.appC").terms[term] < 1e-15
    assert judge(one(beta=2.0), "ss.appC").terms[term] > 0.05
    assert judge(one(beta=2.0), "ss.appC").verdict == "holds"


def test_s_before_the_update_is_no_newton_step():
    assert judge(one(variance=4.0), "ss.appC").terms["off by, S = S_{n-1}"] == pytest.approx(1.0)


# -- second computations ------------------------------------------------------------------------


@given(st.floats(-700, 700))
def test_complex_steps_are_the_derivatives(z):
    assert appendix_c_claims.loss_slope(z) == pytest.approx(-expit(-z), rel=1e-12)
    assert appendix_c_claims.loss_curvature(z) == pytest.approx(expit(z) * expit(-z), rel=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_the_update_minimises_the_expanded_objective(seed):
    """(20) with its loss expanded to second order, minimised over mean and covariance by BFGS."""
    rng = np.random.default_rng(seed)
    K = 2
    mean, delta = rng.normal(size=K), rng.normal(size=K)
    root = rng.normal(size=(K, K))
    precision = root @ root.T + np.eye(K)
    sigma = expit(mean @ delta)

    def objective(x):
        d, L = x[:K], np.tril(np.reshape(x[K:], (K, K)))
        S = L @ L.T
        loss = -(1 - sigma) * delta @ d
        loss += 0.5 * sigma * (1 - sigma) * ((delta @ d) ** 2 + delta @ S @ delta)
        kl = 0.5 * (d @ precision @ d + np.trace(precision @ S) - np.linalg.slogdet(S)[1])
        return loss + kl

    start = np.concatenate([np.zeros(K), np.eye(K).ravel()])
    x = minimize(objective, start, method="BFGS", options={"gtol": 1e-7}).x
    L = np.tril(np.reshape(x[K:], (K, K)))
    after, following = appendix_c_claims.printed_update(mean, precision, delta)
    assert mean + x[:K] == pytest.approx(after, abs=1e-5)
    assert np.linalg.inv(L @ L.T) == pytest.approx(following, rel=1e-4, abs=1e-4)


def matrices(link, steps, *, repaired):
    """The iteration in full vectors and matrices, as CLAIMS and the paper write it."""
    mean, S, delta = link.mean, link.covariance, link.delta
    lam = mean
    for _ in range(steps):
        sigma = expit(lam @ delta)
        h = sigma * (1 - sigma)
        inner = np.linalg.inv(np.linalg.inv(S) + h * np.outer(delta, delta))
        pull = (1 - sigma) * delta
        if repaired:
            pull = pull + h * delta * (delta @ (lam - mean))
        lam = mean + inner @ pull
    return lam


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("repaired", [False, True])
def test_the_single_coordinate_is_the_whole_iteration(seed, repaired):
    link = PairFacts.of(FAMILIES["narrow-prior"](seed)).chain[-1]
    name = "repaired_iteration" if repaired else "printed_iteration"
    alpha = 0.0
    for steps in range(1, 6):
        alpha = getattr(appendix_c_claims, name)(alpha, link)
        whole = matrices(link, steps, repaired=repaired)
        assert link.mean + alpha * link.direction == pytest.approx(whole, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_two_roads_to_the_maximum_agree(family):
    for seed in range(5):
        sub = PairFacts.of(FAMILIES[family](seed))
        points, radius = appendix_c_claims.maxima(sub)
        roots = np.array([link.mean + link.pull * link.direction for link in sub.chain])
        assert np.abs(points - roots).max() <= radius + 1e-9 * np.abs(roots).max()
        assert radius <= 1e-6


def test_a_failing_solver_is_undecided(monkeypatch):
    def fails(*args, **kwargs):
        raise cp.error.SolverError("no")

    monkeypatch.setattr(cp.Problem, "solve", fails)
    check = judge(one(), REPAIRED)
    assert check.verdict == "undecided"
    assert "cvxpy" in check.reason


# -- sabotage -----------------------------------------------------------------------------------


def sabotaged(monkeypatch, name, broken, claim, instance):
    before = judge(instance, claim).verdict
    monkeypatch.setattr(appendix_c_claims, name, broken)
    return before, judge(instance, claim).verdict


UPDATES = {
    "sign of the step": lambda m, P, new, S: (2 * m - new, S),
    "sign of the curvature": lambda m, P, new, S: (new, 2 * P - S),
    "S before the update": lambda m, P, new, S: (m + np.linalg.solve(P, S @ (new - m)), S),
    "half the step": lambda m, P, new, S: (0.5 * (m + new), S),
}


@pytest.mark.parametrize("name", UPDATES)
def test_sabotage_the_update(monkeypatch, name):
    true = appendix_c_claims.printed_update

    def broken(mean, precision, delta):
        return UPDATES[name](mean, precision, *true(mean, precision, delta))

    world = FAMILIES["narrow-prior"](2)
    pair = sabotaged(monkeypatch, "printed_update", broken, "ss.appC", world)
    assert pair == ("holds", "violated")


def test_sabotage_the_loss(monkeypatch):
    true = appendix_c_claims.loss_slope
    world = FAMILIES["narrow-prior"](2)
    pair = sabotaged(monkeypatch, "loss_slope", lambda z: true(-z), "ss.appC", world)
    assert pair == ("holds", "violated")


@pytest.mark.parametrize("factor", [0.0, 0.5, -1.0])
def test_sabotage_the_repair(monkeypatch, factor):
    """Any other weight on the second summand ends elsewhere; weight 0 is the printed iteration."""

    def broken(alpha, link):
        z = link.margin + alpha * link.reach
        h = expit(z) * expit(-z)
        return (expit(-z) + factor * h * alpha * link.reach) / (1 + h * link.reach)

    world = CLASSICS["one-answer"]()
    pair = sabotaged(monkeypatch, "repaired_iteration", broken, REPAIRED, world)
    assert pair == ("holds", "violated")


# -- the door -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FAMILIES)
def test_json_round_trip(tmp_path, name):
    world = FAMILIES[name](4)
    path = tmp_path / "world.json"
    world.save(path)
    again = PreferencePairs.from_fields(read_json(path))
    again.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_text() == path.read_text()
    assert judge(again, "ss.appC") == judge(world, "ss.appC")


GOOD = {
    "format": "preference-pairs/1", "differences": [[1.0, 0.0]], "prior_mean": [0.0, 0.0],
    "prior_covariance": [[1.0, 0.0], [0.0, 1.0]],
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"format": None}, "format"),
        ({"bogus": 1}, "bogus"),
        ({"labels": [2]}, "labels[0]"),
        ({"labels": [1, 1]}, "labels"),
        ({"beta": 0}, "beta"),
        ({"prior_mean": [0.0]}, "prior_mean"),
        ({"prior_covariance": [[1.0, 0.5], [0.0, 1.0]]}, "prior_covariance"),
        ({"prior_covariance": [[1.0, 2.0], [2.0, 1.0]]}, "least eigenvalue of prior_covariance"),
        ({"prior_covariance": [[1.0, 0.0], [0.0, 1e-12]]}, "least eigenvalue of prior_covariance"),
        ({"differences": [[1.0, None]]}, "differences[0][1]"),
        ({"differences": "x"}, "differences"),
        ({"meta": []}, "meta"),
    ],
)
def test_the_door_names_the_field(changes, field):
    with pytest.raises(InstanceError) as caught:
        PreferencePairs.from_fields({**GOOD, **changes})
    assert str(caught.value).startswith(f"{field} = ")
    assert "\n" not in str(caught.value)


def test_a_missing_key_is_named():
    with pytest.raises(InstanceError, match="prior_mean = None: missing"):
        PreferencePairs.from_fields({k: v for k, v in GOOD.items() if k != "prior_mean"})


def test_labels_turn_the_pair():
    first, second = one(labels=[1.0]), one(delta=-1.0, labels=[-1.0])
    assert PairFacts.of(first).deltas == pytest.approx(PairFacts.of(second).deltas)
