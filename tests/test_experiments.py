"""The experiments: units, records, resuming, tables, and what a bad request is told."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from command_line import run as command

from bounds.experiments import ultrafeedback
from bounds.experiments.catalogue import EXPERIMENTS
from bounds.experiments.experiment import Settings
from bounds.records.output import dump
from bounds.records.resume import finished, marked
from bounds.report import experiments as report
from toymdp.errors import InstanceError

KEYS = {
    "experiment", "domain", "method", "variant", "seed", "user", "prompts", "pairs", "labels",
    "outside", "value", "share", "share_matched_kl", "kl", "kl_ref", "lambda_l1", "negative_mass",
    "acceptance", "losses", "accuracy", "hyper", "oracle", "policy_evaluations", "seconds", "error",
    "status", "versions",
}  # fmt: skip
SMALL = Settings(2, 1, (20, 80), ("ref", "rlhf", "rlhf-learnt", "ss-*", "pad"), "bt", 0.3, True)


def records(settings):
    return [row for task in ultrafeedback.tasks(settings) for row in task.run()]


@pytest.fixture(scope="module")
def some():
    return records(SMALL)


def test_a_record_has_what_it_must_and_only_plain_numbers(some):
    for row in some:
        assert set(row) >= KEYS
        json.loads(dump(row))
        assert row["status"] == "done"
        assert row["share"] <= 1.0 + 1e-9
        assert row["error"] < 1e-9
        assert row["prompts"] in ("train", "test")
    assert {r["method"] for r in some} >= {"ref", "rlhf", "ss-explicit", "ss-implicit"}


def test_losses_of_records_add_up_and_implicit_is_explicit(some):
    seen = 0
    for row in some:
        if row["losses"] is not None:
            assert sum(row["losses"].values()) == pytest.approx(
                row["V_u"] - row["value"], abs=1e-12
            )
            seen += row["losses"]["souping"] != 0.0
    assert seen > 10
    values = {
        method: [r["value"] for r in some if r["method"] == method and r["variant"] == "m=0"]
        for method in ("ss-explicit", "ss-implicit")
    }
    np.testing.assert_allclose(values["ss-explicit"], values["ss-implicit"], rtol=1e-12)


def test_a_unit_is_the_same_whatever_run_it_is_part_of(some):
    """The id of a unit does not hang on how many seeds and users there are, nor do its records."""
    more = ultrafeedback.tasks(replace(SMALL, seeds=3, users=2))
    ids = [task.id for task in ultrafeedback.tasks(SMALL)]
    assert set(ids) < {task.id for task in more}
    assert not set(ids) & {t.id for t in ultrafeedback.tasks(replace(SMALL, labels="rank"))}
    again = next(task for task in more if task.id == ids[1]).run()
    strip = lambda rows: [{k: v for k, v in r.items() if k != "seconds"} for r in rows]  # noqa: E731
    assert strip(again) == strip(some)[len(some) // 2 :]


def test_ranked_labels_without_an_outside_part_have_no_limit():
    settings = replace(
        SMALL, seeds=1, pairs=(40,), labels="rank", outside=0.0, methods=("ss-explicit",)
    )
    rows = records(settings)
    assert all(r["losses"] is None and "budget" in r["reason"] for r in rows)
    lam = {r["variant"]: r["lambda_l1"] for r in rows}
    assert lam["m=0, budget"] <= 1.0 + 1e-12


def test_a_killed_run_loses_one_unit_and_a_resumed_one_is_the_same(tmp_path):
    """The file is cut inside the second unit, in the middle of a line, as a kill leaves it."""
    options = ["experiment", "ultrafeedback", "--quick", "--seeds", "2", "--users", "1",
               "--methods", "ref,ss-explicit", "--json"]  # fmt: skip
    whole, cut = tmp_path / "whole.jsonl", tmp_path / "cut.jsonl"
    assert command(*options, whole).exit_code == 0
    text = whole.read_text(encoding="utf-8")
    lines = text.splitlines()
    assert len(lines) == 2 * (2 + 2 * 3 * 4)
    cut.write_text(text[: len(text) - len(lines[-1]) // 2 - len(lines[-2])], encoding="utf-8")
    resumed = command(*options, cut, "--resume")
    assert resumed.exit_code == 0
    assert "2 seeds" in resumed.stdout

    def seen(path):
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return [{k: v for k, v in r.items() if k != "seconds"} for r in rows]

    assert seen(cut) == seen(whole)
    half = len(lines) // 2
    kept = cut.read_text(encoding="utf-8").splitlines()
    assert kept[:half] == lines[:half]  # the first unit was not done again: its seconds are there
    before = cut.read_bytes()
    assert command(*options, cut, "--resume").exit_code == 0
    assert cut.read_bytes() == before


def test_a_file_of_something_else_is_not_gone_on_with(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text('{"a": 1}\n{"unit": "u", "part": [1, 1]}\n', encoding="utf-8")
    with pytest.raises(InstanceError, match=r"x\.jsonl:1"):
        finished(path)
    path.write_text("".join(dump(r) + "\n" for r in marked("u", [{"a": 1}, {"a": 2}])))
    assert len(finished(path)["u"]) == 2


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["nothing"], "no such experiment"),
        (["ultrafeedback", "--labels", "stars"], "must be one of"),
        (["ultrafeedback", "--outside", "1"], "share of a norm"),
        (["ultrafeedback", "--methods", "ss-explicitly"], "no such method"),
        (["ultrafeedback", "--users", "99"], "ask for fewer"),
        (["ultrafeedback", "--resume"], "--json PATH"),
    ],
)
def test_a_bad_request_is_one_line(options, says):
    done = command("experiment", *options)
    assert (done.exit_code, done.stdout) == (2, "")
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_no_name_lists_them():
    done = command("experiment")
    assert done.exit_code == 0
    assert all(name in done.stdout for name in EXPERIMENTS)


def test_the_seed_is_the_unit_of_every_error_bar():
    same = [(0, 1.0), (0, 3.0), (1, 4.0), (1, 4.0)]
    assert report.mean_and_error(same) == (3.0, pytest.approx(1.0))
    assert report.mean_and_error([(0, 1.0), (0, 3.0)]) == (2.0, None)
    assert report.mean_and_error([(0, None)]) is None
    assert report.cell((0.861, 0.021)) == "0.86±0.02"


def test_few_pairs_favour_souping_and_many_do_not():
    """Finding 2, on seeds of its own: SS − learnt RLHF changes sign from 40 to 1280 pairs."""
    rows = records(
        Settings(6, 1, (40, 1280), ("ss-explicit[m=1/K]", "rlhf-learnt"), "bt", 0.3, True)
    )
    shares = {
        (r["method"], r["pairs"], r["seed"]): r["share"] for r in rows if r["prompts"] == "test"
    }
    for size, sign in ((40, 1.0), (1280, -1.0)):
        d = [
            sign * (shares["ss-explicit", size, s] - shares["rlhf-learnt", size, s])
            for s in range(6)
        ]
        assert np.mean(d) > 2.0 * np.std(d, ddof=1) / np.sqrt(6), (size, d)
