"""Kills sweeps at random moments and holds what comes of it against a run that nobody touched.

    python tests/benchmarks/sweep_faults.py --kills 20 --seed 0

Half of the kills (-9) are of the sweep, half of one of its workers. After a kill of the sweep its
workers must be gone; it is started again until it ends. Then every part must hold the same rows,
``seconds`` left out, as the unbroken run's: compared as bytes of the same writer.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from bounds.records.parts import bytes_of, read_part

DESIGN = """
claims = "ss.eq13, ss.delta, ss.thm1.gap, ex.*, ss.appC.*"
chunk = 5
[[grid]]
family = "dirichlet"
seeds = {seeds}
T = [1, 2]
[[grid]]
family = "tree"
seeds = {seeds}
T = 2
[[grid]]
family = "tilted-attributes"
seeds = {seeds}
"""
COMMAND = [sys.executable, "-c", "from bounds.cli import main; main()", "sweep"]


def started(*arguments: object) -> subprocess.Popen[bytes]:
    """A sweep that is on its way, quiet."""
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def children(parent: int) -> list[int]:
    """The processes that a process has begun and that run."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, above = (folder / "stat").read_text().rsplit(")", 1)[1].split()[:2]
        except OSError:  # it has ended meanwhile
            continue
        if int(above) == parent and state != "Z":
            found.append(int(folder.name))
    return found


def gone(pids: list[int], seconds: float) -> bool:
    """Whether all of them end within this time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        left = [
            p for p in pids if Path(f"/proc/{p}").exists() and "bounds.runs.child" in _command(p)
        ]
        if not left:
            return True
        time.sleep(0.05)
    return False


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def content(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every part without its seconds: name and bytes."""
    for path in sorted(folder.glob("parts/*/*")):
        table = read_part(path, path.stem.removeprefix("part-"))
        field = table.schema.field("seconds")
        nothing = pa.array([0.0] * table.num_rows, field.type)
        rest = table.set_column(table.column_names.index("seconds"), field, nothing)
        yield path.name, bytes_of([rest], rest.schema, {})


def main() -> int:
    """Run it; 1 if anything is not as it must be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--most", type=float, default=12.0, help="seconds before a kill")
    asked = parser.parse_args()
    rng = random.Random(asked.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        design = folder / "design.toml"
        design.write_text(DESIGN.format(seeds=asked.seeds), encoding="utf-8")
        whole, cut = folder / "whole", folder / "cut"
        assert started(design, "--out", whole, "--workers", 2).wait() == 0
        kills = {"sweep": 0, "worker": 0}
        orphans = ended = halves = 0
        run = started(design, "--out", cut, "--workers", 2)
        while sum(kills.values()) < asked.kills:
            time.sleep(rng.uniform(0.2, asked.most))
            if run.poll() is not None:
                # it came to its end: take some of what it did away, so that there is work again
                ended += 1
                for path in rng.sample(sorted(cut.glob("parts/*/*.parquet")), 20):
                    path.unlink()
            elif rng.random() < 0.5:
                workers = children(run.pid)
                if workers:
                    os.kill(rng.choice(workers), signal.SIGKILL)
                    kills["worker"] += 1
                continue
            else:
                workers = children(run.pid)
                run.send_signal(signal.SIGKILL)
                run.wait()
                kills["sweep"] += 1
                orphans += not gone(workers, 20.0)
                halves += len(list(cut.rglob("*.tmp")))
            run = started(cut, "--workers", 2)
        while run.wait() != 0:
            run = started(cut, "--workers", 2)
        left, right = dict(content(whole)), dict(content(cut))
        same = sum(left.get(part) == right[part] for part in right)
        print(f"kills {kills}, runs that ended in between {ended}")
        print(f"orphans {orphans}, half-written files seen after a kill {halves}")
        print(f"parts {len(left)} unbroken, {len(right)} resumed, {same} the same byte for byte")
        return int(orphans > 0 or left != right)


if __name__ == "__main__":
    sys.exit(main())
