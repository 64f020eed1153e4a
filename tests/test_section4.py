"""Section 4: closed forms, enumeration, the samplers run as printed, sabotage, and statuses."""

from __future__ import annotations

import itertools
import math

import mpmath
import numpy as np
import pytest
from conftest import random_mdp
from judging import agreed, facts_of, judged, sides_of
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, logsumexp, rel_entr
from scipy.stats import binom

from bounds import Check, Claim, Facts, Soup
from bounds.claims import section4 as section4_claims
from bounds.claims.section4 import TABLE, answers, returns_by_policy
from bounds.facts.soup import standard_lambdas
from toymdp import kernels, solve, soup_optimum
from toymdp.exact.policy import Policy
from toymdp.exact.sampling import fit_answers, rejection_sampler
from toymdp.families import generate

CLAIMS = {claim.id.removeprefix("ss.sec4."): claim for claim in TABLE}
PROVED = [claim for claim in TABLE if claim.status == "proved"]


def judge(claim: Claim, sol, lam=None, opt=None) -> Check:
    """A claim about every λ is judged at the worst of the standard set, as the checker does."""
    if claim.at == "instance" or lam is not None:
        return judged(claim, sol, lam, opt)
    facts = facts_of(sol, opt)
    lambdas = [x for x in standard_lambdas(facts).values() if claim.zero or x.any()]
    found = [judged(claim, facts, x) for x in lambdas]
    return max(found, key=lambda c: abs(c.slack))


# -- statuses ------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["softmax", "low-rank", "dirichlet", "tree"])
def test_no_proved_claim_is_violated(family):
    """15 instances of each family, the published β' = β and others in turn."""
    refuted = {"explicit": 0, "implicit": 0}
    for seed in range(15):
        mdp = generate(family, seed)
        mdp = mdp.replace(beta_prime=(1.0, 0.4, 2.5)[seed % 3] * mdp.beta)
        sol = solve(mdp)
        for claim in PROVED:
            found = judge(claim, sol)
            assert found.verdict in ("holds", "not-applicable"), found
        for name in refuted:
            refuted[name] += judge(CLAIMS[name], sol).verdict == "violated"
    assert min(refuted.values()) >= 10


def test_instances_until_eos():
    mdp = random_mdp(5, T=None, eos=2, beta=4.0)
    sol = solve(mdp)
    lengths = answers(Facts(sol)).going.sum(axis=1)
    assert lengths.min() == 1  # eos at once
    assert lengths.max() > 3
    assert mdp.ended[answers(Facts(sol)).contexts[:, -1]].all()
    for claim in PROVED:
        assert judge(claim, sol).verdict == "holds"
    assert judge(CLAIMS["implicit"], sol).verdict == "violated"
    assert judge(CLAIMS["explicit"], sol).verdict == "holds"  # β' = β
    other = solve(mdp.replace(beta_prime=1.5 * mdp.beta))
    assert judge(CLAIMS["explicit"], other).verdict == "violated"


def test_answers_that_do_not_end_are_said_so():
    mdp = random_mdp(5, T=None, eos=2, beta=4.0)
    weights = np.where(np.arange(3) == 2, 1e-9, mdp.ref_weights)
    patient = mdp.replace(ref_weights=weights, rewards=-1e-3 * np.abs(mdp.rewards))
    found = judge(CLAIMS["return"], solve(patient))
    assert found.verdict == "undecided"
    assert "ended" in found.reason


def test_eos_at_a_finite_horizon_ends_returns():
    mdp = random_mdp(3, T=5, eos=1, A=3)
    sol = solve(mdp)
    assert set(answers(Facts(sol)).going.sum(axis=1)) > {1, 5}
    for claim in PROVED:
        assert judge(claim, sol).verdict == "holds"


@pytest.mark.parametrize(("beta", "scale"), [(1e-3, 1.0), (1e3, 1.0), (1.0, 1e4), (1.0, 1e-4)])
def test_extreme_temperatures_and_rewards(beta, scale):
    mdp = random_mdp(8, T=4, forbid=0.3, beta=beta, scale=scale)
    sol = solve(mdp)
    for claim in TABLE:
        found = judge(claim, sol)
        assert found.verdict != "violated" or claim.status == "refuted", found
        assert all(math.isfinite(x) for x in found.terms.values())


# -- returns -------------------------------------------------------------------------------------


def test_returns_by_enumeration():
    """All answers of a small instance, by hand; the drawn ones are among them, none twice."""
    mdp = random_mdp(1, A=2, L=2, T=3, K=2, forbid=0.2, beta=0.7)
    sol = solve(mdp)
    policies = [sol.policy(k) for k in range(2)]
    expected = {}
    for tokens in itertools.product(range(2), repeat=3):
        s, path, allowed = mdp.start_context, [mdp.start_context], True
        total, log_ratio = np.zeros(2), np.zeros(2)
        for t, a in enumerate(tokens):
            allowed = allowed and mdp.ref[s, a] > 0
            if allowed:
                log_ratio += [math.log(p[t, s, a] / mdp.ref[s, a]) for p in policies]
            s = (s * 2 + a) % 4
            total += mdp.rewards[:, s]
            path.append(s)
        if allowed:
            expected[tuple(path)] = (total, 0.7 * log_ratio)
    drawn = answers(Facts(sol))
    assert {tuple(c) for c in drawn.contexts} == set(expected)
    assert len(drawn.contexts) == len(expected)
    by_policy, summed = returns_by_policy(Facts(sol)).T, drawn.total(mdp.rewards[:, None]).T
    for i, path in enumerate(drawn.contexts):
        np.testing.assert_allclose(summed[i], expected[tuple(path)][0], atol=1e-13)
        np.testing.assert_allclose(by_policy[i], expected[tuple(path)][1], atol=1e-13)
        # a pair's difference is the return's; by itself the sum misses V at the start
        np.testing.assert_allclose(by_policy[i], summed[i] - sol.values, atol=1e-13)


def test_draws_follow_the_reference():
    mdp = random_mdp(2, A=4, L=1, T=1, forbid=0.3)
    ladder = np.cumsum(mdp.ref, axis=1)
    heights = np.random.default_rng(0).random((20_000, 1))
    contexts, going = np.empty((20_000, 2), dtype=np.int64), np.empty((20_000, 1), dtype=bool)
    kernels.sampling.draw_answers(ladder, mdp.ended, 0, heights, contexts, going)
    counts = np.bincount(contexts[:, 1], minlength=4)
    low, high = binom.interval(1 - 1e-6, 20_000, mdp.ref[0])
    assert ((low <= counts) & (counts <= high)).all()
    # forbidden tokens are never drawn, not by the lowest height nor by the highest
    for last in (1.0, 0.7, np.nextafter(1.0, 0.0)):
        rungs = np.array([[0.0, 0.5 * last, last, last]] * 4)
        ends = np.array([[0.0], [np.nextafter(1.0, 0.0)]])
        two = np.empty((2, 2), dtype=np.int64)
        kernels.sampling.draw_answers(rungs, mdp.ended, 0, ends, two, np.empty((2, 1), bool))
        assert two[:, 1].tolist() == [1, 2]


@pytest.mark.parametrize("table", ["V", "Q"])
def test_returns_turn_when_a_table_is_wrong(table):
    sol = solve(random_mdp(4))
    wave = 1e-9 * np.sin(np.arange(9.0))
    bent = agreed(sol, **{table: getattr(sol, table) + wave})
    assert judge(CLAIMS["return"], sol).verdict == "holds"
    assert judge(CLAIMS["return"], bent).verdict == "violated"


# -- the Gumbel loss -----------------------------------------------------------------------------


def test_gumbel_loss_by_a_general_minimiser():
    """The loss of section 4 at the start, minimised by scipy, for both kinds of data."""
    mdp = random_mdp(6, A=4, L=1, T=2, beta=0.8, forbid=0.2)
    sol = solve(mdp)
    s, k = mdp.start_context, 1
    q, ref = sol.Q[k, 0] / mdp.beta, mdp.ref[s]
    offsets = []
    for data in (ref, sol.policy(k)[0, s]):

        def loss(v, data=data):
            return float(data @ (np.exp(q - v) - (q - v) - 1.0))

        general = minimize_scalar(loss, bracket=(q.min(), q.max()), tol=1e-12).x
        v = np.empty((1, 1))
        zero = np.zeros(1, dtype=np.int64)
        law = np.ascontiguousarray(data[None, None])
        kernels.sampling.loss_minimisers(law, sol.Q[k : k + 1], mdp.beta, zero, zero, v)
        assert v[0, 0] == pytest.approx(general, abs=1e-6)
        assert v[0, 0] == pytest.approx(logsumexp(q, b=data), rel=1e-14, abs=1e-15)
        offsets.append(mdp.beta * v[0, 0] - sol.V[k, 0, s])
    assert offsets[0] == pytest.approx(0.0, abs=1e-14)
    # data from π_k: too high by β D₂(π_k‖ref)
    p = sol.policy(k)[0, s]
    renyi = math.log((p[p > 0] ** 2 / ref[p > 0]).sum())
    assert offsets[1] == pytest.approx(mdp.beta * renyi, rel=1e-12)


def test_gumbel_reports_the_largest_offset():
    mdp = random_mdp(6, T=3, beta=0.8)
    sol = solve(mdp)
    found = judge(CLAIMS["gumbel"], sol)
    assert found.terms["states"] == mdp.reach.states.sum()
    renyi = max(
        math.log((sol.policy(k)[t, s] ** 2 / mdp.ref[s]).sum())
        for k in range(2)
        for t, s in np.argwhere(mdp.reach.states)
    )
    assert found.terms["largest offset, data from π_k"] == pytest.approx(0.8 * renyi, rel=1e-12)


def test_gumbel_turns_when_the_value_is_not_that_of_ref():
    sol = solve(random_mdp(7))
    assert judge(CLAIMS["gumbel"], sol).verdict == "holds"
    assert judge(CLAIMS["gumbel"], agreed(sol, V=sol.V + 1e-9)).verdict == "violated"
    moved = sol.mdp.replace(ref_weights=sol.mdp.ref_weights + np.array([1e-6, 0.0, 0.0]))
    assert judge(CLAIMS["gumbel"], agreed(sol, mdp=moved)).verdict == "violated"


# -- the explicit soup ---------------------------------------------------------------------------


def test_explicit_mixture_by_tables():
    """The mixture of logits as printed, on tables over the reachable states and with no kernel."""
    mdp = random_mdp(9, T=3, beta=0.6).replace(beta_prime=1.7)
    sol, lam = solve(mdp), np.array([0.9, -0.4])
    t, s = np.nonzero(mdp.reach.states)
    logit_ref = np.log(mdp.ref[s])
    target = Policy(mdp, Soup(Facts(sol), lam).logits).table[t, s]
    found = judge(CLAIMS["explicit"], sol, lam)
    logits = np.log([sol.policy(0)[t, s], sol.policy(1)[t, s]])
    mixed = (1 - lam.sum()) * logit_ref + lam[0] * logits[0] + lam[1] * logits[1]
    law = np.exp(mixed - logsumexp(mixed, axis=1)[:, None])
    expected = rel_entr(law, target).sum(axis=1).max()
    assert expected > 0.01
    assert found.lhs == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize(
    ("beta", "beta_prime", "verdict"),
    [
        (1.0, 1.0, "holds"),
        (0.5, 0.5, "holds"),  # β' = β is all that the policies' logits need
        (0.5, 1.0, "violated"),
        (0.5, 0.75, "violated"),
        (1.0, 0.75, "violated"),
    ],
)
def test_when_the_explicit_mixture_is_the_soup(beta, beta_prime, verdict):
    sol = solve(random_mdp(10, beta=beta).replace(beta_prime=beta_prime))
    found = judge(CLAIMS["explicit"], sol)
    assert found.verdict == verdict
    assert judge(CLAIMS["explicit.repaired"], sol).verdict == "holds"


def test_a_single_token_leaves_nothing_to_tell_apart():
    """Where ref allows one token everywhere every law is the same, and the printed rows hold."""
    weights = np.zeros((3, 3))
    weights[:, 1] = 1.0
    mdp = random_mdp(0, L=1, beta=0.5).replace(ref_weights=weights)
    sol = solve(mdp)
    for name in ("explicit", "implicit"):
        assert judge(CLAIMS[name], sol).verdict == "holds"
    assert judge(CLAIMS["bt"], sol).verdict == "not-applicable"


@pytest.mark.parametrize("name", ["explicit.repaired", "implicit.repaired"])
def test_repaired_weights_turn_when_bent(name, monkeypatch):
    sol = solve(random_mdp(11, beta=0.5).replace(beta_prime=0.8))
    assert judge(CLAIMS[name], sol).verdict == "holds"
    for factor in (1 + 1e-4, 0.8 / 0.5):
        bent = property(lambda soup, f=factor: Policy(soup.mdp, f * soup.logits))
        monkeypatch.setattr(Soup, "mixed", bent)
        found = judge(CLAIMS[name], sol)
        assert found.verdict == "violated"
        assert min(abs(found.lhs), abs(found.rhs)) > 1e-3


# -- the implicit soup ---------------------------------------------------------------------------


def printed_law(ref, Q, V, lam, beta):
    """Law and acceptance of section 4's sampler at one state, from its printed ratio and M."""
    used = ref > 0
    log_policy = np.log(ref[used]) + (Q[:, used] - V[:, None]) / beta
    kl = (ref[used] * (np.log(ref[used]) - log_policy)).sum(axis=1)
    bound = math.exp(-(lam @ kl) / beta)
    ratio = np.exp((lam / beta) @ (log_policy - np.log(ref[used])))
    weight = np.zeros(len(ref))
    weight[used] = ref[used] * np.minimum(1.0, ratio / bound)
    # the same by the claim's closed form
    h = (lam / beta**2) @ Q[:, used]
    closed = np.minimum(1.0, np.exp(h - ref[used] @ h))
    np.testing.assert_allclose(weight[used], ref[used] * closed, rtol=1e-11)
    return weight / weight.sum(), weight.sum(), ratio, bound


def test_implicit_law_at_every_state():
    mdp = random_mdp(12, A=4, T=3, forbid=0.2, beta=0.7).replace(beta_prime=1.1, start=[1, 2])
    sol, lam = solve(mdp), np.array([0.8, -0.5])
    target = Policy(mdp, Soup(Facts(sol), lam).logits).table
    worst, least = 0.0, 1.0
    for t, s in np.argwhere(mdp.reach.states):
        block = (s * 4 + np.arange(4)) % 16
        law, accepted, ratio, bound = printed_law(
            mdp.ref[s], sol.Q[:, t, block], sol.V[:, t, s], lam, 0.7
        )
        assert bound <= ratio.max() * (1 + 1e-12)  # no upper bound, except of a constant ratio
        worst = max(worst, 0.5 * np.abs(law - target[t, s]).sum())
        least = min(least, accepted)
        if t == 0:
            first = accepted
    found = judge(CLAIMS["implicit"], sol, lam)
    assert found.verdict == "violated"
    assert found.lhs == pytest.approx(worst, rel=1e-11)
    assert found.terms["acceptance at start"] == pytest.approx(first, rel=1e-12)
    assert found.terms["least acceptance"] == pytest.approx(least, rel=1e-12)


def test_the_printed_sampler_simulated():
    """Draw, and accept if u ≤ ratio with u ~ U[0, M], as printed: the empirical law is the exact
    one within its binomial interval, and not the soup's."""
    mdp = random_mdp(13, A=4, L=1, T=2, beta=0.7).replace(beta_prime=0.9)
    sol, lam, n = solve(mdp), np.array([0.6, 0.5]), 200_000
    s = mdp.start_context
    law, accepted, ratio, bound = printed_law(mdp.ref[s], sol.Q[:, 0], sol.V[:, 0, s], lam, 0.7)
    rng = np.random.default_rng(0)
    drawn = rng.choice(4, size=n, p=mdp.ref[s])
    kept = drawn[rng.uniform(0.0, bound, size=n) <= ratio[drawn]]
    low, high = binom.interval(1 - 1e-6, n, accepted)
    assert low <= len(kept) <= high
    counts = np.bincount(kept, minlength=4)
    low, high = binom.interval(1 - 1e-6, len(kept), law)
    assert ((low <= counts) & (counts <= high)).all()
    target = Policy(mdp, Soup(Facts(sol), lam).logits).table[0, s]
    low, high = binom.interval(1 - 1e-6, len(kept), target)
    assert not ((low <= counts) & (counts <= high)).all()


def test_the_repaired_sampler_simulated():
    mdp = random_mdp(13, A=4, L=1, T=2, beta=0.7).replace(beta_prime=0.9)
    sol, lam, n = solve(mdp), np.array([0.6, -0.5]), 200_000
    s = mdp.start_context
    policies = np.stack([sol.policy(k)[0, s] for k in range(2)])
    ratio = np.prod((policies / mdp.ref[s]) ** (lam * 0.7 / 0.9)[:, None], axis=0)
    rng = np.random.default_rng(1)
    drawn = rng.choice(4, size=n, p=mdp.ref[s])
    kept = drawn[rng.uniform(0.0, ratio.max(), size=n) <= ratio[drawn]]
    target = Policy(mdp, Soup(Facts(sol), lam).logits).table[0, s]
    low, high = binom.interval(1 - 1e-6, len(kept), target)
    assert (
        (low <= np.bincount(kept, minlength=4)) & (np.bincount(kept, minlength=4) <= high)
    ).all()
    found = judge(CLAIMS["implicit.repaired"], sol, lam)
    low, high = binom.interval(1 - 1e-6, n, found.terms["acceptance at start"])
    assert low <= len(kept) <= high


@pytest.mark.parametrize(("beta_prime", "right"), [(0.49, True), (0.7, False), (1.0, False)])
def test_the_printed_exponent_is_right_only_if_beta_prime_is_beta_squared(beta_prime, right):
    """With M repaired alone the law is ref·exp(Σ λ_k Q_k/β²); with M as printed nothing helps."""
    mdp = random_mdp(14, beta=0.7).replace(beta_prime=beta_prime)
    sol, lam = solve(mdp), beta_prime / 0.7 * np.array([0.5, 0.5])
    alone = Policy(mdp, np.tensordot(lam / 0.49, sol.Q, axes=1)).table
    target = Policy(mdp, Soup(Facts(sol), lam).logits).table
    assert bool(np.abs(alone - target).max() < 1e-12) is right
    assert judge(CLAIMS["implicit"], sol, lam).verdict == "violated"


def test_zero_weights_draw_from_the_reference():
    """At λ = 0 the ratio and M are 1: nothing is rejected, whichever way; the rows skip it or hold."""
    sol = solve(random_mdp(14))
    assert {name for name, claim in CLAIMS.items() if not claim.zero} == {"implicit"}
    for name in ("explicit", "explicit.repaired", "implicit", "implicit.repaired"):
        assert judge(CLAIMS[name], sol, [0.0, 0.0]).verdict == "holds"
    assert judge(CLAIMS["implicit"], sol, [0.0, 0.0]).terms["least acceptance"] == pytest.approx(
        1.0
    )


def test_large_exponents_widen_the_error():
    """A rounded exponent of 1e4 nats moves a probability by 1e-12: the radius must say so."""
    sol = solve(random_mdp(14, beta=1e-2))
    lam = np.array([0.6, -0.4])
    exponent = np.abs(np.tensordot(lam / 1e-4, sol.Q, axes=1)).max()
    for name in ("implicit", "implicit.repaired"):
        assert judge(CLAIMS[name], sol, lam).error > np.finfo(float).eps * exponent > 1e-12


def test_a_forbidden_token_may_have_any_logit():
    """At the place that is compared ref forbids what is worth 1e5 nats: no double is its exponential."""
    weights = np.array([[0.3, 0.7, 0.0]] * 3)
    mdp = random_mdp(14, L=1, T=1).replace(ref_weights=weights)
    mdp = mdp.replace(rewards=[[1.0, -1.0, 1e5], [0.5, 1.0, 1e5]])
    sol = solve(mdp)
    for name in ("explicit.repaired", "implicit.repaired"):
        found = judge(CLAIMS[name], sol, [0.6, 0.3])
        assert found.verdict == "holds", found
        assert found.lhs == pytest.approx(found.rhs, rel=1e-9)
        assert found.rhs > 0.1


def test_rejection_kernel_far_from_underflow_and_in_it():
    """Against the definition in the log domain, with exponents from 1 to 1e5."""
    rng = np.random.default_rng(3)
    for size in (1.0, 30.0, 1e3, 1e5):
        weights = rng.dirichlet(np.full(4, 0.3), size=16)
        weights[rng.random((16, 4)) < 0.3] = 0.0
        weights[:, 0] += 0.1
        mdp = random_mdp(0, A=4, L=2, T=4).replace(ref_weights=weights)
        H, G = size * rng.normal(size=(2, 4, 16))
        shift = size * rng.normal(size=(4, 16))
        states = mdp.reach.states
        assert not states.all()
        apart, accepted = rejection_sampler(Policy(mdp, G), Policy(mdp, H), shift)
        with np.errstate(divide="ignore"):
            log_ref = np.log(mdp.ref)
        for t, s in np.ndindex(4, 16):
            block = s % 4 * 4 + np.arange(4)
            log_p = log_ref[s] + np.minimum(0.0, H[t, block] + shift[t, s])
            log_q = log_ref[s] + G[t, block]
            total = logsumexp(log_p)
            p, q = np.exp(log_p - total), np.exp(log_q - logsumexp(log_q))
            expected = (0.5 * np.abs(p - q).sum(), math.exp(total)) if states[t, s] else (0, 0)
            tolerance = 1e-15 * size
            assert apart[t, s] == pytest.approx(expected[0], abs=8 * tolerance + 1e-14)
            assert accepted[t, s] == pytest.approx(expected[1], abs=8 * tolerance + 1e-14)


@pytest.mark.parametrize("size", [0.0, 1e-12, 1.0, 30.0, 1e3, 1e5])
@pytest.mark.parametrize("tokens", [1, 2, 7])
def test_the_slope_of_the_loss_is_found_to_change_sign_at_the_log_sum(size, tokens):
    rng = np.random.default_rng(tokens)
    for _ in range(50):
        q, law = size * rng.normal(size=tokens), rng.dirichlet(np.full(tokens, 0.3))
        x = np.log(np.maximum(law, 1e-300)) + q
        found = kernels.sampling.root_of_slope(x, q.min(), q.max())
        assert found == pytest.approx(logsumexp(x), abs=4e-15 * (1 + np.abs(q).max()))


# -- the Bradley–Terry loss ----------------------------------------------------------------------


def pairs(sol):
    own = returns_by_policy(Facts(sol))
    i, j = np.triu_indices(min(48, own.shape[1]), 1)
    return (own[:, i] - own[:, j]).T


def test_bradley_terry_by_a_general_minimiser():
    mdp = random_mdp(15, K=3, T=3)
    sol = solve(mdp)
    X = pairs(sol)
    chance = expit(X @ mdp.w)

    def loss(lam):
        z = X @ lam
        return float((chance * np.logaddexp(0, -z) + (1 - chance) * np.logaddexp(0, z)).mean())

    def slope(lam):
        return X.T @ (expit(X @ lam) - chance) / len(X)

    found = minimize(loss, np.zeros(3), jac=slope, method="BFGS", options={"gtol": 1e-10})
    np.testing.assert_allclose(found.x, mdp.w, atol=1e-7)
    judged = judge(CLAIMS["bt"], sol)
    assert judged.verdict == "holds"
    assert judged.terms["pairs"] == len(X)
    assert judged.terms["ranked loss at 10w"] < judged.terms["ranked loss at 1w"]


def test_bradley_terry_finds_the_user_and_not_the_optimum():
    mdp = random_mdp(16, beta=0.5).replace(beta_prime=1.5)
    sol = solve(mdp)
    opt = soup_optimum(mdp, sol)
    found = judge(CLAIMS["bt"], sol, opt=opt)
    assert np.abs(pairs(sol) @ (opt.lam - mdp.w)).max() > 0.1
    assert found.terms["gap at λ*"] == opt.gap
    assert found.terms["gap at λ = w"] > found.terms["gap at (β'/β)w"] >= opt.gap
    # below β the weights w are no soup of (7)
    narrow = judge(CLAIMS["bt"], solve(mdp.replace(beta_prime=0.2)))
    assert "gap at λ = w" not in narrow.terms


def test_bradley_terry_up_to_what_no_pair_shows():
    """Two specialists of one reward: only the sum of their weights is seen, and it is right."""
    mdp = random_mdp(17, K=2)
    doubled = mdp.replace(rewards=mdp.rewards[[0, 0, 1]], w=[0.2, 0.3, 0.5])
    assert judge(CLAIMS["bt"], solve(doubled)).verdict == "holds"
    shifted = mdp.replace(rewards=np.stack([mdp.rewards[0], np.ones(9)]))
    assert judge(CLAIMS["bt"], solve(shifted)).verdict == "holds"  # a constant shows nothing
    flat = mdp.replace(rewards=np.ones((2, 9)))
    assert judge(CLAIMS["bt"], solve(flat)).verdict == "not-applicable"


def test_bradley_terry_turns_with_another_temperature_or_user():
    for factor in (2.0, 1.0 + 1e-6):
        sol = solve(random_mdp(18))
        assert judge(CLAIMS["bt"], sol).verdict == "holds"
        bent = agreed(sol, mdp=sol.mdp.replace())
        bent.mdp.__dict__["reward_w"] = factor * sol.mdp.reward_w
        assert judge(CLAIMS["bt"], bent).verdict == "violated"


def test_bradley_terry_allows_for_rounded_returns(monkeypatch):
    """Returns off by what rounding may do move the minimiser, and the radius contains that."""
    mdp = random_mdp(18, K=3)
    sol = solve(mdp)
    honest, noise = returns_by_policy(Facts(sol)), np.random.default_rng(0).normal(size=64)
    rounding = np.finfo(float).eps * section4_claims.size_of_answers(Facts(sol))
    moved = honest + rounding * noise[: honest.shape[1]]
    monkeypatch.setattr(section4_claims, "returns_by_policy", lambda s: moved)
    sides = sides_of(CLAIMS["bt"], sol, None)
    assert rounding / 10 < sides.lhs < sides.error


def test_one_sided_pairs_are_undecided():
    found = judge(CLAIMS["bt"], solve(random_mdp(19, scale=300.0)))
    assert found.verdict == "undecided"
    assert "one-sided" in found.reason


def exact_fit(U, margins):
    """Minimiser Uθ [N] of the same loss by damped Newton in 60 digits."""
    with mpmath.workdps(60):
        X = mpmath.matrix(U.tolist())
        theta = mpmath.matrix([0] * U.shape[1])
        target = [1 / (1 + mpmath.exp(-mpmath.mpf(m))) for m in margins]
        largest = mpmath.inf
        while largest > mpmath.mpf(10) ** -40:
            up = [1 / (1 + mpmath.exp(-x)) for x in X * theta]
            slope = X.T * mpmath.matrix([a - b for a, b in zip(up, target, strict=True)])
            step = mpmath.lu_solve(X.T * mpmath.diag([a * (1 - a) for a in up]) * X, slope)
            largest = max(abs(x) for x in X * step)
            theta -= mpmath.log(1 + largest) / largest * step
        return np.array([float(x) for x in X * theta])


@pytest.mark.parametrize("rounding", [1e-15, 1e-3, 3e-2])
@pytest.mark.parametrize("size", [0.3, 3.0, 12.0, 25.0])
def test_the_radius_of_the_fit_contains_the_minimiser(size, rounding):
    """On choices that no λ explains; a coarse rounding stops the fit early."""
    rng = np.random.default_rng(4)
    U = rng.normal(size=(12, 2))
    margins = size * (U @ np.array([0.7, -0.4]) + 0.3 * rng.normal(size=12))
    z, radius = fit_answers(U, margins, rounding)
    off = np.abs(z - exact_fit(U, margins)).max()
    assert 0 < radius < 1
    assert off <= radius
    if rounding > 1e-10:
        assert off > 1e-13  # it did stop early: the radius had work to do


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_the_fit_keeps_its_digits_where_choices_are_nearly_certain(sign):
    """Margins of 20 to 30, all one way: 1 − σ is the size of rounding itself."""
    rng = np.random.default_rng(5)
    U = 1.0 + 0.1 * rng.random(size=(12, 2))
    margins = sign * (20.0 + 10.0 * rng.random(12))
    z, radius = fit_answers(U, margins, 1e-14)
    assert np.abs(z - exact_fit(U, margins)).max() <= radius < 1e-9


@pytest.mark.parametrize("z", [-800.0, -40.0, -1.0, 0.0, 1e-9, 3.0, 700.0])
def test_tails_keep_their_digits(z):
    with mpmath.workdps(40):
        exact = 1 / (1 + mpmath.exp(mpmath.mpf(z)))
        assert abs(expit(-z) / exact - 1) < 1e-15
