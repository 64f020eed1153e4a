"""λ*: evaluations a start, SciPy's SLSQP from the same starts, time in backups; the first run of commands.

    OMP_NUM_THREADS=1 python tests/benchmarks/bench_optimum.py [starts] [large] [commands]

CPU time throughout. Both climbs evaluate J by the same kernels, one after the other in this process.
A backup is ``soft_values`` on the same instance with M = K. The commands run in processes of their
own, first with an empty folder for compiled kernels, then again with a filled one.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from bench_claims import instance
from rich.console import Console
from rich.table import Table
from speed import slsqp

from toymdp import TokenMDP, soft_values, solve
from toymdp.soup.ascent import Ascent, ascend
from toymdp.soup.objective import SoupObjective
from toymdp.soup.starts import default_starts

SIZES = ((4, 2, 4), (8, 3, 16))  # A, L, T
SPECIALISTS = (2, 4, 8, 16, 32)
MOST_STARTS = 6
COMMANDS = (["solve"], ["verify"], ["explain", "ss.thm1.gap"], ["claims"])


def timed(run: Callable[..., Any], *given: Any) -> tuple[Any, float]:
    """What a call gives, and its CPU seconds."""
    began = time.process_time()
    found = run(*given)
    return found, time.process_time() - began


def compare(objective: SoupObjective, named: list[tuple[str, np.ndarray]]) -> list[str]:
    """Evaluations, ratios of CPU time and the difference in J of the climbs from these starts."""
    alone: list[Ascent] = []
    known: list[Ascent] = []
    theirs: list[tuple[float, int]] = []
    seconds = []
    for name, u in named:
        climbed, first = timed(ascend, objective, u, name)
        led, second = timed(ascend, objective, u, name, known)
        peer, third = timed(slsqp, objective, u)
        alone.append(climbed)
        known.append(led)
        theirs.append(peer)
        seconds.append((first, second, third))
    counts, asked = [a.evaluations for a in alone], [count for _, count in theirs]
    first, second, third = np.array(seconds).T
    gain = max(a.value for a in known) - max(value for value, _ in theirs)
    return [
        f"{np.median(counts):g}, {max(counts)}", f"{np.mean([a.evaluations for a in known]):.1f}",
        f"{np.median(asked):g}, {max(asked)}", f"{np.median(first / third):.2f}",
        f"{second.sum() / third.sum():.2f}", f"{gain / objective.scale:.1e}",
    ]  # fmt: skip


def starts() -> Table:
    """Evaluations and CPU by size and number of specialists, against SLSQP."""
    table = Table(title="evaluations a start (median, most), CPU beside SLSQP's, J less SLSQP's")
    for name in ("S", "T", "K", "alone", "knowing", "SLSQP", "CPU alone", "CPU knowing", "J"):
        table.add_column(name, justify="right")
    for A, L, T in SIZES:
        for K in SPECIALISTS:
            sol = solve(instance(A, L, T, K))
            objective = SoupObjective(sol)
            named = list(default_starts(sol, draws=3).items())
            compare(objective, named[:1])  # what is compiled or imported once is not counted
            row = compare(objective, (named[:2] + named[K:])[:MOST_STARTS])
            table.add_row(*map(str, (A**L, T, K)), *row)
    return table


def large() -> Table:
    """One start at S = 65,536, A = 16, T = 8, K = 8, in backups' worth of time."""
    mdp: TokenMDP = instance(16, 4, 8, 8)
    sol = solve(mdp)
    objective = SoupObjective(sol)
    start = mdp.w / mdp.w.sum()
    given = (mdp.ref, mdp.rewards, 1.0, 8, 4)
    backup = float(np.median([timed(soft_values, *given)[1] for _ in range(5)]))
    point = objective.at(start)
    evaluation, second_order = (
        float(np.median([timed(run)[1] for _ in range(5)]))
        for run in (lambda: objective.at(start), point.second)
    )
    by_weights, first = timed(ascend, objective, start)
    by_vertex, second = timed(ascend, objective, np.eye(8)[0])
    rows = {
        "value and gradient": evaluation,
        "curvature": second_order,
        f"λ* from the user's weights, {by_weights.evaluations} evaluations": first,
        f"λ* from a vertex, {by_vertex.evaluations} evaluations": second,
    }
    table = Table(title=f"S = 65536, A = 16, T = 8, K = 8: one backup {1e3 * backup:.0f} ms CPU")
    table.add_column("what")
    table.add_column("backups", justify="right")
    for name, seconds in rows.items():
        table.add_row(name, f"{seconds / backup:.1f}")
    return table


def children(command: list[str], folder: str) -> float:
    """CPU seconds of a command in a process of its own."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "NUMBA_CACHE_DIR": folder}
    subprocess.run(command, env=environment, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def commands() -> Table:
    """CPU seconds of commands on a small instance, cold and warm."""
    table = Table(title="CPU seconds of a command: kernels to be compiled, and compiled")
    for name in ("command", "cold", "warm"):
        table.add_column(name)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "instance.json"
        instance(4, 2, 4, 3).save(path)
        for name, *rest in COMMANDS:
            cache = Path(folder) / name
            given = [] if name == "claims" else [str(path)]
            command = [str(Path(sys.executable).with_name("soupcheck")), name, *given, *rest]
            seconds = [children(command, str(cache)) for _ in range(3)]
            table.add_row(name, f"{seconds[0]:.1f}", f"{min(seconds[1:]):.1f}")
    return table


if __name__ == "__main__":
    console, made = Console(), {"starts": starts, "large": large, "commands": commands}
    for name in sys.argv[1:] or made:
        console.print(made[name]())
