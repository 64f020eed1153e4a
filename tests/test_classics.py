"""The traps: what breaks (9) at λ* and (10) at constant norm, against numbers worked by hand."""

import math

import numpy as np
import pytest

from bounds import check
from toymdp import solve, soup_optimum
from toymdp.exact.cross_checks import enumerated_value
from toymdp.families.traps import PIN, PRICE, rare_trap, trap_loop


def test_divergence_of_the_rare_trap_by_hand():
    """Only two first tokens matter, so both policies are a pair of odds."""
    sol = solve(rare_trap())
    optimum = soup_optimum(sol.mdp, sol)
    assert optimum.lam == pytest.approx([0.5, 0.5], abs=1e-7)
    (found,) = check(sol, "ss.thm1.kl", optimum=optimum)
    user, specialist = 16.0, math.log(0.5 * (1.0 + math.exp(32.0)))
    safe = math.log1p(math.exp(PRICE + 16.0 - PIN * math.log(2.0)))
    odds = [2.0**-18 * math.exp(value - safe) for value in (user, specialist)]
    w, soup = (x / (1.0 + x) for x in odds)
    expected = w * math.log(w / soup) + (1 - w) * math.log((1 - w) / (1 - soup))
    assert found.lhs == pytest.approx(expected, rel=1e-7)
    assert found.verdict == "violated"
    assert all(found.hypotheses.values())
    # by Cauchy–Schwarz: the trap's own error times its probabilities, and the safe token's nothing
    assert found.rhs == pytest.approx((w + 2.0**-18) * (specialist - user), rel=1e-2)
    assert found.ratio > 1e4


def test_trap_loop_breaks_the_gap_bound_at_constant_norm():
    mdp = trap_loop()
    values = mdp.features.values
    assert (values == np.rint(values)).all()  # so the squares are exact
    assert np.unique((values**2).sum(axis=2)).tolist() == [256.0**2 + 32.0**2]
    assert np.linalg.matrix_rank(values.reshape(-1, values.shape[2])) == values.shape[0] * 5
    sol = solve(mdp)
    optimum = soup_optimum(mdp, sol)
    assert optimum.lam == pytest.approx([0.5, 0.5], abs=1e-7)
    (found,) = check(sol, "ss.thm1.gap.constant-norm", optimum=optimum)
    assert found.verdict == "violated"
    assert all(found.hypotheses.values())
    # V_w by all trajectories; the right side is at least sup|e|, and hardly more here
    assert sol.value_w == pytest.approx(enumerated_value(mdp, mdp.reward_w), rel=1e-12)
    largest = float(np.abs(sol.Q_w - sol.Q.mean(axis=0)).max())
    assert largest <= found.rhs <= 1.02 * largest


def test_trap_loop_outgrows_its_bound_with_the_horizon():
    ratios = []
    for horizon in (4, 8, 16):
        (found,) = check(trap_loop(horizon), "ss.thm1.gap.constant-norm")
        assert found.lam == pytest.approx([0.5, 0.5], abs=1e-7)
        ratios.append(found.ratio)
    assert 1.3 < ratios[0] < ratios[1] < ratios[2]


@pytest.mark.parametrize("make", [rare_trap, trap_loop])
def test_true_statements_hold_on_the_traps(make):
    for found in check(make(), "ss.*"):
        assert found.verdict != "violated" or found.status == "refuted", found
