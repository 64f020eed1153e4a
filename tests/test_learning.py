"""What is learnt from pairs: against cvxpy, against itself, and on labels without an optimum."""

from __future__ import annotations

from dataclasses import replace

import cvxpy as cp
import numpy as np
import pytest
import scipy
from method_worlds import small_domain, with_feedback

from bounds.experiments import offline
from toymdp.errors import InstanceError
from toymdp.learning import appendix_c, logistic
from toymdp.learning.feedback import Feedback, answered, contentious
from toymdp.learning.greedy import greedy
from toymdp.learning.specialists import Trajectories, composite_jointly
from toymdp.learning.users import mixed_user, orthonormal
from toymdp.methods import collect
from toymdp.methods.catalogue import select
from toymdp.methods.method import NotApplicable
from toymdp.methods.rounds import by_soups
from toymdp.methods.value import value_of


def pairs(seed, N=80, K=3, size=1.0):
    rng = np.random.default_rng(seed)
    X = size * rng.normal(size=(N, K))
    user = rng.normal(size=K)
    return X, (rng.random(N) < scipy.special.expit(X @ user / size)).astype(float), user


@pytest.mark.parametrize("seed", range(4))
def test_the_maximum_a_posteriori_is_that_of_cvxpy(seed):
    X, targets, _ = pairs(seed)
    targets[:5] = 0.3  # chances are targets too
    mean = np.random.default_rng(seed).normal(size=3)
    root = np.random.default_rng(seed + 9).normal(size=(3, 3))
    precision = root @ root.T + 0.1 * np.eye(3)
    found = logistic.fit(X, targets, mean, precision)
    lam = cp.Variable(3)
    z = X @ lam
    loss = cp.sum(cp.logistic(-z)) + (1 - targets) @ z + 0.5 * cp.quad_form(lam - mean, precision)
    cp.Problem(cp.Minimize(loss)).solve(solver=cp.CLARABEL)
    np.testing.assert_allclose(found.mean, lam.value, atol=1e-5)
    z = X @ found.mean
    gradient = precision @ (found.mean - mean) + X.T @ (scipy.special.expit(z) - targets)
    assert np.abs(gradient).max() < 1e-10
    h = scipy.special.expit(z) * scipy.special.expit(-z)
    np.testing.assert_allclose(np.linalg.inv(found.covariance), precision + (X.T * h) @ X)


def test_separable_labels_are_told_and_never_capped():
    X, _, user = pairs(5)
    ranked = (X @ user > 0).astype(float)
    with pytest.raises(logistic.SeparableError, match="prior, or a budget"):
        logistic.unpenalised(X, ranked)
    X[0], ranked[0] = -X[1], ranked[1]  # one contradiction is enough for an optimum
    X[2], ranked[2] = -X[3], ranked[3]
    ranked[:] = np.where(np.arange(80) % 2, ranked, 1 - ranked)
    lam = logistic.unpenalised(X, ranked)
    gradient = X.T @ (scipy.special.expit(X @ lam) - ranked)
    assert np.abs(gradient).max() < 1e-8


def test_exact_chances_give_the_user_and_the_shortest_where_several_do():
    X, _, user = pairs(6)
    chances = scipy.special.expit(X @ user)
    np.testing.assert_allclose(logistic.unpenalised(X, chances), user, atol=1e-9)
    doubled = np.hstack([X, X])  # λ is known only up to what no pair shows
    found = logistic.unpenalised(doubled, chances)
    np.testing.assert_allclose(found, np.tile(user / 2, 2), atol=1e-9)


def test_the_width_of_the_prior_is_the_likeliest_of_held_out_pairs():
    X, targets, _ = pairs(7, N=60)
    mean = np.array([0.5, -0.5, 0.0])
    chosen = logistic.cross_validated(X, targets, mean)
    fold, values = np.arange(60) % 5, []
    for ridge in logistic.RIDGES:
        precision = ridge * np.mean(X**2) * np.eye(3)
        total = 0.0
        for f in range(5):
            lam = logistic.fit(X[fold != f], targets[fold != f], mean, precision).mean
            z = X[fold == f] @ lam
            total -= np.logaddexp(0.0, np.where(targets[fold == f] == 1, -z, z)).sum()
        values.append(total)
    assert chosen.ridge == logistic.RIDGES[int(np.argmax(values))]
    assert chosen.held_out * 60 == pytest.approx(max(values))
    again = logistic.fit(X, targets, mean, chosen.precision * np.eye(3)).mean
    np.testing.assert_allclose(chosen.mean, again, atol=1e-9)
    # the ridge is relative: other units of the returns change the unit of λ alone
    other = logistic.cross_validated(10.0 * X, targets, mean / 10.0)
    np.testing.assert_allclose(10.0 * other.mean, chosen.mean, rtol=1e-6)


def test_collinear_returns_stay_at_the_prior_mean_where_no_pair_looks():
    X, targets, _ = pairs(8, K=2)
    wide = np.column_stack([X, X[:, 0] - X[:, 1]])
    chosen = logistic.cross_validated(wide, targets, np.full(3, 1 / 3))
    assert chosen.rank == 2
    unseen = np.array([1.0, -1.0, -1.0])
    assert abs((chosen.mean - 1 / 3) @ unseen) < 1e-12
    assert np.abs(chosen.mean - 1 / 3).max() > 0.05


@pytest.mark.parametrize("step", ["S_n", "map"])
def test_sequential_is_the_chain_of_its_steps(step):
    X, _, _ = pairs(9, N=6)
    mean, precision = np.zeros(3), 2.0 * np.eye(3)
    lam, P = appendix_c.sequential(X, mean, precision, step)
    at, H = mean, precision
    for x in X:
        if step == "S_n":
            at, H = appendix_c.printed_update(at, H, x)
        else:
            at = logistic.fit(x[None], np.ones(1), at, H).mean
            h = scipy.special.expit(at @ x) * scipy.special.expit(-at @ x)
            H = H + h * np.outer(x, x)
    np.testing.assert_allclose(lam, at, atol=1e-9)
    np.testing.assert_allclose(P, H, atol=1e-9)
    printed = appendix_c.sequential(X, mean, precision, "S_{n-1}")[0]
    assert np.abs(printed - lam).max() > 0.05


def test_greedy_takes_the_best_each_time_and_stops_only_if_asked():
    F = {(): 0.0, (0,): 1.0, (1,): 0.9, (2,): 0.5, (0, 1): 0.8, (0, 2): 0.7, (0, 1, 2): 2.0}

    def values(taken, rest):
        return np.array([F[tuple(sorted((*taken, a)))] for a in rest])

    assert greedy(values, 3, 2) == ((0, 1), 0.8)
    assert greedy(values, 3, 2, stop=True) == ((0,), 1.0)
    assert greedy(values, 3, 3) == ((0, 1, 2), 2.0)


# -- feedback and users ------------------------------------------------------------------------


def test_a_user_has_the_share_outside_that_is_asked_for():
    rng = np.random.default_rng(0)
    attributes, direction = rng.normal(size=(3, 20)), rng.normal(size=20)
    weights = np.array([0.5, 0.3, 0.2])
    inside = mixed_user(attributes, weights, direction, 0.0)
    np.testing.assert_allclose(inside, weights @ attributes)
    user = mixed_user(attributes, weights, direction, 0.6)
    basis = orthonormal(attributes)
    left = user - basis.T @ (basis @ user)
    assert np.linalg.norm(left) / np.linalg.norm(inside) == pytest.approx(0.6)
    assert abs(left.sum()) < 1e-12


def test_labels_follow_the_chances_or_the_ranks():
    margins = np.array([2.0, -2.0, 0.0, 1e-9, -800.0])
    heights = np.random.default_rng(1).random((40_000, 1))
    labels = np.stack([answered(margins, "bt", 2.0, h) for h in heights])
    np.testing.assert_allclose(
        (labels == 1).mean(axis=0), scipy.special.expit(margins / 2.0), atol=0.01
    )
    ranked = answered(margins, "rank", 1.0, np.full(5, 0.9))
    assert ranked.tolist() == [1.0, -1.0, -1.0, 1.0, -1.0]
    assert answered(margins, "rank", 1.0, np.full(5, 0.1))[2] == 1.0  # a tie is decided by chance


def test_contentious_pairs_are_those_on_which_attributes_disagree():
    d = np.array([[1.0, 2.0], [1.0, -1.0], [0.0, 1.0], [-1.0, -2.0], [-3.0, 0.1]])
    assert contentious(d).tolist() == [False, True, False, False, True]
    domain = small_domain(60)
    drawn = collect.draw_pairs(domain, 50, 0)
    assert contentious(collect.differences(domain, domain.attributes, drawn)).all()
    assert domain.train[drawn.prompt].all()
    test = collect.draw_pairs(domain, 50, 0, train=False)
    assert not domain.train[test.prompt].any()
    # the filter looks at attributes, never at the user
    other = domain.with_users(-domain.users)
    np.testing.assert_array_equal(collect.draw_pairs(other, 50, 0).first, drawn.first)


def test_returns_of_exact_specialists_are_differences_of_rewards():
    """β Σ log π_k/ref of first less second, the start's value cancelling (ss.sec4.return)."""
    from toymdp.methods.method import Bases

    domain = small_domain(61, worlds=2, prompts=4, train=4)
    drawn = collect.draw_pairs(domain, 40, 0)
    rewards = np.stack([mdp.rewards for mdp in domain.worlds])
    expected = collect.differences(domain, rewards, drawn)
    exact = Bases.optimal(domain)
    np.testing.assert_allclose(collect.returns(domain, exact, drawn), expected, atol=1e-12)
    given = Bases.given(domain, exact.Q)
    np.testing.assert_allclose(collect.returns(domain, given, drawn), expected, atol=1e-10)
    shifted = Bases.given(domain, tuple(1.1 * Q for Q in exact.Q))
    assert np.abs(collect.returns(domain, shifted, drawn) - expected).max() > 1e-2
    counts = collect.context_counts(domain, drawn)
    np.testing.assert_allclose(counts @ rewards.transpose(1, 0, 2).reshape(4, -1).T, expected)
    assert np.abs(expected).max() > 1.0


def test_answers_are_drawn_as_ref_draws_them():
    domain = small_domain(66, prompts=1, train=1)
    drawn = collect.draw_pairs(domain, 30_000, 3, disputed=False)
    s = int(domain.start[0])
    # of two different answers the first token of the first follows ref up to that condition
    both = np.concatenate([drawn.first[:, 0], drawn.second[:, 0]]) % 3
    seen = np.bincount(both, minlength=3) / 60_000
    assert np.abs(seen - domain.mdp.ref[s]).max() < 0.05
    assert np.ptp(domain.mdp.ref[s]) > 0.2


def test_feedback_is_cut_stored_and_replayed(tmp_path):
    domain = small_domain(63)
    feedback = collect.label(domain, collect.draw_pairs(domain, 30, 1), 1, "bt", 1, 2.0)
    some = feedback.take(10)
    np.testing.assert_array_equal(some.first, feedback.first[:10])
    assert (len(some), some.user, some.temperature) == (10, 1, 2.0)
    feedback.save(tmp_path / "pairs.npz")
    again = Feedback.load(tmp_path / "pairs.npz")
    for key, value in vars(feedback).items():
        np.testing.assert_array_equal(getattr(again, key), value)
    with pytest.raises(InstanceError, match=r"pairs = 31: must be 1\.\.30"):
        feedback.take(31)
    with pytest.raises(InstanceError, match="must be"):
        replace(feedback, labels=0.0 * feedback.labels)
    np.savez(tmp_path / "other.npz", a=1)
    with pytest.raises(InstanceError, match="the keys are"):
        Feedback.load(tmp_path / "other.npz")


def test_more_pairs_begin_with_those_of_fewer():
    domain = small_domain(64)
    few, many = (collect.draw_pairs(domain, n, 5) for n in (64, 64))
    np.testing.assert_array_equal(few.first, many.first)


# -- specialists -------------------------------------------------------------------------------


def one_step(r):
    """Every answer of one step and three tokens once, with the exact chance of being good."""
    n = len(r)
    eye = scipy.sparse.eye_array(n, format="csr")
    nothing = scipy.sparse.csr_array((n, n))
    pairs = np.stack([np.arange(n), np.zeros(n, dtype=int)], axis=1)
    return Trajectories(eye, nothing, pairs, np.full(n, 1 / n), scipy.special.expit(r))


def test_the_composite_objective_shrinks_q_whatever_the_data():
    """ss.sec4.composite: with exact expectations Q − mean is a few per cent of r − mean."""
    r, beta = np.array([1.0, -0.4, 0.3]), 0.5
    centred = r - r.mean()
    shrunk = {}
    for weight in (1.0, 0.1):
        Q, V = composite_jointly(one_step(r), beta, weight)
        shrunk[weight] = (Q - Q.mean()) @ centred / (centred @ centred)
        # stationary: the pull of the Gumbel loss on each token is that of its label
        pull = weight / 3 * np.expm1((Q - V[0]) / beta) / beta
        push = (scipy.special.expit(r) - scipy.special.expit(Q)) / 3
        np.testing.assert_allclose(pull, push, atol=2e-3)
    assert 0.03 < shrunk[1.0] < 0.1
    assert shrunk[1.0] < shrunk[0.1] < 0.6
    free, _ = composite_jointly(one_step(r), beta, 0.0)
    np.testing.assert_allclose(free, r, atol=0.02)  # sabotage: without that loss nothing is shrunk


def test_labels_and_the_gumbel_step_on_v_alone_recover_the_specialist():
    world = small_domain(80, A=4, T=3, K=2)
    few, many = (
        offline.own_share(world, offline.learnt(world, "binary, V alone", n, 0), world.train)
        for n in (40, 20_000)
    )
    assert few < many
    assert 0.97 < many <= 1.0
    joint = offline.learnt(world, "binary + Gumbel 1", 20_000, 0)
    assert offline.own_share(world, joint, world.train) < 0.7
    low = offline.own_share(world, offline.learnt(world, "BT, rank 2", 20_000, 0), world.train)
    full = offline.own_share(world, offline.learnt(world, "BT", 20_000, 0), world.train)
    assert 0.97 < full <= 1.0
    assert low < full


@pytest.mark.parametrize("N", [60, 300])
def test_many_columns_have_the_minimum_that_few_would(N):
    """The quasi-Newton road of wide problems against Newton's."""
    rng = np.random.default_rng(11)
    X = rng.normal(size=(N, 150))
    targets = (rng.random(N) < 0.5).astype(float)
    mean, precision = rng.normal(size=150), 3.0 * np.eye(150)
    wide = logistic.minimise(X, targets, mean, precision)
    gradient = precision @ (wide - mean) + X.T @ (scipy.special.expit(X @ wide) - targets)
    assert np.abs(gradient).max() < 1e-4
    rough = logistic.minimise(X, targets, mean, precision, rough=True)
    assert 0 < np.abs(rough - wide).max() < 0.1


def test_answers_that_are_judged_one_by_one():
    """A good answer has chance σ(β Σ log π_u/ref); λ, p and r̂ are learnt from first answers alone."""
    domain = small_domain(50, outside=0.0, K=3, attributes=3)
    bases, feedback = with_feedback(domain, 4000, mode="binary", disputed=False)
    (best,) = domain.best(0)
    rows = range(300)
    chance = []
    for n in rows:
        s, total = int(domain.start[feedback.prompt[n]]), 0.0
        for t, following in enumerate(feedback.first[n].tolist()):
            total += domain.beta * best.logits[t, s, following % 3]
            s = following
        chance.append(total)
    np.testing.assert_allclose(collect.margins(domain, feedback)[:300], chance, atol=1e-12)
    other = replace(feedback, second=feedback.first[::-1])
    np.testing.assert_array_equal(
        collect.returns(domain, bases, feedback), collect.returns(domain, bases, other)
    )
    for name in ("ss-explicit[m=0]", "rlhf-learnt", "drift"):
        method = select([name])[0]
        values = [
            value_of(domain, method.fit(domain, bases, given, 0), 0).value.mean()
            for given in (feedback, replace(feedback, labels=-feedback.labels))
        ]
        assert values[0] > values[1] + 0.2, name  # what is called good is what is looked for
    with pytest.raises(NotApplicable, match="pairs"):
        select(["reward"])[0].fit(domain, bases, feedback, 0)


def test_the_posterior_is_as_wide_as_its_errors():
    """λ drawn from the prior, answers by its chances: its errors in units of the width are normal."""
    rng = np.random.default_rng(0)
    scores = []
    for _ in range(60):
        X, lam = rng.normal(size=(400, 3)), 0.7 * rng.normal(size=3)
        labels = (rng.random(400) < 1.0 / (1.0 + np.exp(-X @ lam))).astype(float)
        precision = np.eye(3) / 0.49
        mean = logistic.fit(X, labels, np.zeros(3), precision).mean
        wide = logistic.laplace(X, mean, precision)
        scores.append((lam - mean) @ np.linalg.solve(wide, lam - mean) / 3)
    assert 0.75 < np.mean(scores) < 1.3


def test_pairs_of_the_soup_are_drawn_from_it_in_rounds():
    domain = small_domain(53)
    bases, _ = with_feedback(domain)
    sizes = (10, 40, 160)
    feedback = by_soups(domain, bases, 0, sizes, "bt", 0)
    assert (len(feedback), feedback.source) == (160, "soup")
    few = by_soups(domain, bases, 0, sizes[:2], "bt", 0)
    np.testing.assert_array_equal(few.first, feedback.first[:40])
    np.testing.assert_array_equal(few.labels, feedback.labels[:40])
    # answers of a policy: the frequencies of its table, nothing that it gives up
    table = np.zeros((3, 9, 3))
    table[...] = (0.2, 0.0, 0.8)
    heights = np.random.default_rng(0).random((20_000, 3))
    nexts = collect.answers_of(table, 4, heights)
    counts = np.bincount((nexts % 3).ravel(), minlength=3) / nexts.size
    np.testing.assert_allclose(counts, (0.2, 0.0, 0.8), atol=0.01)
    assert (nexts[:, 0] == (4 * 3 + nexts[:, 0] % 3) % 9).all()
    # what the soup answers is better for the user than what ref does
    of_ref = collect.draw_pairs(domain, 160, 0)
    returns = [
        sum(domain.users[0, 0, x[40:]].sum(axis=1).mean() for x in (part.first, part.second))
        for part in (of_ref, feedback)
    ]
    assert returns[1] > returns[0] + 1.0
