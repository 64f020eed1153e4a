"""Instances in and out: ``soupcheck instance``, and what each command says to each kind of file."""

from __future__ import annotations

import inspect
import json

import numpy as np
import pytest
from command_line import run

from bounds.commands.instance import parameters
from bounds.records.loading import load_any
from bounds.records.output import content_hash
from bounds.records.witness import stored_witness, stored_witness_claims
from toymdp.families import generate
from toymdp.families.options import MEANINGS, options_of
from toymdp.kinds import ALL_CLASSICS, ALL_FAMILIES, KINDS

SMALL = ("loud-and-even", "two-points", "one-answer")


@pytest.mark.parametrize("suffix", [".json", ".npz"])
@pytest.mark.parametrize(
    "name", ["softmax-12", "tree-3", "mixed-topics-2", "rare-trap", "wide-prior-1"]
)
def test_what_is_written_is_what_the_family_makes(name, suffix, tmp_path):
    path = tmp_path / f"x{suffix}"
    done = run("instance", name, "--out", path)
    assert (done.exit_code, done.stdout) == (0, "")
    family, _, seed = name.rpartition("-")
    expected = ALL_CLASSICS[name]() if name in ALL_CLASSICS else ALL_FAMILIES[family](int(seed))
    assert content_hash(load_any(path)) == content_hash(expected)


def test_witnesses_come_whole_or_as_instances(tmp_path):
    whole, bare = tmp_path / "whole.json", tmp_path / "bare.json"
    run("instance", "delta-low-anchor", "--witness", "--out", whole)
    run("instance", "delta-low-anchor", "--out", bare)
    stored = stored_witness("delta-low-anchor")
    assert json.loads(whole.read_text())["claim"] == stored.claim
    assert content_hash(load_any(whole)) == content_hash(load_any(bare))
    assert "breaks nothing" not in run("verify", whole, "--gate", "--claims", "ss.delta").stdout
    assert run("certify", whole).exit_code == 0
    assert run("certify", bare).exit_code == 2


def test_parameters_of_a_family(tmp_path):
    path = tmp_path / "x.json"
    assert (
        run(
            "instance", "dirichlet-4", "--set", "A=3", "--set", "beta=0.25", "--out", path
        ).exit_code
        == 0
    )
    assert content_hash(load_any(path)) == content_hash(generate("dirichlet", 4, A=3, beta=0.25))


def test_standard_output_is_the_file_alone():
    done = run("instance", "dirichlet-4")
    assert np.array_equal(json.loads(done.stdout)["rewards"], generate("dirichlet", 4).rewards)
    assert done.stderr == ""


def test_the_list_names_everything():
    shown = run("instance").stdout
    assert all(f"{name}-SEED" in shown for name in ALL_FAMILIES)
    assert all(name in shown for name in (*ALL_CLASSICS, *stored_witness_claims()))


def test_the_list_says_what_each_is_in_its_own_words():
    """A docstring that is that of a class or of functools tells nobody what the instance is."""
    makes = [*ALL_FAMILIES.values(), *ALL_CLASSICS.values()]
    said = [make.__doc__ for make in makes]
    assert all(said)
    assert len(set(said)) == len(makes)
    assert all(inspect.isfunction(make) for make in makes)
    assert "partial" not in run("instance").stdout


def test_a_family_without_a_seed_lists_its_parameters():
    """Each with what it stands for and its default; no meaning is left of a parameter that went."""
    taken = set()
    for name, make in ALL_FAMILIES.items():
        rows = list(parameters(name))
        assert [row["name"] for row in rows] == (list(options_of(make)) or ["none"])
        assert all(row["means"] for row in rows)
        taken |= set(options_of(make))
    assert taken == set(MEANINGS)
    done = run("instance", "unit-norm")
    assert done.exit_code == 0
    assert {row["name"]: row["takes"] for row in parameters("unit-norm")}[
        "forbid"
    ] == "a number from 0 to 1"
    assert "chance that a token is" in " ".join(done.stdout.split())
    defaults = {row["name"]: row["default"] for row in parameters("unit-norm")}
    assert (defaults["forbid"], defaults["concentration"]) == ("0", "1")
    assert {row["name"]: row["default"] for row in parameters("dirichlet")}["forbid"] == "0.1"


def test_a_fitted_text(tmp_path):
    text, path = tmp_path / "text.txt", tmp_path / "fit.json"
    animals, deeds = ("cat", "dog", "bird"), ("sat", "ran", "sang", "slept", "hid")
    ways = ("on the mat", "over the hill", "in a tree", "near the old house")
    lines = [f"the {a} {d} {w}" for w in ways for d in deeds for a in animals]
    text.write_text("\n".join(lines), encoding="utf-8")
    labels = tmp_path / "labels.csv"
    labels.write_text("cat\n" + "1\n0\n0\n" * 20, encoding="utf-8")
    options = ("--text", text, "--labels", labels, "--vocab-size", 12, "--order", 1)
    assert run("instance", *options, "--out", path).exit_code == 0
    mdp = load_any(path)
    assert (mdp.vocab_size, mdp.order, mdp.n_rewards) == (12, 1, 1)
    one_hot = tmp_path / "one.json"
    assert run("instance", *options, "--one-hot", "--out", one_hot).exit_code == 0
    assert load_any(one_hot).features.as_dict()["kind"] == "tabular"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["softmx-3"], "did you mean softmax-0"),
        (["softmax", "--out", "x.json"], "add a seed: softmax-0"),
        (["gap-naturl-T2"], "did you mean gap-natural-T2"),
        (["qqq"], "`soupcheck instance` lists them"),
        (["tree-1", "--witness"], "is no stored witness"),
        (["tree-1", "--set", "Z=3"], "is no option of the family tree"),
        (["rare-trap", "--set", "A=3"], "belongs to FAMILY-SEED"),
        (["tree-1", "--set", "T=3", "--set", "beta=1,T=4"], "--set T = '4': is given twice"),
        (["tree-1", "--text", "x"], "not both"),
        (["tree-1", "--labels", "x"], "belongs to --text"),
        (["--out", "x.json"], "no instance to write"),
        (["tree-1", "--out", "x.txt"], "must end in .json or .npz"),
        (["tree-1", "--out", "no/such/folder/x.json"], "cannot be written"),
    ],
)
def test_bad_requests_are_one_line_and_exit_2(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run("instance", *arguments)
    assert done.exit_code == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_every_command_reads_every_kind_of_file_or_says_why_not(tmp_path):
    """verify takes all; solve and explain take token MDPs and witnesses of them; certify witnesses."""
    files = {}
    for name in (*SMALL, "tree-0"):
        files[name] = tmp_path / f"{name}.json"
        run("instance", name, "--out", files[name])
    files["witness"] = tmp_path / "witness.json"
    run("instance", "delta-low-anchor", "--witness", "--out", files["witness"])
    assert {load_any(path).format for path in files.values()} == set(KINDS)
    claims = "ss.delta,ss.appC,ex.propA1,ex.drift"
    done = run("verify", tmp_path, "--claims", claims, "--gate")
    assert done.exit_code == 0, done.stderr
    for command, more, told in (
        ("solve", [], "token MDPs"), ("explain", ["ss.thm1.kl"], "token MDPs"),
        ("certify", [], "without a claim"),
    ):  # fmt: skip
        takes = {"certify": {"witness"}}.get(command, {"witness", "tree-0"})
        for name, path in files.items():
            done = run(command, path, *more)
            assert (done.exit_code == 0) == (name in takes), (command, name, done.stderr)
            if name not in takes:
                assert told in done.stderr
                assert len(done.stderr.strip().splitlines()) == 1
        done = run(command, tmp_path, *more)
        assert done.exit_code == 2
        assert "is a folder" in done.stderr
