"""Soft backward induction against 64-bit mantissas, and the functions it is made of."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import random_mdp

from toymdp import kernels, soft_values, solve
from toymdp.exact.backward import frozen, soft_backward
from toymdp.exact.solution import bellman_errors

EXACT = np.longdouble
# A, L, T, rewards: fewer tokens than rows of a tile, rows left over, lanes of four, eight and both
SHAPES = [(1, 1, 3, 1), (2, 3, 7, 3), (3, 2, 5, 9), (5, 3, 4, 5), (8, 3, 16, 8), (17, 2, 6, 13)]


def true_values(ref: np.ndarray, rewards: np.ndarray, beta: float, T: int) -> np.ndarray:
    """V [M, T+1, S] by a log-sum-exp a row, 64 bits of mantissa; 0 where nothing follows."""
    (S, A), M = ref.shape, len(rewards)
    nexts = (np.arange(S)[:, None] * A + np.arange(A)) % S
    live = ref.any(axis=1)
    v = np.zeros((M, T + 1, S), dtype=EXACT)
    with np.errstate(divide="ignore"):
        log_ref = np.log(ref.astype(EXACT))
    for t in range(T - 1, -1, -1):
        row = (rewards.astype(EXACT) / EXACT(beta) + v[:, t + 1])[:, nexts] + log_ref
        top = np.where(live[:, None], row.max(axis=2, keepdims=True), 0)
        with np.errstate(divide="ignore"):
            v[:, t] = np.where(live, top[..., 0] + np.log(np.exp(row - top).sum(axis=2)), 0)
    return EXACT(beta) * v


@pytest.mark.parametrize(("A", "L", "T", "M"), SHAPES)
@pytest.mark.parametrize("beta", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("nats", [0.01, 3.0, 1e4])
def test_values_have_fourteen_digits(A, L, T, M, beta, nats):
    """Rewards up to ``nats·β``; tokens forbidden, and contexts in which nothing follows.

    Where values of 1e4 nats cancel, their rounding is what is left: it counts beside the rewards.
    """
    rng = np.random.default_rng(A)
    S = A**L
    ref = rng.dirichlet(np.full(A, 0.3), size=S)
    ref[rng.random((S, A)) < 0.3] = 0.0
    ref[S // 2 :: max(S // 3, 1)] = 0.0
    ref /= np.where(ref.any(axis=1), ref.sum(axis=1), 1.0)[:, None]
    rewards = nats * beta * rng.uniform(-1, 1, size=(M, S))
    expected = true_values(ref, rewards, beta, T)
    live = ref.any(axis=1)
    allowed = 1e-14 * np.maximum(max(beta, np.abs(rewards).max()), np.abs(expected))
    for method in ("exp", "log"):
        if method == "exp" and nats * T > 600:
            continue
        V, Q = soft_backward(ref, live, rewards, beta, T, method)
        assert (np.abs(V - expected) <= allowed).all(), method
        np.testing.assert_array_equal(Q, rewards[:, None] + V[:, 1:])
        first, none = soft_backward(ref, live, rewards, beta, T, method, whole=False)
        np.testing.assert_array_equal(first[:, 0], V[:, 0])
        assert none.shape == (M, 0, S)


def test_a_reward_has_the_same_bits_alone_and_among_others():
    rng = np.random.default_rng(0)
    ref, rewards = rng.dirichlet(np.ones(6), size=216), rng.normal(size=(13, 216))
    together = soft_values(ref, rewards, 1.0, 9, 3)
    for m in (0, 7, 12):
        np.testing.assert_array_equal(together[m], soft_values(ref, rewards[m], 1.0, 9, 3)[0])
    np.testing.assert_array_equal(together[4:11], soft_values(ref, rewards[4:11], 1.0, 9, 3))


@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_threads_change_no_bit(scale):
    mdp = random_mdp(2, A=5, L=3, T=6, K=10, forbid=0.2, scale=scale)
    one = solve(mdp)
    for threads in (2, 3, 64):
        many = solve(mdp, threads=threads)
        np.testing.assert_array_equal(many.Q, one.Q)
        np.testing.assert_array_equal(many.V_w, one.V_w)
        assert many.residual == one.residual
    values = soft_values(mdp.ref, mdp.rewards, 1.0, 6, 3, threads=3)
    np.testing.assert_array_equal(values, soft_values(mdp.ref, mdp.rewards, 1.0, 6, 3))


@pytest.mark.parametrize(("A", "L"), [(2, 3), (3, 2), (5, 3), (6, 3)])
def test_the_residual_is_the_largest_error_wherever_it_is(A, L):
    """By tiles of 16 contexts and what is left of them, four fields at a time and what is left."""
    mdp = random_mdp(A, A=A, L=L, T=3, K=2, forbid=0.2)
    sol, rng = solve(mdp), np.random.default_rng(A)
    Q, V = np.concatenate([sol.Q, sol.Q_w[None]]), np.concatenate([sol.V, sol.V_w[None]])
    assert bellman_errors(mdp, Q, V).max() < 1e-13
    places = np.argwhere(mdp.reach.states)
    for t, s in places[rng.choice(len(places), 6)]:
        wrong = V.copy()
        wrong[1, t, s] += 0.25
        found = bellman_errors(mdp, Q, wrong)
        assert found[1] == pytest.approx(0.25, abs=1e-12)
        assert max(found[0], found[2]) < 1e-13
        wrong[1, t, s] = np.nan
        assert bellman_errors(mdp, Q, wrong)[1] == np.inf
    ahead = Q.copy()
    ahead[2, 1] += 0.5  # of a step, of one reward: by as much are all its values wrong
    assert bellman_errors(mdp, ahead, V)[2] == pytest.approx(0.5, abs=1e-12)


def test_a_row_that_forbids_all_that_is_large_is_exact():
    """The block's maximum is 1e4 nats above what the row allows: its terms underflow beside it."""
    ref = np.array([[1.0, 0.0], [0.5, 0.5]])
    V = soft_values(ref, np.array([[0.0, 1e4]]), 1.0, 1, 1)[0]
    assert V[0] == 0.0
    assert V[1] == pytest.approx(1e4 - np.log(2), rel=1e-15)


def test_nan_and_infinite_rewards_are_not_hidden():
    ref = np.full((4, 2), 0.5)
    for bad in (np.nan, np.inf):
        rewards = np.zeros((1, 4))
        rewards[0, 3] = bad
        with np.errstate(invalid="ignore"):
            assert not np.isfinite(soft_values(ref, rewards, 1.0, 2, 2)).all()


def test_exp_and_log_are_right_to_the_last_bit_but_one():
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, 4000) * rng.choice([1e-9, 0.1, 5.0, 700.0], 4000)
    found = np.array([kernels.elementary.exp(v) for v in x])
    exact = np.exp(x.astype(EXACT))
    assert np.abs((found - exact) / exact).max() < 2e-16
    y = np.concatenate([found, 1.0 + x[np.abs(x) < 0.1]])
    y = y[y != 1.0]
    exact = np.log(y.astype(EXACT))
    found = np.array([kernels.elementary.log(v) for v in y])
    assert np.abs((found - exact) / exact).max() < 2e-16
    ends = [kernels.elementary.exp(v) for v in (-np.inf, -709.0, 0.0, 710.0, np.inf, np.nan)]
    np.testing.assert_array_equal(ends, [0.0, 0.0, 1.0, np.inf, np.inf, np.nan])
    ends = [kernels.elementary.log(v) for v in (0.0, -1.0, 1.0, np.inf, np.nan)]
    np.testing.assert_array_equal(ends, [-np.inf, -np.inf, 0.0, np.inf, np.nan])


def test_readable_and_writable_tables_share_one_compiled_kernel():
    before = len(kernels.backward.soft_backward.signatures)
    mdp = random_mdp(0, A=3, L=2, T=3, K=2)
    solve(mdp)
    soft_values(mdp.ref.copy(), mdp.rewards.copy(), 1.0, 2, 2)
    soft_values(frozen(mdp.ref), mdp.rewards, 1.0, 2, 2)
    assert len(kernels.backward.soft_backward.signatures) <= max(before, 1)
