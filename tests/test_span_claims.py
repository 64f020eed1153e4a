"""What the basis spans, the best soup that subtracts no one, and what feedback cannot tell apart."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from conftest import random_mdp
from flint import arb

from bounds import Facts, check
from bounds.certificates.instance import load
from bounds.certificates.maximisers import best_nonnegative
from bounds.certificates.values import Values
from bounds.claims import optimum as optimum_claims
from bounds.claims.section4_composite import joint_minimiser
from bounds.claims.span import logit_fit
from bounds.records.witness import Witness
from toymdp import solve
from toymdp.families.classics import long_fit, redundant_tastes, signed_uniform
from toymdp.soup.bound import branch_and_bound
from toymdp.soup.objective import SoupObjective


def one(mdp, claim, **options):
    (found,) = check(mdp, claim, **options)
    return found


def test_the_best_soup_of_a_plain_world_subtracts():
    found = one(signed_uniform(), "ss.eq8.simplex")
    assert found.verdict == "violated"
    assert found.lhs == pytest.approx(4.98889, abs=1e-5)
    assert found.rhs == pytest.approx(4.66223, abs=1e-5)
    assert found.error < 0.1 * (found.lhs - found.rhs)


def test_a_best_soup_that_subtracts_no_one_leaves_nothing_to_compare():
    mdp = signed_uniform().replace(w=np.array([1.0, 0.0]))
    found = one(mdp, "ss.eq8.simplex")
    assert min(found.lam) == 0.0
    assert found.verdict == "not-applicable"


def test_many_specialists_and_too_few_pieces_leave_it_open(monkeypatch):
    sure = signed_uniform()
    monkeypatch.setattr(optimum_claims, "PIECES", 1)
    assert one(sure, "ss.eq8.simplex").verdict != "violated"
    rewards = np.vstack([sure.rewards, np.zeros((4, 9))])
    many = sure.replace(rewards=rewards, w=np.append(sure.w, np.zeros(4)))
    found = one(many, "ss.eq8.simplex")
    assert found.verdict in ("undecided", "not-applicable")
    if found.verdict == "undecided":
        assert "more than 5" in found.reason


@pytest.mark.parametrize("seed", range(4))
def test_the_bound_over_nonnegative_weights_holds_and_is_near(seed):
    sol = solve(random_mdp(seed, K=3, T=2))
    objective = SoupObjective(sol)
    grid = [np.array(u) / 8 for u in itertools.product(range(9), repeat=3) if sum(u) <= 8]
    best = max(objective.value(u) for u in grid)
    bound = branch_and_bound(sol, -np.inf, tolerance=1e-3, signs="nonnegative")
    assert bound.value >= best
    assert bound.J <= bound.value <= bound.J + bound.allowed
    assert (bound.point >= 0).all()
    assert objective.value(bound.point) == pytest.approx(bound.J, abs=1e-12)
    everywhere = branch_and_bound(sol, -np.inf, tolerance=1e-3)
    assert everywhere.value >= bound.J


def test_the_certificate_encloses_the_best_nonnegative_soup(tmp_path):
    mdp = random_mdp(2, K=2, T=2)
    path = tmp_path / "w.json"
    Witness("w", mdp, "ss.lemma1", None, 0, {"lhs": 1.0, "rhs": 0.0}).save(path)
    found = best_nonnegative(Values(load(path).instance))
    objective = SoupObjective(solve(mdp))
    grid = [np.array([a, b]) / 64 for a in range(65) for b in range(65 - a)]
    best = max(objective.value(u) for u in grid)
    assert float(found.upper()) >= best - 1e-12
    assert float(found.upper()) <= best + 1e-3
    assert found.rad() < arb(1e-6)


def test_a_fit_longer_than_the_budget():
    fit = Facts(solve(long_fit())).once(logit_fit)
    assert fit.size == pytest.approx(1.9557, abs=1e-4)
    assert fit.full is None
    assert one(long_fit(), "ss.span.vanishes").verdict == "violated"
    assert one(long_fit(), "ss.span.vanishes.repaired").verdict == "not-applicable"


def test_the_shortest_of_many_fits_is_found():
    """A specialist twice, once at half strength: the fit takes the strong one, of half the weight."""
    mdp = random_mdp(3, K=1, T=2)
    doubled = mdp.replace(rewards=np.vstack([mdp.rewards, 0.5 * mdp.rewards]), horizon=1,
                          features={"kind": "tabular", "per_step": True}, w=np.array([0.0, 1.0]))  # fmt: skip
    fit = Facts(solve(doubled)).once(logit_fit)
    np.testing.assert_allclose(fit.least, [0.5, 0.0], atol=1e-12)
    assert np.abs(fit.full).sum() == pytest.approx(1.0, abs=1e-12)
    found = one(doubled, "ss.span.vanishes.repaired")
    assert found.verdict == "holds"
    assert found.terms["gap at |c|₁ = 1"] == pytest.approx(0.0, abs=1e-12)


def test_one_likelihood_and_two_soups():
    found = one(redundant_tastes(), "ss.null-space")
    assert found.verdict == "holds"
    names = ("V of the soup at w/2", "V of the soup at (w + z)/2")
    assert abs(np.subtract(*(found.terms[name] for name in names))) > 0.05
    single = redundant_tastes().replace(horizon=1)
    same = one(single, "ss.null-space")
    assert same.terms[names[0]] == pytest.approx(same.terms[names[1]], abs=1e-12)
    assert one(random_mdp(0), "ss.null-space").verdict == "not-applicable"


def test_the_composite_loss_is_least_where_it_says():
    """No nearby (Q, V) is lower: three tokens, exact expectations, as the catalogue's example."""
    rng = np.random.default_rng(0)
    p, r = np.array([0.5, 0.3, 0.2]), np.array([1.0, 0.0, -2.0])

    def loss(q, v, beta=0.7):
        good = 1 / (1 + np.exp(-r))
        binary = good * np.logaddexp(0, -q) + (1 - good) * np.logaddexp(0, q)
        lift = (q - v) / beta
        return float(p @ (binary + np.exp(lift) - lift - 1))

    q, v = joint_minimiser(p, r, 0.7)
    least = loss(q, v)
    for _ in range(200):
        assert loss(q + 1e-3 * rng.normal(size=3), v + 1e-3 * rng.normal()) > least
    assert np.std(q) < 0.4 * np.std(r)
