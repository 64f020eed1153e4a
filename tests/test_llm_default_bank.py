"""The bundled bank: what it is, that its card says what was measured, that specialists conflict."""

from __future__ import annotations

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from bounds.cli import main  # noqa: E402
from llm_bridge.preferences import ScoredSet, truthfulqa  # noqa: E402
from llm_bridge.training.default_bank import (  # noqa: E402
    ATTRIBUTES,
    LIMIT,
    USER,
    USER_WEIGHTS,
    accuracy_table,
    card,
    folder,
    load_default,
)

torch.set_num_threads(1)
FOUND = json.loads((folder() / "accuracy.json").read_text(encoding="utf-8"))


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Two runs of these tests at once must not meet in the user's cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def bank():
    return load_default()


def test_it_is_a_small_gemma_3(bank):
    config = bank.config
    assert type(bank.base).__name__ == "Gemma3ForCausalLM"
    assert {"sliding_attention", "full_attention"} == set(config.layer_types)
    assert config.tie_word_embeddings
    assert 1e6 <= FOUND["parameters"] <= 3e6
    assert bank.policies == ("ref", *ATTRIBUTES, USER)
    files = [p for p in folder().rglob("*") if p.is_file()]
    assert sum(p.stat().st_size for p in files) <= LIMIT
    assert {p.suffix for p in files} <= {".safetensors", ".json", ".md", ".jinja"}


def test_it_models_the_text_it_was_pretrained_on(bank):
    text = "And the LORD said unto Moses, Go unto the people."
    ids = torch.tensor([bank.encode(text)])
    with bank.using("ref") as base, torch.no_grad():
        loss = base(input_ids=ids, labels=ids).loss.item()
    assert loss < 0.6 * np.log(bank.vocab_size)


def test_the_card_shows_the_file(bank):
    assert (folder() / "README.md").read_text(encoding="utf-8") == card(FOUND)


def test_specialists_learned_and_conflict():
    """Each of the four is above chance on held-out questions, and some pair pulls apart."""
    table = FOUND["accuracy"]
    for name in ATTRIBUTES:
        share, error, pairs = table[name][name]
        assert share - 2 * error > 0.5, name
        assert pairs > 500
    assert min(table[a][b][0] + 2 * table[a][b][1] for a in ATTRIBUTES for b in ATTRIBUTES) < 0.5


@pytest.mark.long
def test_the_table_is_what_the_bank_does(bank):
    users = {name: {name: 1.0} for name in ATTRIBUTES} | {USER: USER_WEIGHTS}
    test = truthfulqa("test").standardised(truthfulqa("train"))
    found = accuracy_table(bank, test, users, FOUND["seed"])
    for adapter, row in FOUND["accuracy"].items():
        for user, (share, _, pairs) in row.items():
            assert found[adapter][user][0] == pytest.approx(share, abs=2e-3)
            assert found[adapter][user][2] == pairs


def test_some_of_the_table_again(bank):
    """A tenth of the held-out questions by the same function: near the table."""
    test = truthfulqa("test").standardised(truthfulqa("train"))
    few = ScoredSet(test.names, test.items[:16])
    found = accuracy_table(bank, few, {"concise": {"concise": 1.0}}, 0)["concise"]["concise"]
    share, error, _ = found
    assert abs(share - FOUND["accuracy"]["concise"]["concise"][0]) < 5 * error + 0.02


def diagnosed(capsys, *more):
    with pytest.raises(SystemExit) as done:
        main(["llm", "diagnose", "--items", "3", "--prompts", "2", "--rollouts", "1",
              "--tokens", "4", "--json", "-", *more])  # fmt: skip
    out = capsys.readouterr()
    assert done.value.code == 0, out.err
    return json.loads(out.out)


@pytest.mark.long
def test_diagnose_without_an_argument(capsys):
    found = diagnosed(capsys)
    assert set(found["gaps"]) == {"ref", "(β'/β)w", "fitted", "uniform"}
    assert found["lambda from pairs"]["pairs"] == 200


def test_diagnose_the_bundled_bank(capsys):
    found = diagnosed(capsys, "--lambda", "0.4,0.3,0.2,0.1")
    assert set(found["gaps"]) == {"ref", "given"}
    assert {c["claim"]: c["verdict"] for c in found["checks"]}["ss.delta"] == "holds"
