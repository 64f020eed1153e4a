"""The numbers that belong to one λ, and the mixture of logits, each by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from bounds.runs.progress import one_part  # noqa: E402
from llm_bridge.measure.soups import LogitMixture, SoupSettings, mix, soup_mu  # noqa: E402

LAMS = np.array([[0.6, -0.2], [3.0, 0.0], [0.0, 0.0], [1.5, -1.5]])
SETTINGS = SoupSettings(("a", "b", "c", "d"), LAMS, 0.5, 1.5)


def test_mu_and_weights_of_lambda():
    np.testing.assert_allclose(SETTINGS.weights, LAMS * 0.5 / 1.5)
    np.testing.assert_allclose(soup_mu(LAMS, 1.5), LAMS / 1.5)
    np.testing.assert_allclose(0.5 * soup_mu(LAMS, 1.5), SETTINGS.weights)  # weights = β·mu


def test_temperature_and_budget():
    found = [SETTINGS.temperature(m) for m in range(4)]
    assert found == pytest.approx([1.5 / 0.8, 0.5, math.inf, 0.5])
    assert [SETTINGS.in_domain(m) for m in range(4)] == [True] * 4  # b and d use all of it
    above = SoupSettings(("a",), LAMS[1:2] * (1 + 1e-9), 0.5, 1.5)
    assert not above.in_domain(0)


def test_both_factors_give_the_same_policy():
    """``ref·exp(Σ mu_k Q_k)`` against the mixture of log π_k/ref = (Q_k − V_k)/β with the weights."""
    rng = np.random.default_rng(0)
    ref, Q = rng.dirichlet(np.ones(5)), rng.normal(size=(2, 5))
    V = 0.5 * np.log(np.exp(Q / 0.5) @ ref)
    z = torch.tensor(np.log(np.vstack([ref, ref * np.exp((Q - V[:, None]) / 0.5)])))[:, None]
    for m in range(4):
        expected = ref * np.exp(soup_mu(LAMS[m], 1.5) @ Q)
        mixed = torch.softmax(LogitMixture(SETTINGS.weights[m])(z, None)[0], dim=0)
        np.testing.assert_allclose(mixed, expected / expected.sum(), rtol=1e-12)
        assert torch.equal(torch.softmax(mix(z, SETTINGS.weights)[m, 0], dim=0), mixed)


def test_progress_of_a_part_is_progress_of_the_whole():
    seen = []
    for part in range(3):
        report = one_part(lambda *now: seen.append(now), part, 3)
        for done in (2, 4):
            report("drawing", done, 4)
    assert seen == [("drawing", n, 12) for n in (2, 4, 6, 8, 10, 12)]
