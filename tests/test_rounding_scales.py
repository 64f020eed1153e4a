"""What rounding is measured by, number by number; and thresholds that only rounding separates."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from conftest import random_mdp
from judging import agreed, facts_of
from second_code.solve import Mix
from second_code.worlds import WORLDS
from test_second_code import solved

from bounds import CLAIMS, Facts, Soup, check
from bounds.claims.catalogue import hypotheses
from bounds.claims.section4 import answers, size_of_answers
from bounds.facts.attribute_set import AttributeFacts
from bounds.facts.linear_fit import Fit
from bounds.facts.topic_cloud import TopicFacts
from toymdp import InstanceError, TokenMDP, solve, soup_optimum
from toymdp.soup.objective import SoupObjective
from toymdp.worlds.attribute_set import CLASSICS, FAMILIES
from toymdp.worlds.topic_cloud import TopicCloud

EPS = np.finfo(float).eps
OF_FEATURES = ("ss.asm0", "ss.asm1", "q-linear", "features-independent", "features-constant-norm")


def world(name: str, **changes) -> TokenMDP:
    return TokenMDP(**{**WORLDS[name](), **changes})


def outcome(name: str, subject):
    return hypotheses()[name].evaluate(subject)[0]


# -- the scales, by what they say --------------------------------------------------------------


@pytest.mark.parametrize("name", ["wide-dense", "one-hot-forbidding", "until-eos"])
def test_scales_of_values_returns_and_divergences(name):
    case = solved(name)
    facts, mdp = Facts(case.sol), case.mdp
    places = [
        (t, s, a) for t, s in np.argwhere(mdp.reach.states) for a in np.flatnonzero(mdp.ref[s])
    ]
    follows = {(t, s, a): (t, (s * mdp.vocab_size + a) % mdp.n_contexts) for t, s, a in places}
    tables = [*case.sol.Q, case.sol.Q_w]
    step = max(abs(q[at]) for q in tables for at in follows.values())
    step = max(step, *(abs(r[n]) for r in mdp.rewards for _, n in follows.values()))
    rare = -np.log(min(mdp.ref[s, a] for _, s, a in places)) if mdp.horizon is None else 0.0
    step += (1.0 + rare) * mdp.beta
    assert facts.size_of_values / facts.steps == pytest.approx(step, rel=1e-12)
    assert (facts.steps == 1.0) is (mdp.horizon is not None)
    ranges = []
    for q in tables:
        rows: dict = {}
        for (t, s, _), at in follows.items():
            rows.setdefault((t, s), []).append(q[at] / mdp.beta)
        ranges += [max(row) - min(row) for row in rows.values()]
    returns = facts.size_of_values * (1.0 + max(ranges) / 8.0)
    assert facts.size_of_returns == pytest.approx(returns, rel=1e-12)
    divergences = 1.0 + facts.size_of_values / mdp.beta
    assert facts.size_of_divergences == pytest.approx(divergences, rel=1e-12)
    if mdp.horizon is None:
        steps = float(facts.reference.occupancy.states.sum())
        error = 8 * EPS * steps * (steps * step * (1.0 + max(ranges) / 8.0) + 3.0)
        assert facts.value_error(facts.reference, -3.0) == pytest.approx(error, rel=1e-9, abs=0)
        assert steps > 1.5


def test_radius_of_the_logit_norm():
    case = solved("wide-dense")
    facts = Facts(case.sol)
    soup = Soup(facts, case.weights(0))
    radius = facts.value_fit.radius
    parts = case.mdp.beta_prime / case.mdp.beta * radius[-1] + np.abs(soup.lam) @ radius[:-1]
    assert soup.logit_norm_error == pytest.approx(parts, rel=1e-12, abs=0)
    true = Mix(case.truth, case.weights(0)).logit_length
    assert abs(soup.logit_norm - true) <= soup.logit_norm_error < 1e-8 * soup.logit_norm


def test_scales_of_set_functions():
    """Where F is a mean of margins its size is that of their absolute values; additions are counted."""
    facts = AttributeFacts(FAMILIES["tilted-attributes"](0))
    margins = np.abs(facts.margins)
    assert margins.shape[0] > 1
    assert facts.size == pytest.approx(max(margins[:, i].mean() for i in range(margins.shape[1])))
    assert facts.size > margins.mean() * 1.1
    world = facts.instance
    assert facts.depth == world.n_attributes**2 + len(world.pairs)
    assert AttributeFacts(CLASSICS["filter-synergy"]()).depth == 9


def test_the_specialist_s_own_rounding_counts_until_eos():
    """What a specialist earns is known no better than the soup's value is."""
    case = solved("until-eos")
    facts = facts_of(case.sol, case.optimum)
    soup = Soup(facts, case.optimum.lam)
    found = CLAIMS["ss.eq8.onehot"].sides(facts, soup)
    k = int(np.argmax(facts.specialist_values))
    both = soup.value_error + facts.value_error(facts.specialists[k], found.lhs)
    assert found.error == pytest.approx(both, rel=1e-12, abs=0)
    assert found.error > 1.3 * soup.value_error


@pytest.mark.parametrize("name", ["wide-dense", "one-hot-forbidding"])
def test_scales_and_radii_of_single_claims(name):
    case = solved(name)
    facts, mdp = facts_of(case.sol, case.optimum), case.mdp
    soup = Soup(facts, case.weights(0))
    assert mdp.beta != 1
    found = CLAIMS["ss.thm1.gap.identity"].sides(facts, soup)
    assert found.scale == pytest.approx(facts.size_of_returns + mdp.beta * mdp.horizon, rel=1e-12)
    found = CLAIMS["ss.betaprime"].sides(facts, soup)
    size = facts.size_of_returns * (1 + 1 / mdp.beta) + abs(found.lhs)
    assert found.scale == pytest.approx(size, rel=1e-12)
    found = CLAIMS["ss.eq12.repaired"].sides(facts)
    radius = 32 * EPS * mdp.order * facts.size_of_values
    assert found.error == pytest.approx(radius, rel=1e-12, abs=0)
    assert found.scale == pytest.approx(facts.size_of_values + mdp.beta, rel=1e-12)


@pytest.mark.parametrize("name", ["wide-dense", "binary-ended"])
def test_size_of_answers(name):
    """The largest ``Σ(|Q| + |V|)`` of an answer, V of the states it goes on from, and β a step."""
    case = solved(name)
    facts = Facts(case.sol)
    drawn, sizes = answers(facts), []
    for contexts, going in zip(drawn.contexts, drawn.going, strict=True):
        for Q, V in zip(case.sol.Q, case.sol.V, strict=True):
            taken = [(t, n) for t, n in enumerate(contexts[1:]) if going[t]]
            sizes.append(sum(abs(Q[t, n]) + abs(V[t + 1, n]) for t, n in taken))
    longest = case.mdp.beta * drawn.going.sum(axis=1).max()
    assert size_of_answers(facts) == pytest.approx(max(sizes) + longest, rel=1e-12)
    assert longest > 0.05 * max(sizes)


# -- thresholds ---------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1e-6, 1e6])
@pytest.mark.parametrize("name", ["wide-dense", "narrow-softmax", "narrow-per-step"])
def test_no_verdict_about_features_depends_on_their_scale(name, scale):
    fields = WORLDS[name]()
    values = fields["features"]["values"]
    for table in (values, values / np.linalg.norm(values, axis=-1, keepdims=True)):
        plain = Facts(solve(world(name, features={"kind": "dense", "values": table})))
        changes = {"features": {"kind": "dense", "values": scale * table}}
        if "start_feature" in fields:
            changes["start_feature"] = scale * fields["start_feature"]
        moved = Facts(solve(world(name, **changes)))
        for hypothesis in OF_FEATURES:
            expected = outcome(hypothesis, plain)
            assert expected is not None
            assert outcome(hypothesis, moved) is expected, hypothesis
    assert outcome("features-constant-norm", moved) is True


@pytest.mark.parametrize("scale", [1e-14, 1e-9, 1e9])
@pytest.mark.parametrize("linear", [True, False])
def test_linearity_of_rewards_is_judged_by_their_own_size(scale, linear):
    """However small the rewards are, what a fit leaves is compared with them."""
    for name in ("narrow-softmax", "narrow-per-step"):
        mdp = world(name)
        if (name == "narrow-softmax") is linear:
            assert (
                outcome("ss.asm1", Facts(solve(mdp.replace(rewards=scale * mdp.rewards)))) is linear
            )
    shared = random_mdp(0, T=2).replace(features={"kind": "tabular", "per_step": False})
    assert outcome("ss.asm1", Facts(solve(shared.replace(rewards=scale * shared.rewards)))) is True


def test_a_fit_close_to_its_rounding_is_left_open():
    def fit(largest: float, error: float, size: float = 1.0) -> bool | None:
        one = np.ones(1)
        sizes = error * one, size * one, largest * one, 0.0 * one
        found = Fit(np.ones((1, 1)), np.zeros((1, 1, 1)), *sizes)
        return found.exists()[0]

    assert fit(1e-12, 1e-12) is True
    assert fit(1.01e-12, 1e-12) is None
    assert fit(7.9e-12, 1e-12) is None
    assert fit(8.1e-12, 1e-12) is False
    assert fit(0.0, 0.9e-7) is True
    assert fit(0.0, 1.1e-7) is None
    assert fit(0.0, 0.9e-4, 1e3) is True


def test_rows_met_at_one_step_only_are_independent_without_a_step():
    """Features that ignore the step repeat a row where a context comes up twice, and not before."""
    spec = {"kind": "tabular", "per_step": False}
    assert outcome("features-independent", Facts(solve(random_mdp(0, T=1).replace(features=spec))))
    twice = Facts(solve(random_mdp(0, T=4).replace(features=spec)))
    assert outcome("features-independent", twice) is False
    assert outcome("features-independent", Facts(solved("until-eos").sol)) is True
    assert check(solved("until-eos").mdp, "ss.lemma1.tabular")[0].verdict == "holds"


def test_a_token_that_is_never_emitted_breaks_no_softmax():
    mdp = world("narrow-softmax")
    weights = np.zeros((16, 4))
    features = np.random.default_rng(0).normal(size=(16, 3))
    weights[:, :3] = np.exp(features @ np.random.default_rng(1).normal(size=(3, 3)))
    fields = {
        **mdp.fields(), "vocab_size": 4, "bos": 3, "start": [3, 3], "ref_weights": weights,
        "rewards": np.random.default_rng(2).normal(size=(2, 16)), "start_feature": None,
        "features": {"kind": "dense", "values": features}, "name": None,
    }  # fmt: skip
    assert outcome("ss.asm0", Facts(solve(TokenMDP(**fields)))) is True
    weights = weights.copy()
    weights[0, 1] = 0.0  # after 0, 0: a token that could be emitted
    assert outcome("ss.asm0", Facts(solve(TokenMDP(**{**fields, "ref_weights": weights})))) is False


def test_a_value_of_zero_within_rounding_is_left_open():
    case = solved("wide-dense")
    facts = Facts(case.sol)
    unit = EPS * facts.depth * facts.size_of_values
    for off, expected in ((20.0, True), (0.0, True), (-20.0, None), (-60.0, None), (-70.0, False)):
        V = case.sol.V.copy()
        V[1, 0, case.mdp.start_context] = off * unit
        assert outcome("values-nonnegative", agreed(case.sol, V=V)) is expected


def test_a_soup_that_ties_with_a_specialist_beats_it(monkeypatch):
    case = solved("wide-dense")
    facts = facts_of(case.sol, case.optimum)
    unit = EPS * facts.depth * facts.size_of_returns
    best = float(facts.specialist_values.max())
    for off, expected in ((10.0, True), (-20.0, True), (-60.0, True), (-70.0, False)):
        value = property(lambda soup, x=best + off * unit: x)
        monkeypatch.setattr(Soup, "value", value)
        monkeypatch.setattr(Soup, "value_error", property(lambda soup: 0.0))
        soup = Soup(facts, case.weights(0))
        assert hypotheses()["beats-one-hot"].evaluate(facts, soup)[0] is expected


def test_desirability_where_blocks_and_tokens_are_of_different_number():
    """Contexts of three tokens: nine blocks of three rows, two of which are alike in each."""
    mdp = random_mdp(3, A=3, L=3, T=5)
    weights = mdp.ref_weights.copy()
    weights[18:] = weights[9:18]  # what was the oldest of three tokens makes no difference
    found = check(mdp.replace(ref_weights=weights), "ss.lemma1.desirability")[0]
    assert found.verdict == "holds"
    assert found.error < 1e-9


def test_an_optimum_of_another_instance_is_refused():
    mdp = random_mdp(0).replace(rewards=100 * random_mdp(0).rewards)
    sol = solve(mdp)
    optimum = soup_optimum(mdp, sol)
    size = max(SoupObjective(sol).scale, abs(optimum.J))
    assert size > 50
    for off in (-5e-7, 5e-7):
        check(sol, "ss.eq8.upper", optimum=replace(optimum, J=optimum.J + off * size))
    for off in (-2e-6, 2e-6):
        with pytest.raises(InstanceError, match="not of this instance"):
            check(sol, "ss.eq8.upper", optimum=replace(optimum, J=optimum.J + off * size))


def test_chances_of_atom_counts_are_as_exact_as_their_factorials():
    """``n!`` is cancelled in each multinomial chance; its logarithm and n are what is rounded."""
    facts = topics(
        means=[[0.0], [9.0]], counts=[5, 20], separation=1.0, sigma=1.0, covariances=None,
        points=[[[-1.0], [1.0]], [[-1.0], [1.0]]], weights=[[0.5, 0.5], [0.5, 0.5]],
    )  # fmt: skip
    size = math.log(math.factorial(5)) + 5 + math.log(math.factorial(20)) + 20
    assert facts.centres.relative == pytest.approx(8 * EPS * size, rel=1e-12, abs=0)
    assert facts.centres.weights.sum() == pytest.approx(1.0, rel=1e-15)


# -- topics -------------------------------------------------------------------------------------


def topics(**changes) -> TopicFacts:
    fields = {
        "means": [[3.0, 0.0], [-3.0, 0.0], [0.0, 4.0]], "counts": [4, 4, 2], "separation": 5.0,
        "sigma": 0.1, "delta": 0.1, "covariances": np.array([np.eye(2) * 0.01] * 3),
    }  # fmt: skip
    return TopicFacts(TopicCloud(**{**fields, **changes}))


def test_the_nearest_two_topics_decide_whether_they_are_separated():
    """Distances 6, 5 and 5; the sums of the centres are 0, 5 and 5 long."""
    assert outcome("topics-separated", topics()) is True
    assert outcome("topics-separated", topics(separation=5.001)) is False
    opposite = topics(means=[[3.0, 0.0], [3.001, 0.0], [0.0, 4.0]])
    assert outcome("topics-separated", opposite) is False


def test_centres_apart_by_r_are_apart_by_r_however_it_is_rounded():
    rng = np.random.default_rng(0)
    below = 0
    for _ in range(200):
        a, b = rng.normal(size=(2, 2))
        r = float(np.nextafter(np.linalg.norm(a - b), np.inf))
        below += np.linalg.norm(a - b) < r
        counts, covariances = [1, 1], np.array([np.eye(2)] * 2)
        facts = topics(means=[a, b], counts=counts, covariances=covariances, separation=r)
        assert outcome("topics-separated", facts) is True
    assert below == 200


def test_every_topic_must_have_its_share():
    assert outcome("topics-stratified", topics()) is True
    assert outcome("topics-stratified", topics(proportions=[0.4, 0.3, 0.3])) is False


def test_noise_is_centred_up_to_the_rounding_of_the_prompts():
    """A mean of 1e-10 is rounding beside prompts of 1e6, and a bias beside prompts of 1."""
    for size, expected in ((1e6, True), (1.0, False)):
        points = size * np.array([[[-1.0], [1.0]], [[-2.0], [1.0]]])
        points[0] += 1e-10
        facts = topics(
            means=[[0.0], [9.0 * size]], counts=[1, 1], separation=size, sigma=size,
            points=points, weights=[[0.5, 0.5], [1 / 3, 2 / 3]], covariances=None,
        )  # fmt: skip
        assert outcome("noise-centred", facts) is expected


def test_prompts_far_below_zero_are_as_large_as_those_far_above():
    points, weights = [[[-2e6], [1.0]], [[0.0], [0.0]]], [[1.0, 2e6], [1.0, 1.0]]
    points = np.array(points) + 1e-10
    weights = np.array(weights) / np.sum(weights, axis=1, keepdims=True)
    facts = topics(
        means=[[0.0], [1.0]], counts=[1, 1], separation=1.0, sigma=1.0, points=points,
        weights=weights, covariances=None,
    )  # fmt: skip
    assert np.abs(facts.offsets).max() > 0.9e-10
    assert outcome("noise-centred", facts) is True


def test_noise_of_exactly_sigma_is_sub_gaussian_however_it_is_rounded():
    """A rotated σ²·1 has eigenvalues that rounding may lift above σ²; a true excess is refused."""
    rng, above = np.random.default_rng(0), 0
    for _ in range(40):
        turn = np.linalg.qr(rng.normal(size=(2, 2)))[0]
        covariance = turn @ np.diag([0.01, 0.003]) @ turn.T
        facts = topics(covariances=np.array([covariance] * 3))
        above += max(np.linalg.eigvalsh(c)[-1] for c in facts.covariances) > 0.1**2
        assert outcome("noise-subgaussian", facts) is True
        more = topics(covariances=np.array([(1 + 1e-12) * covariance] * 3))
        assert outcome("noise-subgaussian", more) is False
    assert above > 3
