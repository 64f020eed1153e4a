"""What is asked of a sweep's folder, against plain loops over the rows that were put into it."""

from __future__ import annotations

import csv
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import run as command

import bounds
from bounds.records.output import content_hash
from bounds.records.parts import FORMAT, part_of
from bounds.records.queries import QUANTILES, VERDICTS, summary, tightest, worst
from bounds.records.store import Store
from bounds.report import sweeps
from bounds.runs.design import read_design
from bounds.runs.generations import generations
from bounds.runs.sweep import plan_of, tasks_of
from toymdp import InstanceError
from toymdp.families import generate
from toymdp.families.offspring import offspring
from toymdp.families.options import options_of
from toymdp.kinds import ALL_FAMILIES

DESIGN = """
claims = "ss.thm1.gap, ss.thm1.gap.sharp, ss.eq13"
chunk = 4
[[grid]]
family = "dirichlet"
seeds = 12
beta = [0.25, 1.0]
"""
CLAIMS = {
    "ss.thm1.gap": ("refuted", "inequality"), "ss.thm1.gap.sharp": ("proved", "inequality"),
    "ss.eq13": ("proved", "equality"),
}  # fmt: skip


def drawn_rows(rng, source):
    """Rows as a chunk gives them, of made-up numbers; the proved are never violated."""
    for i in range(source["first"], source["first"] + source["n"]):
        for claim, (status, kind) in CLAIMS.items():
            allowed = [
                v for v in VERDICTS if (status, v) != ("proved", "violated") and v != "error"
            ]
            verdict = str(rng.choice(allowed))
            lhs, rhs = rng.exponential(size=2)
            decided = verdict in ("holds", "violated")
            yield {
                "family": source["family"], "p_beta": source["options"]["beta"], "seed": i,
                "instance": f"dirichlet-{i}", "sha256": "00" * 32, "claim": claim, "status": status,
                "kind": kind, "verdict": verdict, "lhs": lhs, "rhs": rhs, "slack": rhs - lhs,
                "ratio": lhs / rhs if decided and kind == "inequality" else None, "reason": "why",
                "terms": {"a": lhs}, "where": {"t": 1}, "lambda": [lhs, rhs], "seconds": 0.5,
            }  # fmt: skip


@pytest.fixture
def swept(tmp_path):
    """A folder with all parts of a small design, and the rows in them."""
    path = tmp_path / "design.toml"
    path.write_text(DESIGN, encoding="utf-8")
    plan, store = plan_of(read_design(path)), Store(tmp_path / "out")
    store.write_plan(plan)
    rng, rows = np.random.default_rng(0), []
    for task in tasks_of(plan).values():
        own = list(drawn_rows(rng, task.args["source"]))
        store.write(task.id, part_of(task.id, own))
        rows += [{"task": task.id, **row} for row in own]
    return store, rows


def by_loops(rows, claim, beta=None):
    """The summary of one claim, the slow way."""
    own = [r for r in rows if r["claim"] == claim and beta in (None, r["p_beta"])]
    ratios = [r["ratio"] for r in own if r["ratio"] is not None]
    equal = CLAIMS[claim][1] == "equality"
    sizes = [
        (r["verdict"] == "violated", abs(r["slack"]) if equal else r["ratio"], r["seed"])
        for r in own
        if r["verdict"] in ("holds", "violated")
    ]
    most = max(sizes, default=None)
    return {
        "n": len(own), **{v: sum(r["verdict"] == v for r in own) for v in VERDICTS},
        "quantiles": list(np.quantile(ratios, QUANTILES)) if ratios else None, "worst": most,
    }  # fmt: skip


def same(found, wanted):
    """Whether a record of the summary says what the loops say."""
    for key in ("n", *VERDICTS):
        assert found[key] == wanted[key], key
    assert (found["quantiles"] is None) == (wanted["quantiles"] is None)
    assert (found["worst"] is None) == (wanted["worst"] is None)
    if found["quantiles"] is not None:
        np.testing.assert_allclose(found["quantiles"], wanted["quantiles"], rtol=1e-12)
    if (now := found["worst"]) is not None:
        assert (now["violated"], now["size"], now["seed"]) == wanted["worst"]


def test_the_summary_is_what_loops_say(swept):
    store, rows = swept
    tasks = {row["task"] for row in rows}
    whole = summary(store.rows(tasks))
    assert {r["claim"] for r in whole} == set(CLAIMS)
    for record in whole:
        same(record, by_loops(rows, record["claim"]))
    for record in summary(store.rows(tasks), ["p_beta"]):
        same(record, by_loops(rows, record["claim"], record["p_beta"]))
    with pytest.raises(InstanceError, match="no column to group by"):
        summary(store.rows(tasks), ["lhs"])


def test_parts_put_together_say_the_same_and_count_once(swept):
    store, rows = swept
    tasks = sorted({row["task"] for row in rows})
    before = summary(store.rows(tasks))
    assert store.compact(tasks[:3], most=1) == (3, 3)
    assert store.compact(tasks[:5]) == (2, 1)
    assert len(list(store.folder.rglob("part-*.parquet"))) == len(tasks) - 5
    again = Store(store.folder)
    assert all(map(again.has, tasks))
    assert summary(again.rows(tasks)) == before
    # a part that a killed run had no time to remove, or that another run wrote, is not counted twice
    again.write(tasks[0], part_of(tasks[0], rows))
    assert summary(again.rows(tasks)) == before
    # of a file that holds more than is asked for, no other rows
    assert again.compact(tasks) == (1, 1)
    few = [r for r in rows if r["task"] in tasks[4:6]]
    for record in summary(again.rows(tasks[4:6])):
        same(record, by_loops(few, record["claim"]))
    # a damaged file is left out, and what it held is to be done again
    for path in store.folder.glob("compact/*.parquet"):
        path.write_bytes(path.read_bytes()[:-9])
    assert not any(map(Store(store.folder).has, tasks))
    assert list(store.folder.rglob("*.tmp")) == []


def test_the_worst_come_first_and_are_made_again(swept, tmp_path):
    store, rows = swept
    done = command("sweep", store.folder, "--worst", "ss.thm1.gap", "--n", 3, "--json", "-")
    shown = [json.loads(line) for line in done.stdout.splitlines()]
    wanted = sorted(
        (r for r in rows if r["claim"] == "ss.thm1.gap" and r["ratio"] is not None),
        key=lambda r: (r["verdict"] != "violated", -r["ratio"]),
    )
    assert [(r["seed"], r["p_beta"]) for r in shown] == [
        (r["seed"], r["p_beta"]) for r in wanted[:3]
    ]
    # a made-up row is of no instance that there is: nothing is written for it
    done = command("sweep", store.folder, "--worst", "ss.thm1.gap", "--out", tmp_path / "w")
    assert (done.exit_code, "made otherwise" in done.stderr) == (2, True)
    assert not (tmp_path / "w").exists()


def test_the_gate(swept):
    store, rows = swept
    proved = [r for r in rows if r["status"] == "proved"]
    done = command("sweep", store.folder, "--gate")
    assert (done.exit_code, f"{len(proved)} checks of 2 proved claims" in done.stdout) == (0, True)
    for verdict, says in (("violated", "violated 1 times"), ("error", "was not judged 1 times")):
        task = rows[0]["task"]
        own = [dict(r) for r in rows if r["task"] == task]
        own[2] |= {"verdict": verdict}
        store.write(task, part_of(task, own))
        done = command("sweep", store.folder, "--gate")
        assert (done.exit_code, f"ss.eq13 is proved but {says}" in done.stdout) == (1, True)


def test_the_tables_and_the_page(swept, tmp_path):
    store, rows = swept
    done = command("sweep", store.folder, "--summary", "--by", "p_beta")
    assert done.exit_code == 0
    assert "6 of 6 tasks are done" in done.stdout
    page = tmp_path / "page.html"
    assert command("sweep", store.folder, "--html", page, "--compact").exit_code == 0
    text = page.read_text(encoding="utf-8")
    assert text.count("<svg") == 1
    assert f"{sum(r['verdict'] == 'violated' for r in rows)}</td>" in text
    assert text.count("dirichlet-") == 3  # the worst of each claim: no list of instances
    grid = sweeps.counts(summary(Store(store.folder).rows({r["task"] for r in rows})))
    assert [row[0] for row in grid.rows] == ["ss.eq13", "ss.thm1.gap", "ss.thm1.gap.sharp"]


def test_what_cannot_be_asked_is_one_line(swept, tmp_path):
    store, _ = swept
    empty = tmp_path / "empty"
    Store(empty).write_plan(store.plan())
    for arguments, says in (
        ([tmp_path, "--summary"], "no folder of a sweep"), ([empty, "--summary"], "no task"),
        ([store.folder, "--worst", "ss.no"], "unknown"), ([store.folder, "--shard", "4/4"], "i/n"),
        ([store.folder, "--engine", "spark"], "dask://"),
        ([store.folder, "--out", tmp_path / "x"], "is named already"),
        ([tmp_path / "design.toml"], "needs a folder"),
        ([store.folder, "--html", tmp_path], "is a folder"),
    ):  # fmt: skip
        done = command("sweep", *arguments)
        assert (done.exit_code, says in done.stderr, len(done.stderr.splitlines())) == (2, True, 1)


GUIDE = (Path(bounds.__file__).parent / "SWEEPS.md").read_text(encoding="utf-8")


def test_the_statement_of_the_guide_runs_as_it_stands(swept):
    """Without this package: DuckDB alone, on the files."""
    import duckdb

    store, rows = swept
    (statement,) = re.findall(r"```sql\n(.*?)```", GUIDE, re.DOTALL)
    found = duckdb.sql(statement.replace("DIR", str(store.folder))).fetchall()
    assert len(found) == 6
    for claim, beta, n, _, most, instance in found:
        wanted = by_loops(rows, claim, beta)
        assert n == wanted["n"]
        if claim == "ss.thm1.gap.sharp":
            assert (most, instance) == (wanted["worst"][1], f"dirichlet-{wanted['worst'][2]}")
    file = next(store.folder.rglob("part-*"))
    about = duckdb.sql(
        f"SELECT decode(value) FROM parquet_kv_metadata('{file}') WHERE decode(key) = 'format'"
    )
    assert about.fetchall() == [(FORMAT,)]


def test_the_designs_of_the_guide_are_read(tmp_path):
    (tmp_path / "my_claims.py").write_text("CLAIMS = []", encoding="utf-8")
    (tmp_path / "mdps").mkdir()
    generate("tree", 0).save(tmp_path / "mdps" / "a.npz")
    path = tmp_path / "design.toml"
    whole, adaptive = re.findall(r"```toml\n(.*?)```", GUIDE, re.DOTALL)
    path.write_text(whole, encoding="utf-8")
    assert len(read_design(path).sources) == 3 * 3 * 5 * 100 + 1
    path.write_text(adaptive, encoding="utf-8")
    assert read_design(path).adaptive is not None
    for family, make in ALL_FAMILIES.items():
        row = next(
            line for line in GUIDE.splitlines() if line.startswith("|") and f"`{family}`" in line
        )
        for name in options_of(make):
            assert re.search(rf"\b{name}\b", row), (family, name)


def test_a_world_of_the_worst_is_the_one_that_was_judged(tmp_path):
    """End to end, in the process of the command: sweep, worst, file."""
    path = tmp_path / "design.toml"
    path.write_text(
        'claims = "ss.asm0"\n[[grid]]\nfamily = "softmax"\nT = 2\nseeds = 3', encoding="utf-8"
    )
    plan, store = plan_of(read_design(path)), Store(tmp_path / "out")
    store.write_plan(plan)
    for task in tasks_of(plan).values():
        store.write(task.id, task.run(skip={}, beat=lambda at: None))
    done = command("sweep", store.folder, "--worst", "ss.asm0", "--n", 1, "--out", tmp_path / "w")
    assert done.exit_code == 0, done.stderr
    (written,) = (tmp_path / "w").iterdir()
    worlds = [generate("softmax", i, T=2).fields()["rewards"].tolist() for i in range(3)]
    assert json.loads(written.read_text(encoding="utf-8"))["rewards"] in worlds


def test_without_duckdb_the_remedy_is_said(swept, monkeypatch):
    store, rows = swept
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(InstanceError, match=r"\[sweep\]"):
        worst(store.rows([rows[0]["task"]]), "ss.eq13", 1)


ADAPTIVE = """
claims = "ss.eq13, ss.thm1.gap"
chunk = 3
[[grid]]
family = "dirichlet"
seeds = 6
A = 2
T = 2
L = 1
[adaptive]
claim = "ss.thm1.gap"
generations = 2
keep = 2
children = 2
"""


def bred(folder, plan):
    """A folder in which each generation is done in this process, and their tasks."""
    store, all_of_it = Store(folder), []
    for each in generations(store, plan):
        for task, part in each.items():
            store.write(task, part.run(skip={}, beat=lambda at: None))
        all_of_it.append(list(each))
    return store, all_of_it


def test_generations_follow_from_the_parts_alone(tmp_path):
    path = tmp_path / "design.toml"
    path.write_text(ADAPTIVE, encoding="utf-8")
    plan = plan_of(read_design(path))
    store, first = bred(tmp_path / "a", plan)
    assert [len(tasks) for tasks in first] == [2, 2, 2]
    assert bred(tmp_path / "b", plan)[1] == first
    best = []
    for i in range(1, 4):
        done = [task for tasks in first[:i] for task in tasks]
        rows = tightest(store.rows(done), "ss.thm1.gap", 100)
        sizes = [row["size"] for row in rows]
        assert sizes == sorted(sizes, reverse=True)
        assert len({row["sha256"] for row in rows}) == len(rows)
        best.append(sizes[0])
        children = [row for row in rows if row["steps"]]
        assert {len(row["steps"]) for row in children} <= set(range(1, i))
        # a child's parent is one of the two tightest of the generations before
        if i == 2:
            parents = {(r["family"], r["seed"]) for r in rows if not r["steps"]}
            assert {(r["family"], r["seed"]) for r in children} <= parents
            assert len({(r["family"], r["seed"]) for r in children}) <= 2
    assert best == sorted(best)
    # what is bred is no part of a distribution, and is made again from its row
    (gap,) = (r for r in summary(store.rows(done)) if r["claim"] == "ss.thm1.gap")
    assert gap["n"] == 6
    done = command(
        "sweep", tmp_path / "a", "--worst", "ss.thm1.gap", "--n", 9, "--out", tmp_path / "w"
    )
    assert done.exit_code == 2  # no plan: no folder of a sweep
    store.write_plan(plan)
    done = command(
        "sweep", tmp_path / "a", "--worst", "ss.thm1.gap", "--n", 9, "--out", tmp_path / "w"
    )
    assert (done.exit_code, len(list((tmp_path / "w").iterdir()))) == (0, 9)
    assert "~" in done.stdout
    # without its first part there is no second generation, nor anybody's guess at it
    store.path(first[0][0]).unlink()
    assert [list(each) for each in generations(store, plan)] == first[:1]


@pytest.mark.parametrize("family", ["dirichlet", "softmax", "tree", "low-rank"])
def test_offspring_differ_and_are_worlds(family):
    world = generate(family, 3)
    children = [offspring(world, [step]) for step in range(30)]
    assert len({content_hash(child) for child in children}) == 30
    again = offspring(offspring(world, [4]), [9])
    assert content_hash(again) == content_hash(offspring(world, [4, 9]))
    for child in children:  # what was forbidden stays so, what was not negative too
        assert ((child.ref > 0) == (world.ref > 0)).all()
        assert (child.rewards >= 0).all() or not (world.rewards >= 0).all()
    for field in ("ref", "rewards", "w"):
        assert any(not np.array_equal(getattr(c, field), getattr(world, field)) for c in children)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("claim = 'ss.thm1.gap'\nclaims = 3", "no key"), ("claim = 'ss.delta'", "one of this sweep's"),
        ("claim = 'ss.thm1.gap'\nkeep = 0", "integer"),
    ],
)  # fmt: skip
def test_an_adaptive_table_that_cannot_be_is_one_line(tmp_path, text, says):
    path = tmp_path / "design.toml"
    path.write_text(ADAPTIVE.split("[adaptive]")[0] + "[adaptive]\n" + text, encoding="utf-8")
    with pytest.raises(InstanceError, match=says):
        read_design(path)


def test_a_figure_of_a_sweep(swept, tmp_path):
    store, rows = swept
    done = command("figures", "tightness", "--from", store.folder, "--out", tmp_path / "f")
    assert done.exit_code == 0, done.stderr
    with (tmp_path / "f" / "tightness.csv").open(encoding="utf-8") as file:
        drawn = sorted(
            (float(r["gap"]), float(r["value"]), r["verdict"]) for r in csv.DictReader(file)
        )
    assert drawn == sorted(
        (r["lhs"], r["rhs"], r["verdict"])
        for r in rows
        if r["claim"] == "ss.thm1.gap" and r["verdict"] in ("holds", "violated")
    )
    refused = command("figures", "delta", "--from", store.folder, "--out", tmp_path / "f")
    assert (refused.exit_code, "choose from ['tightness']" in refused.stderr) == (2, True)
