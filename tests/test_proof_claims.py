"""Proof steps and the parameterisation claims: special cases where they turn, and second methods."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from conftest import random_mdp
from scipy.special import logsumexp

from bounds import CLAIMS, Check, Facts, Soup, check
from bounds.claims.delta import deltas_last, penalty, renyi_last
from bounds.claims.hypotheses import reference_rows
from bounds.claims.lemma1_proof import _unrolled
from bounds.facts.linear_fit import FeatureFit
from bounds.facts.token_mdp import InstanceFacts
from toymdp import TokenMDP, solve, soup_optimum
from toymdp.exact.policy import Policy
from toymdp.families import generate
from toymdp.families.classics import rare_token


def one(subject, claim: str, **options) -> Check:
    (found,) = check(subject, claim, **options)
    return found


def test_kl_classic_by_hand():
    """π_w and ref sit on token 0, the soup at λ = −1 on token 1: both sides in closed form."""
    mdp = rare_token()
    eps, r = 2.0**-20 / (1 + 2.0**-20), -32.0
    w = np.array([1 - eps, eps * math.exp(r)])
    w /= w.sum()
    flee = np.array([1 - eps, eps * math.exp(-r)])
    flee /= flee.sum()
    c = np.array([2.0**-20, 1.0])
    found = one(mdp, "ss.thm1.kl.any", lam=[-1.0])
    assert found.lhs == pytest.approx(float(w @ np.log(w / flee)), rel=1e-12)
    norms = w @ c + np.array([1 - eps, eps]) @ c
    assert found.rhs == pytest.approx(norms * 2 * abs(r) / c[1], rel=1e-12)
    assert found.verdict == "violated"
    assert one(mdp, "ss.thm1.kl.repaired", lam=[-1.0]).verdict == "holds"
    assert one(mdp, "ss.proof.C.lipschitz", lam=[-1.0]).verdict in ("holds", "violated")


def unrolled_by_hand(mdp, k, last, t, s):
    """``r + β log E exp(Σ r/β + last)`` after s' = s at step t, over all L − 1 tokens between."""
    steps = np.inf if mdp.horizon is None else mdp.horizon
    S, A = mdp.n_contexts, mdp.vocab_size

    def log_mean(t, s, left):
        if mdp.ended[s] or t >= steps:
            return 0.0
        if left == 0:
            return last[0 if mdp.horizon is None else t, s]
        used = np.flatnonzero(mdp.ref[s] > 0)
        nexts = (s * A + used) % S
        values = [mdp.rewards[k, n] / mdp.beta + log_mean(t + 1, n, left - 1) for n in nexts]
        return logsumexp(values, b=mdp.ref[s, used])

    return mdp.rewards[k, s] + mdp.beta * log_mean(t + 1, s, mdp.order - 1)


@pytest.mark.parametrize("beta", [1.0, 1e-4])
@pytest.mark.parametrize("horizon", [5, None])
def test_unrolling_over_the_tokens_between(horizon, beta):
    """Both domains, by enumeration; until eos one row stands for every step."""
    mdp = random_mdp(3, L=3, T=horizon, eos=2, beta=4.0, forbid=0.2)
    sol = solve(mdp)
    sol = replace(sol, mdp=mdp.replace(beta=beta))
    rows = mdp.steps + 1 if horizon else 2
    last = np.random.default_rng(0).normal(size=(rows, mdp.n_contexts))
    last[:, mdp.ended] = 0.0
    if horizon:
        last[:-1][~mdp.reach.states] = 0.0
        last[-1] = 0.0
    found = _unrolled(Facts(sol), 1, last)
    for t, s in np.argwhere(mdp.reach.nexts)[::5]:
        expected = unrolled_by_hand(sol.mdp, 1, last, t, s)
        assert found[t, s] == pytest.approx(expected, rel=1e-11, abs=1e-13)


@pytest.mark.parametrize("beta", [1.0, 0.5])
def test_printed_logits_need_temperature_one(beta):
    mdp = random_mdp(0, beta=beta)
    expected = "holds" if beta == 1.0 else "violated"
    assert one(mdp, "ss.eq7.logit").verdict == expected
    assert one(mdp, "ss.eq7.logit.repaired").verdict == "holds"


def test_unrolling_fails_even_at_temperature_one():
    found = one(random_mdp(1, beta=1.0, T=4), "ss.eq12")
    assert found.verdict == "violated"
    assert one(random_mdp(1, T=4), "ss.eq12.repaired").verdict == "holds"
    assert one(random_mdp(1, T=None, eos=2, beta=4.0), "ss.eq12.repaired").verdict == "holds"
    short = one(random_mdp(1, T=2), "ss.eq12")
    assert short.verdict == "not-applicable"


def test_forward_law_is_a_softmax_for_one_token_only():
    narrow = generate("softmax", 5, A=3, L=1, T=3, d=2)
    assert one(narrow, "ss.eq13.single-vector").verdict == "holds"
    longer = generate("softmax", 5, A=3, L=2, T=4, d=2)
    assert one(longer, "ss.eq13.single-vector").verdict == "violated"
    held = one(longer, "ss.eq13")
    assert held.verdict == "holds"
    assert held.lhs > 0.1


def test_forward_law_needs_contexts_that_differ_in_their_features():
    mdp = generate("softmax", 5, A=3, L=2, T=4, d=2)
    values = mdp.features.values.copy()
    values[4] = values[1]
    shared = mdp.replace(features={"kind": "dense", "values": values})
    found = one(shared, "ss.eq13")
    assert found.verdict == "not-applicable"
    assert "contexts 1 and 4 have the same feature" in found.reason
    # without the hypothesis: one mu cannot follow two laws
    bare = replace(CLAIMS["ss.eq13"], hypotheses=())
    assert bare.evaluate(Facts(solve(shared))).verdict == "violated"


GAUSSIAN = {
    "vocab_size": 3, "order": 1, "horizon": 3, "start": [0], "rewards": np.ones((1, 3)),
    "beta": 1.0, "w": np.ones(1),
}  # fmt: skip


def of_softmax(psi, nu, **fields) -> TokenMDP:
    features = {"kind": "dense", "values": psi}
    return TokenMDP(**{**GAUSSIAN, **fields}, ref_weights=np.exp(psi @ nu), features=features)


def test_gaussian_kernel_of_given_vectors_needs_tokens_of_one_length():
    """psi = ±1 in one dimension and nu_ref(a) = ±c: equal lengths, so the kernel is the softmax."""
    two = {"vocab_size": 2, "rewards": np.ones((1, 2))}
    even = of_softmax(np.array([[1.0], [-1.0]]), np.array([[0.7, -0.7]]), **two)
    assert one(even, "ss.gaussian.given").verdict == "holds"
    odd = of_softmax(np.array([[1.0], [-1.0], [0.5]]), np.array([[0.9, 0.1, -1.0]]))
    assert one(odd, "ss.gaussian.given").verdict == "violated"


@pytest.mark.parametrize("seed", range(4))
def test_gaussian_kernel_of_some_vectors_in_each_case(seed):
    """A spare direction, constants in the span, a sphere through the tokens; and none of these."""
    rng = np.random.default_rng(seed)
    psi, nu = rng.normal(size=(3, 2)), rng.normal(size=(2, 3))
    cases = {
        "orthogonal": (np.hstack([psi, psi[:, :1] + psi[:, 1:]]), np.vstack([nu, 0 * nu[:1]])),
        "constants": (np.hstack([psi[:, :1], np.ones((3, 1))]), nu),
        "shift": (psi, nu),
    }
    for case, (rows, vectors) in cases.items():
        held = one(of_softmax(rows, vectors), "ss.gaussian")
        assert held.verdict == "holds", case
        assert case in held.reason
        assert one(of_softmax(rows, vectors), "ss.gaussian.given").verdict == "violated", case
    line = of_softmax(psi[:, :1], nu[:1])  # three tokens on a line
    assert one(line, "ss.gaussian").verdict == "violated"
    tokens = {"vocab_size": 4, "rewards": np.ones((1, 4))}
    four = of_softmax(rng.normal(size=(4, 2)), rng.normal(size=(2, 4)), **tokens)
    assert one(four, "ss.gaussian").verdict == "violated"
    angles = rng.uniform(0, 6, size=4)
    circle = 0.7 * np.stack([np.cos(angles), np.sin(angles)]) + rng.normal(size=(2, 1))
    round_ = of_softmax(rng.normal(size=(4, 2)), circle, **tokens)
    assert one(round_, "ss.gaussian").verdict == "holds"


def test_anchor_counterexample_of_the_catalogue():
    """m = 0.9, M = 1.9, a = 1 on a two-valued ratio with mean 1: 1.0526 > 1.0101."""
    p = 0.1  # probability of the large ratio: 0.9·(1−p) + 1.9·p = 1
    mdp = TokenMDP(
        vocab_size=2, order=1, horizon=1, start=[0], w=np.ones(1), beta=1.0,
        ref_weights=np.array([[1 - p, p], [1, 1]]), rewards=np.log([[0.9, 1.9]]),
        features={"kind": "tabular", "per_step": True, "scale": 1.0},
    )  # fmt: skip
    found = one(mdp, "ss.delta.anchor")
    assert found.verdict == "violated"
    assert math.exp(found.lhs) == pytest.approx(0.9 / 0.9 + 0.1 / 1.9, rel=1e-12)
    assert math.exp(found.rhs) == pytest.approx((2 * 0.95 - 1) / (0.9 * (2 * 0.95 - 0.9)))
    assert one(mdp, "ss.delta.anchor.upper").verdict == "holds"


def test_negative_values_break_the_unassumed_step():
    mdp = random_mdp(2, K=2)
    sad = mdp.replace(rewards=-1.0 - np.abs(mdp.rewards))
    found = one(sad, "ss.proof.nonneg.without", lam=[0.3, 0.2])
    assert found.verdict == "violated"
    blocked = one(sad, "ss.proof.nonneg", lam=[0.3, 0.2])
    assert blocked.verdict == "not-applicable"
    assert blocked.hypotheses["values-nonnegative"] is False


def test_step_a_fails_at_matched_weights():
    """λ = (β'/β)w: the minimum is of the zero function, the sum is Σ w_k(V_w^π_k − V_k) < 0."""
    mdp = random_mdp(3)
    found = one(mdp, "ss.proof.A", lam=mdp.w)
    assert found.lhs == pytest.approx(0.0, abs=1e-12)
    sol = solve(mdp)
    expected = float(mdp.w @ (Facts(sol).specialist_values - sol.values))
    assert found.rhs == pytest.approx(expected, rel=1e-10)
    assert found.verdict == "violated"


def test_specialist_totals_by_tables():
    mdp = random_mdp(4, T=3, forbid=0.2)
    sol = solve(mdp)
    totals, _ = Facts(sol).specialist_totals
    for k in range(2):
        table = Policy(mdp, sol.Q[k] / mdp.beta).table
        weight = np.zeros(9)
        weight[mdp.start_context] = 1.0
        expected = np.zeros(2)
        for t in range(3):
            ahead = np.zeros(9)
            for s in range(9):
                for a in range(3):
                    n = (s * 3 + a) % 9
                    ahead[n] += weight[s] * table[t, s, a]
            expected += mdp.rewards @ ahead
            weight = ahead
        np.testing.assert_allclose(totals[k], expected, rtol=1e-12)


def test_penalties_are_ordered_and_exact_for_two_values():
    sol = solve(generate("dirichlet", 9, A=4, T=3))
    live = sol.mdp.reach.states
    facts = Facts(sol)
    assert (facts.renyi_divergences[:, live] <= facts.deltas[:, live] + 1e-12).all()
    two = solve(generate("dirichlet", 9, A=2, T=3, forbid=0.0))
    facts, live = Facts(two), two.mdp.reach.states
    np.testing.assert_allclose(
        facts.renyi_divergences[:, live], facts.deltas[:, live], rtol=1e-9, atol=1e-13
    )


def test_constant_norm_rows_apply_after_normalisation():
    mdp = generate("unit-norm", 4)
    assert one(mdp, "ss.thm1.kl.constant-norm").verdict == "holds"
    assert one(mdp, "ss.thm1.gap.constant-norm").verdict in ("holds", "violated")
    scaled = generate("dirichlet", 4, A=4)
    found = one(scaled, "ss.thm1.gap.constant-norm")
    assert found.hypotheses["features-constant-norm"] is False


def test_minimal_repair_needs_to_beat_the_specialists():
    mdp = random_mdp(5)
    mdp = mdp.replace(rewards=np.abs(mdp.rewards))
    poor = one(mdp, "ss.thm1.gap.minimal", lam=[-0.9, -0.1])
    assert poor.hypotheses["beats-one-hot"] is False
    opt = soup_optimum(mdp)
    assert one(mdp, "ss.thm1.gap.minimal", lam=opt.lam).verdict == "holds"


@pytest.mark.parametrize("kind", ["dense", "dense per step", "tabular"])
def test_diameters_by_brute_force(kind):
    rng = np.random.default_rng(0)
    mdp = random_mdp(6, forbid=0.3)
    features = {
        "dense": {"kind": "dense", "values": rng.normal(size=(9, 2))},
        "dense per step": {"kind": "dense", "values": rng.normal(size=(4, 9, 2))},
        "tabular": {"kind": "tabular", "per_step": True, "scale": rng.random((4, 9)) + 0.1},
    }[kind]
    mdp = mdp.replace(features=features)
    found = FeatureFit(mdp).diameters
    for t, s in np.argwhere(mdp.reach.states):
        nexts = [(s * 3 + a) % 9 for a in range(3) if mdp.ref[s, a] > 0]
        if kind == "tabular":
            rows = [features["scale"][t, n] * np.eye(9)[n] for n in nexts]
        else:
            values = features["values"] if kind == "dense" else features["values"][t]
            rows = [values[n] for n in nexts]
        apart = max(np.linalg.norm(x - y) for x in rows for y in rows)
        assert found[t, s] == pytest.approx(apart, rel=1e-12, abs=1e-14)


def test_reference_rows_follow_the_start_feature():
    mdp = generate("softmax", 7, A=3, L=1, T=2)
    rows, logits, contexts = reference_rows(InstanceFacts(mdp))
    assert len(rows) == len(logits) == len(contexts)
    assert contexts[-1] == mdp.start_context
    np.testing.assert_array_equal(rows[-1], mdp.start_feature)


def test_soup_tables_against_explicit_policies():
    mdp = random_mdp(8, forbid=0.3)
    sol = solve(mdp)
    here = Soup(Facts(sol), np.array([0.5, -0.4]))
    p, w = Policy(mdp, here.logits).table, sol.policy_w
    with np.errstate(divide="ignore", invalid="ignore"):
        to_w = np.where(p > 0, p * np.log(p / w), 0.0).sum(axis=2)
        from_w = np.where(w > 0, w * np.log(w / p), 0.0).sum(axis=2)
        to_ref = np.where(p > 0, p * np.log(p / mdp.ref), 0.0).sum(axis=2)
    for table, expected in ((here.kl_to_w, to_w), (here.kl_from_w, from_w), (here.kl_ref, to_ref)):
        np.testing.assert_allclose(table, expected, rtol=1e-8, atol=1e-12)


def test_penalties_are_those_of_their_own_divergence():
    sol, lam = solve(random_mdp(5, K=3)), np.array([-0.2, 0.3, -0.4])
    facts = Facts(sol)
    here = Soup(facts, lam)
    pairs = ((deltas_last, facts.deltas), (renyi_last, facts.renyi_divergences))
    for divergence, table in (*pairs, pairs[0]):
        by_hand = 0.2 * table[0] + 0.4 * table[2]  # β = β' = 1
        np.testing.assert_allclose(penalty(facts, here, divergence), by_hand, rtol=1e-14)
    apart = penalty(facts, here, deltas_last) - penalty(facts, here, renyi_last)
    assert np.abs(apart).max() > 1e-3
