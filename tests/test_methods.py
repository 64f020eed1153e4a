"""Every method against what must be true of it; each test fails if its formula is spoilt."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import scipy
from method_worlds import small_domain, with_feedback

from toymdp import TokenMDP, solve, soup_optimum
from toymdp.errors import InstanceError
from toymdp.exact.evaluate import evaluate
from toymdp.exact.policy import Policy
from toymdp.exact.sampling import rejection_sampler
from toymdp.exact.tables import optimum, tilt, value_and_slope, worth
from toymdp.learning.feedback import COLUMNS
from toymdp.learning.logistic import climb, unpenalised
from toymdp.methods import (
    asking,
    collect,
    drift,
    exact,
    explicit,
    history,
    implicit,
    mod,
    null_space,
    oracle,
    p_soups,
    pad,
    pad_sf,
    pref,
    reference,
    reward_model,
    rlhf,
    specialist,
    successors,
)
from toymdp.methods.attributes import Margins
from toymdp.methods.catalogue import METHODS, select
from toymdp.methods.method import Bases, Facts, Fitted, NotApplicable
from toymdp.methods.value import accuracy, held_out, losses, matched, of_tables, value_of

QUICK = [m for m in METHODS if not m.slow]
LEARNT = [m for m in METHODS if m.knows == "pairs" and not m.slow]


def shares(domain, fitted, user=0):
    value = value_of(domain, fitted, user).value
    ref = value_of(domain, reference.fit(domain, None, None, 0), user).value
    best = np.array(
        [domain.best(user)[w].V[0, s] for w, s in zip(domain.world, domain.start, strict=True)]
    )
    return (value - ref) / (best - ref)


def on_train(domain, fitted, user=0):
    return float(value_of(domain, fitted, user).value[domain.train].mean())


def answers(domain, p):
    """Every answer to a prompt as tokens, with its return to user 0 and its mass under a table."""
    mdp, s0 = domain.worlds[domain.world[p]], int(domain.start[p])
    for tokens in itertools.product(range(mdp.vocab_size), repeat=mdp.steps):
        states = [s0]
        for a in tokens:
            states.append((states[-1] * mdp.vocab_size + a) % mdp.n_contexts)
        yield tokens, states


def slow_value(domain, table, user, p):
    """``Σ_y π(y)(R(y) − β log π(y)/ref(y))`` by plain enumeration."""
    mdp = domain.worlds[domain.world[p]]
    total = 0.0
    for tokens, states in answers(domain, p):
        chance, log_ratio, earned = 1.0, 0.0, 0.0
        for t, a in enumerate(tokens):
            q = table[t, states[t], a]
            chance *= q
            if chance == 0.0:
                break
            log_ratio += np.log(q / mdp.ref[states[t], a])
            earned += domain.users[user, domain.world[p], states[t + 1]]
        if chance > 0.0:
            total += chance * (earned - mdp.beta * log_ratio)
    return total


# -- tables ------------------------------------------------------------------------------------


@pytest.mark.parametrize("forbid", [0.0, 0.3])
def test_a_table_is_worth_what_enumeration_and_the_policy_say(forbid):
    domain = small_domain(1, forbid=forbid)
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(3, 9, 3))
    table = tilt(domain.mdp, logits)
    value = of_tables(domain, (table,), 0)
    assert value.error < 1e-12
    for p in range(3):
        assert value.value[p] == pytest.approx(slow_value(domain, table, 0, p), abs=1e-12)
    flat = rng.normal(size=(3, 9))
    ours = of_tables(domain, (tilt(domain.mdp, flat),), 0)
    for p in range(3):
        theirs = evaluate(Policy(domain.prompt(p), flat), domain.users[0, 0], domain.beta)
        assert ours.value[p] == pytest.approx(theirs.value, abs=1e-12)
        assert ours.kl_ref[p] == pytest.approx(theirs.kl, abs=1e-12)
        assert ours.kl[p] > 1e-3


def test_the_two_roads_part_where_one_is_wrong():
    domain = small_domain(2)
    table = tilt(domain.mdp, np.random.default_rng(1).normal(size=(3, 9)))
    best = domain.best(0)[0]
    right = worth(domain.mdp, table, best)
    assert np.abs(right.value - right.other).max() < 1e-12
    other = optimum(domain.mdp, domain.users[1, 0])
    for wrong in (
        replace(best, reward=1.01 * best.reward), replace(best, V=1.01 * best.V),
        replace(best, logits=other.logits),
    ):  # fmt: skip
        spoilt = worth(domain.mdp, table, wrong)
        assert np.abs(spoilt.value - spoilt.other).max() > 1e-3


def test_forbidden_tokens_stay_forbidden_and_given_up_ones_have_no_mass():
    domain = small_domain(3, forbid=0.4)
    mdp = domain.mdp
    assert (mdp.ref == 0).any()
    bases, feedback = with_feedback(domain, 20, disputed=False)
    for method in QUICK:
        fitted = method.fit(domain, bases, feedback, 0)
        for law in fitted.laws or ():
            assert np.isfinite(law.log_ref).all()
            assert law.law.sum() == pytest.approx(1.0)
        for table in () if fitted.laws else fitted.tables(domain):
            assert (table[:, mdp.ref == 0] == 0).all(), method.name
            assert np.allclose(table.sum(axis=2)[:, mdp.ref.any(axis=1)], 1.0), method.name
    huge = np.where(mdp.ref > 0, 0.0, 1e6) + np.zeros(
        (3, 9, 3)
    )  # forbidden tokens may have any logit
    np.testing.assert_allclose(tilt(mdp, huge)[0], mdp.ref)
    with pytest.raises(InstanceError, match="finite for some allowed token"):
        tilt(mdp, np.full((3, 9, 3), -np.inf))


def test_the_slope_of_the_value_is_its_derivative():
    domain = small_domain(4)
    logits = np.random.default_rng(2).normal(size=(3, 9))
    starts, reward = domain.starts(0), domain.users[0, 0]
    value, slope = value_and_slope(domain.mdp, logits, reward, starts)
    move = np.random.default_rng(3).normal(size=logits.shape)
    ahead, behind = (
        value_and_slope(domain.mdp, logits + h * move, reward, starts)[0] for h in (1e-5, -1e-5)
    )
    assert (ahead - behind) / 2e-5 == pytest.approx(float((slope * move).sum()), rel=1e-6)
    assert value == pytest.approx(
        of_tables(domain, (tilt(domain.mdp, logits),), 0).value[domain.train].mean(), abs=1e-12
    )


# -- all of them -------------------------------------------------------------------------------


@pytest.mark.parametrize("method", QUICK, ids=lambda m: m.name)
def test_two_roads_agree_and_nothing_beats_the_optimum(method):
    for seed, worlds in ((5, 1), (6, 2)):
        domain = small_domain(seed, worlds=worlds, prompts=4, train=2)
        bases, pool = with_feedback(domain)
        fitted = method.fit(domain, bases, method.shown(domain, bases, pool, 40), 0)
        assert value_of(domain, fitted, 0).error < 1e-11
        assert shares(domain, fitted).max() <= 1.0 + 1e-9


@pytest.mark.parametrize("method", LEARNT, ids=lambda m: m.name)
def test_what_is_learnt_does_not_read_the_users(method):
    domain = small_domain(7, attributes=5)
    bases, feedback = with_feedback(domain)
    blind = domain.with_users(np.full_like(domain.users, np.nan))
    seen, unseen = (
        method.fit(d, bases, method.shown(d, bases, feedback, 50), 0) for d in (domain, blind)
    )
    for a, b in zip(parts_of(seen), parts_of(unseen), strict=True):
        np.testing.assert_array_equal(a, b)
    # and it does read the pairs
    few = feedback.take(5)
    turned = method.fit(domain, bases, replace(few, labels=-few.labels), 0)
    apart = [np.abs(a - b).max() for a, b in zip(parts_of(seen), parts_of(turned), strict=True)]
    assert max(apart) > 1e-6


def parts_of(fitted):
    return fitted.logits or [law.law for law in fitted.laws]


def test_names_select_rows():
    assert {m.id for m in select(["ss-*"])} == {
        "ss-explicit", "ss-sequential", "ss-implicit", "ss-implicit-printed",
    }  # fmt: skip
    assert [m.name for m in select(["ss-explicit[m=0]"])] == ["ss-explicit[m=0]"]
    with pytest.raises(InstanceError, match="no such method"):
        select(["ss-explicitt"])
    assert len({m.name for m in METHODS}) == len(METHODS)


# -- ref, rlhf, oracles ------------------------------------------------------------------------


def test_ref_has_share_0_and_rlhf_share_1():
    domain = small_domain(8)
    bases, feedback = with_feedback(domain)
    assert np.abs(shares(domain, reference.fit(domain, bases, feedback, 0))).max() == 0.0
    assert np.abs(shares(domain, rlhf.bespoke(domain, bases, feedback, 0)) - 1.0).max() < 1e-12
    other = replace(feedback, user=1)
    assert shares(domain, rlhf.bespoke(domain, bases, other, 0)).max() < 1.0 - 1e-4


@pytest.mark.parametrize(("temperature", "right"), [(1.0, True), (1.5, False)])
def test_rlhf_learnt_of_all_pairs_with_exact_chances_is_the_optimum(temperature, right):
    """Sabotage: chances of another temperature give another policy."""
    domain = small_domain(9, A=2, L=2, T=4, prompts=1, train=1)
    mdp = domain.mdp
    paths = np.array([states[1:] for _, states in answers(domain, 0)])
    i, j = np.triu_indices(len(paths), 1)
    pairs = collect.Feedback(paths[i], paths[j], np.ones(len(i)), np.zeros(len(i), dtype=int))
    margins = collect.differences(domain, domain.users[0][:, None], pairs)[:, 0]
    counts = collect.context_counts(domain, pairs)
    reward = unpenalised(counts, scipy.special.expit(margins / temperature))
    fitted = Fitted(rlhf.optimal_for(domain, reward[None]))
    best = tilt(mdp, domain.best(0)[0].logits)
    seen = of_tables(domain, (best,), 0).kl_ref[0]
    assert seen > 0.1
    apart = value_of(domain, fitted, 0).kl[0]
    assert (apart < 1e-10) if right else (apart > 1e-3)


def test_the_oracle_is_the_best_soup_of_the_budget():
    domain = small_domain(10, prompts=1, train=1, K=3)
    bases, feedback = with_feedback(domain)
    fitted = oracle.budget(domain, bases, feedback, 0)
    objective = oracle.objective_of(domain, bases, 0)
    J = objective.value(fitted.facts.lam)
    for k in range(3):
        assert on_train(domain, specialist.alone(bases, k)) - 1e-10 <= J
    w = pad.nearest_weights(domain, 0)
    assert on_train(domain, explicit.soup(bases, w, Facts())) - 1e-10 <= J
    # an instance whose user is a mixture, solved by the house's own optimiser
    mdp = domain.prompt(0).replace(w=[0.2, 0.5, 0.3])
    inside = domain.with_users(np.stack([mdp.reward_w[None]] * 2))
    J = oracle.objective_of(inside, bases, 0).value(oracle.best_soup(inside, bases, 0, 0)[0])
    assert pytest.approx(soup_optimum(mdp).J, rel=1e-9) == J
    assert (
        solve(mdp).values @ [0.0, 0.0, 0.0] + on_train(inside, reference.fit(inside, 0, 0, 0)) < J
    )


@pytest.mark.parametrize("seed", range(3))
def test_oracle_is_below_oracle_free_below_rlhf(seed):
    domain = small_domain(11 + seed)
    bases, feedback = with_feedback(domain)
    inside, free, best = (
        on_train(domain, fit(domain, bases, feedback, 0))
        for fit in (oracle.budget, oracle.free, rlhf.bespoke)
    )
    assert inside <= free + 1e-12
    assert free < best - 1e-6
    assert free > inside + 1e-6  # the budget binds here


# -- spectral souping --------------------------------------------------------------------------


def test_the_explicit_soup_is_that_of_7():
    domain = small_domain(20)
    bases, feedback = with_feedback(domain)
    fitted = explicit.fit(domain, bases, feedback, 0)
    lam, mdp = fitted.facts.lam, domain.prompt(0)
    assert np.abs(lam).min() > 1e-3
    sol = solve(mdp)
    ours = fitted.tables(domain)[0]
    theirs = Policy(mdp, np.tensordot(lam, sol.Q, 1) / mdp.beta_prime).table
    live = mdp.reach.states
    assert np.abs(ours - theirs)[live].max() < 1e-12
    spoilt = Policy(mdp, np.tensordot(lam, sol.Q, 1) / mdp.beta_prime**2).table
    assert np.abs(ours - spoilt)[live].max() > 1e-2


def test_one_specialist_at_weight_1_is_itself():
    domain = small_domain(21, K=1)
    bases, feedback = with_feedback(domain)
    mdp = domain.prompt(0)
    live = mdp.reach.states
    fitted = explicit.soup(bases, np.ones(1), Facts())
    assert np.abs(fitted.tables(domain)[0] - solve(mdp).policy(0))[live].max() < 1e-12
    for fit in (specialist.by_pairs, specialist.by_value, mod.fit):
        table = fit(domain, bases, feedback, 0).tables(domain)[0]
        assert np.abs(table - solve(mdp).policy(0))[live].max() < 1e-12


def test_the_prior_mean_and_the_budget_are_what_they_say():
    domain = small_domain(22)
    bases, feedback = with_feedback(domain, 8)
    zero, even = (explicit.fit(domain, bases, feedback, 0, mean=m) for m in ("m=0", "m=1/K"))
    assert np.abs(zero.facts.lam - even.facts.lam).max() > 1e-2
    ranked = replace(feedback, labels=np.sign(collect.returns(domain, bases, feedback)[:, 0]))
    free, held = (explicit.fit(domain, bases, ranked, 0, budget=b) for b in (False, True))
    assert np.abs(free.facts.lam).sum() > 1.1
    assert np.abs(held.facts.lam).sum() == pytest.approx(1.0)
    np.testing.assert_allclose(held.facts.lam * np.abs(free.facts.lam).sum(), free.facts.lam)


def test_sequential_comes_near_batch_and_its_readings_do_not():
    domain = small_domain(23, T=4)
    bases, feedback = with_feedback(domain, 1280)
    batch = explicit.fit(domain, bases, feedback, 0).facts.lam
    reward = lambda lam: lam @ domain.mdp.rewards  # λ itself is not identified, Σ λ_k r_k is  # noqa: E731

    def apart(**options):
        lam = explicit.sequential(domain, bases, feedback, 0, **options).facts.lam
        return np.linalg.norm(reward(lam - batch)) / np.linalg.norm(reward(batch))

    assert apart() < 0.05
    assert apart(over_beta=True) > 0.3  # it learns βw


def test_implicit_is_explicit_and_its_sampler_draws_from_it():
    domain = small_domain(24)
    bases, feedback = with_feedback(domain)
    soup, sampled = (m.fit(domain, bases, feedback, 0) for m in (explicit, implicit))
    ours, theirs = (value_of(domain, f, 0).value for f in (sampled, soup))
    assert np.abs(ours - theirs).max() < 1e-12
    mdp, table = domain.mdp, soup.tables(domain)[0]
    chance = sampled.logits[0]
    s = int(domain.start[0])
    drawn, trials = implicit.draw(mdp, chance, 0, s, 20_000, seed=1)
    seen = np.bincount(drawn, minlength=3)
    assert scipy.stats.chisquare(seen, 20_000 * table[0, s]).pvalue > 1e-3
    assert scipy.stats.chisquare(seen, 20_000 * mdp.ref[s]).pvalue < 1e-6
    rate = (mdp.ref[s] * np.exp(chance[0, s])).sum()
    assert 20_000 / trials == pytest.approx(rate, abs=4 * np.sqrt(rate * (1 - rate) / trials))


def test_acceptance_of_whole_answers_is_what_enumeration_says():
    domain = small_domain(25)
    bases, feedback = with_feedback(domain)
    fitted = implicit.fit(domain, bases, feedback, 0)
    table, rates = fitted.tables(domain)[0], []
    for p in np.flatnonzero(domain.train):
        most = max(
            np.prod([table[t, s[t], a] / domain.mdp.ref[s[t], a] for t, a in enumerate(y)])
            for y, s in answers(domain, p)
        )
        rates.append(1.0 / most)
    assert fitted.facts.acceptance["answer"] == pytest.approx(np.mean(rates), rel=1e-10)
    assert fitted.facts.acceptance["answer"] < fitted.facts.acceptance["token"] < 1.0


def test_implicit_as_printed_has_the_law_of_the_claim():
    """That of ss.sec4.implicit, by the compiled kernel: acceptance and distance from the soup."""
    domain = small_domain(26, K=3)
    bases, feedback = with_feedback(domain)
    fitted = implicit.printed(domain, bases, feedback, 0)
    mdp, lam = domain.prompt(0), fitted.facts.lam
    sol = solve(mdp)
    soup = Policy(mdp, np.tensordot(lam, sol.Q, 1) / mdp.beta_prime)
    h = np.tensordot(lam, sol.Q, 1) / mdp.beta**2
    apart, rate = rejection_sampler(soup, Policy(mdp, h), -sol.reference.mean(h))
    table, live = fitted.tables(domain)[0], mdp.reach.states
    ours = 0.5 * np.abs(table - soup.table).sum(axis=2)
    assert np.abs(ours - apart)[live].max() < 1e-12
    assert apart[live].max() > 0.05
    kept = (mdp.ref * np.exp(fitted.logits[0])).sum(axis=2)
    assert np.abs(kept - rate)[live].max() < 1e-12


# -- P-SOUPS, PAD, PAD-SF ----------------------------------------------------------------------


def logits_of(domain, factors, w, merge):
    return Fitted(p_soups.to_logits(domain, factors.merged(w, merge)))


@pytest.mark.parametrize("merge", ["factors", "delta"])
def test_p_soups_at_a_vertex_is_the_specialist(merge):
    domain = small_domain(30)
    bases, _ = with_feedback(domain)
    factors = p_soups.factorise(domain, bases, 3, 0)
    for k in range(bases.n):
        ours = logits_of(domain, factors, np.eye(bases.n)[k], merge)
        theirs = specialist.alone(bases, k)
        assert (
            np.abs(value_of(domain, ours, 0).value - value_of(domain, theirs, 0).value).max() < 1e-8
        )


def test_p_soups_of_full_rank_is_the_soup_and_of_rank_1_depends_on_the_factors():
    domain = small_domain(31, A=4, T=3)
    bases, _ = with_feedback(domain)
    w = np.array([0.4, 0.3, 0.2, 0.1])
    soup = value_of(domain, explicit.soup(bases, w, Facts()), 0).value

    def value(rank, merge, **options):
        factors = p_soups.factorise(domain, bases, rank, 0, **options)
        return value_of(domain, logits_of(domain, factors, w, merge), 0).value

    for merge in ("factors", "delta"):
        assert np.abs(value(4, merge) - soup).max() < 1e-8
    # sabotage: the products merged instead of the factors, or factors of other initialisations
    assert np.abs(value(2, "factors") - value(2, "delta")).max() > 1e-3
    assert np.abs(value(4, "factors", independent=True) - soup).max() > 1e-2
    assert np.abs(value(4, "delta", independent=True) - soup).max() < 1e-8


def test_p_soups_weights_are_most_likely_under_the_merged_policy():
    domain = small_domain(32)
    bases, feedback = with_feedback(domain, 200)
    factors = p_soups.factorise(domain, bases, 2, 0)
    w, scale, _ = p_soups.weights_by_pairs(domain, factors, feedback, "factors")

    def loss(w, scale):
        logits = p_soups.to_logits(domain, scale * factors.merged(w, "factors"))
        table = tilt(domain.mdp, logits[0])
        ratio = np.log(table / domain.mdp.ref)
        z = domain.beta * (collect.visits(domain, feedback) @ ratio.ravel())
        return np.logaddexp(0.0, -z * feedback.labels).sum()

    assert loss(w, scale) < loss(np.full(4, 0.25), 1.0) - 0.1
    for k in range(4):
        assert loss(w, scale) < loss(np.eye(4)[k], scale) + 0.5


def test_pad_at_strength_1_is_the_soup_at_the_known_weights():
    domain = small_domain(33, outside=0.0)
    bases, feedback = with_feedback(domain)
    w = pad.nearest_weights(domain, 0)
    assert w.min() >= 0
    assert w.sum() == pytest.approx(1.0)
    # the user is a mixture of the attributes; the specialists' hull may not reach it, so check the best
    rewards = domain.mdp.rewards - domain.mdp.rewards.mean(axis=1)[:, None]
    user = domain.users[0, 0] - domain.users[0, 0].mean()
    off = np.linalg.norm(w @ rewards - user)
    for other in np.random.default_rng(0).dirichlet(np.ones(4), size=200):
        assert off <= np.linalg.norm(other @ rewards - user) + 1e-6
    fitted = pad.fit(domain, bases, feedback, 0)
    alpha = fitted.facts.hyper["alpha"]
    assert alpha in pad.STRENGTHS
    for G, soup in zip(fitted.logits, bases.mixed(w), strict=True):
        np.testing.assert_allclose(G, alpha * soup, atol=1e-12)


def test_pad_greedy_is_the_argmax_and_is_worth_its_one_answer():
    domain = small_domain(34)
    bases, feedback = with_feedback(domain)
    fitted = pad.greedy(domain, bases, feedback, 0)
    table = fitted.tables(domain)[0]
    assert set(np.unique(table)) == {0.0, 1.0}
    soft = pad.fit(domain, bases, feedback, 0).tables(domain)[0]
    assert (table.argmax(axis=2) == soft.argmax(axis=2)).all()
    value = value_of(domain, fitted, 0).value
    for p in range(3):
        s, total = int(domain.start[p]), 0.0
        for t in range(3):
            a = int(table[t, s].argmax())
            total += domain.beta * np.log(domain.mdp.ref[s, a])
            s = (s * 3 + a) % 9
            total += domain.users[0, 0, s]
        assert value[p] == pytest.approx(total, abs=1e-12)


def test_pad_sf_with_a_constant_gate_is_the_soup_and_with_a_one_hot_gate_the_specialist():
    domain = small_domain(35)
    bases, _ = with_feedback(domain)
    f = np.stack(bases.log_ratios)
    g = np.array([0.4, 0.3, 0.2, 0.1])
    n = 4 * (1 + domain.mdp.n_contexts)
    constant = np.zeros(n)
    constant[:4] = np.log(g)
    gates = pad_sf.gates(constant, 4, 1, 9)
    ours = Fitted(tuple(pad_sf.gated(f, gates, mixture=False)))
    soup = explicit.soup(bases, g, Facts())
    assert np.abs(value_of(domain, ours, 0).value - value_of(domain, soup, 0).value).max() < 1e-12
    for mixture in (False, True):
        vertex = np.broadcast_to(np.eye(4)[2], (1, 9, 4))
        ours = Fitted(tuple(pad_sf.gated(f, vertex, mixture=mixture)))
        theirs = value_of(domain, specialist.alone(bases, 2), 0).value
        assert np.abs(value_of(domain, ours, 0).value - theirs).max() < 1e-12
    # the mixture is arithmetic
    table = Fitted(tuple(pad_sf.gated(f, gates, mixture=True))).tables(domain)[0]
    parts = [specialist.alone(bases, k).tables(domain)[0] for k in range(4)]
    np.testing.assert_allclose(table, np.tensordot(g, np.stack(parts), 1), atol=1e-12)


@pytest.mark.parametrize("mixture", [False, True])
def test_the_gradient_of_the_scorer_is_its_derivative(mixture):
    domain = small_domain(36)
    bases, feedback = with_feedback(domain, 20)
    f = np.stack(bases.log_ratios)
    scores, passed = pad_sf.scorer(domain, f, feedback, mixture=mixture)
    rng, n = np.random.default_rng(0), 4 * (1 + len(passed))
    x, move, weights = rng.normal(size=n), rng.normal(size=n), rng.normal(size=20)
    z, back = scores(x)
    ahead, behind = (weights @ scores(x + h * move)[0] for h in (1e-6, -1e-6))
    assert back(weights) @ move == pytest.approx((ahead - behind) / 2e-6, rel=1e-5)
    assert np.abs(z).max() > 0.1
    # the scores are those of the policy itself
    whole = np.zeros((1 + 9, 4))
    whole[np.append(0, 1 + passed)] = x.reshape(-1, 4)
    policy = pad_sf.gated(f, pad_sf.gates(whole.ravel(), 4, 1, 9), mixture=mixture)
    np.testing.assert_allclose(
        z, domain.beta * (collect.visits(domain, feedback) @ policy.ravel()), atol=1e-12
    )


def test_pad_sf_is_the_policy_that_was_climbed_to():
    """What is learnt stands at the contexts that the pairs pass, and the constant's weights elsewhere."""
    domain = small_domain(37)
    bases, feedback = with_feedback(domain, 4)
    f = np.stack(bases.log_ratios)
    scores, passed = pad_sf.scorer(domain, f, feedback, mixture=False)
    assert 1 < len(passed) < 9
    ended = climb(scores, feedback.targets, np.zeros((1, 4 * (1 + len(passed)))))
    (G,) = pad_sf.fit(domain, bases, feedback, 0, restarts=0).logits
    found = domain.beta * (collect.visits(domain, feedback) @ G.ravel())
    np.testing.assert_allclose(found, scores(ended.best)[0], atol=1e-12)
    constant = np.exp(ended.best[:4]) / np.exp(ended.best[:4]).sum()
    rest = np.setdiff1d(np.arange(9), passed)
    wanted = np.einsum("k,ktsa->tsa", constant, f[0])[:, rest]
    np.testing.assert_allclose(G[:, rest], wanted, atol=1e-12)


# -- the others --------------------------------------------------------------------------------


def test_mod_is_on_the_simplex_and_most_likely_there():
    domain = small_domain(40)
    bases, feedback = with_feedback(domain, 200)
    w = mod.weights_of(domain, bases, feedback)
    X = collect.returns(domain, bases, feedback)
    loss = lambda w: np.logaddexp(0.0, -(X @ w) * feedback.labels).sum()  # noqa: E731
    assert w.min() >= 0
    assert w.sum() == pytest.approx(1.0)
    for other in np.random.default_rng(0).dirichlet(np.ones(4), size=300):
        assert loss(w) <= loss(other) + 1e-6


def slow_posterior(X, targets, precision):
    """λ̂ and the covariance, by a general minimiser and the Hessian written out."""

    def loss(lam):
        z = X @ lam
        return (np.log1p(np.exp(-z)) + (1 - targets) * z).sum() + 0.5 * precision * lam @ lam

    lam = scipy.optimize.minimize(loss, np.zeros(X.shape[1]), options={"gtol": 1e-9}).x
    hessian = precision * np.eye(X.shape[1])
    for x in X:
        chance = 1.0 / (1.0 + np.exp(-x @ lam))
        hessian += chance * (1.0 - chance) * np.outer(x, x)
    return lam, np.linalg.inv(hessian)


@pytest.mark.parametrize("mode", ["bt", "rank"])
def test_pref_asks_for_pairs_that_narrow_its_posterior_more_than_others(mode):
    (active,) = select(["pref[active]"])
    for seed in range(6):
        domain = small_domain(seed, K=6, T=4, attributes=4)
        bases, pool = with_feedback(domain, 400, mode=mode, seed=seed)
        precision = float(np.mean(collect.returns(domain, bases, pool) ** 2))
        for n in (10, 20, 40):
            asked, passive = (
                np.linalg.slogdet(
                    slow_posterior(collect.returns(domain, bases, p), p.targets, precision)[1]
                ).logabsdet
                for p in (active.shown(domain, bases, pool, n), pool.take(n))
            )
            assert asked < passive - 0.1, (seed, n)


@pytest.mark.parametrize("variant", ["active", "active, variance"])
def test_pref_reads_the_labels_that_it_asked_for_and_no_others(variant):
    (active,) = select([f"pref[{variant}]"])
    domain = small_domain(3, A=4, K=6, T=4, attributes=4)
    bases, pool = with_feedback(domain, 200)
    X = collect.returns(domain, bases, pool)
    many, few = (active.shown(domain, bases, pool, n) for n in (40, 11))
    for key in COLUMNS:
        np.testing.assert_array_equal(getattr(many.take(11), key), getattr(few, key))

    def rows(pairs):
        parts = (pairs.first, pairs.second, pairs.labels[:, None], pairs.prompt[:, None])
        return [tuple(row) for row in np.hstack(parts)]

    assert Counter(rows(many)) <= Counter(rows(pool))  # none twice
    # each is the best by a posterior found otherwise: at λ̂ of the last fit, after the pairs since
    own = collect.returns(domain, bases, many)
    precision, left = float(np.mean(X**2)), Counter(rows(pool))
    for n in range(2 * asking.REFIT + 1):
        fitted = n - n % asking.REFIT
        lam, covariance = slow_posterior(own[:fitted], many.targets[:fitted], precision)
        inverse = np.linalg.inv(covariance)
        chance = 1.0 / (1.0 + np.exp(-X @ lam))
        for x in own[fitted:n]:
            of_it = 1.0 / (1.0 + np.exp(-x @ lam))
            inverse += of_it * (1.0 - of_it) * np.outer(x, x)
        worth = np.einsum("nk,kl,nl->n", X, np.linalg.inv(inverse), X)
        worth *= chance * (1.0 - chance) if variant == "active" else 1.0
        known = {row: w for row, w in zip(rows(pool), worth, strict=True) if left[row]}
        assert known[rows(many)[n]] == pytest.approx(max(known.values()), rel=1e-4)
        left[rows(many)[n]] -= 1
    # other labels of what was not asked lead to the same pairs, of what was asked they do not
    taken = set(rows(many))
    asked = np.array([row in taken for row in rows(pool)])
    for turned, same in ((~asked, True), (asked, False)):
        labels = np.where(turned & (np.arange(len(pool)) % 2 == 0), -pool.labels, pool.labels)
        again = active.shown(domain, bases, replace(pool, labels=labels), 40)
        assert np.array_equal(again.first, many.first) == same
    # of a pool as large all are asked for, and of a smaller one too many
    assert rows(active.shown(domain, bases, pool, 200)) == rows(pool)
    with pytest.raises(InstanceError, match=r"1\.\.200"):
        active.shown(domain, bases, pool, 201)


def test_one_step_makes_souping_exact_and_successors_equal_to_it():
    """At T = 1 there are no values ahead: soup, PReF, VAS at one λ are one policy."""
    domain = small_domain(41, T=1, L=1, A=4, attributes=3, prompts=3)
    bases, feedback = with_feedback(domain, 40, disputed=False)
    soup, optimal = explicit.fit(domain, bases, feedback, 0), pref.pref(domain, bases, feedback, 0)
    a, b = (value_of(domain, f, 0).value for f in (soup, optimal))
    assert np.abs(a - b).max() < 1e-12
    a, b, c = (
        value_of(domain, fit(domain, bases, feedback, 0), 0).value
        for fit in (successors.vas, successors.sf_gpi, pref.modpo)
    )
    assert np.abs(a - b).max() < 1e-12
    assert np.abs(a - c).max() < 1e-12


def test_generalised_improvement_beats_every_specialist_on_the_known_mixture():
    gains = []
    for seed in range(6):
        domain = small_domain(100 + seed)
        bases, feedback = with_feedback(domain)
        w = pad.nearest_weights(domain, 0)
        inside = domain.with_users(np.stack([(w @ domain.mdp.rewards)[None]] * 2))
        best = max(on_train(inside, specialist.alone(bases, k)) for k in range(4))
        gains.append(on_train(inside, successors.sf_gpi(inside, bases, feedback, 0)) - best)
        optimal = on_train(inside, pref.modpo(inside, bases, feedback, 0))
        assert optimal == pytest.approx(on_train(inside, rlhf.bespoke(inside, bases, feedback, 0)))
    assert min(gains) >= -1e-9  # the weights are found again, to eleven digits
    assert max(gains) > 1e-2


# -- EXACT and what it is compared with --------------------------------------------------------


def slow_margin(domain, feedback, i, A):
    """``log π^A(y_w)/ref − log π^A(y_l)/ref`` of one pair, step by step."""
    p, mdp = feedback.prompt[i], domain.mdp
    total = 0.0
    for sign, nexts in ((1.0, feedback.first[i]), (-1.0, feedback.second[i])):
        s = int(domain.start[p])
        for s1 in nexts.tolist():
            tilt_of = [
                sum(domain.attributes[0, a, (s * 3 + b) % 9] for a in A) / mdp.beta
                for b in range(3)
            ]
            z = np.log(sum(mdp.ref[s, b] * np.exp(tilt_of[b]) for b in range(3)))
            total += sign * feedback.labels[i] * (tilt_of[s1 % 3] - z)
            s = s1
    return total


def test_algorithm_1_is_greedy_and_at_k_1_exhaustive():
    domain = small_domain(70, attributes=5)
    _, feedback = with_feedback(domain, 12)
    margins = Margins(domain, feedback)
    for i in range(12):
        one = [slow_margin(domain, feedback, i, (a,)) for a in range(5)]
        chosen, value = exact.select(margins, 5, slice(i, i + 1), 1)
        assert chosen == (int(np.argmax(one)),)
        assert value == pytest.approx(max(one), abs=1e-12)
        first = chosen[0]
        two = {a: slow_margin(domain, feedback, i, (first, a)) for a in range(5) if a != first}
        chosen, value = exact.select(margins, 5, slice(i, i + 1), 2)
        assert chosen == (first, max(two, key=two.get))
        assert value == pytest.approx(max(two.values()), abs=1e-12)
    assert exact.exhaustive_ratio(domain, feedback, 1) == pytest.approx(1.0)
    assert 0.5 < exact.exhaustive_ratio(domain, feedback, 2) <= 1.0 + 1e-12


def test_many_pairs_of_one_attribute_find_it_and_few_do_not():
    domain = small_domain(71, attributes=6, prompts=1, train=1)
    domain = domain.with_users(np.stack([3.0 * domain.attributes[:, 4]] * 2))
    _, feedback = with_feedback(domain, 400, disputed=False)
    assert exact.chosen_sets(domain, feedback, 1, "pooled", 0) == [(4,)]
    singles = {exact.chosen_sets(domain, feedback.take(n), 1, "pooled", 0)[0] for n in range(1, 9)}
    assert singles != {(4,)}


def test_algorithm_2_takes_the_nearest_known_prompt_and_knows_no_other():
    domain = small_domain(72, attributes=5, prompts=5, train=3)
    domain = replace(domain, embedding=np.random.default_rng(0).normal(size=(5, 3)))
    _, feedback = with_feedback(domain, 30)
    known = exact.memory(domain, feedback, 2)
    assert set(known) == {0, 1, 2}  # sabotage: what leaks from test prompts would be here
    unit = domain.embedding / np.linalg.norm(domain.embedding, axis=1)[:, None]
    used = exact.chosen_sets(domain, feedback, 2, "retrieval", 0)
    for p in range(5):
        assert used[p] == known[int(np.argmax(unit[:3] @ unit[p]))][0]
    for p in range(3):  # a prompt that comes twice keeps the set of largest objective
        values = [
            exact.select(Margins(domain, feedback), 5, slice(i, i + 1), 2)[1]
            for i in np.flatnonzero(feedback.prompt == p)
        ]
        assert known[p][1] == max(values)
    fitted = exact.fit(domain, None, feedback, 0, k=2)
    value = value_of(domain, fitted, 0)
    assert value.error < 1e-11
    for p, table in enumerate(fitted.tables(domain)):
        logits = domain.attributes[0, list(used[p])].sum(axis=0) / domain.beta
        np.testing.assert_allclose(table, tilt(domain.mdp, np.tile(logits, (3, 1))), atol=1e-12)
        assert value.value[p] == pytest.approx(slow_value(domain, table, 0, p), abs=1e-12)


def test_pooling_by_topic_uses_the_pairs_of_the_topic_alone():
    domain = small_domain(73, attributes=5, prompts=6, train=4)
    domain = replace(domain, topic=np.array([0, 1, 0, 1, 0, 1]))
    _, feedback = with_feedback(domain, 60)
    used = exact.chosen_sets(domain, feedback, 2, "topic-pooled", 0)
    assert used[0] == used[2] == used[4]
    spoilt = replace(feedback, labels=np.where(feedback.prompt % 2, -1.0, 1.0) * feedback.labels)
    again = exact.chosen_sets(domain, spoilt, 2, "topic-pooled", 0)
    assert again[4] == used[4]
    assert again[5] != used[5]


def test_drift_finds_the_strength_of_one_attribute():
    """One step, one attribute, a user who is a multiple of it, exact chances: p is the multiple."""
    domain = small_domain(74, A=4, L=1, T=1, attributes=3, prompts=1, train=1)
    domain = domain.with_users(np.stack([1.7 * domain.attributes[:, 1]] * 2))
    _, feedback = with_feedback(domain, 300, disputed=False)
    D = drift.features(domain, replace(feedback, labels=np.ones(300)))
    margins = collect.differences(domain, domain.users[0][:, None], feedback)[:, 0]
    p = unpenalised(domain.beta * D, scipy.special.expit(margins))
    np.testing.assert_allclose(p, [0.0, 1.7, 0.0], atol=1e-8)
    fitted = drift.fit(domain, None, feedback, 0)
    assert np.abs(value_of(domain, fitted, 0).kl).max() < 0.2
    means = (D * feedback.labels[:, None]).mean(axis=0)
    closed = drift.fit(domain, None, feedback, 0, weights="mean")
    expected = means / np.linalg.norm(means) @ domain.attributes[0] / domain.beta
    np.testing.assert_allclose(closed.logits[0][0], expected)


def test_a_coarser_model_is_blind_to_the_oldest_token():
    domain = small_domain(75)
    blind = drift.coarser(domain).attributes[0].reshape(2, 3, 3)
    assert np.ptp(blind, axis=1).max() == 0.0
    np.testing.assert_allclose(blind[:, 0], domain.attributes[0].reshape(2, 3, 3).mean(axis=1))


def test_best_of_n_is_the_law_of_draws_and_of_one_draw_ref():
    domain = small_domain(76)
    known = reward_model.enumerated(domain, 0)
    assert len(known.answers) == 27
    rng = np.random.default_rng(0)
    scores = np.round(rng.normal(size=27), 1)  # with ties
    mass = np.exp(known.log_ref)
    ranking = reward_model.Ranking.of(known, scores)
    np.testing.assert_allclose(ranking.law(1), mass, atol=1e-12)
    drawn = rng.choice(27, size=(40_000, 3), p=mass / mass.sum())
    tops = scores[drawn].max(axis=1)
    law = ranking.law(3)
    seen = np.array([(tops == x).sum() for x in np.unique(scores)])
    expected = np.array([law[scores == x].sum() for x in np.unique(scores)])
    assert scipy.stats.chisquare(seen, 40_000 * expected).pvalue > 1e-3
    for x in np.unique(scores):  # ties are shared as ref has them
        group = scores == x
        np.testing.assert_allclose(law[group] / law[group].sum(), mass[group] / mass[group].sum())
    gain = ranking.log_gain(scores, 3)
    np.testing.assert_allclose(gain, np.log(law) - known.log_ref, atol=1e-12)


def test_best_of_n_is_worth_what_its_answers_are():
    domain = small_domain(77)
    bases, feedback = with_feedback(domain, 200)
    fitted = reward_model.fit(domain, bases, feedback, 0)
    assert fitted.facts.hyper["n"] > 1
    value = value_of(domain, fitted, 0)
    assert value.error < 1e-11
    for p, law in enumerate(fitted.laws):
        returns = domain.users[0, 0][law.answers].sum(axis=1)
        kl = scipy.special.xlogy(law.law, law.law).sum() - law.law @ law.log_ref
        assert value.value[p] == pytest.approx(law.law @ returns - domain.beta * kl, abs=1e-12)
    with pytest.raises(NotApplicable, match="whole answers"):
        fitted.tables(domain)
    with pytest.raises(NotApplicable, match="1,000,000"):
        reward_model.enumerated(small_domain(78, A=3, T=13, prompts=1, train=1), 0)


def test_history_of_weight_0_is_ref_and_near_1_what_was_preferred():
    domain = small_domain(79)
    _, feedback = with_feedback(domain, 50)
    law = history.counted(domain, feedback, rejected=False)
    assert all(not G.any() for G in history.interpolated(domain, law, 0.0))
    table = tilt(domain.mdp, history.interpolated(domain, law, 0.9)[0])
    seen = law.any(axis=1)
    np.testing.assert_allclose(table[0][seen], (0.1 * domain.mdp.ref + 0.9 * law)[seen])
    np.testing.assert_allclose(table[0][~seen], domain.mdp.ref[~seen])
    one = feedback.take(1)
    counts = history.counted(domain, replace(one, labels=np.ones(1)), rejected=False)
    assert counts[int(domain.start[one.prompt[0]]), one.first[0, 0] % 3] > 0
    gone = history.counted(domain, feedback, rejected=True)
    assert np.abs(gone - law).max() > 0.05


def test_pairs_cannot_tell_apart_the_soups_of_one_reward():
    domain = small_domain(90, K=5, T=4)
    bases, feedback = with_feedback(domain, 100)
    X = collect.returns(domain, bases, feedback)
    found = {
        choice: null_space.fit(domain, bases, feedback, 0, choice=choice)
        for choice in ("simplex", "least ℓ₂", "least ℓ₁", "best")
    }
    scores = {choice: X @ fitted.facts.lam for choice, fitted in found.items()}
    for choice in ("least ℓ₂", "least ℓ₁", "best"):
        np.testing.assert_allclose(scores[choice], scores["simplex"], atol=1e-8)
    lam = {choice: fitted.facts.lam for choice, fitted in found.items()}
    assert np.abs(lam["least ℓ₁"]).sum() <= np.abs(lam["simplex"]).sum() + 1e-9
    assert np.linalg.norm(lam["least ℓ₂"]) < np.linalg.norm(lam["simplex"]) - 1e-3
    values = {choice: on_train(domain, fitted) for choice, fitted in found.items()}
    assert values["best"] > max(values[c] for c in ("simplex", "least ℓ₂", "least ℓ₁")) + 1e-3
    assert abs(values["simplex"] - values["least ℓ₂"]) > 1e-4


# -- losses, divergences, accuracy -------------------------------------------------------------


def test_the_losses_add_up():
    domain = small_domain(50)
    exact, feedback = with_feedback(domain)
    noisy = tuple(Q + 0.1 * np.random.default_rng(0).normal(size=Q.shape) for Q in exact.Q)
    bases = Bases.given(domain, noisy)
    fitted = explicit.fit(domain, bases, feedback, 0)
    which = ~domain.train
    X = collect.returns(domain, exact, feedback)
    limit = unpenalised(X, np.full(len(X), 0.4))
    found = losses(domain, exact, fitted, limit, 0, which)
    way = on_whole(domain, rlhf.bespoke(domain, exact, feedback, 0), which) - on_whole(
        domain, fitted, which
    )
    parts = (found.span, found.estimation, found.souping, found.specialists)
    assert sum(parts) == pytest.approx(way, abs=1e-12)
    assert min(map(abs, parts)) > 1e-6
    # each by itself: what the optimum of a mixed reward is worth, and the exact soup at λ̂
    best = on_whole(domain, rlhf.bespoke(domain, exact, feedback, 0), which)
    at_limit, at_lam = (
        on_whole(domain, Fitted(pref.mixed(domain, lam)), which)
        for lam in (limit, fitted.facts.lam)
    )
    souped = on_whole(domain, explicit.soup(exact, fitted.facts.lam, Facts()), which)
    expected = (best - at_limit, at_limit - at_lam, at_lam - souped)
    np.testing.assert_allclose(parts[:3], expected, atol=1e-12)
    same = losses(domain, exact, explicit.soup(exact, limit, Facts(limit, True)), limit, 0, which)
    assert same.estimation == same.specialists == 0.0
    with pytest.raises(NotApplicable, match="soup"):
        losses(domain, exact, reference.fit(domain, exact, feedback, 0), limit, 0, which)


def on_whole(domain, fitted, which):
    return float(value_of(domain, fitted, 0).value[which].mean())


def test_a_matched_policy_has_the_divergence_of_the_optimum():
    domain = small_domain(51)
    bases, feedback = with_feedback(domain)
    fitted = explicit.fit(domain, bases, feedback, 0)
    tables = matched(domain, fitted, 0)
    best = rlhf.bespoke(domain, bases, feedback, 0).tables(domain)
    ours, theirs = (of_tables(domain, x, 0).kl_ref.mean() for x in (tables, best))
    before = of_tables(domain, fitted.tables(domain), 0).kl_ref.mean()
    assert ours == pytest.approx(theirs, rel=1e-5)
    assert abs(before - theirs) > 1e-2
    with pytest.raises(NotApplicable, match="strength"):
        matched(domain, pad.greedy(domain, bases, feedback, 0), 0)


def test_accuracy_counts_pairs_and_ties_by_half():
    domain = small_domain(52)
    bases, feedback = with_feedback(domain, 100)
    asked = held_out(domain, feedback, 0)
    right = rlhf.bespoke(domain, bases, feedback, 0)
    assert accuracy(domain, right, asked) == 1.0
    assert accuracy(domain, right, replace(asked, labels=-asked.labels)) == 0.0
    assert 0.5 < accuracy(domain, right, asked, raw=True) < 1.0  # ref itself has a say in log π
    flat = reference.fit(domain, bases, feedback, 0)
    assert accuracy(domain, flat, asked) == 0.5


def test_a_domain_refuses_worlds_that_do_not_go_together():
    domain = small_domain(53)
    endless = TokenMDP(
        vocab_size=3, order=2, horizon=None, eos=2, start=[0, 0], ref_weights=np.ones((9, 3)),
        rewards=np.zeros((4, 9)), beta=0.5, w=np.full(4, 0.25),
        features={"kind": "tabular", "per_step": False, "scale": 1.0},
    )  # fmt: skip
    with pytest.raises(InstanceError, match=r"worlds\[1\]"):
        replace(domain, worlds=(domain.mdp, endless))
