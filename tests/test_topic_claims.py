"""EXACT section 5.2: pooling and retrieval, by closed form, by enumeration and by drawing."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from judging import judged, outcome_of
from scipy.stats import norm

from bounds.claims import exact_topics as topic_claims
from bounds.facts.topic_cloud import TopicFacts, compositions
from toymdp import InstanceError
from toymdp.files import read_json
from toymdp.worlds.topic_cloud import CLASSICS, FAMILIES, TopicCloud

CLAIMS = {claim.id: claim for claim in topic_claims.TABLE}


def judge(instance, claim):
    return judged(CLAIMS[claim], TopicFacts(instance))


def changed(instance, **changes):
    return TopicCloud(**{**instance.fields(), **changes})


# -- verdicts over the families ----------------------------------------------------------------


@pytest.fixture(scope="module")
def verdicts():
    found = {name: Counter() for name in CLAIMS}
    for family in FAMILIES.values():
        for seed in range(40):
            sub = TopicFacts(family(seed))
            for claim in CLAIMS.values():
                found[claim.id][judged(claim, sub).verdict] += 1
    return found


@pytest.mark.parametrize("name", [c.id for c in CLAIMS.values() if c.status == "proved"])
def test_a_proved_row_is_never_violated(verdicts, name):
    assert verdicts[name]["violated"] == 0
    assert verdicts[name]["holds"] >= 80


@pytest.mark.parametrize("name", [c.id for c in CLAIMS.values() if c.status == "refuted"])
def test_a_refuted_row_is_violated_by_a_seeded_instance(verdicts, name):
    assert verdicts[name]["violated"] >= 2


def test_only_retrieval_by_drawing_is_ever_undecided(verdicts):
    undecided = {name for name, counts in verdicts.items() if counts["undecided"]}
    assert undecided <= {"ex.eq19", "ex.eq19.repaired"}


@pytest.mark.parametrize(
    ("classic", "claim", "lhs", "rhs"),
    [
        ("two-points", "ex.eq17.iid", 3 / 8, 1 / 4),
        # all of 256 prompts without a jump is the rule; the test prompt jumps once in 2**20
        ("rare-jump", "ex.eq19", 2.0**-20, 4e-8),
    ],
)
def test_classics_break_what_they_are_for(classic, claim, lhs, rhs):
    check = judge(CLASSICS[classic](), claim)
    assert check.verdict == "violated"
    assert all(value is True for value in check.hypotheses.values())
    assert (check.lhs, check.rhs) == pytest.approx((lhs, rhs), rel=1e-6)


def test_the_gaussian_classic_breaks_19_by_far_more_than_its_interval():
    check = judge(CLASSICS["gaussian-tail"](), "ex.eq19")
    assert check.verdict == "violated"
    assert check.lhs - check.error > 50 * check.rhs
    # P_err = Φ(−4) but for the noise of the centres
    assert check.terms["P_err"] == pytest.approx(3.2e-5, rel=0.02)
    # nor is the topic identified with probability 1 − δ, as Theorem 5.2 says in words
    assert check.terms["P_err"] > 300 * CLASSICS["gaussian-tail"]().delta


@pytest.mark.parametrize("n", [10**4, 10**6, 10**8])
def test_more_past_prompts_do_not_help(n):
    """(18) is met however large its constant; the left side of (19) stays Φ(−4)·r²."""
    world = changed(CLASSICS["gaussian-tail"](), counts=[n, n], proportions=None)
    check = judge(world, "ex.eq19")
    assert check.verdict == "violated"
    assert check.lhs == pytest.approx(64 * 3.167e-5, rel=0.02)


# -- second computations ------------------------------------------------------------------------


def outcomes(world, counts):
    """Every history of a world on atoms: probability and the noises [m, d] by topic order."""
    order = [c for c, n in enumerate(counts) for _ in range(int(n))]
    atoms = TopicFacts(world).atoms
    for choice in itertools.product(*(range(len(atoms[c][1])) for c in order)):
        chance = np.prod([atoms[c][1][i] for c, i in zip(order, choice, strict=True)])
        yield chance, order, np.array([atoms[c][0][i] for c, i in zip(order, choice, strict=True)])


def small_atoms(seed):
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.ones(2), size=3)
    points = rng.normal(size=(3, 2, 2))
    points -= np.einsum("cm,cmd->cd", weights, points)[:, None]
    return TopicCloud(
        means=0.5 * rng.normal(size=(3, 2)), counts=[2, 3, 1], points=points, weights=weights,
        topic=1, separation=0.1, sigma=3.0, delta=0.1,
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
def test_pooling_against_every_history(seed):
    world = small_atoms(seed)
    m = world.counts.sum()
    fixed = sum(
        chance * ((world.means[order] + noise).mean(axis=0) - world.means[1]) @
        ((world.means[order] + noise).mean(axis=0) - world.means[1])
        for chance, order, noise in outcomes(world, world.counts)
    )  # fmt: skip
    assert judge(world, "ex.eq17.stratified").lhs == pytest.approx(fixed, rel=1e-12)
    p, drawn = world.proportions, 0.0
    for topics in itertools.product(range(3), repeat=int(m)):
        counts = np.bincount(topics, minlength=3)
        centre = counts @ world.means / m - world.means[1]
        noise = counts @ np.trace(TopicFacts(world).covariances, axis1=1, axis2=2) / m**2
        drawn += np.prod(p[list(topics)]) * (centre @ centre + noise)
    assert judge(world, "ex.eq17.iid.repaired").rhs == pytest.approx(drawn, rel=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_retrieval_against_every_history(seed):
    world = small_atoms(seed)
    j, wrong, error = 1, 0.0, 0.0
    points, weights = TopicFacts(world).atoms[j]
    for chance, order, noise in outcomes(world, world.counts):
        prompts, topics = world.means[order] + noise, np.array(order)
        centres = np.array([prompts[topics == c].mean(axis=0) for c in range(3)])
        for point, weight in zip(points, weights, strict=True):
            found = int(np.argmin(((centres - world.means[j] - point) ** 2).sum(axis=1)))
            wrong += chance * weight * (found != j)
            error += chance * weight * ((centres[found] - world.means[j]) ** 2).sum()
    check = judge(world, "ex.eq19.repaired")
    assert check.verdict == "holds"
    assert check.terms["P_err"] == pytest.approx(wrong, rel=1e-12)
    assert check.lhs + check.terms["tr Σ_j/n_j"] == pytest.approx(error, rel=1e-12)


@pytest.mark.parametrize("seed", [6, 8, 12])
def test_retrieval_of_gaussian_clouds_against_plain_drawing(seed):
    """The tails integrate what a direct simulation of (19) draws."""
    world = FAMILIES["mixed-topics"](seed)
    assert len(world.means) > 1
    sub, rng, N, j = TopicFacts(world), np.random.default_rng(1), 200_000, world.topic
    noise = rng.normal(size=(N, *world.means.shape)) / np.sqrt(world.counts)[:, None]
    centres = world.means + np.einsum("ncd,cde->nce", noise, sub.roots)
    prompt = world.means[j] + rng.normal(size=(N, world.means.shape[1])) @ sub.roots[j]
    found = ((centres - prompt[:, None]) ** 2).sum(axis=2).argmin(axis=1)
    excess = ((centres - world.means[j]) ** 2).sum(axis=2)
    excess = excess[np.arange(N), found] - excess[:, j]
    mid, half = topic_claims.misretrieved(sub, topic_claims._excess(sub))
    spread = 5 * excess.std() / N**0.5
    assert mid - half - spread <= excess.mean() <= mid + half + spread


@pytest.mark.parametrize("topics", [2, 4])
def test_bounds_by_tails_are_what_they_say(topics):
    """``max p_c ≤ P(ĵ ≠ j) ≤ Σ p_c`` with the least and the largest gain, and ``Σ p_c gain_c⁺``."""
    rng, j = np.random.default_rng(topics), 1
    means = rng.normal(size=(topics, 2))
    covariances = np.array([np.eye(2) * x for x in rng.uniform(0.3, 1.0, size=topics)])
    sub = TopicFacts(TopicCloud(
        means=means, counts=[3] * topics, topic=j, separation=0.1, sigma=2.0, delta=0.1,
        covariances=covariances,
    ))  # fmt: skip
    shift, gain = 0.3 * rng.normal(size=(40, topics, 2)), rng.normal(size=(40, topics))
    gain[::2] = np.abs(gain[::2])
    low, high = topic_claims._by_tails(sub, shift, gain)
    tighter = 0
    for n in range(40):
        chances, gains = [], []
        for c in range(topics):
            if c != j:
                a, b = shift[n, j], shift[n, c] + means[c] - means[j]
                spread = 2 * np.sqrt((b - a) @ covariances[j] @ (b - a))
                chances.append(norm.cdf(-(b @ b - a @ a) / spread))
                gains.append(gain[n, c])
        wrong = [max(chances), min(sum(chances), 1.0)]
        by_gain = max(w * max(gains) for w in wrong)
        by_topic = sum(p * max(g, 0.0) for p, g in zip(chances, gains, strict=True))
        assert low[n] == pytest.approx(min(w * min(gains) for w in wrong), rel=1e-10)
        assert high[n] == pytest.approx(min(by_gain, by_topic), rel=1e-10)
        tighter += by_topic < 0.9 * by_gain
    assert bool(tighter > 5) is (topics > 2)
    if topics == 2:  # nothing is left open
        np.testing.assert_allclose(low, high, rtol=1e-12)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_simulation_of_pooling_covers_the_closed_form(family):
    for seed in range(20):
        world = FAMILIES[family](seed)
        for iid in (False, True):
            sub = TopicFacts(world)
            mean, half = topic_claims.pooling_simulated(sub, iid=iid)
            assert abs(mean - topic_claims.pooling_error(sub, iid=iid)) <= half + 1e-12


def test_the_interval_of_pooling_allows_for_atoms_that_were_not_drawn():
    """Maurer and Pontil's bound: without any spread in the draws its second term is what is left."""
    world = TopicCloud(
        means=[[0.0], [3.0]], counts=[1, 3], topic=0, weights=[[1.0], [1.0]],
        points=[[[0.0]], [[0.0]]], separation=1.0, sigma=0.5, delta=0.1, draws=1000,
    )  # fmt: skip
    mean, half = topic_claims.pooling_simulated(TopicFacts(world), iid=False)
    assert mean == pytest.approx((9 / 4) ** 2, rel=1e-12)
    assert half == pytest.approx(7 * 9.0 * np.log(4 / 5.7e-7) / (3 * 999), rel=1e-9)


def test_the_interval_decides():
    """(19) with δ set at the edge: undecided with few draws, decided away from the edge."""
    world = CLASSICS["gaussian-tail"]()
    lhs = judge(world, "ex.eq19").lhs
    edge = lhs / (4 * world.separation**2)
    assert judge(changed(world, delta=edge), "ex.eq19").verdict == "undecided"
    assert judge(changed(world, delta=1.2 * edge), "ex.eq19").verdict == "holds"
    assert judge(changed(world, delta=0.8 * edge), "ex.eq19").verdict == "violated"


def test_a_tie_between_centres_is_not_decided_by_rounding():
    """A test atom midway between two noiseless centres: the rule of (19) leaves it open."""
    world = TopicCloud(
        means=[[0.0], [1.0]], counts=[1, 4], topic=1, weights=[[1, 0], [0.5, 0.5]],
        points=[[[0.0], [0.0]], [[-0.5], [0.5]]], separation=1.0, sigma=0.5, delta=0.1,
    )  # fmt: skip
    sub = TopicFacts(world)
    found = topic_claims.misretrieved(sub, np.ones((5, 2)))
    # the atom at 1/2 (chance 1/2) is midway if two of four prompts lie on each side (6/16), and
    # nearer to topic 0 if three or four lie on the far side (5/16)
    assert found == pytest.approx((5 / 32 + 3 / 32, 3 / 32), rel=1e-12)


@pytest.mark.parametrize(("n", "M"), [(1, 1), (5, 1), (4, 2), (3, 3), (2, 4)])
def test_compositions(n, M):
    rows = compositions(n, M)
    every = {c for c in itertools.product(range(n + 1), repeat=M) if sum(c) == n}
    assert {tuple(int(x) for x in row) for row in rows} == every
    assert len(rows) == len(every)


def test_too_many_combinations_are_undecided():
    world = changed(small_atoms(0), counts=[500, 500, 500], proportions=None)
    check = judge(world, "ex.eq19.repaired")
    assert check.verdict == "undecided"
    assert "combinations" in check.reason


# -- sabotage -----------------------------------------------------------------------------------


@pytest.mark.parametrize("claim", ["ex.eq17.stratified", "ex.eq17.iid.repaired"])
@pytest.mark.parametrize("term", ["bias", "within"])
def test_sabotage_pooling(monkeypatch, claim, term):
    world = changed(small_atoms(0), topic=0)
    true = topic_claims.pooling_formula

    def broken(sub, *, between):
        total, terms = true(sub, between=between)
        return total - 2 * terms[term], terms

    assert judge(world, claim).verdict == "holds"
    monkeypatch.setattr(topic_claims, "pooling_formula", broken)
    assert judge(world, claim).verdict == "violated"


def test_sabotage_pooling_power_of_m(monkeypatch):
    world = small_atoms(0)
    true = topic_claims.pooling_error
    monkeypatch.setattr(
        topic_claims, "pooling_error", lambda sub, iid: true(sub, iid=iid) / world.counts.sum()
    )
    assert judge(world, "ex.eq17.stratified").verdict == "violated"


@pytest.mark.parametrize("classic", ["rare-jump", "gaussian-tail"])
def test_shrinking_the_right_side_of_the_repair_turns_it(classic):
    claim, sub = CLAIMS["ex.eq19.repaired"], TopicFacts(CLASSICS[classic]())
    ratio = judged(claim, sub).ratio

    def shrunk(factor):
        def sides(*args):
            found = claim.sides(*args)
            return replace(found, rhs=factor * found.rhs)

        return judged(replace(claim, sides=sides), sub).verdict

    assert shrunk(1.05 * ratio) == "holds"
    assert shrunk(0.95 * ratio) == "violated"


def test_sabotage_misretrieval_sign(monkeypatch):
    """Were retrieval wrong every time, (19) would be far too small."""
    world = changed(FAMILIES["separated-topics"](0), delta=0.1)
    assert judge(world, "ex.eq19").verdict == "holds"
    monkeypatch.setattr("scipy.special.ndtr", lambda x: 1.0 - x * 0.0)
    assert judge(world, "ex.eq19").verdict == "violated"


# -- hypotheses, each negated alone ---------------------------------------------------------------

TAIL = CLASSICS["gaussian-tail"]()
OFF_CENTRE = changed(CLASSICS["rare-jump"](), points=[[[0.0], [0.625]], [[0.0], [0.0]]])

ALONE = [
    ("ex.eq17.stratified", "noise-centred", OFF_CENTRE),
    ("ex.eq17.stratified", "topics-stratified", changed(TAIL, proportions=[0.25, 0.75])),
    ("ex.eq17.iid", "noise-centred", OFF_CENTRE),
    ("ex.eq17.iid.repaired", "noise-centred", OFF_CENTRE),
    ("ex.eq19", "noise-centred", OFF_CENTRE),
    ("ex.eq19", "noise-subgaussian", changed(TAIL, covariances=1.01 * np.ones((2, 1, 1)))),
    ("ex.eq19", "noise-small", changed(TAIL, separation=7.9)),
    ("ex.eq19", "topics-separated", changed(TAIL, separation=8.1)),
    ("ex.eq19", "samples-enough", changed(TAIL, counts=[400, 100])),
    ("ex.eq19.repaired", "noise-centred", OFF_CENTRE),
]


@pytest.mark.parametrize(("claim", "hypothesis", "instance"), ALONE)
def test_each_hypothesis_alone(claim, hypothesis, instance):
    check = judge(instance, claim)
    assert check.verdict == "not-applicable"
    assert [name for name, value in check.hypotheses.items() if value is not True] == [hypothesis]
    assert check.reason == outcome_of(claim, hypothesis, TopicFacts(instance))[1] != ""


def subgaussian(weights, points, sigma):
    world = TopicCloud(
        means=[[0.0]], counts=[1], points=[points], weights=[weights], separation=1.0, sigma=sigma,
        delta=0.1,
    )  # fmt: skip
    return outcome_of("ex.eq19", "noise-subgaussian", TopicFacts(world))[0]


def test_subgaussian_constants():
    # two atoms: the constant is exact, here R = 1, q = 1/10
    exact = (0.8 / (2 * np.log(9.0))) ** 0.5
    assert subgaussian([0.9, 0.1], [[-0.1], [0.9]], 1.0001 * exact) is True
    assert subgaussian([0.9, 0.1], [[-0.1], [0.9]], 0.9999 * exact) is False
    # and no smaller one will do: E e^{us} exceeds e^{σ²u²/2} for some u
    u = np.linspace(0.01, 10, 2000)
    mgf = np.log(0.9 * np.exp(-0.1 * u) + 0.1 * np.exp(0.9 * u))
    assert (2 * mgf / u**2).max() ** 0.5 == pytest.approx(exact, rel=1e-6)
    assert subgaussian([0.5, 0.5], [[-1.0], [1.0]], 1.0) is True
    assert subgaussian([0.5, 0.5], [[-1.0], [1.0]], 0.99) is False
    # three atoms: between the variance 2/3 and Hoeffding's 1 it cannot be told
    three = [[-1.0], [0.0], [1.0]]
    assert [subgaussian([1 / 3] * 3, three, s) for s in (0.8, 0.9, 1.0)] == [False, None, True]


def test_an_unknown_hypothesis_leaves_it_undecided():
    three = [[-0.01], [0.0], [0.01]]
    world = changed(
        CLASSICS["rare-jump"](), points=[three, three], weights=np.full((2, 3), 1 / 3),
        sigma=0.009, counts=[4, 4],
    )  # fmt: skip
    check = judge(world, "ex.eq19")
    assert check.verdict == "undecided"
    assert [h for h, known in check.hypotheses.items() if known is None] == ["noise-subgaussian"]
    assert check.reason


def test_retrieval_that_never_errs_says_so():
    check = judge(CLASSICS["two-points"](), "ex.eq19.repaired")
    assert check.verdict == "not-applicable"
    assert "never wrong" in check.reason


# -- the door -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FAMILIES)
def test_json_round_trip(tmp_path, name):
    world = FAMILIES[name](4)
    path = tmp_path / "world.json"
    world.save(path)
    again = TopicCloud.from_fields(read_json(path))
    again.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_text() == path.read_text()
    for claim in CLAIMS:
        assert judge(again, claim) == judge(world, claim)


GOOD = {
    "format": "topic-cloud/1", "means": [[0.0], [1.0]], "counts": [2, 2], "separation": 1.0,
    "sigma": 0.1, "delta": 0.1, "covariances": [[[1.0]], [[0.0]]],
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"format": "token-mdp/1"}, "format"),
        ({"bogus": 1}, "bogus"),
        ({"counts": [2, 0]}, "counts[1]"),
        ({"counts": [2, 1.5]}, "counts[1]"),
        ({"counts": [2, 1e300]}, "counts[1]"),
        ({"proportions": [0.5, 0.6]}, "sum of proportions"),
        ({"proportions": [-0.5, 1.5]}, "proportions[0]"),
        ({"covariances": None}, "noise"),
        ({"weights": [[1], [1]]}, "noise"),
        ({"points": [[[0.0]], [[0.0]]], "weights": [[1], [1]]}, "noise"),
        ({"covariances": [[[1.0]], [[-1.0]]]}, "covariances[1]"),
        ({"covariances": None, "points": [[[0.0]], [[0.0]]], "weights": [[1], [2]]},
         "sum of weights[1]"),
        ({"delta": 1.0}, "delta"),
        ({"delta": 0.0}, "delta"),
        ({"topic": 2}, "topic"),
        ({"sigma": -1}, "sigma"),
        ({"draws": 1}, "draws"),
        ({"seed": -1}, "seed"),
        ({"means": [[0.0], [float("inf")]]}, "means[1][0]"),
    ],
)  # fmt: skip
def test_the_door_names_the_field(changes, field):
    with pytest.raises(InstanceError) as caught:
        TopicCloud.from_fields({**GOOD, **changes})
    assert str(caught.value).startswith(f"{field} = ")
    assert "\n" not in str(caught.value)
