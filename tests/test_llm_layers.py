"""Training some layers alone: which ones, kept states against whole passes, precision, drift."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from command_line import run  # noqa: E402
from llm_architectures import tiny_model  # noqa: E402
from llm_models import TEXTS, random_answers, tiny_bank  # noqa: E402

from llm_bridge.answers import answer_log_ratios, taken_tokens, tokenised  # noqa: E402
from llm_bridge.commands.inputs import layer_numbers  # noqa: E402
from llm_bridge.loading import add_adapters  # noqa: E402
from llm_bridge.preferences import Pair  # noqa: E402
from llm_bridge.training.adapter import Recipe, train_adapter  # noqa: E402
from llm_bridge.training.pretrain import train_tokenizer  # noqa: E402
from llm_bridge.training.reference import Reference, first_layer, log_ratios  # noqa: E402
from toymdp import InstanceError  # noqa: E402

PAIRS = [
    Pair("the cat", " it is", " sat not"), Pair("yes it", " is so", " not what"),
    Pair("no", " it is so", " cat not it"), Pair("the mat", " is", " not it is"),
] * 2  # fmt: skip


def bank_on(model, names=("k0",), spread=0.3, **recipe):
    """Random adapters of a recipe on a model."""
    recipe = Recipe(rank=4, **recipe)
    text = train_tokenizer(TEXTS, 280) if model.config.vocab_size == 280 else None
    bank = add_adapters(model, names, recipe.lora(model), eos=(1,), tokenizer=text)
    generator = torch.Generator().manual_seed(3)
    for name in names:
        for p in bank.factors(name).values():
            p.data = spread * torch.randn(p.shape, generator=generator).to(p)
    return bank


def unwrapped(dtype=torch.float64):
    """A random two-layer Gemma-3 that reads text."""
    return tiny_bank(text=True, dtype=dtype).model.base_model.unload()


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("20-29", tuple(range(20, 30))), ("3", (3,)), (" 5, 0-1 ,1", (0, 1, 5)), (None, ())],
)
def test_layers_by_numbers_and_ranges(text, numbers):
    assert layer_numbers(text) == numbers


@pytest.mark.parametrize("text", ["", "3-1", "a", "1-2-3", "-1", "1.5", "1,"])
def test_layers_that_are_none(text):
    with pytest.raises(InstanceError, match="write 20-29"):
        layer_numbers(text)


def test_only_the_layers_named_are_adapted():
    model = tiny_model("Llama")
    with pytest.raises(InstanceError, match="from 0 to 1"):
        Recipe(layers=(2,)).lora(model)
    for layers in ((1,), (0,), (0, 1)):
        modules = Recipe(layers=layers).lora(model).target_modules
        assert len(modules) == 7 * len(layers)
        assert {int(n.split(".layers.")[1].split(".")[0]) for n in modules} == {*layers}
    assert first_layer(bank_on(tiny_model("Llama"), layers=(1,)), "k0") == 1
    assert first_layer(bank_on(tiny_model("Llama")), "k0") == 0
    assert first_layer(bank_on(tiny_model("Llama"), target="output"), "k0") == 2


# what the layer hands on is more than states in Gemma-3n; MPT's layers hand on a tuple
GO_ON = {"Llama": True, "Gemma3": True, "GPT-2": True, "Qwen3-MoE": True, "Gemma3n": False}


@pytest.mark.parametrize("name", GO_ON)
def test_a_pass_from_kept_states_is_the_whole_pass(name, monkeypatch):
    """In doubles to rounding, in batches other than those that filled it; or it is not made."""
    bank = bank_on(tiny_model(name), layers=(1,), spread=0.1)
    answers = random_answers(9)
    reference = Reference(1)
    reference.of(bank, answers[:5])
    with bank.using("k0"):
        goes = reference.goes_on(bank, answers[3:8], 1)
        assert goes == GO_ON[name]
        if not goes:
            return
        some = answers[2:9]
        found = reference.taken(bank, some, reference.of(bank, some), 1)
        whole = taken_tokens(bank, some)
    torch.testing.assert_close(found.states, whole.states, atol=1e-12, rtol=1e-12)
    assert len(reference.known) == 9
    # from states that enter another layer it is another pass, and is refused
    with bank.using("k0"), monkeypatch.context() as patch:
        moved = [replace(k, entering=1.001 * k.entering) for k in reference.of(bank, some)]
        patch.setattr(Reference, "_read", lambda *given: moved)
        assert not reference.goes_on(bank, some, 1)
        patch.undo()
        assert reference.goes_on(bank, some, 1)
        assert not reference.goes_on(bank, some, 0)  # an adapter that changes what lies below
    torch.testing.assert_close(
        log_ratios(bank, answers, reference), answer_log_ratios(bank, answers), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize(
    "recipe", [{"layers": (1,)}, {"target": "output"}], ids=["layer", "output"]
)
@pytest.mark.parametrize("loss", ["bt", "binary"])
def test_training_from_kept_states_ends_where_whole_passes_do(recipe, loss, monkeypatch):
    runs = []
    for goes, kept in ((True, 2**31), (True, 0), (False, 2**31)):
        bank = bank_on(unwrapped(), **recipe)
        layer = first_layer(bank, "k0")
        if not goes:
            monkeypatch.setattr(Reference, "goes_on", lambda *given: False)
        reference = Reference(layer, kept)
        course = train_adapter(
            bank, "k0", PAIRS, Recipe(loss=loss, steps=9, batch=3, rate=1e-2, **recipe),
            reference=reference,
        )  # fmt: skip
        assert course.begins == (layer if goes else None)
        assert len(reference.known) == (8 if kept else 0)
        runs.append((course, bank.factors("k0")))
    for course, factors in runs[:2]:
        assert course.losses == pytest.approx(runs[2][0].losses, rel=1e-5)
        assert course.rms == pytest.approx(runs[2][0].rms, rel=1e-5)
        for name, factor in runs[2][1].items():
            torch.testing.assert_close(factors[name], factor, atol=1e-6, rtol=1e-5)
    assert runs[0][0].losses[-1] < runs[0][0].losses[0]


def test_the_drift_is_that_of_the_answers():
    bank = bank_on(unwrapped(), layers=(1,))
    answers = [tokenised(bank, p.prompt, text) for p in PAIRS[:4] for text, _ in p.texts]
    expected = answer_log_ratios(bank, answers).square().mean().sqrt()
    course = train_adapter(bank, "k0", PAIRS[:4], Recipe(steps=1, batch=4, layers=(1,)))
    assert course.rms == pytest.approx([float(expected)], rel=1e-4)
    assert expected > 0.1


def test_adapters_are_float32_on_a_base_in_bfloat16():
    bank = bank_on(unwrapped(torch.bfloat16), names=("k0", "k1"), layers=(1,), spread=0.1)
    for name in bank.names:
        assert {p.dtype for p in bank.factors(name).values()} == {torch.float32}
    assert bank.base.dtype == torch.bfloat16
    reference = Reference(1)
    recipe = Recipe(steps=30, batch=4, rate=1e-2, beta=0.5, layers=(1,))
    course = train_adapter(bank, "k0", PAIRS, recipe, reference=reference)
    assert course.begins == 1
    assert sum(course.losses[-4:]) < sum(course.losses[:4])


def test_train_takes_layers(tmp_path):
    base = unwrapped(torch.float32)
    base.save_pretrained(tmp_path / "base")
    train_tokenizer(TEXTS, 280).save_pretrained(tmp_path / "base")
    rows = [{"prompt": p.prompt, "chosen": p.chosen, "rejected": p.rejected} for p in PAIRS]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    common = ["llm", "train", tmp_path / "mine", "--data", tmp_path / "pairs.jsonl", "--model",
              tmp_path / "base", "--rank", "2", "--steps", "3", "--batch", "2"]  # fmt: skip
    done = run(*common, "--layers", "1-1", "--json", "-")
    assert done.exit_code == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["steps begin at layer"] == 1
    assert len(report["losses"]) == len(report["log-ratios"]) == 3
    assert report["log-ratio, rms nats"] == report["log-ratios"][-1] > 0
    assert report["log-ratios"][0] == 0
    for more, match in ((["--layers", "2"], "--layers = 2"),
                        (["--layers", "1", "--target", "output"], "of --target all")):  # fmt: skip
        done = run(*common, *more)
        assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
        assert match in done.stderr
