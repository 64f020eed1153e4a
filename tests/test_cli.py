"""The command line as a user meets it: tables, JSON, exit codes, one line for bad input."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from command_line import run
from conftest import random_mdp

from bounds import CLAIMS
from bounds.claims.catalogue import claim_named
from bounds.records.witness import Witness, load_witness, stored_witnesses
from toymdp import InstanceError
from toymdp.families.classics import rare_first_token

RECORD_KEYS = {
    "instance", "family", "sha256", "claim", "status", "kind", "verdict", "lhs", "rhs", "slack",
    "ratio", "error", "lambda", "lambda_name",
    "hypotheses", "reason", "terms", "where", "evidence", "assumed", "seed", "versions",
}  # fmt: skip


def soupcheck(*arguments, cwd=None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from bounds.cli import main; main()", *map(str, arguments)]
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8", "COLUMNS": "200"}
    return subprocess.run(
        command, capture_output=True, text=True, cwd=cwd, env=environment, timeout=300, check=False
    )


@pytest.fixture
def instance(tmp_path) -> Path:
    path = tmp_path / "small.json"
    random_mdp(0).save(path)
    return path


def test_solve_writes_every_key(instance):
    done = soupcheck("solve", instance, "--json", "-")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    keys = ("V_w", "V_k", "lambda", "mu", "J", "gap", "status", "upper_bound", "seconds")
    assert set(keys) | {"budget_used"} <= set(found)
    assert found["gap"] == pytest.approx(found["V_w"] - found["J"])
    assert "λ*" in done.stderr


def test_solve_proves_a_bound(instance):
    done = soupcheck("solve", instance, "--tolerance", "1e-3", "--seconds", "20", "--json", "-")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["evidence"] == "certified"
    assert found["bound"]["reached"]
    assert found["J"] <= found["upper_bound"] <= found["J"] + found["bound"]["allowed"]
    assert "upper bound of J" in done.stderr
    short = soupcheck("solve", instance, "--tolerance", "1e-12", "--seconds", "1e-9", "--json", "-")
    assert short.returncode == 0, short.stderr
    late = json.loads(short.stdout)
    assert late["bound"]["stopped"] == "time"
    assert late["evidence"] != "certified"
    assert late["upper_bound"] >= found["J"]
    assert "NOT within" in short.stderr


def test_solve_says_why_there_is_no_bound(tmp_path):
    path = tmp_path / "endless.json"
    random_mdp(9, T=None, eos=2, beta=6.0).save(path)
    done = soupcheck("solve", path, "--tolerance", "1e-3", "--json", "-")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["upper_bound"] is None
    assert "finite horizon" in found["bound"]["reason"]


@pytest.mark.parametrize("option", ["--tolerance", "--seconds"])
def test_solve_refuses_odd_tolerances(instance, option):
    done = soupcheck("solve", instance, option, "0")
    assert done.returncode == 2
    assert "must be positive" in done.stderr


def test_verify_streams_a_ledger(instance, tmp_path):
    other = tmp_path / "other.npz"
    random_mdp(1).save(other)
    ledger = tmp_path / "ledger.jsonl"
    done = soupcheck("verify", instance, other, "--json", ledger, "--html", tmp_path / "r.html")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in ledger.read_text(encoding="utf-8").splitlines()]
    assert all(set(row) >= RECORD_KEYS for row in rows)
    assert {row["instance"] for row in rows} == {"small", "other"}
    assert "NaN" not in ledger.read_text(encoding="utf-8")
    judged = [row for row in rows if row["verdict"] != "not-applicable" or row["reason"]]
    assert len(judged) == len(rows)
    assert "<html" in (tmp_path / "r.html").read_text(encoding="utf-8").lower()


def test_json_to_standard_output_is_json_only(instance):
    done = soupcheck("verify", instance, "--claims", "ss.delta*", "--json", "-")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["claim"] for row in rows] == [c for c in CLAIMS if c.startswith("ss.delta")]
    assert "ss.delta" in done.stderr


def test_gate(tmp_path):
    path = tmp_path / "gap.json"
    rare_first_token().save(path)
    # a refuted claim that is violated is no news, so the gate stays open
    assert soupcheck("verify", path, "--gate").returncode == 0


def test_gate_closes_when_a_witness_breaks_nothing(monkeypatch, capsys):
    from bounds.cli import main
    from bounds.runs import cases

    tame = Witness("tame", random_mdp(0), "ss.thm1.gap", None, 0, {"lhs": 1.0, "rhs": 0.0})
    monkeypatch.setattr(cases, "stored_witness_claims", lambda: {"tame": tame.claim})
    monkeypatch.setattr(cases, "stored_witness", lambda name: tame)
    monkeypatch.setattr(cases, "default_suite", lambda n, seed: cases.from_witnesses())
    with pytest.raises(SystemExit) as stop:
        main(["verify", "--claims", "ss.eq8.upper", "--gate"])
    assert stop.value.code == 1
    assert "tame no longer breaks ss.thm1.gap" in capsys.readouterr().out


def test_family_and_claims_listing():
    done = soupcheck("verify", "--family", "tree", "--n", 2, "--claims", "ss.lemma1", "-v")
    assert done.returncode == 0
    assert "tree-1" in done.stdout
    for option in ("", "--markdown", "--latex"):
        listed = soupcheck("claims", *([option] if option else []))
        assert "ss.thm1.gap.sharp" in listed.stdout
    rows = [json.loads(x) for x in soupcheck("claims", "--json", "-").stdout.splitlines()]
    assert {row["id"] for row in rows} == set(CLAIMS)
    assert any(row["witnesses"] for row in rows)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["verify", "nowhere.json"], "cannot be read"),
        (["verify", "--claims", "ss.nothing"], "matches no claim"),
        (["verify", "--family", "cats"], "--family"),
        (["verify", "--family", "tree", "x.json"], "one of the three"),
        (["verify", "--labels", "x.csv"], "belongs to --text"),
        (["verify", "--text", "nowhere.txt"], "nowhere.txt"),
        (["solve", "nowhere.json"], "cannot be read"),
        (["figures", "cats"], "unknown"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(arguments, says, tmp_path):
    done = soupcheck(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_usage_errors_exit_2():
    assert soupcheck("solve").returncode == 2
    assert soupcheck("verify", "--n", "0", "--family", "tree").returncode == 2
    assert soupcheck("nonsense").returncode == 2


def test_version_and_help():
    assert re.fullmatch(r"soupcheck \d\S+", soupcheck("--version").stdout.strip())
    for words in ((), ("verify",), ("llm", "soup"), ("figures",)):
        short, long = (soupcheck(*words, option) for option in ("-h", "--help"))
        assert short.returncode == long.returncode == 0
        assert short.stdout == long.stdout
        assert "Usage: soupcheck" in short.stdout
    bare = soupcheck()
    assert "Usage: soupcheck" in bare.stdout
    assert not bare.stderr


def test_shell_completion(monkeypatch):
    for name, value in (
        ("_SOUPCHECK_COMPLETE", "complete_bash"), ("COMP_WORDS", "soupcheck ver"),
        ("COMP_CWORD", "1"),
    ):  # fmt: skip
        monkeypatch.setenv(name, value)
    assert soupcheck().stdout.split() == ["verify"]


@pytest.mark.parametrize("arguments", [["--help"], ["claims"]])
def test_what_only_lists_imports_nothing_heavy(arguments):
    source = (
        "import sys\nfrom bounds.cli import main\n"
        f"try:\n    main({arguments})\nexcept SystemExit as stop:\n    assert not stop.code\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, check=True
    )
    heavy = {
        "clarabel", "cvxpy", "flint", "jinja2", "latex2mathml", "matplotlib", "numba", "pyarrow",
        "scipy.optimize", "scipy.special", "scipy.stats", "sympy", "torch", "transformers",
    }  # fmt: skip
    assert not heavy & set(done.stderr.split())


def test_a_file_that_cannot_be_written_loses_nothing(instance, tmp_path):
    for arguments in (
        ("solve", instance), ("verify", instance, "--claims", "ss.delta*"), ("claims",),
        ("explain", instance, "ss.thm1.kl"), ("figures", "--list"),
    ):  # fmt: skip
        done = soupcheck(*arguments, "--json", tmp_path / ("long" * 100))
        assert done.returncode == 2
        assert "printed instead" in done.stderr
        assert any(line.startswith("{") for line in done.stdout.splitlines())


def test_a_place_that_cannot_be_is_refused_before_the_run(instance, tmp_path):
    """Nothing was computed: standard output is empty."""
    for place, says in ((tmp_path, "is a folder"), (tmp_path / "no" / "l.json", "does not exist")):
        for arguments in (("solve", instance), ("verify", instance, "--claims", "ss.delta*")):
            done = run(*arguments, "--json", place)
            assert (done.exit_code, done.stdout) == (2, "")
            assert says in done.stderr


def test_no_finite_value_is_one_line(tmp_path):
    path = tmp_path / "unbounded.json"
    mdp = random_mdp(0, T=None, eos=2)
    mdp.replace(rewards=mdp.rewards * 0 + 9.0).save(path)
    random_mdp(0).save(tmp_path / "sound.json")
    done = run("verify", tmp_path, "--claims", "ss.delta*", "--gate", "--json", tmp_path / "l")
    assert done.exit_code == 2
    assert "unbounded: r_0: no finite value until eos" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    rows = map(json.loads, (tmp_path / "l").read_text(encoding="utf-8").splitlines())
    assert {row["instance"] for row in rows} == {"sound"}
    assert "gate: failed" in done.stdout


def test_own_text_and_labels(tmp_path):
    text, labels = tmp_path / "t.txt", tmp_path / "l.csv"
    words = [f"w{i}" for i in range(30)]
    lines = [" ".join(words[(i * j) % 30] for j in range(1, 8)) + " ." for i in range(60)]
    text.write_text("\n".join(lines) + "\n", encoding="utf-8")
    labels.write_text("kind\n" + "\n".join(str(i % 2) for i in range(60)) + "\n", encoding="utf-8")
    done = soupcheck("verify", "--text", text, "--labels", labels, "--vocab-size", 12)
    assert done.returncode == 0, done.stderr
    assert "reward 'kind'" in done.stdout
    labels.write_text("kind\n1\n", encoding="utf-8")
    wrong = soupcheck("verify", "--text", text, "--labels", labels)
    assert wrong.returncode == 2
    assert "60" in wrong.stderr


def test_witness_files(tmp_path):
    (w, *_) = stored_witnesses()
    path = tmp_path / "w.json"
    w.save(path)
    assert load_witness(path).expected == dict(w.expected)
    found = json.loads(path.read_text(encoding="utf-8"))
    for change in (
        {"extra": 1}, {"claim": 7}, {"format": "x"}, {"expected": {"lhs": "1"}},
        {"lambda": [1.0] * 7}, {"instance": []},
    ):  # fmt: skip
        path.write_text(json.dumps({**found, **change}), encoding="utf-8")
        with pytest.raises(InstanceError):
            load_witness(path)


def test_a_witness_is_read_without_the_catalogue_and_judged_with_it(tmp_path):
    (stored, *_) = stored_witnesses()
    path = tmp_path / "w.json"
    replace(stored, claim="ss.nothing").save(path)
    assert load_witness(path).claim == "ss.nothing"
    with pytest.raises(InstanceError, match="unknown"):
        claim_named(load_witness(path).claim)
    for arguments in (["certify", path], ["search", "ss.delta", "--out", path, "--resume"]):
        done = soupcheck(*arguments)
        assert done.returncode == 2
        assert "ss.nothing" in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1


def test_commands_of_upper_rooms_come_by_entry_points():
    done = soupcheck("figures", "--list")
    assert done.returncode == 0
    assert "tightness" in done.stdout
