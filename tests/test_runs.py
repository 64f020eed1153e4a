"""Tasks, the engine, and a long run of ``verify``: little memory, and nothing lost when it ends."""

from __future__ import annotations

import gc
import json
import os
import pickle
import signal
import subprocess
import sys
import time
import tracemalloc
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import random_mdp

from bounds import CLAIMS
from bounds.cli import main
from bounds.commands import verify
from bounds.records.output import content_hash
from bounds.records.record import is_check
from bounds.runs import cases
from bounds.runs.cases import Case, from_family, from_files
from bounds.runs.engine import run
from bounds.runs.judging import WorstCases, judge, walk
from bounds.runs.task import Task
from toymdp import InstanceError
from toymdp.errors import SolverError
from toymdp.families import generate


def squares(n: int) -> list[dict[str, int]]:
    return [{"n": i, "square": i * i} for i in range(n)]


def one_of_each(folder: Path) -> list[Case]:
    path, text, labels = folder / "a.json", folder / "t.txt", folder / "l.csv"
    random_mdp(0).save(path)
    words = [f"w{i}" for i in range(30)]
    lines = [" ".join(words[(i * j) % 30] for j in range(1, 8)) + " ." for i in range(60)]
    text.write_text("\n".join(lines) + "\n", encoding="utf-8")
    labels.write_text("kind\n" + "\n".join(str(i % 2) for i in range(60)) + "\n", encoding="utf-8")
    suite = list(cases.default_suite(n=1))
    chosen = {c.origin: c for c in suite}
    return [
        *from_files([path])[0], *chosen.values(),
        *cases.from_text(text, labels, 0, {"vocab_size": 12, "order": 2}),
    ]  # fmt: skip


def test_an_id_is_the_content_whatever_the_order():
    task = Task.of(judge, case=Case("a", "f", "family", {"family": "f", "seed": 1}), seed=2)
    same = Task(judge, {"seed": 2, "case": Case("a", "f", "family", {"seed": 1, "family": "f"})})
    assert task.id == same.id == pickle.loads(pickle.dumps(task)).id
    other = Task.of(judge, case=Case("a", "f", "family", {"seed": 1, "family": "f"}), seed=3)
    assert len({task.id, other.id, Task.of(walk, **task.args).id}) == 3
    with pytest.raises(TypeError, match="plain"):
        _ = Task.of(judge, case=random_mdp(0)).id


def test_an_id_is_the_same_in_another_process():
    source = (
        "from bounds.runs.cases import from_family\nfrom bounds.runs.judging import judge\n"
        "from bounds.runs.task import Task\n"
        "print(*(Task.of(judge, case=c, claims='*', seed=0).id for c in from_family('tree', 2, 5)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, check=True
    )
    tasks = [Task.of(judge, case=c, claims="*", seed=0) for c in from_family("tree", 2, 5)]
    assert done.stdout.split() == [task.id for task in tasks]


def test_the_engine_keeps_the_order_and_says_how_far_it_is():
    seen = []
    tasks = [Task.of(squares, n=n) for n in (2, 0, 1)]
    done = list(run(tasks, "squares", lambda *told: seen.append(told)))
    assert [task for task, _ in done] == tasks
    assert [len(records) for _, records in done] == [2, 0, 1]
    assert seen == [("squares", n, 3) for n in range(4)]


def fails(n: int) -> list[dict[str, int]]:
    raise InstanceError.of("n", n, "cannot be", "give another")


def ends(n: int) -> list[dict[str, int]]:
    os._exit(9)


def test_several_workers_give_the_same_records():
    seen = []
    tasks = [Task.of(squares, n=n) for n in (3, 0, 2, 1)]
    done = {task.id: rows for task, rows in run(tasks, "s", lambda *told: seen.append(told), 2)}
    assert done == {task.id: task.run() for task in tasks}
    assert seen == [("s", n, 4) for n in range(5)]
    # an error of a task is the run's, whoever ran it; a worker that is gone is told
    with pytest.raises(InstanceError, match="cannot be"):
        list(run([Task.of(fails, n=n) for n in (0, 1)], workers=2))
    with pytest.raises(SolverError, match="--resume"):
        list(run([Task.of(ends, n=n) for n in (0, 1)], workers=2))


ENDLESS = """
import os, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever starts the tests may ignore it
sys.path.insert(0, sys.argv[1])
from test_runs import waits
from bounds.runs.engine import run
from bounds.runs.task import Task
if __name__ == "__main__":
    folder = sys.argv[2]
    for task, rows in run([Task.of(waits, n=n, folder=folder) for n in range(4)], workers=2):
        print(rows[0]["n"], flush=True)
"""


def waits(n: int, folder: str) -> list[dict[str, int]]:
    """The first is done at once, the others say who they are and stay."""
    if n == 0:
        return [{"n": n}]
    (Path(folder) / f"{os.getpid()}").touch()
    time.sleep(600)
    return []


@pytest.mark.parametrize("ended_by", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_the_run(tmp_path, ended_by):
    script = tmp_path / "endless.py"
    script.write_text(ENDLESS, encoding="utf-8")
    command = [sys.executable, script, Path(__file__).parent, tmp_path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"0\n"  # what is done is there before the rest
        while len(workers := [int(p.name) for p in tmp_path.iterdir() if p.name.isdigit()]) < 2:
            time.sleep(0.05)
        parent.send_signal(ended_by)
        try:
            parent.wait(60)
        finally:
            parent.kill()
    for _ in range(600):
        if not any(alive(pid) for pid in workers):
            return
        time.sleep(0.1)
    raise AssertionError(f"still at work: {workers}")


def alive(pid: int) -> bool:
    """Whether a process runs: one that ended may wait for somebody to ask how."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_a_case_makes_the_same_instance_anywhere(tmp_path):
    made = one_of_each(tmp_path)
    assert {case.origin for case in made} == {"file", "family", "witness", "classic", "text"}
    for case in made:
        again = pickle.loads(pickle.dumps(case))
        assert content_hash(again.build()) == content_hash(case.build())
        json.dumps(dict(case.options))
    assert content_hash(next(from_family("tree", 1, 4)).build()) == content_hash(
        generate("tree", 4)
    )


def test_a_file_that_changes_under_a_run_is_refused(tmp_path):
    path = tmp_path / "a.json"
    random_mdp(0).save(path)
    (case,), refused = from_files([path])
    assert refused == []
    random_mdp(1).save(path)
    with pytest.raises(InstanceError, match="changed"):
        case.build()


def test_records_are_plain_values(tmp_path):
    for case in one_of_each(tmp_path):
        about, *checks = judge(case, "*.eq*,ss.thm1.*,ss.appC.*", 0)
        assert json.loads(json.dumps([about, *checks], allow_nan=False)) == [about, *checks]
        assert (about["record"], about["instance"]) == ("instance", case.name)
        assert bool(about["notes"]) == case.family.startswith("corpus")
        if case.origin == "witness":
            assert about["witness"]["verdict"] == "violated"
        for row in filter(is_check, checks):
            assert (row["ratio"] is None) or row["verdict"] in ("holds", "violated")
            assert row["kind"] in ("inequality", "equality")
            assert row["family"] == case.family


def test_the_worst_violation_is_walked():
    worst = WorstCases()
    witnesses = [c for c in cases.from_witnesses() if c.name.startswith("gap-rare")]
    for case in [*from_family("dirichlet", 2, 0), *witnesses]:
        worst.add(case, judge(case, "ss.thm1.gap,ss.thm1.gap.sharp", 0))
    (task,) = worst.tasks()
    (record,) = task.run()
    assert (record["instance"], record["claim"]) == ("gap-rare-first-token", "ss.thm1.gap")
    assert record["explanation"]["first_broken"]["claim"] == "ss.proof.A"
    json.dumps(record, allow_nan=False)


def test_memory_stays_flat(tmp_path, monkeypatch):
    """What is kept of an instance: a few numbers, no check, no solution (no λ*: that is slow)."""
    quick = (c for c in CLAIMS.values() if c.at == "instance" and not c.needs_optimum)
    claims = ",".join(c.id for c in quick if c.world == "token-mdp/1")
    held = {}

    def on_progress(stage, done, total):
        if done in (20, total):
            gc.collect()
            held[done] = tracemalloc.get_traced_memory()[0]

    @contextmanager
    def bar():
        yield on_progress

    monkeypatch.setattr(verify, "progress_bar", bar)
    tracemalloc.start()
    try:
        with pytest.raises(SystemExit) as stop:
            main([
                "verify", "--family", "tree", "--n", "60", "--claims", claims,
                "--json", str(tmp_path / "l.jsonl"),
            ])  # fmt: skip
    finally:
        tracemalloc.stop()
    assert stop.value.code == 0
    assert (held[60] - held[20]) / 40 < 4096


def test_a_run_that_ends_in_an_error_keeps_what_it_had(tmp_path, capsys):
    good, bad, ledger = (tmp_path / name for name in ("good.json", "bad.json", "l.jsonl"))
    random_mdp(0).save(good)
    endless = random_mdp(0, T=None, eos=2)
    endless.replace(rewards=endless.rewards * 0 + 9.0).save(bad)
    with pytest.raises(SystemExit) as stop:
        main(["verify", str(good), str(bad), "--json", str(ledger)])
    assert stop.value.code == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len([line for line in said if line.startswith("soupcheck: ")]) == 1
    rows = [json.loads(line) for line in ledger.read_text(encoding="utf-8").splitlines()]
    assert {row["instance"] for row in rows} == {"good"}


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs kill -9")
def test_a_killed_run_keeps_what_it_had(tmp_path):
    ledger = tmp_path / "l.jsonl"
    command = [sys.executable, "-c", "from bounds.cli import main; main()", "verify", "--family",
               "tree", "--n", "100000", "--claims", "ss.delta*", "--json", str(ledger)]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not (ledger.exists() and ledger.stat().st_size > 20_000):
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
    *whole, _ = ledger.read_text(encoding="utf-8").split("\n")
    rows = [json.loads(line) for line in whole]
    names = list(dict.fromkeys(row["instance"] for row in rows))
    assert names == [f"tree-{i}" for i in range(len(names))]
    assert len(names) > 1
