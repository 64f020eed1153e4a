"""The experiments: units, records, resuming, tables, and what a bad request is told."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
from command_line import run as command

from bounds.commands.experiment import asked
from bounds.experiments import bases, corpus, exact, profiles, sleep, t2i, ultrafeedback
from bounds.experiments.catalogue import EXPERIMENTS
from bounds.experiments.experiment import Settings
from bounds.experiments.seeds import over_seeds
from bounds.records.output import dump
from bounds.records.resume import finished, marked
from bounds.report import experiments as report
from toymdp.errors import InstanceError
from toymdp.families.corpus_answers import labelled_answers
from toymdp.methods import collect
from toymdp.methods.catalogue import select

KEYS = {
    "experiment", "domain", "method", "variant", "seed", "user", "prompts", "pairs", "labels",
    "outside", "value", "regret", "share", "share_matched_kl", "kl", "kl_ref", "lambda_l1", "negative_mass",
    "acceptance", "losses", "accuracy", "hyper", "oracle", "policy_evaluations", "seconds", "error",
    "status", "versions",
}  # fmt: skip
SMALL = Settings(2, 1, (20, 80), ("ref", "rlhf", "rlhf-learnt", "ss-*", "pad"), "bt", 0.3, True)


def records(settings):
    return [row for task in ultrafeedback.EXPERIMENT.tasks(settings) for row in task.run()]


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


def test_regret_is_what_the_divergence_says_and_tables_show_it_with_its_error(some):
    """``V_u − V^π = β KL(π‖π_u)``: the record's divergence comes by a road of its own."""
    for row in some:
        assert row["regret"] == pytest.approx(ultrafeedback.BETA * row["kl"], abs=1e-9)
        assert row["regret"] / (row["V_u"] - row["V_ref"]) == pytest.approx(1.0 - row["share"])
    ((_, grids),) = report.grids(some)
    regret = next(grid for grid in grids if "regret" in grid.title)
    assert regret.heads == ("method", "N = 20", "N = 80", "1 − share")
    cells = {row[0]: row[1:] for row in regret.rows}
    own = [
        {r["seed"]: r[key] for r in some if r["prompts"] == "test" and r["pairs"] == n
         and r["method"] == "rlhf-learnt"}
        for key, n in (("regret", 20), ("regret", 80), ("share", 80))
    ]  # fmt: skip
    a, b, c = ([values[seed] for seed in (0, 1)] for values in own)
    expected = [(a, sum(a) / 2), (b, sum(b) / 2), (c, 1.0 - sum(c) / 2)]
    assert list(cells["rlhf-learnt"]) == [
        f"{mean:.2f}±{abs(values[0] - values[1]) / 2:.2f}" for values, mean in expected
    ]
    assert set(cells["rlhf*"]) == {"0.00±0.00"}


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
    more = ultrafeedback.EXPERIMENT.tasks(replace(SMALL, seeds=3, users=2))
    ids = [task.id for task in ultrafeedback.EXPERIMENT.tasks(SMALL)]
    assert set(ids) < {task.id for task in more}
    assert not set(ids) & {
        t.id for t in ultrafeedback.EXPERIMENT.tasks(replace(SMALL, labels="rank"))
    }
    again = next(task for task in more if task.id == ids[1]).run()
    strip = lambda rows: [{k: v for k, v in r.items() if k != "seconds"} for r in rows]  # noqa: E731
    assert strip(again) == strip(some)[len(some) // 2 :]


def test_a_method_that_asks_learns_from_the_pairs_of_its_own_until_it_has_all():
    rows = records(replace(SMALL, seeds=1, methods=("pref", "pref[active, variance]")))
    assert max(r["error"] for r in rows) < 1e-9
    seen = {(r["variant"], r["pairs"], r["prompts"]): r["regret"] for r in rows}
    for kind in ("train", "test"):
        few, all_of_them = (
            [seen[v, n, kind] for v in ("", "active", "active, variance")] for n in (20, 80)
        )
        assert len(set(few)) == 3
        assert len(set(all_of_them)) == 1


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
               "--methods", "ref,ss-explicit", "--workers", "1", "--json"]  # fmt: skip
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


def test_methods_are_named_by_commas_but_for_those_of_a_variant():
    given = "ref, ss-explicit[m=0, budget],exact[k=3, pooled],pad*"
    settings = asked(EXPERIMENTS["exact"], True, None, None, "binary", None, given)
    assert settings.methods == ("ref", "ss-explicit[m=0, budget]", "exact[k=3, pooled]", "pad*")
    assert settings.labels == "binary"
    assert len(select(settings.methods)) > 4


def test_no_name_lists_them():
    done = command("experiment")
    assert done.exit_code == 0
    assert all(name in done.stdout for name in EXPERIMENTS)


TASTE = {
    "ultrafeedback": ("ref", "vas"), "t2i": ("ref", "ss-explicit[m=0]"), "sleep": ("rlhf", "mod"),
    "exact": ("ref", "exact[k=3]", "reward"), "bases": ("mod",),
    "lambda": ("ss-sequential[S_n]", "null-space"), "offline": ("mod",),
    "corpus": ("ref", "ss-explicit[m=0]"),
}  # fmt: skip


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_runs_and_its_two_roads_agree(name):
    chosen = EXPERIMENTS[name]
    settings = replace(
        chosen.quick, seeds=1, users=1, pairs=chosen.quick.pairs[:1], methods=TASTE[name]
    )
    (task,) = chosen.tasks(settings)
    rows = task.run()
    assert {r["experiment"] for r in rows} == {name}
    assert {r["status"] for r in rows} == {"done"}
    assert max(r["error"] for r in rows) < 1e-9
    assert max(r["share"] for r in rows) <= 1.0 + 1e-9
    json.loads(dump(rows[0] | {"unit": task.id}))
    assert len(report.tables(rows)) >= 4
    assert chosen.readings
    # what is asked for by default exists, and the full run is no smaller than the quick one
    assert select(chosen.full.methods)
    assert chosen.full.seeds >= chosen.quick.seeds


def test_slates_choose_as_their_enumeration_says():
    utility = np.random.default_rng(0).normal(size=(2, 6))
    chance = t2i.chosen_from_slates(utility)
    slow = np.zeros_like(chance)
    slates = list(itertools.combinations(range(6), 4))
    for slate in slates:
        for row in range(2):
            total = sum(np.exp(utility[row, b]) for b in slate)
            for a in slate:
                slow[row, a] += np.exp(utility[row, a]) / total / len(slates)
    np.testing.assert_allclose(chance, slow)
    np.testing.assert_allclose(chance.sum(axis=1), 1.0)


def test_levels_of_a_trait_and_weights_of_a_person():
    x = np.random.default_rng(1).random((5, 7))
    r = sleep.levels(x)
    np.testing.assert_allclose(r[:5], -r[10:])
    assert (r[5:10].argmax(axis=1) == np.abs(x - 0.5).argmin(axis=1)).all()
    people = profiles.profiles()
    assert people.shape == (56, 4)
    assert ((people >= 0) & (people <= 1)).all()
    assert (people.std(axis=0) > 0.1).all()
    w = sleep.weights_of(people[3])
    assert w.sum() == pytest.approx(1.0)
    assert w.min() > 0.1


def test_tastes_reverse_or_stay():
    rng = np.random.default_rng(3)
    turned, same, free = (exact.tastes(rng, kind) for kind in exact.TASTES[::2] + exact.TASTES[1:2])
    np.testing.assert_array_equal(turned[0], -turned[1])
    np.testing.assert_array_equal(turned[0], turned[2])
    assert (same == same[0]).all()
    assert (np.abs(free).sum(axis=1) == exact.LIKED).all()
    assert len({tuple(np.flatnonzero(row)) for row in free}) > 1


def test_win_rates_are_those_of_draws():
    settings = replace(
        EXPERIMENTS["exact"].quick, seeds=1, users=1, pairs=(20,), methods=("ref", "rlhf")
    )
    rows = [r for r in EXPERIMENTS["exact"].tasks(settings)[0].run() if r["prompts"] == "test"]
    for r in rows:
        if r["method"] == "ref":
            assert r["win_bt"] == pytest.approx(0.5)
            assert r["win_rank"] == pytest.approx(0.5)
        else:
            assert 0.8 < r["win_bt"] < r["win_rank"] < 1.0


def test_peoples_pairs_are_what_people_said_of_unseen_questions():
    world, data = corpus.domain(0), labelled_answers(0)
    for user in range(3):
        for train in (True, False):
            pairs = corpus.human_pairs(world, data, user, 50, 0, train=train)
            assert abs(pairs.labels.sum()) < 50
            known = {
                tuple(corpus._contexts(data.tokens[[i]], int(world.start[0]))[0]): i
                for i in np.flatnonzero(data.train == train)
            }
            for n in range(50):
                good, bad = (pairs.first[n], pairs.second[n])[:: int(pairs.labels[n])]
                # an answer that is given twice, or reads the same in classes of words, may have both labels
                assert tuple(good) in known
                assert tuple(bad) in known
            _, nexts, s = collect.sides(world, pairs)[0]
            assert (world.mdp.ref[s, nexts % 32] > 0).all()
    assert not set(data.question[data.train]) & set(data.question[~data.train])


def test_narrow_features_lose_what_wide_ones_hold():
    Q = np.random.default_rng(4).normal(size=(3, 5, 25))
    np.testing.assert_array_equal(bases.through(Q, 125, 0), Q)
    lost = [np.linalg.norm(bases.through(Q, d, 0) - Q) for d in (20, 60, 110)]
    assert lost[0] > lost[1] > lost[2] > 0.1
    again = bases.through(bases.through(Q, 20, 0), 60, 0)  # narrower is part of wider
    np.testing.assert_allclose(again, bases.through(Q, 20, 0), atol=1e-8)


def test_curves_run_along_pairs_or_along_specialists():
    row = {
        "experiment": "x", "labels": "bt", "outside": 0.0, "domain": "d", "method": "mod",
        "variant": "", "oracle": False, "prompts": "test", "seed": 0, "user": 0, "pairs": 8,
        "share": 0.5, "losses": None, "acceptance": None, "value": 1.0, "V_u": 2.0, "V_ref": 0.0,
        "seconds": 0.0, "accuracy": 0.5, "lambda_l1": 1.0, "share_matched_kl": None,
    }  # fmt: skip
    heads = [c.header for c in report.tables([row])[2].columns]
    assert heads == ["method", "N = 8"]
    many = [row | {"bases": k} for k in range(1, 12)]
    heads = [c.header for c in report.tables(many)[2].columns]
    assert heads == ["method", *(f"K = {k}" for k in (1, 3, 5, 7, 9, 11))]


def test_the_seed_is_the_unit_of_every_error_bar():
    same = [(0, 1.0), (0, 3.0), (1, 4.0), (1, 4.0)]
    assert over_seeds(same) == (3.0, pytest.approx(1.0))
    assert over_seeds([(0, 1.0), (0, 3.0)]) == (2.0, None)
    assert over_seeds([(0, None)]) is None
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
