"""Training specialists: the losses by hand, resumption, and what must not move."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from llm_models import tiny_bank  # noqa: E402

from llm_bridge.answers import answer_log_ratios, tokenised  # noqa: E402
from llm_bridge.preferences import Pair  # noqa: E402
from llm_bridge.training.adapter import (  # noqa: E402
    Recipe,
    accuracy,
    batches,
    train_adapter,
)
from llm_bridge.training.losses import binary_gumbel, bradley_terry  # noqa: E402
from toymdp import InstanceError  # noqa: E402

PAIRS = [
    Pair("the cat", " it is", " sat not"),
    Pair("yes it", " is so", " not what"),
    Pair("no", " it is so", " cat not it"),
    Pair("the mat", " is", " not"),
] * 2
RECIPE = Recipe(steps=24, batch=4, rank=4, rate=5e-3, beta=0.5)


@pytest.mark.parametrize("target", ["all", "output"])
@pytest.mark.parametrize("loss", ["bt", "binary"])
def test_a_specialist_learns_and_the_rest_stays(target, loss):
    bank = tiny_bank(target=target, text=True, spread=0.0)
    before = {n: p.clone() for n, p in bank.model.named_parameters() if ".k0." not in n}
    # spread 0 leaves both factors at 0, where no gradient flows
    for name, p in bank.model.named_parameters():
        if "lora_A" in name:
            torch.nn.init.normal_(p, std=0.1)
            if ".k0." not in name:
                before[name] = p.clone()
    recipe = Recipe(**{**RECIPE.__dict__, "target": target, "loss": loss})
    losses = train_adapter(bank, "k0", PAIRS, recipe).losses
    assert np.mean(losses[-4:]) < np.mean(losses[:4])
    assert float(accuracy(bank, PAIRS)[0]) > 0.9
    for n, p in bank.model.named_parameters():
        assert not p.requires_grad
        if n in before:
            assert torch.equal(p, before[n]), n


def test_a_killed_run_goes_on_where_it_was(tmp_path):
    def run(steps_first):
        bank = tiny_bank(text=True)
        path = tmp_path / f"{steps_first}.safetensors"

        class KilledError(Exception):
            pass

        def kill(stage, step, steps):
            if step == steps_first:
                raise KilledError

        if steps_first:
            with pytest.raises(KilledError):
                train_adapter(bank, "k0", PAIRS, RECIPE, checkpoint=path, every=5, on_progress=kill)
            assert not any(p.requires_grad for p in bank.model.parameters())
            bank = tiny_bank(text=True)
        taken = train_adapter(bank, "k0", PAIRS, RECIPE, checkpoint=path, every=5).losses
        weights = {n: p for n, p in bank.model.named_parameters() if ".k0." in n}
        return taken, weights

    whole, expected = run(0)
    rest, found = run(12)
    assert len(rest) == len(whole) - 10
    np.testing.assert_allclose(rest, whole[10:], rtol=1e-5)
    for n in expected:
        torch.testing.assert_close(found[n], expected[n], rtol=1e-5, atol=1e-7)


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    path = tmp_path / "c.safetensors"
    train_adapter(tiny_bank(text=True), "k0", PAIRS, RECIPE, checkpoint=path, every=5)
    other = Recipe(**{**RECIPE.__dict__, "beta": 0.6})
    with pytest.raises(InstanceError, match="other settings"):
        train_adapter(tiny_bank(text=True), "k0", PAIRS, other, checkpoint=path)


def test_bradley_terry_by_hand():
    chosen, rejected = torch.tensor([1.0, -2.0]), torch.tensor([0.0, 1.0])
    expected = np.mean([np.log1p(np.exp(-0.5 * 1.0)), np.log1p(np.exp(0.5 * 3.0))])
    assert float(bradley_terry(chosen, rejected, 0.5)) == pytest.approx(expected, rel=1e-6)


def test_binary_and_gumbel_by_hand():
    q = torch.tensor([[0.3, 0.1, 0.0], [0.2, 0.0, 0.0]], dtype=torch.float64)
    v = torch.tensor([[0.1, 0.4, 9.0], [0.5, 9.0, 9.0]], dtype=torch.float64)
    on = torch.tensor([[1.0, 1, 0], [1, 0, 0]], dtype=torch.float64)
    labels = torch.tensor([1.0, 0.0], dtype=torch.float64)
    beta = 0.5
    binary, gumbel = binary_gumbel(q, v, on, labels, beta)
    # R = ΣQ − Σ_{t≥1} V, V = 0 after the end
    returns = np.array([0.3 + 0.1 - 0.4, 0.2])
    sigma = 1 / (1 + np.exp(-returns))
    assert float(binary) == pytest.approx(-np.mean([np.log(sigma[0]), np.log(1 - sigma[1])]))
    a = np.array([0.2, -0.3, -0.3]) / beta
    assert float(gumbel) == pytest.approx(np.mean(np.exp(a) - a - 1))


def test_log_ratios_by_the_definition():
    """Whole answers, one token at a time, by plain forward passes of the full model."""
    bank = tiny_bank(text=True)
    answer = tokenised(bank, "the cat", " sat on the mat")
    assert answer.ids[-1] == 1
    assert list(answer.ids).count(1) == 1  # the end token once, where some trainers append another
    ids = torch.tensor([answer.ids])
    totals = []
    for policy in bank.policies:
        with bank.using(policy) as base, torch.no_grad():
            logs = torch.log_softmax(base(input_ids=ids).logits[0].double(), dim=1)
        steps = range(answer.begin, len(answer.ids))
        totals.append(sum(float(logs[i - 1, answer.ids[i]]) for i in steps))
    found = answer_log_ratios(bank, [answer])[:, 0].double().numpy()
    np.testing.assert_allclose(found, np.array(totals[1:]) - totals[0], atol=1e-4)


def test_every_pair_once_an_epoch():
    lengths = list(range(37))
    found = batches(lengths, 5, epoch=3, seed=1)
    assert sorted(i for part in found for i in part) == lengths
    assert found != batches(lengths, 5, epoch=4, seed=1)


def test_nothing_to_train_on():
    with pytest.raises(InstanceError, match="nothing to train on"):
        train_adapter(tiny_bank(text=True), "k0", [], RECIPE)


def test_an_answer_longer_than_the_context():
    with pytest.raises(InstanceError, match="context of 64"):
        tokenised(tiny_bank(text=True), "the cat", " cat" * 80)
