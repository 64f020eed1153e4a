"""Shrinking a witness keeps it one; the search command and its file."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pytest
import torch

from bounds import CLAIMS
from bounds.cli import main
from bounds.records.witness import load_witness, stored_witnesses
from bounds.search import edits, shrink
from bounds.search.budget import Budget
from bounds.search.engine import State, search
from bounds.search.judge import Find, quick, verdict
from bounds.search.shrink import Shrinker, bits
from toymdp import TokenMDP
from toymdp.families import dirichlet

torch.set_num_threads(1)


def run(args, capsys):
    with pytest.raises(SystemExit) as stop:
        main(args)
    captured = capsys.readouterr()
    return stop.value.code, captured.out, captured.err


# -- shrinking ------------------------------------------------------------------------------------


def found_for(claim, seed=0):
    state = search(State(claim, seed), Budget(120.0), 1.05, lambda state: None)
    assert state.breaks_by(1.05)
    return state.best


@pytest.mark.parametrize("claim", ["ss.lemma1.per-step", "ss.proof.A", "ss.delta.anchor"])
def test_shrinking_keeps_the_break(claim):
    before = found_for(claim)
    after = Shrinker(claim, 1.05, Budget(20.0)).run(before)
    assert bits(after.mdp, after.lam) < bits(before.mdp, before.lam)
    again = verdict(after.mdp, claim, after.lam, seed=3)
    assert again.broken
    assert again.strength >= 1.05
    held = {h for h, v in before.check.hypotheses.items() if v}
    assert held <= {h for h, v in again.check.hypotheses.items() if v}


def test_shrinking_never_loses_a_hypothesis(monkeypatch):
    """An edit that keeps the break but not the softmax set-up is turned down."""
    (witness,) = (w for w in stored_witnesses() if w.name == "lemma1-softmax")
    before = verdict(witness.instance, witness.claim, None)
    forbid = partial(edits._forbid, s=1, a=2)
    after, _ = forbid((before.mdp, None))
    changed = verdict(after, witness.claim, None)
    assert changed.broken
    assert bits(after, None) < bits(before.mdp, None)
    assert before.check.hypotheses["ss.asm0"]
    assert not changed.check.hypotheses["ss.asm0"]
    monkeypatch.setattr(shrink, "PASSES", (("forbid", lambda draft: iter([forbid]), False),))
    kept = Shrinker(witness.claim, 1.0, Budget(60.0)).run(before)
    assert kept.mdp is before.mdp


def test_cutting_tokens_keeps_the_rest():
    mdp = dirichlet(2, A=4, L=2, T=3, K=2, forbid=0.0)
    edit = next(e for e in edits.smaller((mdp, None)) if e.keywords.get("without") == 2)
    small, _ = edit((mdp, None))
    keep = [a * 4 + b for a in (0, 1, 3) for b in (0, 1, 3)]
    assert small.vocab_size == 3
    np.testing.assert_array_equal(small.rewards, mdp.rewards[:, keep])
    np.testing.assert_array_equal(small.ref_weights, mdp.ref_weights[keep][:, [0, 1, 3]])
    np.testing.assert_array_equal(small.features.scale, mdp.features.scale[:, keep])


def test_softmax_edit_keeps_its_hypotheses():
    found = found_for("ss.lemma1.per-step", 2)
    draft = (found.mdp, None)
    for edit in edits.plainer_features(draft):
        changed = edit(draft)
        facts_there = quick(changed[0], "ss.lemma1.per-step", None).check.hypotheses
        assert facts_there["ss.asm1"]
        assert facts_there["ss.asm0"]


# -- the command -------------------------------------------------------------------------------


def test_command_writes_a_witness(tmp_path, capsys):
    out = tmp_path / "w.json"
    code, text, _ = run(["search", "ss.proof.A", "--out", str(out), "--json", "-"], capsys)
    assert code == 0
    found = json.loads(text)
    witness = load_witness(out)
    assert found["found"]
    assert witness.claim == "ss.proof.A"
    again = verdict(witness.instance, witness.claim, np.array(witness.lam))
    assert again.broken
    assert again.check.lhs == pytest.approx(witness.expected["lhs"])
    assert again.check.rhs == pytest.approx(witness.expected["rhs"])
    assert [p.name for p in tmp_path.iterdir()] == ["w.json"]


def test_command_resumes(tmp_path, capsys):
    out = tmp_path / "w.json"
    args = ["search", "ss.thm1.kl.repaired", "--out", str(out), "--seconds", "3", "--json", "-"]
    code, text, _ = run(args, capsys)
    first = json.loads(text)
    assert code == 1
    assert not first["found"]
    assert not load_witness(out).instance.meta["search"]["found"]
    code, text, _ = run([*args, "--resume"], capsys)
    second = json.loads(text)
    assert code == 1
    assert second["rounds"] > first["rounds"]
    assert second["seconds"] > first["seconds"]
    assert second["strength"] >= first["strength"] * (1 - 1e-9)
    code, _, err = run([*args[:1], "ss.lemma1", *args[2:], "--resume"], capsys)
    assert code == 2
    assert "resume with the claim of the file" in err


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["ss.nothing"], "unknown"),
        (["ex.eq10"], "token MDPs only"),
        (["ss.asm1"], "name a statement"),
        (["ss.lemma1", "--resume"], "--out"),
        (["ss.lemma1", "--out", "missing-folder/w.json"], "does not exist"),
    ],
)
def test_bad_input_is_one_line(args, says, capsys):
    code, out, err = run(["search", *args], capsys)
    assert code == 2
    assert out == ""
    assert says in err
    assert len(err.strip().splitlines()) == 1


def test_an_existing_file_is_not_overwritten(tmp_path, capsys):
    out = tmp_path / "w.json"
    out.write_text("mine")
    code, _, err = run(["search", "ss.lemma1", "--out", str(out)], capsys)
    assert code == 2
    assert "exists" in err
    assert out.read_text() == "mine"


def test_without_the_extra_the_command_names_it(monkeypatch, capsys):
    import sys

    monkeypatch.setitem(sys.modules, "cmaes", None)
    code, _, err = run(["search", "ss.lemma1"], capsys)
    assert code == 2
    assert "[search]" in err


def test_find_without_sides_is_never_broken():
    mdp = TokenMDP(
        vocab_size=2, order=1, horizon=1, start=[0], ref_weights=np.ones((2, 2)),
        rewards=np.zeros((1, 2)), beta=1.0, w=[1.0],
        features={"kind": "tabular", "per_step": True, "scale": 1.0},
    )  # fmt: skip
    found = verdict(mdp, "ss.thm1.kl.any", np.array([1.0]))
    assert isinstance(found, Find)
    assert not found.broken
    assert found.strength == -np.inf


@pytest.mark.parametrize(
    "witness", [w for w in stored_witnesses() if isinstance(w.instance, TokenMDP)],
    ids=lambda w: w.name,
)  # fmt: skip
def test_stored_witnesses_stand_before_the_judge(witness):
    """With many starts, every hypothesis and the softmax set-up true, and the sides as stored."""
    lam = None if witness.lam is None else np.array(witness.lam)
    found = verdict(witness.instance, witness.claim, lam, seed=11)
    assert found.broken
    claim = CLAIMS[witness.claim]
    assert all(found.check.hypotheses[h.id] for h in (*claim.hypotheses, *claim.reported))
    assert found.check.lhs == pytest.approx(witness.expected["lhs"], rel=1e-6)
    assert found.check.rhs == pytest.approx(witness.expected["rhs"], rel=1e-6)
