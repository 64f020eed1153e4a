"""Sweeps that are killed, claims that hang or take their process with them: nothing is lost.

``benchmarks/sweep_faults.py`` does it at twenty random moments.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import run as command

from bounds.records.parts import read_part, rows_of
from bounds.records.store import Store
from bounds.runs.design import read_design
from bounds.runs.sweep import local, plan_of, sweep, tasks_of

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs kill -9")

PLUGIN = '''
import os, time
from pathlib import Path
from soupcheck import Claim, Sides

def ill(facts):
    """What the name of the folder beside this file, and of the instance, say."""
    name = facts.instance.mdp.name
    if name == "tree-1":
        time.sleep(3600)
    if name == "tree-2":
        raise RuntimeError("boom")
    if name == "tree-3":
        os.kill(os.getpid(), 9)
    mark = Path(__file__).with_name("once")
    if name == "tree-5" and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), 9)  # once: somebody else's kill -9
    return Sides(0.0, 1.0, scale=1.0)

CLAIMS = [Claim(
    "test.ill", "none", "x", status="open", kind="inequality", at="instance", sides=ill, reason="-",
)]
'''
DESIGN = """
claims = "ss.eq13, test.ill, ss.asm2"
plugins = ["sweep_plugin.py"]
chunk = 3
limit = 5
[[grid]]
family = "tree"
seeds = 7
T = 2
"""


def test_a_claim_that_hangs_raises_or_kills_is_a_row(tmp_path):
    """In one run of two processes: tree-1 hangs, tree-2 raises, tree-3 kills, tree-5 was killed once."""
    (tmp_path / "sweep_plugin.py").write_text(PLUGIN, encoding="utf-8")
    path = tmp_path / "design.toml"
    path.write_text(DESIGN, encoding="utf-8")
    plan, store = plan_of(read_design(path)), Store(tmp_path / "out")
    tasks = tasks_of(plan)
    now = sweep(store, tasks, list(tasks), local(2), plan["limit"], lambda p: None, {})
    assert (now.done, now.left) == (3, 0)
    rows = [r for t in tasks for r in rows_of(read_part(store.path(t), t))]
    assert len(rows) == 21
    ill = {r["seed"]: (r["verdict"], r["reason"]) for r in rows if r["claim"] == "test.ill"}
    assert ill == {
        **dict.fromkeys((0, 4, 5, 6), ("holds", "")),
        1: ("error", "no answer within 5 s"),
        2: ("error", "test.ill: its function failed (RuntimeError: boom, sweep_plugin.py:12)"),
        3: ("error", "its process ended 3 times here (signal SIGKILL)"),
    }
    assert "error" not in {r["verdict"] for r in rows if r["claim"] != "test.ill"}


KILLED = """
claims = "ss.eq13, ss.delta"
chunk = 4
[[grid]]
family = "tree"
seeds = 40
"""


def test_a_killed_sweep_goes_on_and_says_what_an_unbroken_one_says(tmp_path):
    """Killed with its workers at work, twice at once on one folder; its workers end with it."""
    design = tmp_path / "design.toml"
    design.write_text(KILLED, encoding="utf-8")
    out = tmp_path / "out"
    command = [
        sys.executable, "-c", "from bounds.cli import main; main()", "sweep", design, "--out", out,
        "--workers", "1",
    ]  # fmt: skip
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, **quiet) as one, subprocess.Popen(command, **quiet) as two:
        while one.poll() is None and len(list(out.glob("parts/*/*.parquet"))) < 3:
            time.sleep(0.02)
        workers = [pid for parent in (one, two) for pid in children(parent.pid)]
        for parent in (one, two):
            parent.kill()
    assert workers
    for _ in range(600):
        if not any(map(alive, workers)):
            break
        time.sleep(0.1)
    assert not any(map(alive, workers)), "workers that nobody asks any more"
    store = Store(out)
    plan = store.plan()
    tasks = tasks_of(plan)
    before = {t: store.path(t).read_bytes() for t in tasks if store.has(t)}
    assert 3 <= len(before) < len(tasks)
    store.path(min(before)).write_bytes(before[min(before)][:-3])  # damaged on disk, too
    # what a killed process was writing, and what a process of this machine, or of another one, writes
    here, place = socket.gethostname(), store.path(min(before)).parent
    killed, writes, elsewhere = (
        place / f".part-{min(before)}.{host}.{pid}.00000000.tmp"
        for host, pid in ((here, workers[0]), (here, os.getpid()), ("other.host", workers[0]))
    )
    for path in (killed, writes, elsewhere):
        path.write_bytes(b"half")

    done = subprocess.run(
        [*command[:4], str(out), "--workers", "1"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "damaged, done again" in done.stderr
    assert sorted(out.rglob("*.tmp")) == sorted([writes, elsewhere])
    for task, part in tasks.items():
        if task in before and task != min(before):
            assert store.path(task).read_bytes() == before[task]  # what was done was not done again
        path = tmp_path / "unbroken.parquet"
        path.write_bytes(part.run(skip={}, beat=lambda at: None))
        mine, theirs = (
            read_part(p, task).drop_columns("seconds") for p in (store.path(task), path)
        )
        assert mine.equals(theirs)


def children(parent: int) -> list[int]:
    """The processes that a process has begun."""
    found = subprocess.run(["pgrep", "-P", str(parent)], capture_output=True, text=True)
    return [int(pid) for pid in found.stdout.split()]


def alive(pid: int) -> bool:
    """Whether a process runs: one that ended may wait for somebody to ask how."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_an_experiment_in_parts_is_the_experiment(tmp_path):
    """Two shares of its units, then all from the folder: the records of a run in one process."""
    asked = [
        "experiment",
        "sleep",
        "--quick",
        "--seeds",
        2,
        "--users",
        1,
        "--methods",
        "ref,oracle*",
    ]
    lines, again, out = tmp_path / "lines.jsonl", tmp_path / "parts.jsonl", tmp_path / "out"
    assert command(*asked, "--workers", 1, "--json", lines).exit_code == 0
    first = command(*asked, "--out", out, "--shard", "1/2", "--workers", 1)
    assert "1 of 1 tasks are done, 1 instances" in first.stdout
    for _ in range(2):
        done = command(*asked, "--out", out, "--workers", 1, "--json", again)
    assert "2 of 2 tasks are done, 0 instances" in done.stdout
    own = ("seconds", "unit", "part")  # the place of a record in a file of lines
    mine, theirs = (
        [
            {k: v for k, v in json.loads(line).items() if k not in own}
            for line in path.read_text(encoding="utf-8").splitlines()
        ]
        for path in (again, lines)
    )
    assert mine == theirs
    columns = read_part(next(out.rglob("part-*"))).to_pylist()[0]
    assert columns["method"] == json.loads(columns["record"])["method"]
    for options, says in ((["--shard", "0/2"], "--out"), (["--out", out, "--resume"], "by itself")):
        refused = command(*asked, *options)
        assert (refused.exit_code, says in refused.stderr) == (2, True)
