"""Sweeps on Dask, for real: a cluster of processes in the test, and one joined over loopback."""

from __future__ import annotations

import socket
import subprocess
import sys
import time

import pytest

from bounds.records.parts import read_part
from bounds.records.store import Store
from bounds.runs.design import read_design
from bounds.runs.sweep import plan_of, sweep, tasks_of
from toymdp import InstanceError

pytest.importorskip("distributed", reason="Dask is not installed")

from bounds.runs.on_dask import on_dask

# Dask's own: what it warns of is not ours to mend
pytestmark = pytest.mark.filterwarnings("default")

DESIGN = """
claims = "ex.*"
chunk = 30
[[grid]]
family = "monotone-tables"
seeds = 600
"""
TOOL = [sys.executable, "-m", "dask"]


def planned(folder):
    path = folder / "design.toml"
    path.write_text(DESIGN, encoding="utf-8")
    plan = plan_of(read_design(path))
    return Store(folder / "out"), tasks_of(plan)


def holds(store, tasks):
    """Whether every part says what the task gives in this process."""
    for task, part in tasks.items():
        beside = store.folder / "own.parquet"
        beside.write_bytes(part.run(skip={}, beat=lambda at: None))
        mine, theirs = (
            read_part(p, task).drop_columns("seconds") for p in (store.path(task), beside)
        )
        assert mine.equals(theirs)


def test_a_cluster_whose_worker_is_killed_gives_the_same_parts(tmp_path):
    """A scheduler and two workers, each a process of its own, over loopback; one killed at work."""
    store, tasks = planned(tmp_path)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"127.0.0.1:{port}"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": tmp_path}
    scheduler = subprocess.Popen(
        [*TOOL, "scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"], **quiet
    )
    workers = [
        subprocess.Popen(
            [
                *TOOL,
                "worker",
                f"tcp://{address}",
                "--no-nanny",
                "--nthreads",
                "1",
                "--no-dashboard",
            ],
            **quiet,
        )
        for _ in range(2)
    ]
    try:
        killed = []

        def on_part(now):
            if now.done >= 3 and not killed:
                workers[0].kill()
                killed.append(now.done)

        deadline = time.monotonic() + 300
        while True:
            try:
                now = sweep(
                    store, tasks, list(tasks), on_dask(f"dask://{address}"), 60.0, on_part, {}
                )
                break
            except InstanceError:  # the scheduler is still starting
                assert time.monotonic() < deadline
        assert killed
        assert now.done == len(tasks) == 20
        holds(store, tasks)
    finally:
        for process in (*workers, scheduler):
            process.kill()
            process.wait()


def test_a_local_cluster_whose_workers_have_nannies(tmp_path):
    """Processes that may have no children by multiprocessing, which guards do without."""
    from distributed import LocalCluster

    store, tasks = planned(tmp_path)
    few = dict(list(tasks.items())[:3])
    with LocalCluster(
        n_workers=1, threads_per_worker=2, processes=True, dashboard_address=None, host="127.0.0.1"
    ) as cluster:
        address = cluster.scheduler_address.replace("tcp://", "dask://")
        now = sweep(store, few, list(few), on_dask(address), 60.0, lambda p: None, {})
    assert now.done == 3
    holds(store, few)


def test_no_scheduler_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("bounds.runs.on_dask.WAIT", 1)
    with pytest.raises(InstanceError, match="no scheduler answers"):
        list(on_dask("dask://127.0.0.1:9")(iter([]), 1.0, {}))
