"""States after a token: norms, linear fits, and what a shorter context loses."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from llm_models import random_answers, tiny_bank  # noqa: E402

from llm_bridge.measure.after_states import (  # noqa: E402
    after_states,
    decodability,
    fit_linear,
    norm_bound,
    state_linearity,
)
from llm_bridge.measure.diagnosis import sampled_prefixes  # noqa: E402
from llm_bridge.measure.reached import longest_runs, reach  # noqa: E402


def test_the_norm_bound_is_a_bound_and_nearly_met():
    bank = tiny_bank(dtype=torch.float64)
    bound = norm_bound(bank)
    prefixes = sampled_prefixes(random_answers(6), 20, 0)
    reached = reach(bank, prefixes)
    few, every = (
        after_states(bank, reached, top, torch.zeros((0, 2)), precision=torch.float64)
        for top in (8, 64)
    )
    assert 0.3 * bound < every.norms.max() <= bound
    for n, prefix in enumerate(prefixes[:4]):  # log-ratios by plain forward passes
        logs = []
        for policy in bank.policies:
            with bank.using(policy) as base, torch.no_grad():
                z = base(input_ids=torch.tensor([prefix])).logits[0, -1]
            logs.append(torch.log_softmax(z, dim=0).numpy()[few.tokens[n]])
        np.testing.assert_allclose(few.log_probs[:, n], logs, atol=1e-9)
        np.testing.assert_allclose(few.ratios[:, n], np.array(logs[1:]) - logs[0], atol=1e-9)
    # with every token taken the mean norm is exact, with few it is bounded from above
    exact = (np.exp(every.log_probs[0]) * every.norms).sum(axis=1)
    assert every.mean_norm(every.log_probs[0], bound) == pytest.approx(exact)
    above = few.mean_norm(few.log_probs[0], bound)
    rest = 1.0 - np.exp(few.log_probs[0]).sum(axis=1)
    assert (above >= exact).all()
    assert (above <= exact + rest * bound).all()
    assert rest.min() > 0.01


def test_one_pass_reaches_every_prefix_of_a_text(monkeypatch):
    bank = tiny_bank(dtype=torch.float64)
    prefixes = [(2, 5, 6), (2, 5), (2, 9, 4, 4), (2, 5, 7), (2, 9, 4, 4), (2,), (2, 5, 6, 8, 11)]
    runs, of = longest_runs(prefixes)
    assert sorted(runs) == [(2, 5, 6, 8, 11), (2, 5, 7), (2, 9, 4, 4)]
    assert all(runs[i][: len(p)] == p for p, i in zip(prefixes, of, strict=True))
    seen, hidden = [], type(bank).hidden
    monkeypatch.setattr(
        type(bank), "hidden", lambda b, ids, mask: (seen.append(len(ids)), hidden(b, ids, mask))[1]
    )
    found = reach(bank, prefixes, batch=2).hidden
    assert sum(seen) == 3
    for n, prefix in enumerate(prefixes):
        alone = hidden(bank, torch.tensor([prefix]), torch.ones((1, len(prefix))))[:, 0, -1]
        torch.testing.assert_close(found[:, n], alone)


@pytest.mark.parametrize(("target", "exact"), [("output", True), ("all", False)])
def test_output_layer_ratios_are_linear_in_the_state(target, exact):
    bank = tiny_bank(target=target, dtype=torch.float64)
    found = state_linearity(bank, reach(bank, sampled_prefixes(random_answers(12), 80, 0)))
    assert (found > 1 - 1e-9).all() if exact else (found < 0.999).all()


def test_windows_as_long_as_the_prefix_lose_nothing():
    bank = tiny_bank()
    prefixes = sampled_prefixes(random_answers(6), 12, 0)
    found = decodability(bank, prefixes, [1, 4, 60])
    assert found[60] < 1e-12
    assert found[1] > found[4] > 1e-6


def test_fit_finds_an_exact_nu():
    bank = tiny_bank(dtype=torch.float64)
    reached = reach(bank, sampled_prefixes(random_answers(12), 40, 0))
    found = after_states(bank, reached, 8, torch.zeros((0, 2)), precision=torch.float64)
    nu = np.random.default_rng(0).normal(size=(3, 16))
    shift = np.random.default_rng(1).normal(size=(3, 40, 1))  # V of each state
    planted = type(found)(
        found.tokens, found.psi, found.live, found.log_probs,
        np.einsum("pd,nmd->pnm", nu, found.psi) + shift,
    )  # fmt: skip
    fit = fit_linear(planted)
    assert fit.residual.max() < 1e-9
    assert (fit.held_out > 1 - 1e-12).all()
