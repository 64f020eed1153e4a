"""Architectures and adapters that people have, against plain transformers and peft."""

from __future__ import annotations

import re

import pytest

torch = pytest.importorskip("torch")

from llm_architectures import (  # noqa: E402
    ARCHITECTURES,
    all_linear,
    experts,
    head_name,
    plain_logits,
    plain_policies,
    tiny_model,
    write_bank,
)

from llm_bridge.answers import Answer, answer_log_ratios  # noqa: E402
from llm_bridge.backend import quiet_transformers  # noqa: E402
from llm_bridge.decoding import generate  # noqa: E402
from llm_bridge.loading import add_adapters, load_bank  # noqa: E402
from llm_bridge.measure.after_states import decodability, norm_bound  # noqa: E402
from llm_bridge.measure.soups import LogitMixture, mix  # noqa: E402
from llm_bridge.methods.pad_sf import draw, token_tables  # noqa: E402
from llm_bridge.training.adapter import Recipe, _loss  # noqa: E402
from llm_bridge.training.reference import Reference, first_layer  # noqa: E402

IDS = (2, 5, 9, 33, 70, 8, 41, 6)
WEIGHTS = torch.tensor([0.7, -0.4], dtype=torch.float64)
pytestmark = pytest.mark.filterwarnings("ignore")  # transformers' and peft's own, of odd settings


def bank_of(root, **options):
    quiet_transformers()
    adapters = [str(root / "a"), str(root / "b")]
    return load_bank(str(root / "base"), adapters, dtype="float64", **options)


def plain_log_probs(models, ids):
    """``log π(next token | prefix)`` [P, n−1] of every policy."""
    rows = []
    for model in models:
        logs = torch.log_softmax(plain_logits(model, ids), dim=1)
        rows.append([float(logs[i, ids[i + 1]]) for i in range(len(ids) - 1)])
    return torch.tensor(rows, dtype=torch.float64)


# those whose logits are not head(hidden), whose layers flatten rows, whose layers are of other kinds
KINDS = [
    ("Gemma2", "all linear"), ("Cohere", "all linear"), ("Granite", "output"), ("OPT", "all linear"),
    ("GPT-2", "all linear"), ("Mixtral", "experts"), ("Phi", "output"), ("GPT-NeoX", "all linear"),
    ("Gemma3", "output"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "kind"), KINDS, ids=lambda x: x.replace(" ", "-"))
def test_every_path_says_what_plain_models_say(tmp_path, name, kind):
    root = write_bank(tmp_path, name, kind)
    bank, models = bank_of(root), plain_policies(root)
    whole = torch.stack([plain_logits(m, IDS) for m in models])
    assert float((whole[1:] - whole[0]).abs().max()) > 0.1  # the adapters do something
    # measuring
    states = bank.hidden(torch.tensor([IDS]))[:, 0]
    torch.testing.assert_close(bank.logits(states), whole, atol=1e-9, rtol=0)
    # accuracies and the fit of λ; PAD-SF's tables
    each = plain_log_probs(models, IDS)[:, 2:]
    answer = Answer(IDS, 3)
    ratios = answer_log_ratios(bank, [answer])[:, 0].double()
    torch.testing.assert_close(ratios, (each[1:] - each[0]).sum(dim=1), atol=1e-4, rtol=0)
    tables = token_tables(bank, [answer])
    torch.testing.assert_close(tables[1].T, each[1:] - each[0], atol=1e-9, rtol=0)
    # decodability
    logs = [torch.log_softmax(plain_logits(models[0], p)[-1], 0) for p in (IDS, (2, 41, 6))]
    divergence = float((logs[0].exp() * (logs[0] - logs[1])).sum())
    assert decodability(bank, [IDS], [2])[2] == pytest.approx(divergence, abs=1e-9)
    # drawing: what each policy says at every step, whatever was drawn
    steps = []

    def spy(z, ids):
        steps.append((z, ids.clone()))
        return LogitMixture(WEIGHTS)(z, ids)

    if name == "Gemma2":  # whose attention in doubles knows no padding: refused, and not drawn
        with pytest.raises(ValueError, match="while drawing = 'NaN'"):
            generate(bank, [[2, 5, 9], [2, 33]], spy, tokens=4, seed=0)
        steps.clear()
    short = [2, 33, 7] if name == "Gemma2" else [2, 33]
    generate(bank, [[2, 5, 9], short], spy, tokens=4, seed=0)
    assert steps
    for z, ids in steps:
        for row, begin in ((0, 0), (1, 3 - len(short))):  # a shorter prompt is padded on its left
            prefix = ids[row, begin:].tolist()
            for policy, model in enumerate(models):
                expected = plain_logits(model, prefix)[-1]
                torch.testing.assert_close(z[policy, row], expected, atol=1e-5, rtol=1e-5)
    assert draw(bank, [[2, 5]], torch.zeros((2, bank.width)), tokens=2, seed=0)


@pytest.mark.parametrize(
    ("name", "kind"), [*KINDS[:3], KINDS[5]], ids=lambda x: x.replace(" ", "-")
)
@pytest.mark.parametrize("loss", ["bt", "binary"])
def test_training_goes_down_the_gradient_of_plain_models(tmp_path, name, kind, loss, monkeypatch):
    """The loss and its gradient at one adapter, by hand; logits are taken two states at a time."""
    monkeypatch.setattr("llm_bridge.bank.BYTES", 8 * 2 * 96 * 2)
    root = write_bank(tmp_path, name, kind)
    bank, (reference, model, _) = bank_of(root), plain_policies(root)
    bank.model.base_model.set_adapter(["a"])
    pair = [Answer(IDS, 3), Answer((2, 5, 9, 4, 4, 12), 3)]
    recipe = Recipe(loss=loss, beta=0.3)
    head = torch.nn.Linear(bank.width, 1).double()
    value = head.float() if loss == "binary" else None
    layer = first_layer(bank, "a")  # of the output layer alone: the kept states are its states
    assert layer == (2 if kind == "output" else 0)
    found, rms = _loss(
        bank, [[(pair[0], 1.0), (pair[1], 0.0)]], recipe, value, Reference(layer), layer or None
    )
    found.backward()
    for p in model.parameters():
        p.requires_grad_(True)
    total, z_of = [], {}
    for answer in pair:
        ids = torch.tensor([answer.ids])
        rows = torch.arange(answer.begin - 1, ids.shape[1] - 1)
        z, z_ref = (m(input_ids=ids).logits[0, rows] for m in (model, reference))
        taken = ids[0, rows + 1]
        place = torch.arange(len(rows))
        if loss == "bt":
            total.append(
                (z.log_softmax(1)[place, taken] - z_ref.detach().log_softmax(1)[place, taken]).sum()
            )
        else:
            with torch.no_grad():
                hidden = reference.get_decoder()(input_ids=ids).last_hidden_state[0, rows]
            z_of[answer] = 0.3 * (z - z_ref)[place, taken], head(hidden.float())[:, 0]
    if loss == "bt":
        assert rms == pytest.approx(float(torch.stack(total).square().mean().sqrt()), rel=1e-4)
        expected = -torch.nn.functional.logsigmoid(0.3 * (total[0] - total[1]))
    else:
        returns = [q.sum() - v[1:].sum() for q, v in z_of.values()]
        labels = torch.tensor([1.0, 0.0], dtype=torch.float64)
        expected = torch.nn.functional.binary_cross_entropy_with_logits(
            torch.stack(returns), labels
        )
        scaled = torch.cat([(q - v) / 0.3 for q, v in z_of.values()])
        expected = expected + (scaled.exp() - scaled - 1).mean()
    assert float(found) == pytest.approx(float(expected), rel=1e-4)
    expected.backward()
    theirs = {n.replace(".default.", ".a."): p.grad for n, p in model.named_parameters()}
    mine = bank.factors("a")
    assert mine
    for n, p in mine.items():
        torch.testing.assert_close(p.grad, theirs[n], rtol=1e-3, atol=1e-6)


def test_memory_of_a_loss_is_bounded_by_slices_of_states(tmp_path, monkeypatch):
    """No tensor of logits is larger than the bytes allow, on the way back as well."""
    from llm_bridge import answers

    bank = bank_of(write_bank(tmp_path, "Llama", "all linear"))
    bank.model.base_model.set_adapter(["a"])
    sizes, real = [], answers.logits_of
    monkeypatch.setattr(
        answers, "logits_of", lambda base, s: (sizes.append(len(s)), real(base, s))[1]
    )
    monkeypatch.setattr("llm_bridge.bank.BYTES", 8 * 2 * 96 * 3)
    pair = [Answer((2, *range(3, 33)), 3), Answer((2, *range(40, 60)), 3)]
    part = [[(pair[0], 1.0), (pair[1], 0.0)]]
    _loss(bank, part, Recipe(), None, Reference(), None)[0].backward()
    assert max(sizes) == 3
    assert sum(sizes) == 3 * (28 + 18)  # ref, the adapter, and the adapter again on the way back


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_all_means_all_linear_layers(name):
    model = tiny_model(name)
    expected = all_linear(model)
    fused = experts(model)
    recipe = Recipe(rank=2)
    if name in ("Mamba", "DeepSeek-V3"):  # which peft adapts in part, or not: never in silence
        with pytest.raises(ValueError, match=r"peft cannot|peft passes over 6 of its layers"):
            add_adapters(model, ["mine"], recipe.lora(model))
        return
    bank = add_adapters(model, ["mine"], recipe.lora(model))
    found = {re.sub(r"\.lora_[AB]\..*", "", n) for n in bank.factors("mine")}
    plain = {n.removeprefix("base_model.model.").replace(".base_layer", "") for n in found}
    assert expected <= plain
    assert {n.rpartition(".")[0] for n in fused} == plain - expected
    # both of a module's fused weights: nested wrappers
    assert len(bank.factors("mine")) == 2 * (len(expected) + len(fused))
    assert head_name(model) not in plain


@pytest.mark.parametrize("name", ["Llama", "Gemma3", "Gemma", "Mixtral"])
def test_the_largest_norm_of_a_state(name):
    """Gains are ``weight`` here and ``1 + weight`` there: the bound is reached and never passed."""
    model = tiny_model(name)
    bank = add_adapters(model, ["mine"], Recipe(rank=2).lora(model))
    norm = model.get_decoder().norm
    weight = norm.weight.detach()
    largest = int((1 + weight if "Gemma" in name else weight).abs().argmax())
    x = torch.zeros((1, 32), dtype=torch.float64)
    x[0, largest] = 1e6
    bound = norm_bound(bank)
    assert float(norm(x).norm()) == pytest.approx(bound, rel=1e-6)
    assert float(norm(x).norm()) <= bound


def test_a_decoder_that_is_not_what_the_model_reads_is_refused():
    from llm_bridge.forward import check_forward

    model = tiny_model("Llama")
    plain = type(model).forward

    class Other(type(model)):
        def forward(self, *given, **options):
            out = plain(self, *given, **options)
            ids = options["input_ids"]
            out.logits = out.logits + ids[..., None]  # looks at more than states
            return out

    model.__class__ = Other
    with pytest.raises(ValueError, match="differ by up to"):
        check_forward(model, "ref")


def test_mixture_of_three_is_the_mixture_of_plain_logits(tmp_path):
    root = write_bank(tmp_path, "Mixtral", "experts")
    bank, models = bank_of(root), plain_policies(root)
    assert not bank.mixes_rows
    z = torch.stack([plain_logits(m, IDS) for m in models])
    ours = bank.logits(bank.hidden(torch.tensor([IDS]))[:, 0])
    torch.testing.assert_close(mix(ours, WEIGHTS[None]), mix(z, WEIGHTS[None]), atol=1e-9, rtol=0)
    with bank.using(
        "ref"
    ) as base:  # a pass of another policy inside leaves the reference as it was
        with bank.using("b"):
            pass
        again = plain_logits(base, IDS)
    torch.testing.assert_close(again, z[0], atol=1e-9, rtol=0)
