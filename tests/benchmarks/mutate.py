"""Do the tests notice a small change of the code? ``python tests/benchmarks/mutate.py ROOM``

A seeded sample of a room's mutants (mutants.py), each run against that room's tests in a private
copy of the tree; the checkout is only read. A mutant whose tests fail, or run far longer than
without it, is killed; one whose tests pass has found a gap in them, or changes nothing that can be
seen. Rooms: see rooms.py. ``--again FILE`` runs those that survived in an earlier report.

How it is fast and still sound. Each mutant has a process of its own, forked from one that has
imported the libraries but nothing of ours. Compiled kernels come from a cache that all share, less
those that the mutation can reach: numba itself does not notice a change in a function of another
file that a kernel calls.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

from mutants import Mutant, mutants_of
from rich.console import Console
from rich.table import Table
from rooms import KERNELS, LEFT_OUT, ROOMS, ROOT, Room, members, tests_of

LIBRARIES = (
    "numpy", "scipy.sparse.linalg", "scipy.optimize", "scipy.stats", "numba", "cvxpy", "clarabel", "mpmath",
    "sympy", "flint", "hypothesis.strategies", "hypothesis.extra.numpy", "rich.table", "typer",
    "array_api_compat.numpy", "array_api_strict", "threadpoolctl", "jinja2", "pytest",
)  # fmt: skip
PASSED = 0


def sample(room: Room, n: int, seed: int) -> list[Mutant]:
    """n of the room's mutants, each file by its size."""
    every = [
        m for f in members(room) for m in mutants_of(f, (ROOT / f).read_text(encoding="utf-8"))
    ]
    return random.Random(seed).sample(every, min(n, len(every)))


def reached(mutant: Mutant, tree: Path) -> set[str]:
    """``module.function`` of the kernels that a change of a kernel can alter: it and its callers."""
    names: dict[str, set[str]] = {}  # what each function or constant mentions
    homes: dict[str, list[str]] = {}
    changed = set()
    for path in sorted((tree / KERNELS).glob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef):
                mine = [node.name]
            elif isinstance(node, ast.Assign):
                mine = [x.id for x in node.targets if isinstance(x, ast.Name)]
            else:
                continue
            for name in mine:
                # two files may have kernels of one name: what either mentions counts for both
                names.setdefault(name, set()).update(
                    x.id for x in ast.walk(node) if isinstance(x, ast.Name)
                )
                homes.setdefault(name, []).append(f"{path.stem}.{name}")
                here = path.relative_to(tree).as_posix() == mutant.file
                if here and node.lineno <= mutant.line <= (node.end_lineno or node.lineno):
                    changed.add(name)
    while True:
        more = {name for name, mentions in names.items() if mentions & changed} | changed
        if more == changed:
            return {home for name in changed for home in homes[name]}
        changed = more


class Bench:
    """A private copy of the tree, in which mutants are tried one after the other."""

    def __init__(self, folder: Path) -> None:
        self.tree, self.cache, self.own = folder / "tree", folder / "compiled", folder / "own"
        out = (
            ".git",
            "__pycache__",
            ".*_cache",
            ".hypothesis",
            "notebooks",
            "papers",
            "*.egg-info",
        )
        shutil.copytree(ROOT, self.tree, ignore=shutil.ignore_patterns(*out))
        self.cache.mkdir()
        self.log, self.count = folder / "log.txt", 0

    def run(self, tests: list[str], cache: Path, limit: int) -> tuple[int, float, str]:
        """Exit status of the tests, CPU seconds, and the test that failed.

        limit: of CPU seconds, so that what else the machine does decides nothing; beyond it, or
        after twenty times as long by the clock, the status is negative.
        """
        child = os.fork()
        if child == 0:
            self._child(tests, cache, limit)
        began = time.monotonic()
        while True:
            done, word, usage = os.wait4(child, os.WNOHANG)
            if done:
                break
            time.sleep(0.02)
            if time.monotonic() - began > 20 * limit:
                os.killpg(child, signal.SIGKILL)
        said = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        names = [x for x in said if x.startswith(("FAILED", "ERROR"))]
        last = names[0].split(" - ")[0] if names else (said or [""])[-1]
        return os.waitstatus_to_exitcode(word), usage.ru_utime + usage.ru_stime, last

    def _child(self, tests: list[str], cache: Path, limit: int) -> None:
        """Run the tests of the tree and end this process."""
        status = 3
        try:
            os.setsid()
            resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
            handle = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(handle, 1)
            os.dup2(handle, 2)
            os.chdir(self.tree)
            os.environ |= {"PYTHONPATH": str(self.tree), "NUMBA_CACHE_DIR": str(cache)}
            sys.path[0] = str(self.tree)
            caching = import_module("numba.core.caching")
            import_module("numba").config.CACHE_DIR = str(cache)
            # what is stale is taken out of the cache by name: a file's date says too much or too little
            caching._SourceFileBackedLocatorMixin.get_source_stamp = lambda self: "kept by hand"
            options = ["-x", "-q", "--no-header", "--tb=line", "-p", "no:cacheprovider"]
            options += ["--hypothesis-seed=0", "-k", " and ".join(f"not {x}" for x in LEFT_OUT)]
            options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # hypothesis is imported
            # one file after the other: the last are not even read for a mutant that the first kills
            for name in tests:
                status = int(import_module("pytest").main([*options, f"tests/test_{name}.py"]))
                if status != PASSED:
                    break
            ours = str(sys.modules["bounds"].__file__)
            status = status if ours.startswith(str(self.tree)) else 3
        except BaseException:  # whatever it is, the log says it and the process ends here
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def try_mutant(self, mutant: Mutant, tests: list[str], limit: int) -> dict[str, object]:
        """The outcome of one mutant as plain data."""
        path = self.tree / mutant.file
        text, times = path.read_text(encoding="utf-8"), path.stat()
        cache = self.cache
        if mutant.file.startswith(KERNELS):
            cache = self.own
            shutil.rmtree(cache, ignore_errors=True)
            shutil.copytree(self.cache, cache)
            stale = tuple(f"{name}-" for name in reached(mutant, self.tree))
            for entry in cache.rglob("*.nb[ic]"):
                if entry.name.startswith(stale):
                    entry.unlink()
        self.count += 1
        sys.dont_write_bytecode = True
        try:
            path.write_text(mutant.apply(text), encoding="utf-8")
            # a date of its own: bytecode is taken for current by the second and the size
            os.utime(path, (times.st_atime, times.st_mtime + 10 * self.count))
            status, seconds, last = self.run(tests, cache, limit)
        finally:
            path.write_text(text, encoding="utf-8")
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        outcome = "killed" if status != PASSED else "SURVIVED"
        if status < 0:
            last = f"signal {-status}"  # too long, or a crash
        line = text.splitlines()[mutant.line - 1].strip()
        return asdict(mutant) | {"outcome": outcome, "by": last, "seconds": seconds, "code": line}


def earlier(path: Path) -> list[Mutant]:
    """The mutants that survived in a report."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    keys = Mutant.__dataclass_fields__
    return [Mutant(**{k: r[k] for k in keys}) for r in rows if r["outcome"] == "SURVIVED"]


def main() -> None:
    """Draw, run, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("room", choices=ROOMS)
    parser.add_argument("--n", type=int, default=60, help="how many mutants")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--again", type=Path, help="run the survivors of this report instead")
    parser.add_argument("--tests", help="these test files instead of the room's: soup,envelope")
    parser.add_argument("--out", type=Path, help="write one JSON line a mutant")
    parser.add_argument("--list", action="store_true", help="print the sample and stop")
    options = parser.parse_args()
    room, console = ROOMS[options.room], Console()
    given = options.tests.split(",") if options.tests else None
    drawn = earlier(options.again) if options.again else sample(room, options.n, options.seed)
    if options.list:
        for mutant in drawn:
            console.print(str(mutant), markup=False, highlight=False, soft_wrap=True)
        return
    for name in LIBRARIES:
        with contextlib.suppress(ImportError):  # an extra that is not installed
            import_module(name)
    assert not {"bounds", "toymdp"} & set(sys.modules)
    results = []
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        every = dict.fromkeys(t for file in members(room) for t in given or tests_of(file, room))
        status, seconds, last = bench.run(list(every), bench.cache, 3600)
        if status != PASSED:
            print(status, bench.log.read_text(encoding="utf-8"))
            sys.exit(f"the tests fail without any mutation: {last}")
        console.print(f"{options.room}: {len(drawn)} mutants, its tests take {seconds:.0f} s")
        limit = int(1.5 * seconds) + 20
        for i, mutant in enumerate(drawn):
            result = bench.try_mutant(mutant, given or tests_of(mutant.file, room), limit)
            results.append(result)
            text = f"{i + 1:3d} {result['outcome']:8s} {result['seconds']:5.1f} s  {mutant}  | {result['by']}"
            console.print(text, markup=False, highlight=False, soft_wrap=True)
            if options.out:
                with options.out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(result, ensure_ascii=False) + "\n")
    counts = Counter(str(r["outcome"]) for r in results)
    table = Table(title=f"{options.room}: {counts['killed']} of {len(results)} killed")
    for name in ("survived", "change", "line"):
        table.add_column(name, overflow="fold")
    for r in results:
        if r["outcome"] == "SURVIVED":
            change = f"{r['kind']}: {r['old']} -> {r['new']}"
            table.add_row(f"{r['file']}:{r['line']}", change, str(r["code"]))
    console.print(table, markup=False)


if __name__ == "__main__":
    main()
