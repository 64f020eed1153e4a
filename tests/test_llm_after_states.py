"""States after a token: norms, linear fits, and what a shorter context loses."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from llm_models import random_answers, tiny_bank, two_soups  # noqa: E402

from llm_bridge.measure.after_states import (  # noqa: E402
    after_states,
    decodability,
    fit_linear,
    norm_bound,
)
from llm_bridge.measure.diagnosis import sampled_prefixes, too_few  # noqa: E402
from llm_bridge.measure.linearity import state_linearity  # noqa: E402
from llm_bridge.measure.reached import longest_runs, reach  # noqa: E402
from llm_bridge.measure.verdicts import feature_checks  # noqa: E402


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


@pytest.mark.parametrize(("states", "enough"), [(5, False), (6, True)])
def test_a_fit_with_as_many_unknowns_as_equations_says_nothing(states, enough):
    """A state of 16 numbers, four tokens a state: three equations each, 15 or 18 of them."""
    bank = tiny_bank(dtype=torch.float64)
    reached = reach(bank, sampled_prefixes(random_answers(12), states, 0))
    settings = two_soups()
    found = feature_checks(bank, reached, settings, None, top=4, precision=torch.float64)
    fit = found.fit
    assert (fit.rows, fit.rank) == (3 * states, min(3 * states, 16))
    assert fit.enough == enough
    assert not fit.half_enough
    assert (fit.residual.max() > 1e-3) == enough  # whatever the field, 15 equations are met
    lemma = found.checks[0]
    assert lemma.verdict == ("violated" if enough else "undecided")
    assert ("15 equations" in lemma.reason) != enough
    said = too_few(fit, None, 10, bank.width)
    assert ("residual" in said) != enough
    assert "held-out R² on ψ(s): 10 equations" in said
    assert "16 unknowns" in said


def test_states_no_more_than_their_numbers_tell_no_r2():
    bank = tiny_bank(target="output", dtype=torch.float64)
    answers = random_answers(12)
    assert state_linearity(bank, reach(bank, sampled_prefixes(answers, 32, 0))) is None  # 16 fitted
    found = state_linearity(bank, reach(bank, sampled_prefixes(answers, 36, 0)))
    assert found is not None
    assert (found > 1 - 1e-9).all()
    reached = reach(bank, sampled_prefixes(answers, 40, 0))
    fit = fit_linear(after_states(bank, reached, 8, torch.zeros((0, 2)), precision=torch.float64))
    assert too_few(fit, found, 18, 16) is None
