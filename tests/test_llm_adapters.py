"""Adapters as folders: their names, what must be in them, on which base they were trained."""

from __future__ import annotations

import json
import shutil

import pytest

torch = pytest.importorskip("torch")

from llm_architectures import (  # noqa: E402
    edited,
    plain_logits,
    plain_model,
    plain_policies,
    tiny_model,
    write_bank,
)
from safetensors.torch import load_file, save_file  # noqa: E402

from llm_bridge.adapter_files import named_folders  # noqa: E402
from llm_bridge.backend import quiet_transformers  # noqa: E402
from llm_bridge.bank import peft_name  # noqa: E402
from llm_bridge.base_content import RECORD, content_of, difference  # noqa: E402
from llm_bridge.decoding import generate  # noqa: E402
from llm_bridge.loading import load_bank, save_adapter  # noqa: E402
from llm_bridge.measure.soups import LogitMixture  # noqa: E402
from llm_bridge.methods.p_soups import parameter_soup  # noqa: E402
from llm_bridge.methods.weight_space import weight_space  # noqa: E402
from toymdp import InstanceError  # noqa: E402

IDS = (2, 5, 9, 33, 70)
pytestmark = pytest.mark.filterwarnings("ignore")  # peft's own while the judge loads adapters
# what torch's containers have for methods, what reads like a layer or a factor, what holds dots
NAMES = ("keys", "v1.0", "0", "lm_head", "lora_A", "for", "warm & short", "type")


@pytest.fixture(autouse=True)
def quiet():
    quiet_transformers()


@pytest.fixture
def root(tmp_path):
    return write_bank(tmp_path, "Llama", "all linear")


def load(root, adapters=("a", "b"), **options):
    folders = [str(root / name) for name in adapters]
    return load_bank(str(root / "base"), folders, dtype="float64", **options)


def refused(match, *arguments, **options):
    with pytest.raises(InstanceError, match=match) as caught:
        load(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def says_what_plain_models_say(bank, root, adapters):
    expected = torch.stack([plain_logits(m, IDS) for m in plain_policies(root, adapters)])
    found = bank.logits(bank.hidden(torch.tensor([IDS]))[:, 0])
    torch.testing.assert_close(found, expected, atol=1e-9, rtol=0)


# -- names -----------------------------------------------------------------------------------


def test_the_shortest_end_of_a_path_that_tells_folders_apart(tmp_path):
    places = ["x/helpful/checkpoint-500", "x/harmless/checkpoint-500", "y/me", "y/a=b/me", "z/q"]
    given = [str(tmp_path / p) for p in places]
    for folder in given:
        (tmp_path / folder).mkdir(parents=True)
    found = named_folders([*given[:4], f"plain={given[4]}"])
    names = ("helpful/checkpoint-500", "harmless/checkpoint-500", "y/me", "a=b/me", "plain")
    assert tuple(found) == names
    assert list(found.values()) == given
    assert tuple(named_folders([given[2]], given[4])) == ("me", "q")
    for wrong, said in (
        ([given[0], given[0] + "/."], "given twice"), ([f"n={given[0]}", f"n={given[1]}"], "name of two"),
        ([f"={given[0]}"], "must be FOLDER or NAME=FOLDER"), (["name="], "NAME=FOLDER"),
    ):  # fmt: skip
        with pytest.raises(InstanceError, match=said):
            named_folders(wrong)


def test_two_checkpoints_of_one_name_are_two_policies(tmp_path):
    """The layout that trainers write."""
    names = ("helpful/checkpoint-500", "harmless/checkpoint-500")
    root = write_bank(tmp_path, "Llama", "all linear", names)
    bank = load(root, names)
    assert bank.names == names
    says_what_plain_models_say(bank, root, names)


def test_every_name_can_be_an_adapters(tmp_path):
    write_bank(tmp_path, "Llama", "all linear", [f"f{i}" for i in range(len(NAMES))])
    folders = {name: str(tmp_path / f"f{i}") for i, name in enumerate(NAMES)}
    assert len({*map(peft_name, NAMES)}) == len(NAMES)
    bank = load_bank(str(tmp_path / "base"), folders, dtype="float64")
    assert bank.names == NAMES
    says_what_plain_models_say(bank, tmp_path, [f"f{i}" for i in range(len(NAMES))])
    for name in NAMES:  # its factors, and no layer's
        assert len(bank.factors(name)) == 2 * 7 * 2
        assert all(".lora_" in n for n in bank.factors(name))
    weights = [1.0] + [0.0] * (len(NAMES) - 1)
    expected = plain_logits(plain_policies(tmp_path, ["f0"])[1], IDS)
    for method in (weight_space, parameter_soup):
        with method(bank, weights) as base:
            torch.testing.assert_close(plain_logits(base, IDS), expected, atol=1e-9, rtol=0)
    mixture = LogitMixture(torch.tensor(weights, dtype=torch.float64))
    assert len(generate(bank, [[2, 5]], mixture, tokens=2, seed=0)[0]) <= 2
    with pytest.raises(InstanceError, match="is the name of the reference"):
        load_bank(str(tmp_path / "base"), {"ref": str(tmp_path / "f0")})


# -- factors ---------------------------------------------------------------------------------


def change(root, adapter, how):
    path = root / adapter / "adapter_model.safetensors"
    save_file(how(load_file(path)), path)


def test_a_renamed_tree_of_modules_is_refused_with_its_keys(root):
    """Once it loaded without a word and was the reference."""
    old, new = "model.model.layers", "model.model.language_model.layers"
    change(root, "b", lambda held: {k.replace(old, new): v for k, v in held.items()})
    said = refused("adapter b .* 28 of its factors are in the model and not in its file", root)
    assert "model.layers.0.mlp.down_proj.lora_A" in said


@pytest.mark.parametrize("number", [1, 14])
def test_a_part_of_the_factors_is_refused(root, number):
    change(root, "a", lambda held: {k: held[k] for k in sorted(held)[number:]})
    refused(f"{number} of its factors are in the model and not in its file", root)


def test_factors_that_the_model_has_no_place_for_are_refused(root):
    extra = "base_model.model.model.layers.7.mlp.up_proj.lora_A.weight"
    change(root, "a", lambda held: held | {extra: held[min(held)].clone()})
    assert "layers.7" in refused("1 of its factors are in its file and not in the model", root)


@pytest.mark.parametrize(
    ("kind", "match"),
    [
        ("PiSSA", "init_lora_weights = 'pissa': changed the base weights"),
        ("OLoRA", "init_lora_weights = 'olora': changed the base weights"),
        ("DoRA", "must be plain LoRA"), ("bias", "must be plain LoRA"),
        ("modules to save", "must be plain LoRA"),
    ],
)  # fmt: skip
def test_adapters_that_change_more_than_factors_are_refused(tmp_path, kind, match):
    refused(match, write_bank(tmp_path, "Llama", kind))


@pytest.mark.parametrize("how", ["corda", "loftq", "lora_ga", "pissa_niter_4", "new_one", 3, []])
def test_initialisations_that_change_the_base_are_refused_by_name(root, how):
    edited(root / "a" / "adapter_config.json", init_lora_weights=how)
    refused("changed the base weights", root)


@pytest.mark.parametrize("how", ["gaussian", "orthogonal", "eva", False])
def test_other_initialisations_do_not_matter_once_trained(root, how):
    edited(root / "a" / "adapter_config.json", init_lora_weights=how)
    says_what_plain_models_say(load(root), root, ("a", "b"))


@pytest.mark.parametrize("name", ["Llama", "Gemma3", "GPT-J"])
def test_an_adapter_on_the_output_layer_as_peft_saves_it(tmp_path, name):
    """peft adds the base weight: compared, and not loaded; with tied embeddings too."""
    root = write_bank(tmp_path, name, "output")
    held = load_file(root / "a" / "adapter_model.safetensors")
    full = [k for k in held if ".lora_" not in k]
    assert full
    bank = load(root)
    assert bank.head_only
    says_what_plain_models_say(bank, root, ("a", "b"))
    # in a coarser type it is still the base model's weight, and the base is not rounded to it
    change(
        root, "a", lambda held: {k: v if ".lora_" in k else v.bfloat16() for k, v in held.items()}
    )
    expected = plain_logits(plain_model(root / "base"), IDS)
    with load(root).using("ref") as base:
        torch.testing.assert_close(plain_logits(base, IDS), expected, atol=1e-12, rtol=0)
    change(root, "a", lambda held: held | {full[0]: held[full[0]].double() + 0.01})
    refused("carries full weights that are not the base model's", root)


# -- the base model --------------------------------------------------------------------------


def test_a_base_is_known_by_content_and_not_by_its_folders_name(root, tmp_path):
    other = tmp_path / "other" / "base"  # of the same name, other weights
    tiny_model("Llama", seed=5).save_pretrained(other)
    edited(root / "a" / "adapter_config.json", base_model_name_or_path=str(other))
    assert "its weights are others" in refused("another base model", root)
    assert load(root, any_base=True).names == ("a", "b")
    shutil.copytree(
        root / "base", tmp_path / "moved" / "somewhere"
    )  # of another name, the same model
    edited(
        root / "a" / "adapter_config.json",
        base_model_name_or_path=str(tmp_path / "moved/somewhere"),
    )
    says_what_plain_models_say(load(root), root, ("a", "b"))
    edited(tmp_path / "moved/somewhere/config.json", rms_norm_eps=1e-3)
    assert "rms_norm_eps" in refused("another base model", root)
    for name, said in (
        ("gone/base", "not here to be compared"),
        ("", "does not say"),
        (None, "does not say"),
    ):
        edited(root / "a" / "adapter_config.json", base_model_name_or_path=name)
        refused(said, root)


def test_a_record_travels_with_the_adapter(root, tmp_path):
    bank = load(root)
    record = content_of(root / "base")
    save_adapter(bank, "a", root / "mine", "some/where", record=record)
    assert load(root, ("mine",)).names == ("mine",)
    tiny_model("Llama", seed=5).save_pretrained(root / "base")
    refused("its weights are others", root, ("mine",))
    (root / "mine" / RECORD).write_text(json.dumps({"format": "else"}))
    refused("soupcheck-base/1", root, ("mine",))


def test_content_does_not_depend_on_shards_or_on_a_wider_type(tmp_path):
    model = tiny_model("Gemma3", dtype=torch.bfloat16)
    model.save_pretrained(tmp_path / "one")
    model.save_pretrained(tmp_path / "two", max_shard_size="20KB")
    assert len(list((tmp_path / "two").glob("*.safetensors"))) > 1
    model.float().save_pretrained(tmp_path / "three")
    contents = [content_of(tmp_path / name) for name in ("one", "two", "three")]
    assert [difference(contents[0], other) for other in contents] == [None] * 3
    with torch.no_grad():
        next(model.parameters())[0, 0] += 1e-2
    model.save_pretrained(tmp_path / "four")
    assert difference(contents[0], content_of(tmp_path / "four")) == "its weights are others"
