"""The claims: closed forms, the classics, statuses over random instances, and sabotage."""

from __future__ import annotations

import math
from dataclasses import replace
from unittest import SkipTest

import numpy as np
import pytest
from conftest import random_mdp
from judging import agreed, facts_of, judged
from threadpoolctl import threadpool_info

from bounds import (
    CLAIMS,
    Check,
    Facts,
    NotApplicable,
    Sides,
    Soup,
    Undecidable,
    assert_claim,
    check,
    checking,
)
from bounds.facts.linear_fit import FeatureFit
from bounds.facts.soup import standard_lambdas
from bounds.records.witness import stored_witnesses
from bounds.sides import decide, worst
from bounds.threads import helper
from toymdp import InstanceError, TokenMDP, solve, soup_optimum
from toymdp.errors import ClaimError
from toymdp.exact.policy import Policy
from toymdp.families import generate
from toymdp.families.classics import (
    CLASSICS,
    lemma1_softmax,
    long_fit,
    rare_first_token,
    redundant_tastes,
    signed_uniform,
)
from toymdp.threads import one_blas_thread

TOKEN_CLAIMS = [c for c in CLAIMS.values() if c.world == "token-mdp/1"]


def one(mdp, claim: str, **options) -> Check:
    (found,) = check(mdp, claim, **options)
    return found


# -- the classics ------------------------------------------------------------------------------


def test_lemma1_classic_equals_its_closed_form():
    """The second difference of Q* at t = 0 is h(3) − 3h(2) + 3h(1) − h(0), not 0."""
    sol = solve(lemma1_softmax())

    def h(u):
        return math.log(1 + math.exp(u) + math.exp(2 * u))

    Q = sol.Q[0, 0]
    expected = h(3) - 3 * h(2) + 3 * h(1) - h(0)
    assert Q[2] - 2 * Q[1] + Q[0] == pytest.approx(expected, abs=1e-14)
    assert expected == pytest.approx(-0.2536, abs=5e-5)
    for claim in ("ss.lemma1", "ss.lemma1.per-step"):
        found = one(sol, claim)
        assert found.verdict == "violated"
        assert found.hypotheses == {"ss.asm1": True, "ss.asm2": True, "ss.asm0": True}


def test_gap_classic_meets_every_hypothesis_and_breaks_the_bound():
    found = one(rare_first_token(), "ss.thm1.gap")
    assert found.verdict == "violated"
    assert all(found.hypotheses.values())
    assert found.ratio > 1e3
    assert found.terms["penalty"] == 0.0
    assert found.lam == pytest.approx([0.5, 0.5], abs=1e-6)
    sharp = one(rare_first_token(), "ss.thm1.gap.sharp", lam=found.lam)
    assert sharp.verdict == "holds"
    assert sharp.rhs > sharp.lhs > 0.17


def test_gap_classic_grows_without_bound():
    ratios = [one(rare_first_token(r), "ss.thm1.gap").ratio for r in (8, 12, 16)]
    assert ratios[1] / ratios[0] == pytest.approx(16, rel=0.05)
    assert ratios[2] / ratios[1] == pytest.approx(16, rel=0.05)


def same(one: TokenMDP, other: TokenMDP) -> bool:
    """Whether two instances have the same reference and rewards."""
    return np.array_equal(one.ref_weights, other.ref_weights) and np.array_equal(
        one.rewards, other.rewards
    )


def test_stored_witnesses_are_the_classics_and_break_their_claims():
    for claim, make in CLASSICS.items():
        fresh = make()
        (w,) = (w for w in stored_witnesses() if w.claim == claim and same(w.instance, fresh))
        found = one(w.instance, claim, lam=w.lam)
        assert found.verdict == "violated"
        assert found.lhs == pytest.approx(w.expected["lhs"], rel=1e-9)
        assert found.rhs == pytest.approx(w.expected["rhs"], rel=1e-6)


# -- statuses over random instances --------------------------------------------------------------


@pytest.mark.parametrize("family", ["softmax", "low-rank", "dirichlet", "tree"])
def test_no_proved_claim_is_violated(family):
    for seed in range(100, 112):
        for found in check(generate(family, seed)):
            assert found.verdict != "violated" or found.status != "proved", found


def test_theorem_rows_apply_where_their_hypotheses_hold():
    applies = {c.claim: c for c in check(generate("dirichlet", 1), "ss.thm1.*")}
    assert applies["ss.thm1.gap"].verdict in ("holds", "violated")
    blocked = {c.claim: c for c in check(generate("softmax", 1), "ss.thm1.*")}
    assert blocked["ss.thm1.gap"].verdict == "not-applicable"
    assert blocked["ss.thm1.gap"].hypotheses["q-linear"] is False
    assert "not linear" in blocked["ss.thm1.gap"].reason


def test_lemma1_holds_on_trees_and_one_hot_features():
    for family in ("tree", "dirichlet"):
        mdp = generate(family, 5)
        assert one(mdp, "ss.lemma1").verdict == "holds"
        assert one(mdp, "ss.lemma1.tabular").verdict == "holds"
    shared = random_mdp(0).replace(features={"kind": "tabular", "per_step": False})
    assert one(shared, "ss.lemma1").verdict == "violated"
    assert one(shared, "ss.lemma1.per-step").verdict == "holds"
    assert one(shared, "ss.lemma1.tabular").verdict == "not-applicable"


@pytest.mark.parametrize("dense", [False, True])
def test_a_bent_fit_of_independent_rows_is_seen(dense, monkeypatch):
    mdp = random_mdp(1, T=2)
    if dense:
        values = np.random.default_rng(0).normal(size=(2, 9, 18))
        mdp = mdp.replace(features={"kind": "dense", "values": values})
    fit = Facts(solve(mdp)).value_fit
    held = one(mdp, "ss.lemma1.tabular")
    assert held.verdict == "holds"
    assert abs(held.lhs) > 0.1
    bent = replace(fit, nu=(1 + 1e-6) * fit.nu)
    monkeypatch.setattr(Facts, "value_fit", property(lambda facts: bent))
    assert one(mdp, "ss.lemma1.tabular").verdict == "violated"


def test_dense_features_interpolate_when_independent():
    rng = np.random.default_rng(0)
    mdp = random_mdp(1, T=2)
    wide = mdp.replace(features={"kind": "dense", "values": rng.normal(size=(2, 9, 18))})
    assert one(wide, "ss.lemma1.tabular").verdict == "holds"
    narrow = mdp.replace(features={"kind": "dense", "values": rng.normal(size=(2, 9, 3))})
    assert one(narrow, "ss.lemma1.tabular").verdict == "not-applicable"
    assert one(narrow, "ss.asm1").verdict == "violated"


def test_desirability_needs_the_reference_not_the_reward():
    mdp = generate("low-rank", 2, A=5, L=2)
    assert one(mdp, "ss.lemma1.desirability").verdict == "holds"
    sol = solve(mdp)
    bent = agreed(sol, V=sol.V + 0.1 * np.sin(np.arange(25)))  # two methods agree on a wrong table
    assert one(bent, "ss.lemma1.desirability").verdict == "violated"


def test_softmax_setup_is_evaluated():
    assert one(generate("softmax", 3), "ss.asm0").verdict == "holds"
    mdp = generate("softmax", 3)
    weights = mdp.ref_weights.copy()
    weights[mdp.reach.any_state.nonzero()[0][-1], 0] *= 2
    bent = one(mdp.replace(ref_weights=weights), "ss.asm0").verdict
    assert bent == ("violated" if mdp.n_contexts > mdp.features.width else "holds")
    forbidden = random_mdp(3, forbid=0.4)
    assert one(forbidden, "ss.asm0").verdict == "violated"


def test_weights_under_which_rewards_cancel():
    mdp = random_mdp(4)
    rewards = np.stack([mdp.rewards[0], -mdp.rewards[0]])
    found = {c.claim: c for c in check(mdp.replace(rewards=rewards, w=np.array([0.5, 0.5])))}
    assert found["ss.thm1.gap"].verdict == "not-applicable"
    assert "λ = 0" in found["ss.thm1.gap"].reason
    assert found["ss.thm1.gap.identity"].verdict == "holds"


def test_until_eos_instances_are_judged():
    mdp = random_mdp(5, T=None, eos=2, beta=4.0)
    verdicts = {c.claim: c.verdict for c in check(mdp)}
    assert verdicts["ss.thm1.gap.identity"] == "holds"
    assert verdicts["ss.thm1.gap.sharp"] == "holds"
    assert verdicts["ss.eq2-4"] == "holds"
    assert "violated" not in {v for k, v in verdicts.items() if CLAIMS[k].status == "proved"}


def test_extreme_temperatures_and_rewards_keep_their_verdicts():
    for beta in (1e-3, 1e3):
        mdp = generate("dirichlet", 7, T=4).replace(beta=beta, beta_prime=beta)
        for found in check(mdp):
            assert found.verdict != "violated" or found.status != "proved", found
            for value in (found.lhs, found.rhs, found.error):
                assert value is None or math.isfinite(value)


# -- numbers by a second method ----------------------------------------------------------------


def test_gap_identity_by_tables():
    """Both sides from explicit [T, S, A] tables and a walk, with no kernel."""
    mdp = random_mdp(6, T=3, forbid=0.2, beta=0.8)
    sol = solve(mdp)
    lam = np.array([0.4, -0.3])
    p, w = Policy(mdp, Soup(Facts(sol), lam).logits).table, sol.policy_w

    def walk(t, s):
        if t == 3:
            return 0.0
        total = 0.0
        for a in np.flatnonzero(p[t, s]):
            kl_w = math.log(p[t, s, a] / w[t, s, a])
            kl_ref = math.log(p[t, s, a] / mdp.ref[s, a])
            rate = mdp.beta * kl_w + (mdp.beta_prime / 0.7 - mdp.beta) * kl_ref
            total += p[t, s, a] * (rate + walk(t + 1, (s * 3 + a) % 9))
        return total

    found = one(sol, "ss.thm1.gap.identity", lam=lam)
    assert found.rhs == pytest.approx(walk(0, mdp.start_context), rel=1e-11)
    assert found.lhs == pytest.approx(found.rhs, rel=1e-11)


def test_printed_bounds_by_hand_on_one_step():
    """T = 1, one-hot features of scale c: every nu is a table over the tokens divided by c."""
    mdp = random_mdp(7, L=1, T=1, K=2)
    mdp = mdp.replace(rewards=np.abs(mdp.rewards))
    c = np.array([0.5, 2.0, 3.0])
    mdp = mdp.replace(features={"kind": "tabular", "per_step": True, "scale": c[None]})
    sol, opt = solve(mdp), soup_optimum(mdp)
    lam, s0 = opt.lam, mdp.start_context
    ref, w = mdp.ref[s0], sol.policy_w[0, s0]
    error = np.linalg.norm((mdp.reward_w - lam @ mdp.rewards) / c)
    found = one(sol, "ss.thm1.kl", optimum=opt)
    assert found.rhs == pytest.approx((w @ c + ref @ c) * error, rel=1e-9, abs=1e-14)
    mix = np.abs(lam) / np.abs(lam).sum()
    reward_error = np.linalg.norm((mdp.w - mix) @ (mdp.rewards / c))
    a = int(np.argmin(np.abs(lam) @ (mdp.reward_w - mdp.rewards)))
    x = np.exp(mdp.rewards)
    ratio = x / (x @ ref)[:, None]
    delta = np.log((ratio.max(1) + ratio.min(1) - 1) / (ratio.max(1) * ratio.min(1)))
    penalty = delta @ np.maximum(-lam, 0)
    found = one(sol, "ss.thm1.gap", optimum=opt)
    expected = c[a] * reward_error + penalty + (ref @ c) * error
    assert found.rhs == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_least_norm_coefficients_minimise_every_norm():
    rng = np.random.default_rng(1)
    base = rng.normal(size=(9, 3))
    values = base @ rng.normal(size=(3, 5))
    mdp = random_mdp(8).replace(features={"kind": "dense", "values": values})
    span = FeatureFit(mdp)
    field = np.broadcast_to(mdp.features.values @ rng.normal(size=5), (1, 4, 9))
    fit = span.fit(field)
    assert fit.exists() == [True]
    expected = np.linalg.pinv(mdp.features.values, rcond=1e-10) @ field[0, -1]
    np.testing.assert_allclose(fit.nu[0], expected, rtol=1e-9)


def test_standard_lambdas_stay_in_the_domain():
    mdp = random_mdp(9, K=3).replace(beta_prime=2.0)
    sol = solve(mdp)
    found = standard_lambdas(Facts(sol))
    assert {"optimum", "user weights", "one-hot 0", "one-hot 2", "draw 3", "zero"} <= set(found)
    assert all(mdp.beta * np.abs(v).sum() <= 2.0 * (1 + 1e-12) for v in found.values())
    assert any((v < 0).any() for v in found.values())


# -- outcomes ----------------------------------------------------------------------------------


def test_rounding_never_decides():
    near = Sides(1.0, 1.0 - 1e-15, 1.0)
    assert decide("inequality", near, 1e-14)[0] == "undecided"
    assert decide("inequality", near, 1e-17)[0] == "violated"
    assert decide("inequality", Sides(1.0, 1.1, 1.0), 1e-14)[0] == "holds"
    assert decide("equality", Sides(1.0, 1.0, 1.0), 1e-3)[0] == "undecided"
    assert decide("equality", Sides(1.0, 1.0 + 2e-14, 1.0), 1e-14)[0] == "undecided"
    assert decide("equality", Sides(1.0, 1.1, 1.0), 1e-14)[0] == "violated"


def test_worst_passes_over_places_with_nothing_to_compare():
    lhs, rhs = np.array([0.0, 0.5, 0.9]), np.array([0.0, 0.6, 2.0])
    found = worst(lhs, rhs, np.ones(3, dtype=bool), 1.0, ("s",))
    assert (found.lhs, found.rhs, found.where) == (0.5, 0.6, {"s": 1})
    with pytest.raises(NotApplicable):
        worst(lhs[:1], rhs[:1], np.ones(1, dtype=bool), 1.0, ("s",))


def test_a_quantity_that_cannot_be_computed_is_undecided():
    def sides(facts):
        raise Undecidable("the solver gave up")

    found = judged(replace(CLAIMS["ss.eq2-4"], sides=sides), solve(random_mdp(0)))
    assert (found.verdict, found.reason) == ("undecided", "the solver gave up")


def test_assert_claim_speaks_like_numpy_testing():
    assert assert_claim(random_mdp(0), "ss.thm1.gap.identity").verdict == "holds"
    with pytest.raises(AssertionError, match=r"ss\.lemma1 is violated: lhs = 0\.97.*slack"):
        assert_claim(lemma1_softmax(), "ss.lemma1")
    with pytest.raises(InstanceError, match="matches no claim"):
        assert_claim(random_mdp(0), "ss.lemma2")


def test_assert_claim_says_when_it_checked_nothing():
    with pytest.raises(SkipTest, match=r"ss\.delta\.tight is not applicable: no reachable state"):
        assert_claim(random_mdp(0), "ss.delta.tight")
    returned = assert_claim(random_mdp(0), "ss.delta.tight", not_applicable_ok=True)
    assert returned.verdict == "not-applicable"
    assert assert_claim(lemma1_softmax(), "ss.eq8.upper").verdict == "undecided"
    with pytest.raises(AssertionError, match="is undecided"):
        assert_claim(lemma1_softmax(), "ss.eq8.upper", undecided_ok=False)


def test_assert_claim_at_a_given_lambda():
    outcome = assert_claim(random_mdp(0), "ss.thm1.gap.sharp", lam=[0.4, -0.3])
    assert (outcome.lam, outcome.lam_name) == ((0.4, -0.3), "given")
    with pytest.raises(SkipTest, match="not applicable"):  # outside the budget
        assert_claim(random_mdp(0), "ss.thm1.gap.sharp", lam=[4.0, -3.0])
    with pytest.raises(InstanceError, match="2 finite numbers"):
        assert_claim(random_mdp(0), "ss.thm1.gap.sharp", lam=[0.4])


# -- sabotage ----------------------------------------------------------------------------------


def sabotage_instance(claim) -> TokenMDP:
    """An instance on which the claim is decided, so that sabotage has something to turn."""
    candidates = [
        generate(f, s)
        for s in range(3)
        for f in ("dirichlet", "low-rank", "tree", "softmax", "unit-norm")
    ]
    for mdp in (*candidates, long_fit(), signed_uniform(), redundant_tastes()):
        if one(mdp, claim.id).verdict in ("holds", "violated"):
            return mdp
    raise AssertionError(f"{claim.id} is decided on no candidate")


@pytest.mark.parametrize("claim", TOKEN_CLAIMS, ids=lambda c: c.id)
def test_sabotaged_claims_turn(claim):
    mdp = sabotage_instance(claim)
    sol = solve(mdp)
    opt = soup_optimum(mdp, sol)
    honest = one(sol, claim.id, optimum=opt)
    lam = None if honest.lam is None else np.array(honest.lam)

    def shifted(*arguments):
        found = claim.sides(*arguments)
        if claim.kind == "inequality":
            return replace(found, rhs=found.lhs - 10 * honest.error)
        return replace(found, rhs=found.lhs + 20 * honest.error)

    broken = judged(replace(claim, sides=shifted), sol, lam, opt)
    assert broken.verdict == "violated"

    for hypothesis in claim.hypotheses:
        name = hypothesis.id
        found = judged(with_outcome(claim, hypothesis, False), sol, lam, opt)
        assert (found.verdict, found.reason) == ("not-applicable", f"{name} replaced")
        assert found.hypotheses[name] is False
        found = judged(with_outcome(claim, hypothesis, None), sol, lam, opt)
        assert found.verdict == "undecided"
        assert name in found.reason


def with_outcome(claim, hypothesis, outcome):
    """The claim with one of its hypotheses replaced by one of a known outcome."""
    other = replace(hypothesis, test=lambda _: (outcome, f"{hypothesis.id} replaced"))
    hypotheses = tuple(other if h is hypothesis else h for h in claim.hypotheses)
    return replace(claim, hypotheses=hypotheses)


@pytest.mark.parametrize("claim", TOKEN_CLAIMS, ids=lambda c: c.id)
def test_claims_are_documented(claim):
    assert claim.statement
    assert claim.reason
    assert claim.source
    assert all(h.statement and h.test.__doc__ for h in (*claim.hypotheses, *claim.reported))


NEGATIONS = {
    "ss.asm1": lambda m: m.replace(features={"kind": "dense", "values": np.ones((9, 1))}),
    "q-linear": lambda m: m.replace(features={"kind": "tabular", "per_step": False}),
    "rewards-nonnegative": lambda m: m.replace(rewards=m.rewards - 1.0),
}


@pytest.mark.parametrize("name", NEGATIONS)
def test_instances_that_break_one_hypothesis(name):
    mdp = random_mdp(10)
    mdp = mdp.replace(rewards=np.abs(mdp.rewards))
    assert one(mdp, "ss.thm1.gap").verdict in ("holds", "violated")
    found = one(NEGATIONS[name](mdp), "ss.thm1.gap")
    assert found.verdict == "not-applicable"
    assert found.hypotheses[name] is False


def test_lambda_hypotheses_are_evaluated():
    mdp = random_mdp(11)
    outside = one(mdp, "ss.thm1.gap.sharp", lam=[3.0, 0.0])
    assert outside.verdict == "not-applicable"
    assert outside.hypotheses["lambda-in-domain"] is False
    zero = one(mdp, "ss.delta.renyi", lam=[0.0, 0.0])
    assert zero.hypotheses["lambda-nonzero"] is False
    # the repaired KL bound needs no domain at all
    assert one(mdp, "ss.thm1.kl.repaired", lam=[3.0, -4.0]).verdict == "holds"


@pytest.mark.parametrize("seed", range(4))
def test_claims_about_every_weight_are_judged_where_they_are_worst(seed):
    """Against each λ of the standard set by itself: no violation is passed over."""
    sol = solve(generate("dirichlet", 40 + seed))
    optimum = soup_optimum(sol.mdp, sol)
    broken = 0
    for claim in ("ss.proof.A", "ss.proof.C.lipschitz", "ss.thm1.gap.sharp", "ss.proof.B"):
        (found,) = check(sol, claim, optimum=optimum)
        alone = [
            judged(claim, sol, lam, optimum)
            for lam in standard_lambdas(facts_of(sol, optimum)).values()
        ]
        verdicts = {c.verdict for c in alone}
        broken += "violated" in verdicts and verdicts != {"violated"}
        if "violated" in verdicts:
            assert found.verdict == "violated"
            assert found.slack == min(c.slack for c in alone if c.slack is not None)
        elif "undecided" in verdicts:
            assert found.verdict == "undecided"
    assert broken


@pytest.mark.parametrize("family", ["dirichlet", "low-rank", "tree"])
def test_two_threads_judge_as_one(family, monkeypatch):
    """The same records to the last digit, whichever thread took which λ or method."""
    mdp = generate(family, 3)
    one = check(mdp)
    monkeypatch.setattr(checking, "PARALLEL", 1)
    for _ in range(3):
        assert check(mdp) == one


def test_a_claim_that_fails_in_the_other_thread_fails_here(monkeypatch):
    monkeypatch.setattr(checking, "PARALLEL", 1)
    facts = Facts(solve(random_mdp(0)))

    def the_second_time(outcome):
        def sides(asked):
            if asked is facts.second:
                raise outcome
            return Sides(0.0, 1.0, 1.0)

        return sides

    claim = CLAIMS["ss.eq2-4"]
    for outcome, verdict in (
        (NotApplicable("x"), "not-applicable"),
        (Undecidable("x"), "undecided"),
    ):
        with helper(True) as pool:
            found = replace(claim, sides=the_second_time(outcome)).begin(facts, pool=pool)()
        assert (found.verdict, found.reason) == (verdict, "x")
    broken = replace(claim, sides=the_second_time(ZeroDivisionError("by 0")))
    with (
        helper(True) as pool,
        pytest.raises(ClaimError, match=r"ss.eq2-4.*ZeroDivisionError: by 0"),
    ):
        broken.begin(facts, pool=pool)()


def test_the_least_slack_is_found_and_no_number_is_not_passed_over():
    lhs, rhs = np.array([[0.0, 3.0], [1.0, 1e-20]]), np.array([[9.0, 5.0], [2.0, 0.0]])
    everywhere = np.ones((2, 2), dtype=bool)
    assert worst(lhs, rhs, everywhere, 1.0, ("t", "s")).where == {"t": 1, "s": 0}
    assert worst(lhs, rhs, ~np.eye(2, dtype=bool), 1.0, ("t", "s")).where == {"t": 1, "s": 0}
    assert worst(lhs, rhs, np.eye(2, dtype=bool), 1.0, ("t", "s")).where == {"t": 0, "s": 0}
    rhs[0, 1] = np.nan
    assert worst(lhs, rhs, everywhere, 1.0, ("t", "s")).where == {"t": 0, "s": 1}
    with pytest.raises(NotApplicable):
        worst(0 * lhs, 0 * lhs, everywhere, 1.0, ("t", "s"))


@pytest.mark.parametrize("seed", range(4))
def test_identities_are_reported_at_the_optimum_and_not_where_rounding_was_worst(seed):
    for name in ("gap.identity", "betaprime"):
        (found,) = check(random_mdp(seed), f"ss.*{name}")
        assert (found.verdict, found.lam_name) == ("holds", "optimum")


def test_a_soup_does_not_follow_the_array_it_was_asked_at():
    sol, lam = solve(random_mdp(0)), np.array([0.5, 0.5])
    soup, before = Soup(Facts(sol), lam), Soup(Facts(sol), lam).gap
    lam[:] = [1.0, 0.0]
    assert soup.gap == before != Soup(Facts(sol), lam).gap


def blas_threads() -> set[int]:
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def test_linear_algebra_has_one_thread_while_any_check_runs(monkeypatch):
    """Whoever leaves first does not lift the limit of the other; the last one does."""
    before = blas_threads()
    first, second = one_blas_thread(), one_blas_thread()
    first.__enter__()
    second.__enter__()
    assert blas_threads() == {1}
    first.__exit__(None, None, None)
    assert blas_threads() == {1}
    second.__exit__(None, None, None)
    assert blas_threads() == before
    with pytest.raises(KeyboardInterrupt), one_blas_thread():
        raise KeyboardInterrupt
    assert blas_threads() == before
    seen = []
    monkeypatch.setattr(checking, "_judge", lambda *_: seen.append(blas_threads()) or [])
    check(random_mdp(0), "ss.delta")
    assert seen == [{1}]


def test_an_optimum_of_another_instance_is_refused():
    mdp, other = generate("dirichlet", 1, K=2), generate("dirichlet", 2, K=2)
    with pytest.raises(InstanceError, match=r"optimum.J = .*is not of this instance"):
        check(mdp, "ss.eq8.onehot", optimum=soup_optimum(other))
    with pytest.raises(InstanceError, match=r"optimum.lam = .*is not of this instance"):
        check(mdp, "ss.eq8.onehot", optimum=soup_optimum(generate("dirichlet", 2, K=3)))
    with pytest.raises(InstanceError, match=r"lam"):
        check(mdp, "ss.eq8.upper", lam=["a", "b"])


def test_the_seed_reaches_facts_that_were_made_before():
    mdp = generate("softmax", 5, K=3)
    assert check(Facts(solve(mdp)), seed=7) == check(mdp, seed=7)
