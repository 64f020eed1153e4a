"""The two banks on SmolLM2: made in small here; as shipped: their card, files, options."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("gguf")

from command_line import run  # noqa: E402
from llm_gguf import tiny_gguf  # noqa: E402

from llm_bridge import gguf_model  # noqa: E402
from llm_bridge.answers import answer_log_ratios  # noqa: E402
from llm_bridge.backend import quiet_transformers, safetensors  # noqa: E402
from llm_bridge.loading import load_bank  # noqa: E402
from llm_bridge.training import bundled as banks  # noqa: E402
from llm_bridge.training import smollm_bank, smollm_card, smollm_model  # noqa: E402
from llm_bridge.training.adapter import Recipe  # noqa: E402
from llm_bridge.training.default_bank import held_out  # noqa: E402
from llm_bridge.training.smollm_bank import ATTRIBUTES, ORDERS, Plan  # noqa: E402
from llm_bridge.training.smollm_text import card  # noqa: E402

torch.set_num_threads(1)
SHIPPED = banks.bundled("smollm").folder.parent
PLAN = Plan(
    layers=Recipe(beta=0.2, rate=1e-2, steps=6, batch=4, rank=2, layers=(1, 2)),
    output=Recipe(beta=0.2, rate=1e-2, steps=6, batch=4, rank=2, target="output"),
    length=400, questions=12, most=20,
)  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Both banks on a tiny Llama, as the command makes them; the facts, and the folder of it all."""
    root = tmp_path_factory.mktemp("smollm")
    quiet_transformers()
    tiny_gguf(root / "tiny.gguf")
    model, tokenizer = gguf_model.read_model(root / "tiny.gguf")
    model.save_pretrained(root / "base")
    tokenizer.save_pretrained(root / "base")
    stages = []
    facts = smollm_card.make_banks(
        str(root / "base"), root / "out", root / "work", PLAN,
        on_progress=lambda stage, done, total: stages.append((stage, done, total)),
    )  # fmt: skip
    assert stages[-1] == ("judging a bank", 2, 2)
    return root, facts


def test_banks_are_made_whole(made):
    root, facts = made
    for kind, recipe in PLAN.recipes.items():
        for name in ORDERS:
            file = root / "out" / kind / name / "adapter_model.safetensors"
            with safetensors.safe_open(file, framework="pt") as stored:
                keys = list(stored.keys())
                assert {stored.get_tensor(k).dtype for k in keys} == {torch.float16}
            inside = {k.split(".layers.")[1][0] for k in keys if ".layers." in k}
            assert inside == {str(i) for i in recipe.layers}
            assert ("lm_head" in keys[0]) == (recipe.target == "output")
    records = {(r["bank"], r["policy"]): r for r in facts["trained"]}
    assert len(records) == 2 * len(ORDERS)
    for (kind, _), record in records.items():
        assert record["begins"] == (1 if kind == "layers" else 3)
        assert len(record["rms"]) == 6
        assert record["rms"][0] == 0 < record["rms"][-1]
        assert record["cpu seconds"] > 0
    assert json.loads((root / "out" / "facts.json").read_text())["banks"].keys() == {
        "layers",
        "output",
    }
    assert (root / "out" / "README.md").read_text() == card(json.loads(json.dumps(facts)))


def test_what_the_facts_say_is_what_the_banks_do(made):
    """Log-ratios by whole passes, accuracy by counting, the linear share by a fit of its own."""
    root, facts = made
    for kind in PLAN.recipes:
        own = banks.Bundled(root / "out" / kind, root / "base", smollm_bank.USER_WEIGHTS, "")
        bank, found = own.load(), facts["banks"][kind]
        test = PLAN.data("test").standardised(PLAN.data("train"))
        answers, drawn = held_out(bank, test, 0, smollm_card.ANSWERS)
        ratios = answer_log_ratios(bank, answers).double().numpy()
        rms = np.sqrt((ratios**2).mean(axis=1))
        assert list(found["log-ratio, rms nats"].values()) == pytest.approx(rms.tolist(), rel=1e-3)
        right = every = place = 0
        for item, some in zip(test.items, drawn, strict=True):
            part = ratios[0, place : place + len(some)]
            place += len(some)
            for i in range(len(some)):
                for j in range(i):
                    apart = item.scores[some[i], 2] - item.scores[some[j], 2]
                    every += apart != 0
                    right += apart * (part[i] - part[j]) > 0
        assert found["accuracy"]["truthful"]["concise"][0] == pytest.approx(right / every)
        assert found["accuracy"]["truthful"]["concise"][2] == every
        curve = found["linearity"]["R²"]
        assert found["linearity"]["width"] == 32
        last = curve[max(curve, key=int)]
        if kind == "output":  # the logits' change is a linear map of the state
            assert min(last.values()) > 1 - 1e-4
        else:
            assert max(last.values()) < 0.99
    assert found["writes"].keys() == {"ref", *ORDERS}
    assert found["asked"][0] == min((i.prompt for i in test.items), key=len)
    ids = torch.tensor([bank.encode(found["asked"][0])])
    for policy in ("ref", "user"):
        with bank.using(policy) as base, torch.no_grad():
            plain = base.generate(ids, max_new_tokens=smollm_card.LONGEST, do_sample=False)
        text = bank.tokenizer.decode(plain[0, ids.shape[1] :], skip_special_tokens=True)
        assert text.strip().split("\n")[0] == found["writes"][policy][0]


def test_a_finished_policy_is_not_trained_again(made, monkeypatch):
    root, facts = made
    work, out = str(root / "work"), str(root / "out")
    monkeypatch.setattr(smollm_bank, "load_model", None)  # nothing is left to do with it
    again = smollm_bank.train_policy(str(root / "base"), out, work, "user", PLAN)
    assert again == [r for r in facts["trained"] if r["policy"] == "user"]
    monkeypatch.undo()
    # killed between the last step and its record: the checkpoint ends where the policy did
    file = root / "out" / "layers" / "user" / "adapter_model.safetensors"
    before = file.read_bytes()
    (root / "work" / "layers-user.json").unlink()
    file.write_bytes(b"half")
    smollm_bank.train_policy(str(root / "base"), out, work, "user", PLAN)
    assert file.read_bytes() == before


def test_the_user_asks_for_what_the_pairs_say():
    pairs = Plan(questions=40).pairs("concise")
    assert len(pairs) == len({p.prompt for p in pairs}) > 20
    assert all(len(p.chosen) < len(p.rejected) for p in pairs)
    train, test = ({i.prompt for i in Plan().data(part).items} for part in ("train", "test"))
    assert not train & test
    assert len(train) > 3 * len(test) > 400


# -- as shipped ------------------------------------------------------------------------------


def test_the_card_shows_the_facts():
    facts = json.loads((SHIPPED / "facts.json").read_text(encoding="utf-8"))
    assert (SHIPPED / "README.md").read_text(encoding="utf-8") == card(facts)
    files = [p for p in SHIPPED.rglob("*") if p.is_file()]
    assert sum(p.stat().st_size for p in files) <= smollm_card.LIMIT
    assert not any(p.name == "model.safetensors" for p in files)
    assert len([p for p in files if p.name == "adapter_model.safetensors"]) == 8
    for kind in ("layers", "output"):
        table = facts["banks"][kind]["accuracy"]
        for name in ATTRIBUTES:  # each learned its own order, and two pull apart
            share, error, _ = table[name][name]
            assert share - 2 * error > 0.5, (kind, name)
        share, error, _ = table["truthful"]["informative"]
        assert share + 2 * error < 0.5
        last = max(facts["banks"][kind]["linearity"]["R²"], key=int)
        shares = facts["banks"][kind]["linearity"]["R²"][last].values()
        assert min(shares) > 0.99 if kind == "output" else max(shares) < 0.9


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (["--bank", "smollm"], "fetch-smollm"),
        (["--bank", "smollm-output", "--model", "BASE"], "another base model"),
        (["--bank", "no"], "choose from"),
        (["--bank", "smollm", "--adapter", "BASE"], "leave --adapter out"),
    ],
)
def test_a_bank_without_its_base_is_one_line(made, options, match, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    given = [str(made[0] / "base") if o == "BASE" else o for o in options]
    done = run("llm", "diagnose", *given)
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert match in done.stderr


def test_diagnose_and_export_a_bank_by_name(made, tmp_path, monkeypatch):
    """The way from --bank to the page, on the small bank put where the shipped one lies."""
    root, _ = made
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr(banks, "files", lambda package: tmp_path / package)
    shutil.copytree(root / "out", tmp_path / "llm_bridge" / "smollm")
    shutil.copytree(root / "base", smollm_model.default_place())
    done = run("llm", "diagnose", "--bank", "smollm-output", "--items", "6", "--prompts", "3",
               "--tokens", "4", "--json", "-")  # fmt: skip
    assert done.exit_code == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["policies"] == ["ref", *ATTRIBUTES, "user"]
    assert set(report["soups"]) == {"(β'/β)w", "fitted", "uniform"}
    assert report["soups"]["(β'/β)w"] == pytest.approx([0.5, 0.3, 0.2])
    done = run("llm", "export", tmp_path / "soup", "--bank", "smollm-output", "--lambda",
               "0.4,0.3,0.2", "--items", "3")  # fmt: skip
    assert done.exit_code == 0, done.stderr
    assert "is the soup" in done.stdout
    load_bank(str(smollm_model.default_place()), [str(tmp_path / "soup")])


@pytest.mark.long
def test_the_shipped_bank_speaks_english(tmp_path):
    """The whole way with the real model: fetched, loaded, what it writes, a soup of it."""
    place = Path(tmp_path) / "base"
    assert run("llm", "fetch-smollm", place).exit_code == 0
    facts = json.loads((SHIPPED / "facts.json").read_text(encoding="utf-8"))
    own = banks.bundled("smollm")
    bank = own.load(str(place))
    told = facts["banks"]["layers"]
    assert smollm_card.samples(bank, told["asked"]) == told["writes"]
    done = run("llm", "soup", "--bank", "smollm", "--model", place, "--question", "Are vampires real?",
               "--lambda", "0.5,0.3,0.2", "--tokens", "4")  # fmt: skip
    assert done.exit_code == 0, done.stderr
    assert "A: " in done.stdout
