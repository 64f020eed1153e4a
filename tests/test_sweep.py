"""Sweeps: what a design asks for, what a chunk gives, and how parts are kept."""

from __future__ import annotations

import errno
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import run as command
from conftest import random_mdp

from bounds import CLAIMS, Claim
from bounds.claims.catalogue import select
from bounds.records import parts
from bounds.records.output import content_hash
from bounds.records.parts import DamagedPartError, part_of, read_part, rows_of
from bounds.records.sources import code_of
from bounds.records.store import Store
from bounds.runs import prepared as ready
from bounds.runs.cases import CORPUS_FAMILIES, from_family
from bounds.runs.chunk import chunk
from bounds.runs.design import read_design
from bounds.runs.guard import Guard, Step
from bounds.runs.judging import judge
from bounds.runs.progress import Estimate
from bounds.runs.sweep import plan_of, shard, sweep, tasks_of
from bounds.runs.task import Task
from bounds.sides import Sides
from toymdp import InstanceError
from toymdp.errors import OutputError, SolverError
from toymdp.families.options import checked_options, options_of
from toymdp.kinds import ALL_FAMILIES

QUICK = ["ss.asm0", "ss.eq13", "ss.delta"]  # of token MDPs; the last is about λ*


def silent(at: str) -> None:
    """Nobody watches."""


def part(source, claims=QUICK, skip=None, **paths):
    """The part of a source, made in this process."""
    code = code_of(CLAIMS[name] for name in claims)
    return chunk(source, claims, code, paths=paths, skip=skip or {}, beat=silent)


def seeds(family: str, n: int, first: int = 0, **options) -> dict[str, object]:
    return {"family": family, "options": options, "first": first, "n": n}


def design(folder: Path, text: str):
    path = folder / "design.toml"
    path.write_text(text, encoding="utf-8")
    return read_design(path)


def table(content: bytes, folder: Path):
    path = folder / "part.parquet"
    path.write_bytes(content)
    return read_part(path)


# -- parameters of families ----------------------------------------------------------------


@pytest.mark.parametrize("family", [f for f in ALL_FAMILIES if f not in CORPUS_FAMILIES])
def test_every_parameter_of_a_family_is_reached(family):
    """Two values of a parameter give two worlds, and what has a place in a token MDP is there."""
    make = ALL_FAMILIES[family]
    for name, kind in options_of(make).items():
        two = (2, 3) if kind is int else (0.25, 0.5)
        worlds = [make(2, **checked_options(family, make, {name: x})) for x in two]
        assert len({content_hash(world) for world in worlds}) == 2, name
        place = {"beta": "beta", "beta_prime": "beta_prime", "K": "n_rewards", "T": "horizon"}
        if name in place and hasattr(worlds[0], place[name]):
            assert [getattr(w, place[name]) for w in worlds] == list(two)


@pytest.mark.parametrize("family", CORPUS_FAMILIES)
def test_those_of_a_fitted_text_are_its_own(family):
    assert set(options_of(ALL_FAMILIES[family])) == {
        "vocab_size", "order", "horizon", "width", "beta", "smoothing", "most",
    }  # fmt: skip


def test_a_value_that_a_parameter_cannot_have_is_one_line():
    make = ALL_FAMILIES["dirichlet"]
    for given, says in (
        ({"q": 1}, "no option of the family dirichlet; choose from A, L"),
        ({"A": 2.5}, "A = 2.5: must be a whole"),
        ({"A": 0}, "A = 0: must be a whole number from 1;"), ({"A": True}, "a whole number from 1"),
        ({"beta": -1.0}, r"beta = -1.0: must be a number from 1e-50 to 1e\+50; `soupcheck instance"),
        ({"beta": 0.0}, r"beta = 0.0: must be a number from 1e-50 to 1e\+50"),
        ({"beta": float("nan")}, "from 1e-50"), ({"forbid": "x"}, "from 0 to 1"),
        ({"forbid": 1.5}, "forbid = 1.5: must be a number from 0 to 1;"),
    ):  # fmt: skip
        with pytest.raises(InstanceError, match=says):
            checked_options("dirichlet", make, given)
    with pytest.raises(InstanceError, match="it has none"):
        checked_options("crowding-tables", ALL_FAMILIES["crowding-tables"], {"n": 1})
    with pytest.raises(InstanceError, match="memory"):
        make(0, A=60, L=9)


def test_verify_takes_parameters(tmp_path):
    asked = ["verify", "--family", "dirichlet", "--claims", "ss.eq13", "--n", 1, "--json", "-"]
    worlds = [
        json.loads(command(*asked, *more).stdout)["sha256"]
        for more in ([], ["--set", "T=8, beta=0.25"], ["--set", "T=8,beta=1"])
    ]
    assert len(set(worlds)) == 3
    for given, says in (("T", "numbers by commas"), ("T=x", "numbers"), ("Q=1", "no option")):
        done = command(*asked, "--set", given)
        assert (done.exit_code, says in done.stderr) == (2, True)
    assert "--family" in command("verify", "--set", "T=8").stderr


# -- designs -------------------------------------------------------------------------------

GRID = """
claims = "ss.eq13, ss.delta"
chunk = 10
[[grid]]
family = "dirichlet"
seeds = {from = 5, to = 25}
beta = [0.25, 1.0]
forbid = {lin = [0.0, 0.2, 3]}
concentration = {log = [0.5, 2.0, 3]}
T = 2
"""


def test_a_grid_is_crossed_and_cut_into_chunks(tmp_path):
    found = design(tmp_path, GRID)
    assert found.claims == ("ss.eq13", "ss.delta")
    points = {tuple(s["options"].values()) for s in found.sources}
    forbid, concentration = (0.0, 0.1, 0.2), (0.5, 1.0, 2.0)
    wanted = {(b, f, c, 2) for b in (0.25, 1.0) for f in forbid for c in concentration}
    assert np.allclose(sorted(points), sorted(wanted))
    cuts = [(s["first"], s["n"]) for s in found.sources[:3]]
    assert cuts == [(5, 5), (10, 10), (20, 5)]
    assert len(found.sources) == 3 * 18
    # more seeds later: what was whole is the same task
    more = design(tmp_path, GRID.replace("to = 25", "to = 100"))
    old, new = (set(tasks_of(plan_of(d))) for d in (found, more))
    assert len(old & new) == 2 * 18


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "needs a table"), ("a b", "no TOML"), ("clams = 'x'", "no key of the file"),
        ("claims = 'nothing.*'", "matches no claim"), ("claims = 1", "in quotes"),
        ("[grid]\nfamily = 'tree'", r"must be tables \[\[grid\]\]"),
        ("[[grid]]\nfamily = 'oak'", "choose from"),
        ("[[grid]]\nfamily = 'tree'\nL = 2", "no key of a grid of tree"),
        ("[[grid]]\nfamily = 'tree'\nT = {log = [1, 2]}", "must be a number, a list"),
        ("[[grid]]\nfamily = 'tree'\nbeta = {log = [0, 2, 3]}", "ends above 0"),
        ("[[grid]]\nfamily = 'tree'\nT = []", r"T = \[\]: must be a whole number"),
        ("[[grid]]\nfamily = 'tree'\nseeds = {from = 3, to = 3}", "from 4"),
        ("[[grid]]\nfamily = 'tree'\nseeds = 0", "from 1"),
        ("[[grid]]\nfamily = 'tree'\nchunk = 0", "from 1"),
        ("limit = 0\n[[grid]]\nfamily = 'tree'", "above 0 s"),
        ("plugins = 'x'\n[[grid]]\nfamily = 'tree'", "list of modules"),
        ("plugins = ['no.py']\n[[grid]]\nfamily = 'tree'", "cannot be imported"),
        ("[[files]]\nglob = '*.npz'", "matches no file"),
    ],
)  # fmt: skip
def test_a_design_that_cannot_be_is_one_line(tmp_path, text, says):
    with pytest.raises(InstanceError, match=says) as refused:
        design(tmp_path, text)
    assert str(refused.value).startswith(str(tmp_path / "design.toml"))


def test_a_task_is_named_by_what_is_computed_alone(tmp_path):
    """Where files lie and how long is waited does not matter; claims, seeds, options and code do."""
    plans = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        random_mdp(3).save(tmp_path / name / f"{name}.json")
        plans.append(plan_of(design(tmp_path / name, "limit = 9\n[[files]]\nglob = '*.json'")))
    assert plans[0]["paths"] != plans[1]["paths"]
    assert set(tasks_of(plans[0])) == set(tasks_of(plans[1] | {"limit": 3.0}))
    for change in ({"claims": ["ss.eq13"]}, {"code": "0" * 64}):
        assert set(tasks_of(plans[0] | change)) & set(tasks_of(plans[0])) == set()
    grids = [design(tmp_path, GRID.replace("T = 2", x)) for x in ("T = 2", "T = 3", "")]
    assert len(set().union(*(tasks_of(plan_of(d)) for d in grids))) == 3 * 54


def test_shards_are_all_and_no_two_alike(tmp_path):
    ids = list(tasks_of(plan_of(design(tmp_path, GRID))))
    shares = [shard(ids, i, 4) for i in range(4)]
    assert sorted(task for share in shares for task in share) == sorted(ids)
    assert {len(s) for s in shares} <= {13, 14}
    assert shard(ids[::-1], 1, 4) == shares[1]


def test_the_estimate_is_of_a_sum():
    estimate = Estimate(0.0)
    assert estimate.rest(5) is None
    for now in (1.0, 3.0, 6.0):  # gaps 1, 2, 3: mean 2, variance 1
        estimate.add(now)
    assert estimate.rest(9) == pytest.approx((18.0, 2.0 * (9 + 81 / 3) ** 0.5))


# -- chunks --------------------------------------------------------------------------------


def test_a_chunk_says_what_verify_says(tmp_path):
    options = {"T": 2, "beta": 0.5}
    claims = ["ss.asm0", "ss.eq13", "ss.proof.B", "ss.delta"]  # B: at λ that the judge's seed draws
    rows = rows_of(table(part(seeds("dirichlet", 3, first=4, **options), claims), tmp_path))
    assert [(r["seed"], r["claim"]) for r in rows] == [(i, c) for i in (4, 5, 6) for c in claims]
    assert {(r["p_T"], r["p_beta"], r["p_A"], r["family"]) for r in rows} == {
        (2, 0.5, None, "dirichlet")
    }
    for case in from_family("dirichlet", 3, 4, **options):
        _, *ledger = judge(case, ",".join(claims), case.options["seed"])
        ours = [r for r in rows if r["seed"] == case.options["seed"]]
        for row, known in zip(ours, ledger, strict=True):
            shared = set(row) & set(known) - {"terms", "where"}
            assert {"lhs", "rhs", "ratio", "lambda", "verdict", "sha256", "error"} <= shared
            assert {k: row[k] for k in shared} == {k: known[k] for k in shared}
            assert (row["terms"] or {}) == known["terms"]
            assert row["where"] == known["where"]


def test_files_are_judged_too(tmp_path):
    random_mdp(3).save(tmp_path / "a.json")
    plan = plan_of(design(tmp_path, "claims = 'ss.eq13'\n[[files]]\nglob = '*.json'"))
    (task,) = tasks_of(plan).values()
    (row,) = rows_of(table(task.run(skip={}, beat=silent), tmp_path))
    assert (row["instance"], row["verdict"]) == (str(tmp_path / "a.json"), "holds")


def test_files_that_are_refused_hide_no_other(tmp_path):
    """Each is named whenever the sweep goes on, the others are judged, and the gate stays shut."""
    random_mdp(0).save(tmp_path / "a.json")
    (tmp_path / "b.json").write_text("{", encoding="utf-8")
    (tmp_path / "c.json").write_text('{"format": "soup/9"}', encoding="utf-8")
    path, out = tmp_path / "design.toml", tmp_path / "out"
    path.write_text("claims = 'ss.eq13'\n[[files]]\nglob = '*.json'", encoding="utf-8")
    for target in ((path, "--out", out), (out,)):
        done = command("sweep", *target, "--workers", "1")
        said = [line.split(": ")[1] for line in done.stderr.strip().splitlines()]
        assert (done.exit_code, said) == (2, [str(tmp_path / "b.json"), str(tmp_path / "c.json")])
    done = command("sweep", out, "--gate")
    assert "1 checks of 1 proved claims: 1 holds" in done.stdout
    assert "files or instances that were refused, and not checked: 2" in done.stdout
    assert done.exit_code == 1
    (tmp_path / "a.json").unlink()
    assert command("sweep", path, "--out", tmp_path / "none").exit_code == 2
    assert not (tmp_path / "none").exists()


def test_a_target_that_does_not_exist_is_said_first(tmp_path):
    done = command("sweep", tmp_path / "nope")
    assert (done.exit_code, "nope: does not exist" in done.stderr) == (2, True)


def raises(facts):
    raise RuntimeError("boom")


BAD = Claim(
    "test.raises", "none", "x", status="open", kind="inequality", at="instance", sides=raises, reason="-",
)  # fmt: skip


def test_a_claim_that_raises_is_a_row_and_the_others_stay(tmp_path, monkeypatch):
    monkeypatch.setitem(CLAIMS._loaded(), BAD.id, BAD)
    good = rows_of(table(part(seeds("dirichlet", 2)), tmp_path))
    rows = rows_of(table(part(seeds("dirichlet", 2), [*QUICK, BAD.id]), tmp_path))
    bad = [r for r in rows if r["claim"] == BAD.id]
    assert [(r["verdict"], "boom" in r["reason"], r["lhs"]) for r in bad] == [
        ("error", True, None)
    ] * 2
    for row, known in zip([r for r in rows if r["claim"] != BAD.id], good, strict=True):
        for r in (row, known):
            del r["seconds"], r["task"]
        assert row == known  # one by one or all at once: the same
    # a step that must not be taken is one row, an instance that must not be made all of its rows
    rows = rows_of(table(part(seeds("dirichlet", 2), skip={"1": "a", "1/ss.delta": "b"}), tmp_path))
    assert [r["verdict"] == "error" for r in rows] == [False] * 5 + [True]
    assert rows[-1]["reason"] == "b"
    rows = rows_of(table(part(seeds("dirichlet", 2), skip={"1": "a", "1/": "c"}), tmp_path))
    assert [r["reason"] for r in rows if r["seed"] == 1] == ["c"] * 3


def test_other_code_is_refused():
    with pytest.raises(SolverError, match="planned with"):
        chunk(seeds("tree", 1), QUICK, "0" * 64, paths={}, skip={}, beat=silent)


def sides(facts) -> Sides:
    return Sides(0.0, 1.0, scale=1.0)


def test_the_code_of_a_claim_from_elsewhere_counts(tmp_path):
    ours = select("ss.eq13")
    other = Claim(
        "test.elsewhere", "none", "x", status="open", kind="inequality", at="instance", sides=sides,
        reason="-",
    )  # fmt: skip
    assert code_of(ours) == code_of(select("ss.delta")) != code_of([other])


# -- parts ---------------------------------------------------------------------------------


def test_the_same_rows_are_the_same_bytes_and_a_row_is_small(tmp_path):
    content = part(seeds("tree", 20, A=2, T=2), [c.id for c in CLAIMS.values()])
    rows = rows_of(table(content, tmp_path))
    again = part_of(rows[0]["task"], rows)
    assert again == content
    assert len(content) / len(rows) < 45  # of 20 instances; of 100 it is a quarter less


def test_a_damaged_part_is_found(tmp_path):
    """Cut anywhere, or with one bit turned anywhere, it is refused."""
    store = Store(tmp_path)
    content = part(seeds("tree", 4))
    task = rows_of(table(content, tmp_path))[0]["task"]
    store.write(task, content)
    assert list(store.damaged([task, "f" * 64])) == []
    path = store.path(task)
    rng = np.random.default_rng(0)
    for place in rng.integers(len(content), size=200):
        path.write_bytes(content[:place])
        assert [t for t, _ in store.damaged([task])] == [task]
        turned = bytearray(content)
        turned[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(turned)
        assert [t for t, _ in store.damaged([task])] == [task]
    path.write_bytes(content)
    with pytest.raises(DamagedPartError, match="another task"):
        read_part(path, "0" * 64)


def test_a_full_disk_loses_nothing_and_leaves_no_half(tmp_path, monkeypatch):
    store, content = Store(tmp_path), b"x" * 10
    store.write("ab" * 32, content)

    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=r"No space left.*make room"):
        store.write("cd" * 32, content)
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == [f"part-{'ab' * 32}.parquet"]


def test_what_is_there_is_not_done_again(tmp_path):
    """Neither what was there at the start, nor what another run wrote in the meantime."""
    plan = plan_of(design(tmp_path, GRID.replace("{from = 5, to = 25}", "30")))
    tasks, store, done = tasks_of(plan), Store(tmp_path / "out"), []
    ids = list(tasks)
    store.write(ids[0], b"there")

    def engine(left, limit, environment):
        for i, task in enumerate(left):
            done.append(task.id)
            if i == 0:
                other = next(t for t in ids[1:] if t not in done)
                store.write(other, b"another's")
                done.append(other)
            yield task, b"mine"

    seen = []
    now = sweep(store, tasks, ids, engine, 1.0, lambda p: seen.append((p.done, p.left)), {})
    assert len(done) == len(set(done)) == len(ids) - 1
    assert (now.by_others, now.done, now.left) == (1, len(ids), 0)
    assert now.instances == sum(t.size for t in tasks.values()) - 20
    assert seen[0] == (1, 10 * (len(ids) - 1))
    assert store.path(ids[0]).read_bytes() == b"there"


def environment(name: str) -> list[dict[str, str | None]]:
    return [{"value": os.environ.get(name)}]


def test_workers_have_their_own_copy_of_the_kernels(tmp_path, monkeypatch):
    """Compiling itself is left out: half a minute."""
    folder = tmp_path / "numba"
    with ready.prepared(folder) as nothing:
        assert nothing == {}
    made = "import os, pathlib; pathlib.Path(os.environ['NUMBA_CACHE_DIR'], 'k.nbi').touch()"
    monkeypatch.setattr(ready, "COMPILE", made)
    ready.prepare(folder)
    with ready.prepared(folder) as own:
        copy = Path(own[ready.KEY])
        assert copy != folder
        assert (copy / "k.nbi").exists()
        with Guard(environment=own) as guard:
            assert guard.run(Task.of(environment, name=ready.KEY)) == [{"value": str(copy)}]
    assert not copy.exists()
    monkeypatch.setattr(ready, "COMPILE", "raise SystemExit(1)")
    with pytest.raises(OutputError, match="could not be compiled"):
        ready.prepare(folder)


def test_a_limit_counts_work_and_sleep_and_no_wait_for_the_machine():
    """A step is as old as the CPU it had, and a second for each tick in which it did nothing."""
    step = Step()
    step.take("at", "1", 2.0)
    for cpu in (2.5, 2.5001, 2.5002, 2.55):  # works, sleeps, sleeps, has little of a busy machine
        step.take("tick", "", cpu)
    assert step.spent == pytest.approx(0.5 + 1.0 + 1.0 + 0.0498)
    assert step.parts
    step.take("at", "1/ss.eq13", 2.6)
    assert (step.spent, step.parts) == (0.0, False)


def test_without_pyarrow_the_remedy_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InstanceError, match=r"\[sweep\]"):
        parts.require_pyarrow()
