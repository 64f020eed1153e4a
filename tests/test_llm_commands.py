"""``soupcheck llm`` as a user meets it, on a stored random bank; and the rebuilding of the default."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch")

from llm_models import TEXTS, tiny_bank  # noqa: E402

from bounds.cli import main  # noqa: E402
from llm_bridge.loading import save_adapter  # noqa: E402
from llm_bridge.preferences import truthfulqa  # noqa: E402
from llm_bridge.training import default_bank  # noqa: E402
from llm_bridge.training.adapter import Recipe  # noqa: E402
from llm_bridge.training.pretrain import Pretraining, Shape  # noqa: E402
from toymdp.extras import install  # noqa: E402

VERDICTS = {"holds", "violated", "not-applicable", "undecided"}
ROWS = [
    {"prompt": "the cat", "chosen": " it is", "rejected": " sat not"},
    {"prompt": "yes it", "chosen": " is so", "rejected": " not what it is"},
    {"prompt": "no", "chosen": " it is so", "rejected": " cat not it"},
]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    root = tmp_path_factory.mktemp("bank")
    bank = tiny_bank(text=True, target="output")
    for name in (*bank.names, "user"):
        save_adapter(bank, name, root / name, str(root / "base"))
    bank.model.base_model.unload().save_pretrained(root / "base")
    bank.tokenizer.save_pretrained(root / "base")
    (root / "pairs.jsonl").write_text("\n".join(map(json.dumps, ROWS)), encoding="utf-8")
    return root


def run(capsys, *arguments):
    """Exit code, standard output and standard error of one command."""
    with pytest.raises(SystemExit) as done:
        main(["llm", *map(str, arguments)])
    out = capsys.readouterr()
    return done.value.code, out.out, out.err


def bank_options(root, bespoke=True):
    options = ["--model", root / "base", "--adapter", root / "k0", "--adapter", root / "k1"]
    return [*options, "--bespoke", root / "user"] if bespoke else options


SMALL = ("--prompts", "3", "--rollouts", "1", "--tokens", "5", "--top", "4", "--beta", "1")


def test_diagnose_writes_one_object(place, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    code, out, err = run(
        capsys, "diagnose", place / "pairs.jsonl", *bank_options(place), *SMALL, "--json", "-"
    )
    assert code == 0, err
    found = json.loads(out)
    assert found["policies"] == ["ref", "k0", "k1", "user"]
    assert found["sequences"] == 6
    assert {c["verdict"] for c in found["checks"]} <= VERDICTS
    assert [c["claim"] for c in found["checks"]][:2] == ["ss.delta", "ss.thm1.gap.sharp"]
    assert all(c["assumed"] for c in found["checks"])
    assert set(found["gaps"]) == {"ref", "fitted", "uniform"}
    for gap in found["gaps"].values():
        assert gap["low"] <= gap["gap"] <= gap["high"]
        assert gap["gap"] <= gap["sharp"] + 1e-6
    assert "Verdicts" in err
    assert not list((tmp_path / "soupcheck" / "llm").glob("*.jsonl"))  # a finished run leaves none


def test_diagnose_without_a_bespoke_policy(place, capsys, tmp_path):
    chunks, report = tmp_path / "chunks.jsonl", tmp_path / "found.json"
    options = ["--lambda", "0.5,-0.2", "--chunks", chunks, "--json", report]
    code, out, err = run(
        capsys, "diagnose", place / "pairs.jsonl", *bank_options(place, False), *SMALL, *options
    )
    assert code == 0, err
    found = json.loads(report.read_text())
    assert found["gaps"] == {}
    assert found["bespoke explained by first k"] is None
    assert found["soups"] == {"given": [0.5, -0.2]}
    said = found["first page"]["says"][-1]
    assert "(0.5, -0.2)" in said
    assert "β|λ|₁/β' = 0.7: within the budget" in said
    rows = [json.loads(line) for line in chunks.read_text().splitlines()]
    assert sum(len(r["tokens"]) for r in rows[1:]) == found["states"]
    assert "Mean KL" in out


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["diagnose", "nothing.jsonl"], "cannot be read"),
        (["diagnose", "PAIRS", "BANK", "--lambda", "1"], "must be 2 finite numbers"),
        (["diagnose", "PAIRS", "BANK", "--lambda", "a,b"], "numbers by commas"),
        (["diagnose", "PAIRS", "BANK", "--precision", "bfloat16"], "float32 or better"),
        (["diagnose", "PAIRS", "BANK", "--max-length", "2"], "none fits 2 tokens"),
        (["diagnose", "PAIRS", "--adapter", "x"], "name the adapters' base model"),
        (["soup"], "nothing to answer"),
        (["soup", "hello", "--lambda", "1,1", "--method", "stir"], "unknown"),
        (["soup", "hello", "BANK"], "one of the two"),
        (["soup", "hello", "BANK", "--method", "drift"], "needs --pairs and --attributes"),
        (["soup", "hello", "BANK", "--learn", "guess"], "unknown"),
        (["train", "OUT", "--loss", "ppo"], "unknown"),
        (["train", "OUT"], "need user weights"),
        (["train", "OUT", "--w", "kindness=1"], "no such attribute"),
        (["train", "OUT", "--w", "truthful"], "must be NAME=NUMBER"),
    ],
)
def test_bad_input_is_one_line_and_code_2(place, capsys, tmp_path, arguments, match):
    filled = []
    for a in arguments:
        names = {"PAIRS": place / "pairs.jsonl", "OUT": tmp_path / "out"}
        filled += bank_options(place, False) if a == "BANK" else [names.get(a, a)]
    code, out, err = run(capsys, *filled)
    assert code == 2
    assert match in err
    assert len(err.strip().splitlines()) == 1
    assert out == ""


@pytest.mark.parametrize("method", ["explicit", "implicit", "p-soups"])
def test_soup_answers(place, capsys, method):
    code, out, err = run(
        capsys, "soup", "the cat", "--question", "is it", "--lambda", "0.5,0.5", "--method", method,
        *bank_options(place, False), "--tokens", "4", "--beta", "0.5", "--beta-prime", "2",
        "--json", "-",
    )  # fmt: skip
    assert code == 0, err
    found = json.loads(out)
    assert found["lambda"] == [0.5, 0.5]
    assert found["mu"] == [0.25, 0.25]  # λ/β'
    assert found["weights"] == [0.125, 0.125]  # λβ/β'
    assert [a["prompt"] for a in found["answers"]] == ["the cat", "Q: is it\nA:"]
    assert ("acceptance" in found) == (method == "implicit")


@pytest.mark.parametrize("learn", ["batch", "sequential", "binary"])
def test_soup_learns_lambda_from_pairs(place, capsys, learn):
    code, out, err = run(
        capsys, "soup", "no", "--pairs", place / "pairs.jsonl", "--learn", learn,
        *bank_options(place, False), "--tokens", "3", "--json", "-", "--beta", "1",
    )  # fmt: skip
    assert code == 0, err
    found = json.loads(out)
    assert found["lambda from pairs"]["pairs"] == 3
    assert sum(map(abs, found["lambda"])) <= 1 + 1e-9


@pytest.mark.parametrize("method", ["exact", "drift"])
def test_soup_by_words_in_the_prompt(place, capsys, method):
    code, out, err = run(
        capsys, "soup", "no", "--pairs", place / "pairs.jsonl", "--method", method,
        "--attributes", "cat, mat,so", *bank_options(place, False), "--tokens", "3", "--json", "-",
    )  # fmt: skip
    assert code == 0, err
    found = json.loads(out)
    if method == "exact":
        assert len(found["words"]["no"]) == 2
        assert set(found["words"]["no"]) <= {"cat", "mat", "so"}
    else:
        assert sum(x * x for x in found["weights"].values()) == pytest.approx(1.0)


def test_train_writes_an_adapter_that_loads(place, capsys, tmp_path):
    out = tmp_path / "mine"
    arguments = [
        "train", out, "--data", place / "pairs.jsonl", "--model", place / "base", "--rank", "2",
        "--steps", "6", "--batch", "2", "--target", "output", "--rate", "0.01",
    ]  # fmt: skip
    code, _, err = run(capsys, *arguments, "--json", tmp_path / "report.json")
    assert code == 0, err
    assert json.loads((tmp_path / "report.json").read_text())["steps"] == 6
    options = ["--model", place / "base", "--adapter", out, "--lambda", "0.5"]
    code, _, err = run(capsys, "soup", "no", *options, "--tokens", "2")
    assert code == 0, err


def test_a_training_begins_where_its_seed_says(place, capsys, tmp_path):
    """Whatever was drawn before it, the same command writes the same adapter; another seed does not."""
    written = []
    for number, seed in enumerate((0, 0, 1)):
        torch.manual_seed(number)
        out = tmp_path / str(number) / "mine"
        code, _, err = run(
            capsys, "train", out, "--data", place / "pairs.jsonl", "--model", place / "base", "--rank", "2",
            "--steps", "1", "--batch", "2", "--seed", str(seed),
        )  # fmt: skip
        assert code == 0, err
        written.append((out / "adapter_model.safetensors").read_bytes())
        targets = json.loads((out / "adapter_config.json").read_text())["target_modules"]
        assert targets == sorted(targets)
        assert len(targets) > 1
    assert written[0] == written[1] != written[2]


def test_labels_turns_and_lengths_from_a_table(place, capsys, tmp_path):
    """Answers found good or bad, in CSV: trained on, λ learnt from them; what is too long is counted."""
    table = tmp_path / "votes.csv"
    rows = [
        "the cat, sat on the mat,true",
        "the cat, is not,false",
        "no,,true",
        f"no,{' it' * 90},false",
    ]
    table.write_text("\n".join(["prompt,completion,label", *rows]), encoding="utf-8")
    out, report = tmp_path / "v1.0", tmp_path / "report.json"
    small = ("--rank", "2", "--steps", "3", "--batch", "2", "--max-length", "24", "--json", report)
    code, _, err = run(
        capsys, "train", out, "--data", table, "--model", place / "base", "--loss", "binary", *small
    )
    assert code == 0, err
    found = json.loads(report.read_text())
    assert found["data"] == {
        "format": "kto", "rows": 4, "left out": {"empty answers": 1, "too long, left out": 1}
    }  # fmt: skip
    assert found["labels"] == 2
    code, _, err = run(capsys, "train", out, "--data", table, "--chat-template", *small)
    assert code == 2
    assert "the tokenizer has none" in err
    options = ["--model", place / "base", "--adapter", f"mine={out}", "--adapter", place / "k0"]
    code, text, err = run(
        capsys, "soup", "no", *options, "--pairs", table, "--learn", "binary", "--tokens", "2",
        "--truncate", "--max-length", "24", "--json", report,
    )  # fmt: skip
    assert code == 0, err
    found = json.loads(report.read_text())
    assert found["lambda from pairs"]["labels"] == 3
    assert found["data"]["left out"]["too long, cut"] == 1
    assert "data: 4 rows of format kto; 1 empty answers, 1 too long, cut" in text


BLOCKED = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            raise ModuleNotFoundError("No module named 'torch'", name="torch")
sys.meta_path.insert(0, Block())
from bounds.cli import main
main(sys.argv[1:])
"""


def test_without_the_extra_one_line_says_which(tmp_path):
    def without_torch(*arguments):
        command = [sys.executable, "-c", BLOCKED, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)

    done = without_torch("llm", "soup", "x", "--lambda", "1")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.endswith(f"; {install('llm')}\n")
    assert "soupcheck[llm]" in without_torch("--help").stdout
    assert install("llm", tmp_path) == 'pip install "soupcheck[llm]"'  # no checkout: by name
    (tmp_path / "pyproject.toml").touch()
    assert install("llm", tmp_path).endswith(f'-e "{tmp_path}[llm]"')
    assert without_torch("claims", "--json", "-").returncode == 0
    assert without_torch("llm", "--help").returncode == 0


def test_the_command_line_waits_with_what_is_heavy():
    """Every ``soupcheck --help`` loads this file; only a command that runs needs the rest."""
    heavy = {"torch", "transformers", "peft", "datasets", "numpy", "scipy", "cvxpy", "matplotlib"}
    code = "import sys, llm_bridge.commands.llm; print(*sys.modules)"
    command = [sys.executable, "-c", code]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert "typer" in loaded
    assert not heavy & set(loaded)


# -- the default bank ------------------------------------------------------------------------


def test_the_default_can_be_rebuilt_and_goes_on_after_a_kill(tmp_path):
    train, test = (
        type(part)(part.names, part.items[:12])
        for part in (truthfulqa("train"), truthfulqa("test"))
    )
    settings = {
        "shape": Shape(vocab=300, width=16, inner=32, layers=2, heads=2, head_width=8, window=8,
                       context=512, pattern=2),
        "plan": Pretraining(steps=4, batch=2, length=16),
        "recipe": Recipe(rank=2, steps=3, batch=4, beta=0.2, rate=1e-3), "user_steps": 4,
        "texts": TEXTS, "train": train, "test": test, "work": tmp_path / "work",
    }  # fmt: skip
    stages = []

    def on_progress(stage, done, total):
        if stage not in stages:
            stages.append(stage)

    out = tmp_path / "default"
    (tmp_path / "work").mkdir()
    found = default_bank.make_default(out, on_progress=on_progress, **settings)
    assert stages == ["pretraining", *(f"training {n}" for n in (*default_bank.ATTRIBUTES, "user"))]
    bank = default_bank.load_default(place=out)
    assert bank.policies == ("ref", *default_bank.ATTRIBUTES, "user")
    assert next(bank.model.parameters()).dtype == torch.float32
    assert set(found["accuracy"]) == {*default_bank.ATTRIBUTES, "user"}
    again = default_bank.make_default(tmp_path / "second", **settings)
    assert again["accuracy"] == found["accuracy"]
    # no path of the machine that made it
    for path in out.rglob("*.json"):
        assert str(tmp_path) not in path.read_text(encoding="utf-8"), path
