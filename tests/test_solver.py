"""Exact values by methods that share no code, closed forms, and invariances."""

from __future__ import annotations

import pickle
from dataclasses import fields

import numpy as np
import pytest
from conftest import random_mdp
from hypothesis import given
from hypothesis import strategies as st

from bounds import check
from toymdp import InstanceError, SolverError, TokenMDP, soft_values, solve
from toymdp.exact.backward import fits
from toymdp.exact.cross_checks import cone_value, enumerated_value, trajectory_count
from toymdp.exact.policy import Policy
from toymdp.exact.scans import extrema, hard_minimum, least_difference
from toymdp.exact.solution import other_road
from toymdp.exact.until_eos import spectral_radius


def slow_values(mdp: TokenMDP, reward: np.ndarray) -> np.ndarray:
    """(2)–(4) by the definition, context by context, with math.fsum-like care for clarity."""
    A, S, T = mdp.vocab_size, mdp.n_contexts, mdp.horizon
    V = np.zeros((T + 1, S))
    for t in range(T - 1, -1, -1):
        for s in np.flatnonzero(mdp.reach.states[t]):
            terms = []
            for a in range(A):
                if mdp.ref[s, a] > 0:
                    after = (s * A + a) % S
                    ahead = 0.0 if mdp.ended[after] else V[t + 1, after]
                    terms.append(np.log(mdp.ref[s, a]) + (reward[after] + ahead) / mdp.beta)
            V[t, s] = mdp.beta * np.logaddexp.reduce(terms)
    return V


@given(
    st.integers(0, 10_000), st.sampled_from([0.01, 0.3, 1.0, 10.0]), st.booleans(), st.booleans()
)
def test_both_recursions_equal_the_definition(seed, beta, ends, forbids):
    mdp = random_mdp(seed, beta=beta, eos=2 if ends else None, forbid=0.3 * forbids)
    slow = slow_values(mdp, mdp.reward_w)
    for method in ("exp", "log", "rows") if beta > 0.01 else ("log", "rows"):
        sol = solve(mdp, method=method)
        fast = np.where(mdp.reach.states, sol.V_w[:-1], 0.0)
        np.testing.assert_allclose(fast, slow[:-1], rtol=1e-12, atol=1e-12 * (1 + beta))
        assert sol.status == "solved"


@pytest.mark.parametrize("seed", range(20))
def test_three_methods_agree(seed):
    rng = np.random.default_rng(seed)
    mdp = random_mdp(
        seed, A=int(rng.integers(2, 5)), T=int(rng.integers(1, 5)), forbid=0.2,
        beta=float(rng.choice([0.05, 1.0, 5.0])), eos=1 if seed % 3 == 0 else None,
    )  # fmt: skip
    V = solve(mdp).value_w
    assert enumerated_value(mdp, mdp.reward_w) == pytest.approx(V, rel=1e-12, abs=1e-13)
    cone = cone_value(mdp, mdp.reward_w)
    slop = 1e-12 * (1 + abs(V))
    assert cone.lower - slop <= V <= cone.upper + slop
    assert cone.upper - cone.lower < 1e-5 * max(1.0, mdp.beta)


def test_methods_agree_when_every_episode_ends_early():
    mdp = random_mdp(0, T=4, eos=1)
    weights = mdp.ref_weights.copy()
    weights[:, [0, 2]] = 0.0  # only eos may follow: no state is left after the first step
    mdp = mdp.replace(ref_weights=weights)
    first = (mdp.start_context * 3 + 1) % 9
    cone = cone_value(mdp, mdp.reward_w)
    for value in (solve(mdp).value_w, enumerated_value(mdp, mdp.reward_w), cone.lower, cone.upper):
        assert value == pytest.approx(mdp.reward_w[first], abs=1e-7)


def test_one_step_closed_form():
    mdp = random_mdp(3, L=1, T=1, beta=0.7)
    expected = 0.7 * np.log(mdp.ref @ np.exp(mdp.reward_w / 0.7))
    np.testing.assert_allclose(solve(mdp).V_w[0], expected, rtol=1e-14)


def test_constant_reward_and_shift():
    mdp = random_mdp(4, T=5)
    sol, moved = solve(mdp), solve(mdp.replace(rewards=mdp.rewards + 2.5))
    np.testing.assert_allclose(moved.values, sol.values + 5 * 2.5, rtol=1e-13)
    np.testing.assert_allclose(moved.policy_w, sol.policy_w, rtol=1e-11, atol=1e-14)


def test_token_relabelling_changes_nothing():
    mdp = random_mdp(5, A=3, L=2)
    order = np.array([2, 0, 1])  # token a becomes order[a]
    contexts = np.array([order[i] * 3 + order[j] for i in range(3) for j in range(3)])
    weights, rewards = np.empty_like(mdp.ref_weights), np.empty_like(mdp.rewards)
    for s in range(9):
        weights[contexts[s], order] = mdp.ref_weights[s]
        rewards[:, contexts[s]] = mdp.rewards[:, s]
    start = [int(order[a]) for a in mdp.start]
    other = mdp.replace(ref_weights=weights, rewards=rewards, start=start)
    np.testing.assert_allclose(solve(other).values, solve(mdp).values, rtol=1e-13)


@pytest.mark.parametrize("beta", [1e-3, 1e-2])
def test_small_temperature_is_as_exact(beta):
    """β → βc with rewards → c·rewards scales V by c, exactly up to rounding."""
    mdp = random_mdp(6, T=6, forbid=0.3)
    scaled = mdp.replace(beta=beta, rewards=beta * mdp.rewards)
    np.testing.assert_allclose(solve(scaled).values, beta * solve(mdp).values, rtol=1e-12)
    sharp = solve(mdp.replace(beta=beta))
    assert sharp.method == "log"
    assert sharp.residual < 1e-14
    assert np.isfinite(sharp.V).all()


def test_rewards_of_ten_thousand_betas_do_not_overflow():
    mdp = random_mdp(7, T=4, forbid=0.4)
    huge = mdp.replace(rewards=1e4 * mdp.rewards)
    sol = solve(huge)
    assert np.isfinite(sol.V).all()
    assert sol.residual < 1e-13
    assert sol.value_w == pytest.approx(enumerated_value(huge, huge.reward_w), rel=1e-13)


def test_row_that_forbids_the_block_maximum_is_exact():
    """The block's scale belongs to a token that this row forbids: its sum alone would underflow."""
    weights = np.array([[1.0, 0.0], [1.0, 1.0]])
    rewards = np.array([[0.0, 5000.0]])
    mdp = TokenMDP(
        vocab_size=2, order=1, horizon=1, start=[0], ref_weights=weights, rewards=rewards,
        beta=1.0, w=np.ones(1), features={"kind": "tabular", "per_step": True, "scale": 1.0},
    )  # fmt: skip
    assert solve(mdp).value_w == 0.0


def test_bare_kernel_matches_solve():
    mdp = random_mdp(8, A=4, L=2, T=5)
    V = soft_values(mdp.ref, mdp.rewards, beta=1.0, horizon=5, order=2)
    np.testing.assert_allclose(V, solve(mdp).V[:, 0], rtol=1e-13)
    cold = soft_values(mdp.ref, mdp.rewards, beta=1e-4, horizon=5, order=2)  # by logarithms
    np.testing.assert_allclose(cold, solve(mdp.replace(beta=1e-4)).V[:, 0], rtol=1e-13)
    assert not fits(mdp.rewards, 1e-4, 5)
    with pytest.raises(InstanceError, match="order"):
        soft_values(mdp.ref, mdp.rewards, 1.0, 5, 3)
    with pytest.raises(InstanceError, match="rewards"):
        soft_values(mdp.ref, mdp.rewards[:, :3], 1.0, 5, 2)


# -- until eos ---------------------------------------------------------------------------------


def test_until_eos_is_the_limit_of_horizons():
    mdp = random_mdp(9, T=None, eos=2, beta=6.0)
    limit = solve(mdp)
    finite = solve(mdp.replace(horizon=600))
    np.testing.assert_allclose(limit.values, finite.values, rtol=1e-10)
    assert limit.residual < 1e-13


def test_until_eos_with_rewards_far_below_zero():
    mdp = random_mdp(10, T=None, eos=2)
    deep = mdp.replace(rewards=-5000.0 * (1.0 + np.random.default_rng(0).random((2, 9))))
    sol = solve(deep)
    assert np.isfinite(sol.V).all()
    assert sol.residual < 1e-13
    assert sol.values == pytest.approx(solve(deep.replace(horizon=30)).values, rel=1e-12)


def test_spectral_radius_one_or_more_is_refused():
    mdp = random_mdp(11, T=None, eos=2)
    with pytest.raises(SolverError, match="no finite value until eos"):
        solve(mdp.replace(rewards=np.full((2, 9), 3.0)))
    # the threshold itself: a loop of weight 1/2 and reward log 2; the double of log 2 lies 2e-17 below
    # it, so there is a value, which no double arithmetic can tell
    loop = TokenMDP(
        vocab_size=2, order=1, horizon=None, eos=1, start=[0], ref_weights=np.ones((2, 2)),
        rewards=np.array([[np.log(2.0), 0.0]]), beta=1.0, w=np.ones(1),
        features={"kind": "tabular", "per_step": False, "scale": 1.0},
    )  # fmt: skip
    with pytest.raises(SolverError, match="doubles do not tell whether there is a value"):
        solve(loop)
    just_below = loop.replace(rewards=np.array([[np.log(2.0) - 1e-3, 0.0]]))
    x = 0.5 * np.exp(np.log(2.0) - 1e-3)
    assert solve(just_below).value_w == pytest.approx(np.log(0.5 / (1 - x)), rel=1e-10)


def test_spectral_radius_of_a_known_matrix():
    import scipy.sparse as sp

    assert spectral_radius(sp.csc_matrix([[0.0, 2.0], [0.5, 0.0]])) == pytest.approx(1.0)


# -- what policies do --------------------------------------------------------------------------


@pytest.mark.parametrize("T", [4, None])
def test_policy_value_and_occupancy_are_dual(T):
    mdp = random_mdp(12, T=T, eos=2, beta=3.0, forbid=0.2)
    sol = solve(mdp)
    rng = np.random.default_rng(0)
    payoff = rng.normal(size=sol.Q_w.shape)
    logits = sol.Q[0] / mdp.beta
    occ = Policy(mdp, logits).occupancy
    value = Policy(mdp, logits).value(payoff)[0, mdp.start_context]
    assert float((occ.nexts * payoff).sum()) == pytest.approx(value, rel=1e-12)


def test_optimal_policy_attains_the_optimal_value():
    mdp = random_mdp(13, T=5, forbid=0.2, beta=0.5)
    sol = solve(mdp)
    logits = sol.Q_w / mdp.beta
    payoff = np.broadcast_to(mdp.reward_w, logits.shape)
    cost = -mdp.beta * Policy(mdp, logits).divergence(Policy(mdp, np.zeros_like(logits)))
    value = Policy(mdp, logits).value(payoff, cost)[0, mdp.start_context]
    assert value == pytest.approx(sol.value_w, rel=1e-13)


def test_divergence_and_means_against_tables():
    mdp = random_mdp(14, forbid=0.3)
    rng = np.random.default_rng(1)
    G, H, F = rng.normal(size=(3, 4, 9)) * 3
    p, q = Policy(mdp, G).table, Policy(mdp, H).table
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = np.where(p > 0, p * np.log(p / q), 0.0).sum(axis=2)
    np.testing.assert_allclose(
        Policy(mdp, G).divergence(Policy(mdp, H)), expected, rtol=1e-9, atol=1e-13
    )
    nexts = (np.arange(9)[:, None] * 3 + np.arange(3)) % 9
    np.testing.assert_allclose(
        Policy(mdp, G).mean(F), (p * F[:, nexts]).sum(axis=2), rtol=1e-11, atol=1e-13
    )


def test_tiny_divergences_keep_their_digits():
    """KL(p‖p·e^{εf}/Z) = ε²/2·Var(f) + O(ε³): far below the rounding of its naive formula."""
    mdp = random_mdp(15)
    f = np.random.default_rng(2).normal(size=(4, 9))
    G = np.zeros_like(f)
    eps = 1e-9
    mean, square = Policy(mdp, G).mean(f), Policy(mdp, G).mean(f * f)
    variance = np.where(mdp.reach.states, square - mean**2, 0.0)
    kl = Policy(mdp, G).divergence(Policy(mdp, eps * f))
    np.testing.assert_allclose(kl, eps**2 / 2 * variance, rtol=1e-5)


def test_extrema_over_allowed_tokens_only():
    mdp = random_mdp(16, forbid=0.5)
    F = np.random.default_rng(3).normal(size=(4, 9))
    low, high = extrema(mdp, F)
    for t, s in np.argwhere(mdp.reach.states):
        seen = [F[t, (s * 3 + a) % 9] for a in range(3) if mdp.ref[s, a] > 0]
        assert low[t, s] == min(seen)
        assert high[t, s] == max(seen)


def test_importance_ratios_keep_their_digits_near_one():
    """M̄ − 1 = ε(1 − e^{−32})/(1 − ε(...)) for a token of weight ε and reward −32: exact by hand."""
    for eps in (2.0**-20, 2.0**-45):
        q = np.array([[0.0, -32.0]])
        mdp = TokenMDP(
            vocab_size=2, order=1, horizon=1, start=[0], rewards=q, beta=1.0, w=np.ones(1),
            ref_weights=np.array([[1.0, eps], [1.0, 1.0]]),
            features={"kind": "tabular", "per_step": True, "scale": 1.0},
        )  # fmt: skip
        upper, lower = Policy(mdp, q).importance_ratio
        rare = eps / (1 + eps)
        expected = -np.log1p(rare * np.expm1(-32.0))
        assert upper[0, 0] == pytest.approx(expected, rel=1e-15)
        assert lower[0, 0] == pytest.approx(-32.0 + expected, rel=1e-15)


def test_importance_ratios_against_tables():
    mdp = random_mdp(21, forbid=0.4)
    q = 5 * np.random.default_rng(5).normal(size=(4, 9))
    upper, lower = Policy(mdp, q).importance_ratio
    table = Policy(mdp, q).table
    for t, s in np.argwhere(mdp.reach.states):
        ratio = table[t, s][mdp.ref[s] > 0] / mdp.ref[s][mdp.ref[s] > 0]
        assert upper[t, s] == pytest.approx(np.log(ratio.max()), rel=1e-11, abs=1e-13)
        assert lower[t, s] == pytest.approx(np.log(ratio.min()), rel=1e-11, abs=1e-13)


def test_log_partition_of_ref_is_zero():
    mdp = random_mdp(17, forbid=0.3)
    assert np.abs(Policy(mdp, np.zeros((4, 9))).log_partition).max() < 1e-15


def test_hard_minimum_by_enumeration_and_its_ties():
    mdp = random_mdp(18, T=3, forbid=0.3)
    rng = np.random.default_rng(4)
    cost = rng.integers(0, 2, size=(3, 9)).astype(float)  # ties are everywhere
    length = rng.random((3, 9))

    def paths(t, s):
        if t == 3:
            yield 0.0, 0.0
            return
        for a in range(3):
            if mdp.ref[s, a] > 0:
                n = (s * 3 + a) % 9
                for c, d in paths(t + 1, n):
                    yield cost[t, n] + c, length[t, n] + d

    found = hard_minimum(mdp, cost, length, 1.0)
    assert found[:2] == pytest.approx(min(paths(0, mdp.start_context)))
    assert found.doubt == 0.0  # whole numbers: rounding told nothing apart


@pytest.mark.parametrize("forbid", [False, True])
def test_hard_minimum_ties_what_only_rounding_tells_apart(forbid):
    """0.1 + 0.2 and 0.3 + 0 are one total: the tie goes to the path of the smaller second total."""
    weights = np.ones((9, 3))
    weights[0, 2] = 0.0 if forbid else 1.0  # a row that forbids a token is judged by itself
    mdp = random_mdp(0, A=3, L=2, T=2).replace(ref_weights=weights, start=[0, 0])
    cost = np.full((2, 9), 9.0)
    cost[0, :2], cost[1, [0, 3]] = [0.1, 0.3], [0.2, 0.0]
    length = np.zeros((2, 9))
    length[0, :2] = [1.0, 2.0]
    assert hard_minimum(mdp, cost, length, 9.0) == (pytest.approx(0.3), 1.0, 1.0)


@pytest.mark.parametrize("horizon", [3, None])
def test_ties_are_judged_beside_the_rewards_that_cancel(horizon):
    """Two copies of one reward: r_w − r_k is rounding alone, and every policy is as good."""
    for seed in range(20, 26):
        mdp = random_mdp(seed, T=horizon, eos=2)
        mdp = mdp.replace(rewards=mdp.rewards[[0, 0]], w=[0.3, 0.7])
        length = np.random.default_rng(seed).random((mdp.steps, 9))
        shortest = hard_minimum(mdp, length, length, 1.0).second
        for weights in np.array([[0.3, 0.7], [0.1, 0.9], [1e-3, 2e-3]]):
            found = least_difference(mdp, weights, length)
            assert found.second == pytest.approx(shortest)
            assert found.total == 0.0


def test_hard_minimum_until_eos_and_its_absence():
    mdp = random_mdp(19, T=None, eos=2)
    ones = np.ones((1, 9))
    assert hard_minimum(mdp, ones, ones, 1.0) == (1.0, 1.0, 0.0)
    with pytest.raises(SolverError, match="does not exist"):
        hard_minimum(mdp, -ones, ones, 1.0)


def test_trajectory_count():
    assert trajectory_count(random_mdp(20, A=3, T=4)) == 81
    assert trajectory_count(random_mdp(20, T=None, eos=2)) is None
    for seed, L in ((20, 1), (21, 2), (22, 2)):
        mdp = random_mdp(seed, A=3, L=L, T=5, eos=1, forbid=0.3)
        paths = {(mdp.start_context,)}
        for _ in range(5):
            paths = {
                (*path, (path[-1] * 3 + a) % mdp.n_contexts)
                if not mdp.ended[path[-1]] else path
                for path in paths
                for a in (np.flatnonzero(mdp.ref[path[-1]]) if not mdp.ended[path[-1]] else [0])
            }  # fmt: skip
        assert trajectory_count(mdp) == len(paths) > 10


def test_another_method_solves_the_same_instance():
    sol = solve(random_mdp(22))
    again = other_road(sol)
    assert again.mdp is sol.mdp
    assert again.method != sol.method != other_road(again).method
    np.testing.assert_allclose(again.V, sol.V, atol=1e-12)
    assert not np.array_equal(again.V, sol.V)  # it is a computation of its own


@pytest.mark.parametrize("forbid", [0.0, 0.4])
@pytest.mark.parametrize("scale", [1.0, 1e3, 1e6])
def test_log_methods_where_blocks_underflow(forbid, scale):
    """One scale a block against one a row, with rewards that leave nothing of most tokens."""
    mdp = random_mdp(24, A=5, L=2, T=6, forbid=forbid, scale=scale, eos=4)
    block, rows = solve(mdp, method="log"), solve(mdp, method="rows")
    np.testing.assert_allclose(block.V, rows.V, rtol=1e-13, atol=1e-12)
    assert block.status == "solved"


def test_a_solution_is_plain_data_whatever_was_asked_of_it():
    sol = solve(random_mdp(25))
    before = set(vars(sol))
    checks = check(sol)
    assert set(vars(sol)) == before == {field.name for field in fields(sol)}
    again = pickle.loads(pickle.dumps(sol))
    np.testing.assert_array_equal(again.Q, sol.Q)
    assert check(again) == checks
