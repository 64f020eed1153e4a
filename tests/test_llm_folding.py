"""Adapters held in the weights for the length of a pass: the same policy, and nothing is left behind."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from llm_models import TINY, tiny_bank  # noqa: E402

from llm_bridge import folding  # noqa: E402
from llm_bridge.backend import peft  # noqa: E402
from llm_bridge.bank import REF  # noqa: E402
from llm_bridge.forward import states_of  # noqa: E402
from llm_bridge.loading import add_adapters  # noqa: E402
from llm_bridge.methods.weight_space import weight_space  # noqa: E402
from llm_bridge.training.pretrain import small_gemma  # noqa: E402

IDS = torch.tensor([[2, 5, 9, 33, 60], [2, 8, 8, 1, 0]])


@pytest.fixture
def bank():
    return tiny_bank(dtype=torch.float64)


def weights_of(bank):
    return [p.detach().clone() for p in bank.model.parameters()]


def states(bank, policy, **options):
    with torch.no_grad(), bank.using(policy, **options) as base:
        return states_of(base, IDS)


def products_taken(bank):
    """How many of peft's factors a pass goes through, as a list that grows."""
    taken = []
    for layer in bank.lora_layers:
        for factor in layer.lora_A.values():
            factor.register_forward_hook(lambda *given: taken.append(given))
    return taken


def test_the_same_states_and_no_factor_of_them_by_itself(bank):
    before, expected = weights_of(bank), {}
    for policy in (*bank.policies, bank.names):
        expected[policy] = states(bank, policy)
    taken = products_taken(bank)
    for policy, plain in expected.items():
        found = states(bank, policy, folded=True)
        torch.testing.assert_close(found, plain, rtol=0, atol=1e-12)
    assert not taken
    assert float((expected["k0"] - expected[REF]).abs().max()) > 0.1
    assert all(map(torch.equal, before, weights_of(bank)))
    assert not any(layer.disable_adapters for layer in bank.lora_layers)
    with weight_space(bank, [0.7, -0.4]) as base:  # scalings that are changed for a while
        found = states_of(base, IDS)
    assert not taken
    for layer in bank.lora_layers:
        own = layer.get_base_layer().weight
        for name, share in (("k0", 0.7), ("k1", -0.4)):
            own.data += share * (layer.lora_B[name].weight @ layer.lora_A[name].weight)
    torch.testing.assert_close(found, states(bank, REF), rtol=0, atol=1e-12)


def test_policies_inside_one_another_and_errors(bank):
    before = weights_of(bank)
    alone = {policy: states(bank, policy) for policy in bank.policies}
    with torch.no_grad(), bank.using("k0", folded=True) as base:
        for inner, folded in (("user", True), (REF, False), ("k1", False)):
            with bank.using(inner, folded=folded):
                torch.testing.assert_close(states_of(base, IDS), alone[inner], rtol=0, atol=1e-12)
            torch.testing.assert_close(states_of(base, IDS), alone["k0"], rtol=0, atol=1e-12)
        with pytest.raises(ZeroDivisionError), bank.using("k1", folded=True):
            1 / 0  # noqa: B018
        torch.testing.assert_close(states_of(base, IDS), alone["k0"], rtol=0, atol=1e-12)
    assert all(map(torch.equal, before, weights_of(bank)))
    torch.testing.assert_close(states(bank, "k1"), alone["k1"], rtol=0, atol=0)


def test_factors_that_are_trained_keep_their_gradients(bank):
    factor = bank.lora_layers[0].lora_B["k0"].weight.requires_grad_(True)
    with bank.using("k0", folded=True) as base:
        states_of(base, IDS).sum().backward()
    assert float(factor.grad.abs().max()) > 0


@pytest.mark.filterwarnings("ignore")  # peft's own
def test_what_is_left_to_peft(monkeypatch):
    output = tiny_bank(target="output", dtype=torch.float64)  # tied to the embedding
    assert not output._folding.layers
    assert not tiny_bank(dtype=torch.bfloat16)._folding.layers
    monkeypatch.setattr(folding, "BYTES", 1000)
    assert not tiny_bank()._folding.layers
    monkeypatch.undo()
    for kind in ({"use_dora": True}, {"lora_bias": True}):  # no mere products
        model = small_gemma(TINY, 0)
        lora = peft.LoraConfig(r=4, target_modules="all-linear", **kind)
        other = add_adapters(model, ["a"], lora, eos=(1,))
        for name, p in other.model.named_parameters():
            if "lora_" in name:
                p.data = 0.3 * torch.randn_like(p)
        plain = states(other, "a")
        torch.testing.assert_close(states(other, "a", folded=True), plain, rtol=0, atol=0)
        assert float((plain - states(other, REF)).abs().max()) > 1e-2
