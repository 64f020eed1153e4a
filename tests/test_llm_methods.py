"""The methods of the catalogue, each against a second computation."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from llm_models import tiny_bank  # noqa: E402

from llm_bridge.measure.soups import mix  # noqa: E402
from llm_bridge.methods.catalogue import METHODS  # noqa: E402
from llm_bridge.methods.implicit import Implicit  # noqa: E402
from llm_bridge.methods.p_soups import parameter_soup  # noqa: E402
from llm_bridge.methods.pad import Pad  # noqa: E402
from llm_bridge.methods.request import Request  # noqa: E402
from toymdp import InstanceError  # noqa: E402

WEIGHTS = torch.tensor([0.7, -0.4], dtype=torch.float64)


def logits(seed=0, n=1, A=12, forbid=True):
    z = torch.randn((3, n, A), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    if forbid:
        z[:, :, 3] = -torch.inf
    return z


def drawn(sampler, z, n):
    tokens = sampler(z.expand(3, n, z.shape[2]), torch.zeros((n, 1))).argmax(dim=1)
    return torch.bincount(tokens, minlength=z.shape[2]).double() / n


@pytest.mark.parametrize("cap", [500, 1])
def test_rejection_draws_from_the_soup_and_counts(cap):
    z, n = logits(), 6000
    law = torch.softmax(mix(z, WEIGHTS[None])[0, 0], dim=0)
    sampler = Implicit(WEIGHTS, torch.Generator().manual_seed(0), cap)
    found = drawn(sampler, z, n)
    assert float((found - law).abs().max()) < 4 * 0.5 / np.sqrt(n)
    assert found[3] == 0
    report = sampler.report()
    # the acceptance rate is 1/E-type: E_ref[ratio]/max ratio, by hand
    ref = torch.softmax(z[0, 0], dim=0)
    ratio = torch.where(ref > 0, law / ref, 0.0)
    expected = float((ref * ratio).sum() / ratio.max())
    assert report["expected acceptance"] == pytest.approx(expected, rel=1e-9)
    assert report["acceptance"] == pytest.approx(expected, abs=0.03)
    if cap == 1:
        assert report["capped"] == pytest.approx(1 - expected, abs=0.03)
        assert sampler.trials == n
    else:
        assert report["capped"] == 0.0
        assert sampler.trials > n


def test_the_printed_bound_is_not_one():
    """M of section 4 as printed is a geometric mean: ratios above it are cut, and the law changes."""
    z = logits()
    ref = torch.softmax(z[0, 0], dim=0)
    log_ratio = (torch.softmax(z[1:, 0], dim=1) / ref).log().nan_to_num(0.0)
    tilt = torch.exp(WEIGHTS @ log_ratio)
    kl = -(ref * log_ratio).sum(dim=1)
    printed = ref * torch.minimum(torch.exp(-(WEIGHTS @ kl)), tilt)
    law = torch.softmax(mix(z, WEIGHTS[None])[0, 0], dim=0)
    assert float(0.5 * (printed / printed.sum() - law).abs().sum()) > 0.05


def test_pad_keeps_the_top_tokens_and_tilts_by_log_ratios():
    z = logits(n=2)
    found = torch.softmax(Pad(WEIGHTS, strength=0.5, top=4)(z, None), dim=1)
    for row in range(2):
        ref = torch.softmax(z[0, row], dim=0)
        keep = ref.topk(4).indices
        ell = (torch.softmax(z[1:, row], dim=1) / ref).log()
        weights = {int(a): float(ref[a] * torch.exp(0.5 * (WEIGHTS @ ell[:, a]))) for a in keep}
        total = sum(weights.values())
        for a in range(12):
            assert float(found[row, a]) == pytest.approx(weights.get(a, 0.0) / total, abs=1e-12)


def test_pad_with_every_token_is_the_explicit_soup():
    z = logits()
    found = torch.softmax(Pad(WEIGHTS, top=12)(z, None), dim=1)
    torch.testing.assert_close(found, torch.softmax(mix(z, WEIGHTS[None])[0], dim=1))


def test_averaged_parameters_are_not_averaged_policies():
    bank = tiny_bank(target="output", dtype=torch.float64)
    head = bank.base.lm_head
    with parameter_soup(bank, [0.3, 0.7]):
        product = head.lora_B["k0"].weight @ head.lora_A["k0"].weight
    factors = [(head.lora_A[n].weight, head.lora_B[n].weight) for n in bank.names]
    mean = [0.3 * a + 0.7 * b for a, b in zip(*factors, strict=True)]
    torch.testing.assert_close(product, mean[1] @ mean[0])
    exact = 0.3 * factors[0][1] @ factors[0][0] + 0.7 * factors[1][1] @ factors[1][0]
    assert float((product - exact).norm() / exact.norm()) > 0.2
    # outside the context the first specialist is itself again
    assert torch.equal(head.lora_A["k0"].weight, factors[0][0])


def test_parameters_of_other_shapes_cannot_be_averaged():
    bank = tiny_bank()
    bank.lora_layers[0].scaling["k1"] = 2.0
    with pytest.raises(InstanceError, match="P-SOUPS needs one"), parameter_soup(bank, [1, 1]):
        pass


def answered(method, bank, prompts, **options):
    return METHODS[method].answers(bank, Request(prompts, weights=WEIGHTS, **options))


@pytest.mark.parametrize("method", [m.name for m in METHODS.values() if m.needs == ("lambda",)])
def test_every_method_answers(method):
    bank = tiny_bank(target="output")
    before = {n: p.clone() for n, p in bank.model.named_parameters()}
    prompts = [[2, 5, 6], [2, 9]]
    found, report = answered(method, bank, prompts, tokens=6, seed=0)
    assert all(1 <= len(a) <= 6 for a in found)
    again, _ = answered(method, bank, prompts, tokens=6, seed=0)
    assert found == again
    assert ("acceptance" in report) == (method == "implicit")
    assert all(torch.equal(p, before[n]) for n, p in bank.model.named_parameters())


def test_the_catalogue_names_every_method():
    assert list(METHODS) == [
        "explicit", "weight-space", "implicit", "p-soups", "pad", "pad-sf", "exact", "drift",
    ]  # fmt: skip
    for name, method in METHODS.items():
        assert method.name == name
        module = import_module(f"llm_bridge.methods.{method.module}")
        assert callable(module.answers)


def test_weight_space_and_explicit_draw_the_same_answers_on_the_output_layer():
    bank = tiny_bank(target="output")
    prompts = [[2, 5, 6], [2, 9], [2, 7, 8, 9]]
    drawn = [answered(m, bank, prompts, tokens=12, seed=3)[0] for m in ("explicit", "weight-space")]
    assert drawn[0] == drawn[1]
