"""Every claim on one large instance, in solves of that instance. Kernels and peers: speed.py."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from rich.console import Console
from rich.table import Table

from bounds import CLAIMS, check
from toymdp import TokenMDP, solve, soup_optimum


def best(run: Callable[[], object], repeats: int = 5) -> float:
    """Least seconds over a few runs."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return min(times)


def instance(A: int, L: int, T: int, K: int) -> TokenMDP:
    """A random world of that size."""
    rng = np.random.default_rng(0)
    S = A**L
    return TokenMDP(
        vocab_size=A, order=L, horizon=T, start=[0] * L,
        ref_weights=rng.dirichlet(np.ones(A), size=S), rewards=rng.random((K, S)), beta=1.0,
        w=np.full(K, 1 / K), features={"kind": "tabular", "per_step": True, "scale": 1.0},
    )  # fmt: skip


def with_policies(mdp: TokenMDP) -> object:
    """Q, V and the policies of every r_k and of r_w, as tables."""
    sol = solve(mdp)
    return [sol.policy(k) for k in range(mdp.n_rewards)], sol.policy_w


def catalogue() -> Table:
    """Every claim on one large instance, in solves of that instance."""
    mdp = instance(8, 4, 16, 4)
    opt = soup_optimum(mdp, solve(mdp))
    check(solve(mdp), "*", optimum=opt)  # memory and thread pools as in the middle of a run
    one, tables = best(lambda: solve(mdp)), best(lambda: with_policies(mdp))
    table = Table(
        title=f"claims at S = 4096, A = 8, T = 16, K = 4: one solve {1e3 * one:.1f} ms, "
        f"with the tables of its policies {1e3 * tables:.1f} ms"
    )
    table.add_column("claim")
    table.add_column("solves", justify="right")
    table.add_column("with policies", justify="right")
    # each time from a solution of which nothing is known yet: its second solution is part of the price
    fresh = [solve(mdp) for _ in range(5)]
    whole = best(lambda: check(fresh.pop(), "*", optimum=opt))
    table.add_row("all of them", f"{whole / one:.1f}", f"{whole / tables:.1f}")
    sol = solve(mdp)
    for claim in CLAIMS:
        began = time.perf_counter()
        check(sol, claim, optimum=opt)
        spent = time.perf_counter() - began
        table.add_row(claim, f"{spent / one:.2f}", f"{spent / tables:.2f}")
    return table


if __name__ == "__main__":
    Console().print(catalogue())
