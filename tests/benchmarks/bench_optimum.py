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
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import scipy
from peers import World
from rich.console import Console
from rich.table import Table
from speed import instance

from toymdp import TokenMDP, soft_values, solve
from toymdp.soup.ascent import Ascent, ascend
from toymdp.soup.objective import SoupObjective
from toymdp.soup.starts import default_starts

SIZES = ((4, 2, 4), (8, 3, 16))  # A, L, T
SPECIALISTS = (2, 4, 8, 16, 32)
MOST_STARTS = 6
COMMANDS = (["solve"], ["verify"], ["explain", "ss.thm1.gap"], ["claims"])


def cpu(run: Callable[[], object]) -> float:
    """CPU seconds of one call."""
    began = time.process_time()
    run()
    return time.process_time() - began


def slsqp(objective: SoupObjective, u: np.ndarray) -> tuple[float, int]:
    """J at the end and evaluations of SLSQP over ``u = p − q``, p, q ≥ 0, Σ(p + q) ≤ 1."""
    K, asked = len(u), []

    def both(x: np.ndarray) -> tuple[float, np.ndarray]:
        asked.append(x)
        v = x[:K] - x[K:]
        if not v.any():
            return -objective.value(v), np.zeros(2 * K)
        point = objective.at(v)
        up = point.slope + np.where(v < 0, -point.kink, point.kink)
        down = -point.slope + np.where(v > 0, -point.kink, point.kink)
        return -point.value, -np.concatenate([up, down])

    budget = {"type": "ineq", "fun": lambda x: 1 - x.sum(), "jac": lambda x: -np.ones(2 * K)}
    end = scipy.optimize.minimize(
        both, np.concatenate([np.maximum(u, 0), np.maximum(-u, 0)]), jac=True, method="SLSQP",
        bounds=[(0, 1)] * (2 * K), constraints=[budget],
        options={"ftol": 1e-15 * objective.scale, "maxiter": 500},
    )  # fmt: skip
    size = max(1.0, float(np.abs(end.x[:K] - end.x[K:]).sum()))
    return objective.value((end.x[:K] - end.x[K:]) / size), len(asked)


def _kept(found: list[Any], run: Callable[[], Any]) -> None:
    found.append(run())


def starts() -> Table:
    """Evaluations and CPU by size and number of specialists, against SLSQP."""
    table = Table(
        title="a start of λ*: evaluations of J with its gradient, CPU, J", title_justify="left"
    )
    for name in ("S", "T", "K", "starts", "alone: median, most", "knowing the others: mean",
                 "SLSQP: median, most", "CPU / SLSQP", "best J less SLSQP's, share"):  # fmt: skip
        table.add_column(name, justify="right")
    for A, L, T in SIZES:
        for K in SPECIALISTS:
            sol = solve(instance(World(A, L, T, K)))
            objective = SoupObjective(sol)
            named = list(default_starts(sol, draws=3).items())
            named = (named[:2] + named[K:])[:MOST_STARTS]
            alone: list[Ascent] = []
            known: list[Ascent] = []
            ratios, asked, ends = [], [], []
            ascend(objective, named[0][1])
            for name, u in named:
                ours = cpu(partial(_kept, alone, partial(ascend, objective, u, name)))
                known.append(ascend(objective, u, name, known))
                theirs = cpu(partial(_kept, ends, partial(slsqp, objective, u)))
                ratios.append(ours / theirs)
                asked.append(ends[-1][1])
            counts = [a.evaluations for a in alone]
            gain = max(a.value for a in alone) - max(value for value, _ in ends)
            table.add_row(
                *map(str, (A**L, T, K, len(named))), f"{np.median(counts):g}, {max(counts)}",
                f"{np.mean([a.evaluations for a in known]):.1f}",
                f"{np.median(asked):g}, {max(asked)}", f"{np.median(ratios):.2f}",
                f"{gain / objective.scale:.1e}",
            )  # fmt: skip
    return table


def large() -> Table:
    """One start at S = 65,536, A = 16, T = 8, K = 8, in backups' worth of time."""
    mdp: TokenMDP = instance(World(16, 4, 8, 8))
    sol = solve(mdp)
    objective = SoupObjective(sol)
    start = mdp.w / mdp.w.sum()
    backup = float(np.median([
        cpu(lambda: soft_values(mdp.ref, mdp.rewards, 1.0, 8, 4)) for _ in range(5)
    ]))  # fmt: skip
    point = objective.at(start)
    found: list[Ascent] = []
    rows = {
        "value and gradient": cpu(lambda: objective.at(start)),
        "curvature": cpu(lambda: point.second()),
        "λ* from the user's weights": cpu(lambda: found.append(ascend(objective, start))),
        "λ* from a vertex": cpu(lambda: found.append(ascend(objective, np.eye(8)[0]))),
    }
    table = Table(title=f"S = 65536, A = 16, T = 8, K = 8: one backup {1e3 * backup:.0f} ms CPU")
    table.add_column("what")
    table.add_column("backups", justify="right")
    for name, seconds in rows.items():
        table.add_row(name, f"{seconds / backup:.1f}")
    for name, ascent in zip(("weights", "vertex"), found, strict=True):
        table.add_row(f"evaluations from the {name}", str(ascent.evaluations))
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
        instance(World(4, 2, 4, 3)).save(path)
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
