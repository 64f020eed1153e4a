"""EXACT: nearest prompt against nearest centre, and the drift of pooling, by enumeration and by drawing."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from bounds import check
from bounds.claims import exact_retrieval
from bounds.claims.exact_retrieval import nearest_prompt
from bounds.facts.topic_cloud import TopicFacts
from toymdp.worlds.topic_cloud import CLASSICS, FAMILIES, TopicCloud


def cloud(counts, means, points, weights, topic=0) -> TopicCloud:
    return TopicCloud(
        means=np.array(means), counts=np.array(counts), topic=topic, points=np.array(points),
        weights=np.array(weights), separation=1.0, sigma=1.0, delta=0.1,
    )  # fmt: skip


def by_every_history(world: TopicCloud) -> tuple[float, float]:
    """Chance that the nearest prompt is wrong, over all atoms of all prompts; ties right, ties wrong."""
    sources = [(c, i) for c, n in enumerate(world.counts.astype(int)) for i in range(n)]
    M, j = world.points.shape[1], world.topic
    low = high = 0.0
    for test in range(M):
        x = world.means[j] + world.points[j, test]
        for atoms in itertools.product(range(M), repeat=len(sources)):
            chance = world.weights[j, test]
            nearest = {True: np.inf, False: np.inf}
            for (c, _), a in zip(sources, atoms, strict=True):
                chance *= world.weights[c, a]
                d = np.linalg.norm(world.means[c] + world.points[c, a] - x)
                nearest[c == j] = min(nearest[c == j], d)
            low += chance * (nearest[False] < nearest[True] - 1e-9)
            high += chance * (nearest[False] < nearest[True] + 1e-9)
    return low, high


@pytest.mark.parametrize("seed", range(6))
def test_nearest_prompt_on_atoms_against_every_history(seed):
    rng = np.random.default_rng(seed)
    C, M, d = int(rng.integers(2, 4)), 2, int(rng.integers(1, 3))
    weights = rng.dirichlet(np.ones(M), size=C)
    points = rng.normal(size=(C, M, d))
    world = cloud(rng.integers(1, 4, size=C), 0.7 * rng.normal(size=(C, d)), points, weights,
                  topic=int(rng.integers(C)))  # fmt: skip
    low, high = by_every_history(world)
    middle, half = nearest_prompt(TopicFacts(world))
    assert middle == pytest.approx(0.5 * (low + high), abs=1e-12)
    assert half == pytest.approx(0.5 * (high - low), abs=1e-11)
    assert 0.01 < middle < 0.99


def test_ties_between_prompts_are_not_decided():
    """Both topics have a prompt at the test prompt's own place."""
    world = cloud([1, 1], [[0.0], [0.0]], [[[1.0], [-1.0]]] * 2, [[0.5, 0.5]] * 2)
    low, high = by_every_history(world)
    middle, half = nearest_prompt(TopicFacts(world))
    assert (middle - half, middle + half) == pytest.approx((low, high), abs=1e-11)
    assert half > 0.2


def test_nearest_prompt_of_gaussian_clouds_against_plain_drawing():
    worlds = (FAMILIES["mixed-topics"](seed) for seed in range(20))
    world = next(w for w in worlds if nearest_prompt(TopicFacts(w))[0] > 0.1)
    share, half = nearest_prompt(TopicFacts(world))
    rng, N, wrong = np.random.default_rng(9), 20_000, 0
    laws = [np.linalg.cholesky(S + 1e-12 * np.eye(len(S))) for S in world.covariances]
    topics = np.repeat(np.arange(len(world.means)), world.counts.astype(int))
    d = world.means.shape[1]
    for _ in range(N):
        x = world.means[world.topic] + laws[world.topic] @ rng.normal(size=d)
        prompts = [world.means[c] + laws[c] @ rng.normal(size=d) for c in topics]
        wrong += topics[np.argmin([np.sum((p - x) ** 2) for p in prompts])] != world.topic
    assert abs(wrong / N - share) < half
    assert half < 0.06


def test_the_classic_of_a_crowded_neighbour():
    (found,) = check(CLASSICS["crowded-neighbour"](), "ex.alg2.nearest")
    assert found.verdict == "violated"
    assert found.lhs == pytest.approx(0.4717, abs=5e-5)
    assert found.rhs == pytest.approx(0.0658, abs=5e-5)


def test_both_verdicts_occur_and_drawing_leaves_the_rest_open():
    seen = {"holds": 0, "violated": 0, "undecided": 0, "not-applicable": 0}
    for name in ("bounded-topics", "mixed-topics"):
        for seed in range(20):
            (found,) = check(FAMILIES[name](seed), "ex.alg2.nearest")
            seen[found.verdict] += 1
    assert min(seen["holds"], seen["violated"]) >= 2


def test_drift_holds_and_turns_with_the_separation(monkeypatch):
    for seed in range(20):
        world = FAMILIES["separated-topics"](seed)
        (found,) = check(world, "ex.drift")
        assert found.verdict == "holds"
        squares = [np.sum((world.proportions @ world.means - m) ** 2) for m in world.means]
        assert found.rhs == pytest.approx(max(squares), rel=1e-12)
    gap = exact_retrieval.drift
    monkeypatch.setattr(TopicFacts, "shares", property(lambda facts: np.array([1.0, 0.0])))
    two = CLASSICS["gaussian-tail"]()
    assert gap(TopicFacts(two)).rhs == 64.0  # all of it at the other topic
