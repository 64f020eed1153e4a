"""What goes wrong with adapters if one is not careful; each pitfall known beforehand has its test."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from llm_models import random_answers, tiny_bank  # noqa: E402
from safetensors import safe_open  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

from llm_bridge.backend import quiet_peft, transformers  # noqa: E402
from llm_bridge.bank import REF, pad  # noqa: E402
from llm_bridge.decoding import generate  # noqa: E402
from llm_bridge.forward import agree_beyond_window  # noqa: E402
from llm_bridge.loading import add_adapters, load_bank, save_adapter  # noqa: E402
from llm_bridge.measure.after_states import norm_bound  # noqa: E402
from llm_bridge.measure.measures import log_ratios, measure  # noqa: E402
from llm_bridge.measure.soups import LogitMixture, mix  # noqa: E402
from llm_bridge.measure.stream import stream  # noqa: E402
from llm_bridge.methods.weight_space import weight_space  # noqa: E402
from llm_bridge.training.adapter import Recipe  # noqa: E402
from toymdp import InstanceError  # noqa: E402

WEIGHTS = torch.tensor([0.7, -0.4], dtype=torch.float64)


def ids_of(bank, n=4):
    return pad([line.ids for line in random_answers(n)])


def logits_of(base, ids, mask):
    with torch.no_grad():
        return base(input_ids=ids, attention_mask=mask).logits


# -- combining adapters ----------------------------------------------------------------------


def combined(kind, target="output", **options):
    """Logits of peft's own combination and of the explicit mixture on one batch."""
    bank = tiny_bank(target=target, dtype=torch.float64)
    ids, mask = ids_of(bank)
    weights = {"weights": [0.7, 0.4], "combination_type": kind, **options}
    with quiet_peft():
        bank.model.base_model.add_weighted_adapter(
            list(bank.names), adapter_name="mixed", **weights
        )
    with bank.using("mixed") as base:
        found = logits_of(base, ids, mask)
    rows = []
    for policy in (REF, *bank.names):
        with bank.using(policy) as base:
            rows.append(logits_of(base, ids, mask).reshape(-1, 64))
    exact = mix(torch.stack(rows), torch.tensor([[0.7, 0.4]]).double())[0]
    return found.reshape(-1, 64), exact, rows[0]


def test_linear_combination_adds_the_factors_apart():
    found, exact, reference = combined("linear")
    assert float((found - exact).norm() / (exact - reference).norm()) > 0.5


def test_svd_truncates():
    found, exact, reference = combined("svd", svd_rank=4)
    assert float((found - exact).norm() / (exact - reference).norm()) > 0.05


def test_cat_is_exact():
    found, exact, _ = combined("cat")
    assert float((found - exact).abs().max()) < 1e-5  # peft makes the new factors in float32


def test_an_existing_name_returns_without_a_change():
    bank = tiny_bank()
    tuner = bank.model.base_model
    add = {"adapters": list(bank.names), "combination_type": "cat", "adapter_name": "mixed"}
    tuner.add_weighted_adapter(weights=[1.0, 0.0], **add)
    first = [layer.lora_A["mixed"].weight.clone() for layer in bank.lora_layers]
    tuner.add_weighted_adapter(weights=[0.0, 5.0], **add)
    for layer, before in zip(bank.lora_layers, first, strict=True):
        assert torch.equal(layer.lora_A["mixed"].weight, before)


def test_weight_space_is_the_mixture_of_logits_on_the_output_layer():
    bank = tiny_bank(target="output", dtype=torch.float32)
    ids, mask = ids_of(bank)
    with weight_space(bank, WEIGHTS.tolist()) as base:
        found = logits_of(base, ids, mask)
    z = bank.logits(bank.hidden(ids, mask).reshape(4, -1, 16))
    exact = mix(z[:3], WEIGHTS[None])[0].reshape(found.shape)
    assert float((found - exact).abs().max()) < 1e-5
    assert [dict(layer.scaling) for layer in bank.lora_layers] == [
        {"k0": 1.0, "k1": 1.0, "user": 1.0}
    ]


def test_weight_space_is_another_policy_elsewhere():
    bank = tiny_bank(target="all")
    ids, mask = ids_of(bank)
    with weight_space(bank, WEIGHTS.tolist()) as base:
        found = logits_of(base, ids, mask)
    z = bank.logits(bank.hidden(ids, mask).reshape(4, -1, 16))
    exact = mix(z[:3], WEIGHTS[None])[0].reshape(found.shape)
    assert float((found - exact).abs().max()) > 1e-2


# -- switching and gradients -----------------------------------------------------------------


def test_peft_turns_gradients_on_and_the_bank_does_not():
    bank = tiny_bank()
    with bank.using("k1"):
        pass
    with bank.using(REF):
        pass
    assert not any(p.requires_grad for p in bank.model.parameters())
    bank.model.set_adapter("k1")  # peft's own way
    trained = {n for n, p in bank.model.named_parameters() if p.requires_grad}
    assert trained
    with bank.using(REF):  # in the middle of training, the reference is asked for
        pass
    assert {n for n, p in bank.model.named_parameters() if p.requires_grad} == trained


def test_the_reference_is_the_base_model_and_nothing_leaks():
    bank = tiny_bank()
    ids, mask = ids_of(bank)
    with bank.using(REF) as base:
        before = logits_of(base, ids, mask)
    for policy in bank.policies:
        with bank.using(policy):
            pass
    with bank.using(REF) as base:
        assert torch.equal(logits_of(base, ids, mask), before)
    with bank.using("k0") as base:
        assert float((logits_of(base, ids, mask) - before).abs().max()) > 0.1


def test_mixed_adapter_rows_are_the_policies():
    """One draw of the mixed batch under a soup of weight 1 on one specialist is that specialist."""
    bank = tiny_bank()
    seen = []

    def spy(z, ids):
        seen.append((z, ids.clone()))
        return LogitMixture(torch.tensor([1.0, 0.0]))(z, ids)

    generate(bank, [[2, 5, 6], [2, 9]], spy, tokens=1, seed=0)
    z, _ = seen[0]
    whole, mask = pad([[2, 5, 6], [2, 9]])
    hidden = bank.hidden(whole, mask)[:3, torch.arange(2), mask.sum(dim=1) - 1]
    # Bank.logits wants a row for each policy, the bespoke one included
    expected = bank.logits(torch.cat([hidden, hidden[:1]]))[:3]
    assert float((z - expected).abs().max()) < 1e-4


# -- forbidden tokens, precision, NaN --------------------------------------------------------


def test_forbidden_tokens_before_negative_weights():
    z = torch.tensor([[[0.0, 1.0, -torch.inf]], [[1.0, 0.0, -torch.inf]]])
    mixed = mix(z, torch.tensor([[-2.0]]))
    assert mixed[0, 0, :2].tolist() == [-2.0, 3.0]
    assert mixed[0, 0, 2] == -torch.inf
    assert torch.isnan(z[0] - 2.0 * (z[1] - z[0])).any()  # the careless way
    found = measure(z, torch.tensor([[-2.0]]), bespoke=False)
    assert torch.isfinite(found.kl).all()
    assert torch.isfinite(found.delta).all()


def test_a_policy_that_forbids_what_ref_allows():
    z = torch.tensor([[[0.0, 1.0]], [[1.0, -torch.inf]]])
    with pytest.raises(InstanceError, match="forbids a token that ref allows"):
        log_ratios(z)


def test_bfloat16_moves_divergences_in_the_second_digit():
    answers = random_answers(6)

    def mean_kl(dtype):
        bank = tiny_bank(spread=0.15, dtype=dtype)
        chunks = stream(bank, answers, WEIGHTS[None], precision=torch.float32)
        return torch.cat([c.measures.kl.mean(dim=2)[None] for c in chunks]).mean(dim=0)

    exact, single, half = map(mean_kl, (torch.float64, torch.float32, torch.bfloat16))
    off = ~torch.eye(len(exact), dtype=torch.bool)
    assert float(((single - exact).abs() / exact)[off].max()) < 1e-3
    assert float(((half - exact).abs() / exact)[off].max()) > 3e-3


def test_nan_logits_are_one_error():
    bank = tiny_bank()
    bank.base.lm_head.weight.data[5] = torch.nan
    with pytest.raises(InstanceError, match="NaN or \\+inf"):
        list(stream(bank, random_answers(2), WEIGHTS[None]))


def test_sequences_longer_than_the_context():
    bank = tiny_bank()
    with pytest.raises(InstanceError, match="context of 64"):
        list(stream(bank, random_answers(1, length=(80, 81)), WEIGHTS[None]))
    with pytest.raises(InstanceError, match="context of 64"):
        generate(bank, [[2] * 60], LogitMixture(WEIGHTS), tokens=10, seed=0)


def test_a_window_that_is_wrong_at_one_length_is_noticed(monkeypatch):
    """As attention of a GPU was: states of runs one token longer than the window, and of no others."""
    bank = tiny_bank()
    with bank.using(REF) as base:
        assert agree_beyond_window(base, "cpu")
        decoder = base.get_decoder()
        real, window = decoder.forward, base.config.sliding_window

        def wrong(**given):
            out = real(**given)
            if given["input_ids"].shape[1] == window + 1:
                out.last_hidden_state[:, -1] = -out.last_hidden_state[:, -1]
            return out

        monkeypatch.setattr(decoder, "forward", wrong)
        assert not agree_beyond_window(base, "cpu")


def test_another_architecture_goes_through_the_same_door():
    config = transformers.LlamaConfig(
        vocab_size=64, hidden_size=16, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=2, max_position_embeddings=64, eos_token_id=1,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(config).double()
    bank = add_adapters(model, ["k0", "k1"], Recipe(rank=2).lora(model), bespoke="user", eos=(1,))
    for name, p in bank.model.named_parameters():
        if "lora_" in name:
            p.data = 0.3 * torch.randn_like(p)
    ids, mask = ids_of(bank)
    hidden = bank.hidden(ids, mask)
    for row, policy in enumerate(bank.policies):
        with bank.using(policy) as base:
            expected = logits_of(base, ids, mask)
        found = bank.logits(hidden.flatten(1, 2))[row].reshape(expected.shape)
        torch.testing.assert_close(found, expected)
    states = bank.hidden(ids[:, :4], mask[:, :4])[0]
    assert float(states.norm(dim=-1).max()) <= norm_bound(bank) * (1 + 1e-9)
    assert generate(bank, [[2, 5], [2, 6, 7]], LogitMixture(WEIGHTS), tokens=3, seed=0)


# -- files -----------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["all", "output"])
def stored(request, tmp_path_factory):
    root = tmp_path_factory.mktemp(f"bank-{request.param}")
    bank = tiny_bank(target=request.param)
    ids, mask = ids_of(bank)
    hidden = bank.hidden(ids, mask)
    expected = bank.logits(hidden.reshape(4, -1, 16))
    for name in (*bank.names, "user"):
        save_adapter(bank, name, root / name, str(root / "base"))
    bank.model.base_model.unload().save_pretrained(root / "base")
    return root, expected


def load(root, **options):
    adapters = [str(root / "k0"), str(root / "k1")]
    return load_bank(str(root / "base"), adapters, bespoke=str(root / "user"), **options)


def test_a_stored_bank_comes_back(stored):
    root, expected = stored
    bank = load(root)
    assert bank.policies == ("ref", "k0", "k1", "user")
    assert bank.eos == (1,)
    ids, mask = ids_of(bank)
    found = bank.logits(bank.hidden(ids, mask).reshape(4, -1, 16))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_adapters_are_saved_without_the_tied_embedding(stored):
    root, _ = stored
    with safe_open(root / "k0" / "adapter_model.safetensors", framework="pt") as file:
        assert all(".lora_" in key for key in file.keys())  # noqa: SIM118  # not a dict
    assert json.loads((root / "base" / "config.json").read_text())["tie_word_embeddings"]


def broken(stored, tmp_path):
    root = tmp_path / "copy"
    shutil.copytree(stored[0], root)
    return root


def edit(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_every_mismatch_is_one_line(stored, tmp_path):
    root = broken(stored, tmp_path)
    config, weights = (root / "k1" / f"adapter_{x}" for x in ("config.json", "model.safetensors"))

    def refused(match, **options):
        with pytest.raises(InstanceError, match=match) as caught:
            load(root, **options)
        assert "\n" not in str(caught.value)

    refused("no_such_dtype", dtype="no_such_dtype")
    refused("not usable here", device="nowhere")
    tensors, original = load_file(weights), config.read_text()
    save_file({**tensors, "base_model.model.lm_head.weight": torch.zeros(64, 16)}, weights)
    refused("carries full weights")
    save_file({k: v[..., :1].contiguous() for k, v in tensors.items()}, weights)
    refused("does not fit the base model")
    save_file(tensors, weights)
    edit(config, base_model_name_or_path="another")
    refused("not here to be compared")
    assert load(root, any_base=True).names == ("k0", "k1")
    edit(config, base_model_name_or_path="base", peft_type="IA3")
    refused("plain LoRA")
    config.write_text("{")
    refused("not valid JSON")
    config.write_text(original)
    weights.write_bytes(b"no tensors")
    refused("cannot be read")
    weights.rename(root / "k1" / "adapter_model.bin")
    refused("has no adapter_model.safetensors")
    (root / "base" / "model.safetensors").rename(root / "base" / "pytorch_model.bin")
    refused("holds no .safetensors")
    with pytest.raises(InstanceError, match="K ≥ 1"):
        load_bank(str(root / "base"), [])
    with pytest.raises(InstanceError, match="needs a revision"):
        load_bank("somebody/some-model", [str(root / "k0")])


def test_a_tokenizer_larger_than_the_output_layer(stored, tmp_path):
    root = broken(stored, tmp_path)
    tiny_bank(text=True).tokenizer.save_pretrained(root / "base")
    with pytest.raises(InstanceError, match="tokens for 64 logits"):
        load(root)


def test_loading_never_runs_foreign_code_or_pickles(monkeypatch, stored):
    calls = []
    kind = transformers.AutoModelForCausalLM
    real = kind.from_pretrained
    monkeypatch.setattr(
        kind, "from_pretrained", lambda *a, **k: (calls.append(k), real(*a, **k))[1]
    )
    load(stored[0])
    assert calls[0]["trust_remote_code"] is False
    assert calls[0]["use_safetensors"] is True
    assert calls[0]["dtype"] is torch.float32
    assert np.shape(calls) == (1,)
