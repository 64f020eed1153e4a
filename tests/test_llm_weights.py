"""λ from a user's preferences, each way against a second computation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

torch = pytest.importorskip("torch")

from llm_models import tiny_bank  # noqa: E402

from bounds.claims.appendix_c import maxima  # noqa: E402
from bounds.facts.preference_pairs import PairFacts  # noqa: E402
from llm_bridge.methods.weights import (  # noqa: E402
    answer_rows,
    deltas_of,
    fit_batch,
    fit_sequential,
    into_domain,
    log_probs_of,
    prior,
)
from llm_bridge.preferences import Labelled, Pair  # noqa: E402
from toymdp import InstanceError  # noqa: E402
from toymdp.worlds.preference_pairs import PreferencePairs  # noqa: E402


def test_batch_is_the_minimiser():
    rng = np.random.default_rng(0)
    rows, labels = rng.normal(size=(40, 3)), rng.choice([-1.0, 1.0], size=40)
    mean, covariance = rng.normal(size=3), np.diag([1.0, 4.0, 0.5])

    def loss(lam):
        apart = lam - mean
        return np.logaddexp(0, -labels * (rows @ lam)).sum() + 0.5 * apart @ np.linalg.solve(
            covariance, apart
        )

    found = fit_batch(rows, labels, mean, covariance)
    assert found.mean == pytest.approx(minimize(loss, mean, tol=1e-12).x, abs=1e-5)
    step, basis = 1e-4, 1e-4 * np.eye(3)
    curvature = [
        [
            (loss(found.mean + a + b) - loss(found.mean + a - b) - loss(found.mean - a + b)
             + loss(found.mean - a - b)) / (4 * step * step)
            for a in basis
        ]
        for b in basis
    ]  # fmt: skip
    assert found.covariance @ np.array(curvature) == pytest.approx(np.eye(3), abs=1e-4)


def test_separable_preferences_stay_finite_under_the_prior():
    rows = 50.0 * np.abs(np.random.default_rng(0).normal(size=(30, 2)))
    found = fit_batch(rows, np.ones(30), *prior(2, 100.0))
    assert np.isfinite(found.mean).all()
    lam, shrunk = into_domain(np.array([3.0, -1.0]), 1.0, 2.0)
    assert shrunk
    assert lam == pytest.approx([1.5, -0.5])
    assert into_domain(lam, 1.0, 2.0)[1] is False


def test_sequential_reaches_each_maximum_a_posteriori():
    """The refreshed recursion against cvxpy's maxima, interaction by interaction."""
    rng = np.random.default_rng(1)
    differences = rng.normal(size=(6, 2))
    instance = PreferencePairs(
        differences=differences, prior_mean=np.zeros(2), prior_covariance=4.0 * np.eye(2)
    )
    points, _ = maxima(PairFacts.of(instance))
    for n in range(1, 7):
        found = fit_sequential(differences[:n], np.zeros(2), 4.0 * np.eye(2))
        assert found.mean == pytest.approx(points[n - 1], abs=1e-8)
    printed = fit_sequential(differences[:1], np.zeros(2), 4.0 * np.eye(2), refreshed=False)
    assert np.abs(printed.mean - points[0]).max() > 1e-3


def test_sequential_comes_near_the_batch():
    rng = np.random.default_rng(2)
    truth = np.array([1.0, -0.5])
    rows = rng.normal(size=(400, 2))
    labels = np.where(rng.random(400) < 1 / (1 + np.exp(-rows @ truth)), 1.0, -1.0)
    batch = fit_batch(rows, labels, *prior(2, 10.0))
    one_by_one = fit_sequential(rows * labels[:, None], *prior(2, 10.0))
    assert np.abs(one_by_one.mean - batch.mean).max() < 0.1
    assert np.abs(batch.mean - truth).max() < 0.4
    binary = fit_batch(rows, labels, *prior(2, 10.0))
    assert binary.mean == pytest.approx(batch.mean)


def test_a_user_who_is_a_specialist_gets_that_specialist():
    bank = tiny_bank(text=True)
    rng = np.random.default_rng(0)
    words = [" it", " is", " so", " not", " cat", " mat"]
    texts = ["".join(rng.choice(words, size=4)) for _ in range(60)]
    pairs = [Pair("A:", a, b) for a, b in zip(texts[::2], texts[1::2], strict=True) if a != b]
    rows = deltas_of(bank, pairs, 1.0)
    ordered = [
        p if d[0] > 0 else Pair(p.prompt, p.rejected, p.chosen)
        for p, d in zip(pairs, rows, strict=True)
    ]
    found = fit_batch(deltas_of(bank, ordered, 1.0), np.ones(len(ordered)), *prior(2, 100.0))
    assert found.mean[0] > 5 * abs(found.mean[1])
    labelled = [Labelled("A:", pairs[0].chosen, True), Labelled("A:", pairs[0].rejected, False)]
    single = answer_rows(log_probs_of(bank, labelled), 2, 1.0)
    assert single[0] - single[1] == pytest.approx(rows[0], abs=1e-4)
    with pytest.raises(InstanceError, match="needs at least one"):
        deltas_of(bank, [], 1.0)
