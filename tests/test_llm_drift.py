"""Drift on a random model: its weights and its law by hand."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from llm_models import tiny_bank  # noqa: E402

from llm_bridge.methods.attributes import word_margins  # noqa: E402
from llm_bridge.methods.drift import Drift  # noqa: E402
from llm_bridge.preferences import Pair  # noqa: E402
from toymdp import InstanceError  # noqa: E402

WORDS = ("it", "mat", "so", "not")
PAIR = Pair("the cat", " sat on", " is not")


@pytest.fixture(scope="module")
def bank():
    return tiny_bank(text=True)


def test_drift_weights_and_law(bank):
    pairs = [PAIR, Pair("yes", " it is", " no")]
    drift = Drift.learned(bank, pairs, WORDS, beta=2.0)
    assert np.linalg.norm(drift.weights) == pytest.approx(1.0)
    subsets = [(), *((a,) for a in WORDS)]
    scores = np.stack([word_margins(bank, p, subsets) for p in pairs])
    gain = (scores[:, 1:] - scores[:, :1]).mean(axis=0)
    rng = np.random.default_rng(0)
    for p in rng.normal(size=(50, 4)):  # no unit vector has a larger mean margin
        assert p / np.linalg.norm(p) @ gain <= drift.weights @ gain + 1e-9
    z = torch.randn((5, 1, 9), dtype=torch.float64)
    found = torch.softmax(drift(z, None), dim=1)[0].numpy()
    logs = torch.log_softmax(z[:, 0], dim=1).numpy()
    law = np.exp(logs[0] + (drift.weights @ (logs[1:] - logs[0])) / 2.0)
    assert found == pytest.approx(law / law.sum())
    assert 1 <= len(drift.answer(bank, "the cat", tokens=4, seed=1)) <= 4
    with pytest.raises(InstanceError, match="at least one"):
        Drift.learned(bank, [], WORDS)
