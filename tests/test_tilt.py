"""A policy held as weights against its table, where nothing underflows and where much does."""

import numpy as np
import pytest
from conftest import random_mdp
from scipy.special import logsumexp

from toymdp import kernels
from toymdp.exact.policy import Policy
from toymdp.exact.sampling import rejection_sampler
from toymdp.exact.scans import extrema, farthest, inner_extent, largest
from toymdp.kernels import NEAR


def brute(mdp, G):
    """Log-partition [T, S] and log-policy [T, S, A], row by row in the log domain."""
    A, S = mdp.vocab_size, mdp.n_contexts
    log_z, log_p = np.zeros(G.shape), np.full((*G.shape, A), -np.inf)
    for t, s in zip(*np.nonzero(mdp.reach.states), strict=True):
        block = s % (S // A) * A + np.arange(A)
        used = mdp.ref[s] > 0
        row = np.log(mdp.ref[s, used]) + G[t, block[used]]
        log_z[t, s] = logsumexp(row)
        log_p[t, s, used] = row - log_z[t, s]
    return log_z, log_p


@pytest.mark.parametrize("size", [1e-6, 1.0, 30.0, 1e3, 1e5])
@pytest.mark.parametrize("seed", range(3))
def test_tilt_against_the_log_domain(size, seed):
    mdp = random_mdp(seed, forbid=0.3)
    rng = np.random.default_rng(seed)
    T, S, A = mdp.steps, mdp.n_contexts, mdp.vocab_size
    G, H = size * rng.normal(size=(2, T, S))
    f, extra = rng.normal(size=(2, T, S))
    policy, other = Policy(mdp, G), Policy(mdp, H)
    log_z, log_p = brute(mdp, G)
    _, log_q = brute(mdp, H)
    nexts = (np.arange(S)[:, None] % (S // A)) * A + np.arange(A)
    p = np.exp(log_p)
    tolerance = 1e-14 * (1 + size)
    np.testing.assert_allclose(policy.log_partition, log_z, rtol=0, atol=tolerance)
    means = (p * f[:, nexts]).sum(axis=2)
    np.testing.assert_allclose(policy.mean(f), means, rtol=0, atol=10 * tolerance)
    with np.errstate(invalid="ignore"):
        apart = np.where(p > 0, p * (log_p - log_q), 0.0).sum(axis=2)
    for fine in (True, False):
        kl = policy.divergence(other, fine=fine)
        np.testing.assert_allclose(kl, apart, rtol=0, atol=30 * tolerance)
    U = np.zeros((T + 1, S))
    for t in range(T - 1, -1, -1):
        U[t] = (p[t] * (f[t] + U[t + 1])[nexts]).sum(axis=1) + extra[t]
        U[t, ~mdp.reach.states[t]] = 0.0
    np.testing.assert_allclose(policy.value(f, extra), U, rtol=0, atol=1e3 * tolerance)
    # the value once more, through where the policy goes
    visits = policy.occupancy
    total = float((visits.nexts * f).sum() + (visits.states * extra).sum())
    assert total == pytest.approx(U[0, mdp.start_context], abs=1e3 * tolerance)
    np.testing.assert_allclose(visits.nexts.sum(axis=1), np.ones(T), atol=1e-12)


@pytest.mark.parametrize("apart", [1e-1, 1e-3, 1e-5, 1e-9])
def test_tiny_divergences_keep_their_digits(apart):
    """Against the variance that a divergence of near laws is half of, where short forms cancel."""
    mdp = random_mdp(4, forbid=0.2)
    rng = np.random.default_rng(0)
    G, f = rng.normal(size=(2, mdp.steps, mdp.n_contexts))
    policy, other = Policy(mdp, G), Policy(mdp, G + apart * f)
    variance = policy.mean(f * f) - policy.mean(f) ** 2
    kl, states = policy.divergence(other), mdp.reach.states & (variance > 1e-6)
    assert (kl[states] < NEAR).any() or apart > 1e-3
    np.testing.assert_allclose(kl[states], apart**2 / 2 * variance[states], rtol=8 * apart + 1e-5)


def test_nothing_is_counted_after_the_end():
    """An ended context is reached and no longer a state: it has visits as a next context only."""
    mdp = random_mdp(5, eos=2)
    G = np.random.default_rng(0).normal(size=(mdp.steps, mdp.n_contexts))
    visits = Policy(mdp, G).occupancy
    assert (visits.states[~mdp.reach.states] == 0).all()
    assert (visits.nexts[:, mdp.ended] > 0).any()
    assert (visits.states.sum(axis=1)[1:] < 1).all()


def eight(seed, forbid):
    """Blocks of 64 contexts and a ninth part: chunks that are full, and one that is not."""
    return random_mdp(seed, A=9, L=3, T=4, forbid=forbid)


@pytest.mark.parametrize("forbid", [0.0, 0.02, 0.5])
def test_near_divergences_are_those_of_the_rows(forbid):
    """The chunked kernel against the row-by-row one, which shares its series only."""
    mdp = eight(0, forbid)
    rng = np.random.default_rng(1)
    G, f = rng.normal(size=(2, mdp.steps, mdp.n_contexts))
    H = G + 10.0 ** rng.uniform(-9, -1, size=(mdp.steps, 1)) * f
    # far apart where some rows of a block may go and others not: the others are near all the same
    H += 5.0 * (rng.random(G.shape) < 0.1)
    expected = np.empty_like(G)
    kernels.rows.divergences(mdp.ref, mdp.reach.states, G, H, expected)
    found = Policy(mdp, G).divergence(Policy(mdp, H))
    assert ((found > 0) & (found < NEAR)).any()
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-25)


@pytest.mark.parametrize("forbid", [0.0, 0.3])
def test_values_and_visits_of_more_than_a_chunk_of_blocks(forbid):
    """81 blocks: more than are taken together. The row-by-row kernels share no loop."""
    mdp = eight(1, forbid)
    rng = np.random.default_rng(2)
    G, f, extra = rng.normal(size=(3, mdp.steps, mdp.n_contexts))
    policy, states = Policy(mdp, G), mdp.reach.states
    assert policy.plain
    U = np.zeros((mdp.steps + 1, mdp.n_contexts))
    kernels.rows.evaluate_backward(mdp.ref, states, G, f, extra, U)
    np.testing.assert_allclose(policy.value(f, extra)[:-1], U[:-1], rtol=1e-12, atol=1e-13)
    d, n = np.zeros((2, mdp.steps, mdp.n_contexts))
    d[0, mdp.start_context] = 1.0
    kernels.rows.occupancy_forward(mdp.ref, states, G, d, n)
    np.testing.assert_allclose(policy.occupancy.states, d, rtol=1e-12, atol=1e-17)
    np.testing.assert_allclose(policy.occupancy.nexts, n, rtol=1e-12, atol=1e-17)
    log_z, means = np.empty_like(G), np.empty((1, *G.shape))
    kernels.rows.tilted_means(mdp.ref, states, G, f[None], log_z, means)
    np.testing.assert_allclose(policy.mean(f), means[0], rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(policy.log_partition, log_z, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("size", [1e-9, 1.0, 20.0, 2e3])
@pytest.mark.parametrize("forbid", [0.0, 0.02, 0.5])
def test_facts_of_blocks_are_those_of_their_rows(size, forbid):
    """Extremes, extents and ratios found once a block, against each allowed row by itself."""
    mdp = eight(2, forbid)
    q = size * np.random.default_rng(3).normal(size=(mdp.steps, mdp.n_contexts))
    states = mdp.reach.states
    low, high = extrema(mdp, q)
    extent, span = inner_extent(mdp, q)
    upper, lower = Policy(mdp, q).importance_ratio
    rows = np.zeros((2, *q.shape))
    kernels.ratios.ratio_extremes(mdp.ref, states, q, rows[0], rows[1])
    np.testing.assert_allclose(upper, rows[0], rtol=1e-13, atol=0)
    np.testing.assert_allclose(lower, rows[1], rtol=1e-13, atol=0)
    for table in (low, high, extent, span, upper, lower):
        assert (table[~states] == 0).all()
    for t, s in np.argwhere(states)[::37]:
        seen = q[t, (s * 9 + np.flatnonzero(mdp.ref[s] > 0)) % 729]
        inside = np.minimum(seen - seen.min(), seen.max() - seen)
        assert (low[t, s], high[t, s]) == (seen.min(), seen.max())
        assert (extent[t, s], span[t, s]) == (inside.max(), np.ptp(seen))


@pytest.mark.parametrize("size", [1.0, 1e4])
def test_tables_are_laws_by_either_road(size):
    mdp = random_mdp(6, forbid=0.3)
    G = size * np.random.default_rng(2).normal(size=(mdp.steps, mdp.n_contexts))
    policy = Policy(mdp, G)
    assert policy.plain is (size == 1.0)
    np.testing.assert_allclose(policy.table, np.exp(brute(mdp, G)[1]), rtol=1e-12, atol=1e-300)


def test_a_sampler_that_accepts_by_the_ratio_draws_from_the_policy():
    """With the ratio's own maximum for a bound nothing is clipped; with less, the best is."""
    mdp = eight(4, 0.1)
    G = np.random.default_rng(5).normal(size=(mdp.steps, mdp.n_contexts))
    policy, (_, high) = Policy(mdp, G), extrema(mdp, G)
    apart, accepted = rejection_sampler(policy, policy, -high)
    assert apart.max() < 1e-15
    np.testing.assert_allclose(
        accepted[mdp.reach.states],
        np.exp(policy.log_partition - high)[mdp.reach.states],
        rtol=1e-13,
    )
    assert rejection_sampler(policy, policy, 1.0 - high)[0].max() > 0.01


def test_a_sampler_of_ref_against_a_policy_whose_weights_underflow():
    """Everything is accepted; the target sits on what rows allow far below their block's best."""
    mdp = random_mdp(7, A=4, forbid=0.4)
    G = 1e4 * np.random.default_rng(8).normal(size=(mdp.steps, mdp.n_contexts))
    target, flat = Policy(mdp, G), np.zeros_like(G)
    assert not target.plain
    apart, accepted = rejection_sampler(target, Policy(mdp, flat), flat)
    expected = 0.5 * np.abs(np.exp(brute(mdp, G)[1]) - mdp.ref).sum(axis=2)
    np.testing.assert_allclose(apart, np.where(mdp.reach.states, expected, 0.0), atol=1e-11)
    np.testing.assert_allclose(accepted[mdp.reach.states], 1.0, atol=1e-15)


def test_scans_return_what_is_no_number():
    f, mask = np.array([[1.0, -3.0], [2.0, -9.0]]), np.array([[True, True], [True, False]])
    assert largest(f, mask) == 3.0
    assert farthest(f, np.add(f, [[0.5, 0.0], [-1.0, 7.0]]), mask) == (1.0, (1, 0))
    assert farthest(f, f, mask)[0] == largest(f, np.zeros_like(mask)) == 0.0
    f[0, 0] = np.nan
    assert np.isnan(largest(f, mask))
    assert np.isnan(farthest(f, np.zeros((2, 2)), mask)[0])
    assert largest(f, ~mask) == 9.0
