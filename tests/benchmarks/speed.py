"""Exact kernels against peers and against the machine: CPU time in one process, as ratios.

    python tests/benchmarks/speed.py [--quick] [--rounds N] [--json PATH] [--figure PATH]

Competitors take turns; the table shows medians of CPU time, and medians of the ratios within a turn.
The machine's limit is a triad ``a = b + 0.5·c`` over as many bytes as a step must move at least: ref
once, values of all rewards read and written, their gains read. Peers that are not installed are named.
"""

# ruff: noqa: E402  # threads are limited before any library starts them
from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR"):
    os.environ.setdefault(f"{name}_NUM_THREADS", "1")
os.environ.setdefault(
    "XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
)

import numba
import numpy as np
import peers
import scipy.optimize
from rich.console import Console
from rich.table import Table

from toymdp import TokenMDP, soft_values, solve
from toymdp.exact.policy import Policy
from toymdp.exact.scans import hard_minimum
from toymdp.exact.solution import bellman_errors
from toymdp.soup.ascent import ascend
from toymdp.soup.objective import SoupObjective
from toymdp.soup.starts import default_starts

BASE = "NumPy, structured"
SIZES = [(8, 3, 16, 8), (16, 4, 8, 8)]  # A, L, T, K
QUICK = [(4, 2, 3, 2)]
# share of the limit against S, and cost against S, A, T and K, one at a time
SWEEPS: dict[str, list[tuple[int, int, int, int]]] = {
    "S": [(8, L, 16, 8) for L in (2, 3, 4, 5, 6)],
    "A": [(2, 12, 16, 8), (4, 6, 16, 8), (8, 4, 16, 8), (16, 3, 16, 8), (64, 2, 16, 8)],
    "T": [(8, 4, T, 8) for T in (4, 8, 16, 32, 64)],
    "K": [(8, 4, 16, K) for K in (1, 2, 4, 8, 16, 32)],
}
Run = Callable[[], Any]


@numba.njit
def triad(a, b, c, times):
    """Move ``3·8·len(a)`` bytes, so many times."""
    for _ in range(times):
        for i in range(a.shape[0]):
            a[i] = b[i] + 0.5 * c[i]


def limit(w: peers.World) -> Run:
    """The triad of as many bytes as the backward induction moves at least."""
    tables = np.ones((3, (w.S * w.A + 3 * w.S * w.M) // 3))
    return lambda: triad(*tables, w.T)


def instance(w: peers.World) -> TokenMDP:
    """The world of a peer, for K = M rewards."""
    return TokenMDP(
        vocab_size=w.A, order=w.L, horizon=w.T, start=[0] * w.L, ref_weights=w.ref,
        rewards=w.rewards, beta=w.beta, w=np.full(w.M, 1 / w.M),
        features={"kind": "tabular", "per_step": True, "scale": 1.0},
    )  # fmt: skip


def measure(runs: dict[str, Run], rounds: int) -> dict[str, list[float]]:
    """CPU seconds of each, a round after another; a call too short for the clock is repeated."""
    often = {}
    for name, run in runs.items():
        run()
        began = time.process_time()
        run()
        often[name] = int(np.clip(2e-3 / max(time.process_time() - began, 1e-6), 1, 200))
    spent: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            began = time.process_time()
            for _ in range(often[name]):
                run()
            spent[name].append((time.process_time() - began) / often[name])
    return spent


def rows_of(spent: dict[str, list[float]], base: str, share: str | None) -> list[dict[str, Any]]:
    """Medians, and medians of ratios within a round: to the base, and the limit's to each."""
    found = []
    for name, times in spent.items():
        row: dict[str, Any] = {"name": name, "ms": 1e3 * float(np.median(times))}
        row["ratio"] = float(np.median(np.divide(spent[base], times)))
        if share is not None:
            row["share"] = float(np.median(np.divide(spent[share], times)))
        found.append(row)
    return found


def competitors(w: peers.World) -> tuple[dict[str, Run], list[str]]:
    """All that is installed, checked against ours, and the names of what is not."""
    runs: dict[str, Run] = {"limit": limit(w)}
    absent = []
    ours = soft_values(w.ref, w.rewards, w.beta, w.T, w.L)
    for name, make in peers.PEERS.items():
        if name == "NumPy, row by row" and w.S * w.A * w.M > 4e6:
            continue  # [M, S, A] at once
        try:
            run = make(w)
        except ImportError as error:
            absent.append(f"{name} ({error})")
            continue
        assert np.abs(run() - ours).max() < 1e-11 * max(1.0, np.abs(ours).max()), name
        runs[name] = run
    runs["soft_values"] = lambda: soft_values(w.ref, w.rewards, w.beta, w.T, w.L)
    return runs, absent


def backward(size: tuple[int, int, int, int], rounds: int) -> dict[str, Any]:
    """Soft values at t = 0 of K rewards."""
    runs, absent = competitors(peers.World(*size))
    return {"rows": rows_of(measure(runs, rounds), BASE, "limit"), "absent": absent}


def whole(size: tuple[int, int, int, int], rounds: int) -> dict[str, Any]:
    """``solve`` (every V and Q of K rewards and r_w, and the residual), and what derives from it."""
    mdp = instance(peers.World(*size))
    sol, u = solve(mdp), np.full(size[3], 0.8 / size[3])
    w = peers.World(*size[:3], size[3] + 1)
    w.rewards = np.vstack([mdp.rewards, mdp.reward_w])
    Q, V = np.concatenate([sol.Q, sol.Q_w[None]]), np.concatenate([sol.V, sol.V_w[None]])
    objective, logits = SoupObjective(sol), sol.Q_w / mdp.beta
    np.testing.assert_allclose(peers.all_steps(w, exponential=True)()[0], V, atol=1e-11)

    def evaluated() -> object:
        policy = Policy(mdp, logits)
        return policy.value(mdp.reward_w)

    policy = Policy(mdp, logits)
    assert policy.plain
    spent = measure(
        {
            f"{BASE}, all V and Q": peers.all_steps(w, exponential=False),
            "NumPy, two buffers, all V and Q": peers.all_steps(w, exponential=True),
            "solve": lambda: solve(mdp),
            "of which the residual": lambda: bellman_errors(mdp, Q, V),
            "one backup": lambda: soft_values(mdp.ref, mdp.rewards, mdp.beta, mdp.steps, mdp.order),
            "J": lambda: objective.value(u),
            "J and its gradient": lambda: objective.at(u),
            "a policy evaluated, from logits": evaluated,
            "its occupancies": lambda: Policy.occupancy.func(policy),
            "its divergence from ref": lambda: policy.divergence(sol.reference),
            "the minimising policy": lambda: hard_minimum(mdp, logits, logits, 1.0),
        },
        rounds,
    )
    rows = rows_of(spent, f"{BASE}, all V and Q", None)
    for row in rows:
        row["backups"] = float(np.median(np.divide(spent[row["name"]], spent["one backup"])))
    return {"rows": rows}


def hard(size: tuple[int, int, int, int], rounds: int) -> dict[str, Any]:
    """The hard dynamic program, and imitation's soft one under a uniform ref."""
    w, absent = peers.World(*size), []
    mdp, cost = instance(w), w.rewards[0]
    first, second = np.tile(cost, (w.T, 1)), np.zeros((w.T, w.S))
    runs: dict[str, Run] = {"minimising policy": lambda: hard_minimum(mdp, first, second, 0.0)}
    try:
        runs["QuantEcon"] = peers.quantecon(w, cost)
        least = runs["QuantEcon"]()[mdp.start_context]
        assert abs(least - hard_minimum(mdp, first, second, 0.0).total) < 1e-12 * w.T
    except ImportError as error:
        absent.append(f"QuantEcon ({error})")
    w.ref = np.full(w.ref.shape, 1 / w.A)
    if w.S * w.S * w.A <= 4e6:
        try:
            runs["imitation"] = peers.imitation(w)
            ours = soft_values(w.ref, w.rewards, w.beta, w.T, w.L)
            np.testing.assert_allclose(runs["imitation"](), ours, atol=1e-10)
            runs["soft_values, uniform ref"] = lambda: soft_values(
                w.ref, w.rewards, w.beta, w.T, w.L
            )
        except ImportError as error:
            absent.append(f"imitation ({error})")
    return {"rows": rows_of(measure(runs, rounds), "minimising policy", None), "absent": absent}


def slsqp(objective: SoupObjective, start: np.ndarray) -> tuple[float, int]:
    """SciPy's SLSQP over ``u = x⁺ − x⁻``, ``Σ x ≤ 1``: J at its end, and evaluations."""
    K, looks = len(start), []

    def of(x: np.ndarray) -> tuple[float, np.ndarray]:
        u = x[:K] - x[K:]
        looks.append(1)
        if not u.any():
            return -objective.value(u), np.zeros(2 * K)
        point = objective.at(u)
        pattern = np.where(u < 0, -1.0, 1.0)
        up = point.slope + pattern * point.kink
        return -point.value / objective.scale, -np.r_[up, -up] / objective.scale

    done = scipy.optimize.minimize(
        of, np.r_[np.maximum(start, 0), np.maximum(-start, 0)], jac=True, method="SLSQP",
        bounds=[(0, 1)] * (2 * K), options={"maxiter": 200, "ftol": 1e-12},
        constraints={"type": "ineq", "fun": lambda x: 1 - x.sum(), "jac": lambda x: -np.ones(2 * K)},
    )  # fmt: skip
    return -done.fun * objective.scale, len(looks)


def optimum(size: tuple[int, int, int, int], rounds: int) -> dict[str, Any]:
    """λ* from a few starts: the ascent here, and SLSQP from the same."""
    sol = solve(instance(peers.World(*size)))
    objective = SoupObjective(sol)
    starts = list(default_starts(sol, draws=2).items())[-4:]
    spent = measure(
        {
            "ascents": lambda: [ascend(objective, u, name) for name, u in starts],
            "SciPy SLSQP": lambda: [slsqp(objective, u) for _, u in starts],
            "one backup": lambda: soft_values(sol.mdp.ref, sol.mdp.rewards, 1.0, size[2], size[1]),
        },
        max(3, rounds // 3),
    )
    rows = rows_of(spent, "SciPy SLSQP", None)
    ours = [ascend(objective, u, name).value for name, u in starts]
    theirs = [slsqp(objective, u) for _, u in starts]
    for row in rows:
        row["backups a start"] = row["ms"] / rows[-1]["ms"] / len(starts)
    apart = np.subtract(ours, [J for J, _ in theirs])
    rows[0] |= {"best J less SLSQP's": max(ours) - max(J for J, _ in theirs), "worst": apart.min()}
    rows[1]["evaluations a start"] = float(np.mean([n for _, n in theirs]))
    return {"rows": rows, "starts": [name for name, _ in starts]}


def sweep(rounds: int) -> dict[str, Any]:
    """Cost of ours against each size, and the share of the limit of all against S."""
    found: dict[str, Any] = {}
    for axis, sizes in SWEEPS.items():
        for size in sizes:
            w = peers.World(*size)
            at = {"S": w.S, "A": w.A, "T": w.T, "K": w.M}[axis]
            if axis == "S":
                runs = competitors(w)[0]
            else:
                runs = {
                    "limit": limit(w),
                    "soft_values": lambda w=w: soft_values(w.ref, w.rewards, w.beta, w.T, w.L),
                }
            rows = rows_of(measure(runs, rounds), "soft_values", "limit")
            found.setdefault(axis, []).append({"at": at, "rows": rows})
    return found


def show(console: Console, title: str, rows: list[dict[str, Any]]) -> None:
    """A table of what was measured."""
    table = Table(title=title, title_justify="left")
    columns = list(dict.fromkeys(key for row in rows for key in row))
    for column in columns:
        table.add_column(column, justify="left" if column == "name" else "right")
    for row in rows:
        values = (row.get(column, "") for column in columns)
        table.add_row(*(f"{x:.3g}" if isinstance(x, float) else str(x) for x in values))
    console.print(table)


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one tiny size, no sweeps")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args(arguments)
    console, found = Console(), {}
    parts = {
        "soft values at t = 0": backward, "all of a solution": whole, "hard program": hard,
        "optimum": optimum,
    }  # fmt: skip
    for size in QUICK if options.quick else SIZES:
        A, L, T, K = size
        for part, run in parts.items():
            outcome = run(size, 3 if options.quick else options.rounds)
            name = f"{part}, S={A**L} A={A} T={T} K={K}"
            found[name] = outcome
            show(console, name, outcome["rows"])
            for line in outcome.get("absent", ()):
                console.print(f"not installed: {line}")
    if not options.quick:
        found["sweeps"] = sweep(max(3, options.rounds // 3))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if options.figure and not options.quick:
        import speed_figure

        speed_figure.draw(found["sweeps"], options.figure)
    return found


if __name__ == "__main__":
    main()
