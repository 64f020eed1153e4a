"""Exact kernels against peers and against the machine, in one process, as ratios.

Peers: a row-by-row log-sum-exp in NumPy (what the definition says), and a sparse-matrix product in
the exponential domain (what one writes without the block structure). The machine: the time to read
the reference table once per step.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import scipy.sparse as sp
from rich.console import Console
from rich.table import Table

from bounds import CLAIMS, check
from toymdp import TokenMDP, soft_values, solve, soup_optimum
from toymdp.exact.backward import row_by_row


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


def sparse_product(mdp: TokenMDP, rewards: np.ndarray) -> np.ndarray:
    """V at t = 0 by a sparse matrix over all contexts."""
    S, A = mdp.ref.shape
    rows = np.repeat(np.arange(S), A)
    columns = (rows * A + np.tile(np.arange(A), S)) % S
    matrix = sp.csr_matrix((mdp.ref.ravel(), (rows, columns)), shape=(S, S))
    gain, z = np.exp(rewards / mdp.beta).T, np.ones((S, len(rewards)))
    for _ in range(mdp.horizon or 0):
        z = matrix @ (gain * z)
    return mdp.beta * np.log(z.T)


def kernels() -> Table:
    """soft_values against its peers."""
    table = Table(title="soft_values: peer / ours (same process)", title_justify="left")
    for name in ("A", "L", "T", "M", "ours ms", "rows / ours", "sparse / ours", "ours / one read"):
        table.add_column(name, justify="right")
    for A, L, T, M in (
        (8, 4, 16, 5),
        (32, 2, 12, 3),
        (64, 2, 16, 8),
        (4, 6, 16, 33),
        (8, 5, 16, 5),
    ):
        mdp = instance(A, L, T, M)
        live = np.ones(mdp.n_contexts, dtype=bool)
        ours = best(lambda m=mdp, t=T, o=L: soft_values(m.ref, m.rewards, 1.0, t, o))
        rows = best(lambda m=mdp, t=T, v=live: row_by_row(m.ref, v, m.rewards, 1.0, t), 2)
        sparse = best(lambda m=mdp: sparse_product(m, m.rewards))
        read = best(lambda m=mdp: m.ref.sum()) * T
        table.add_row(
            *map(str, (A, L, T, M)), f"{1e3 * ours:.2f}", f"{rows / ours:.1f}",
            f"{sparse / ours:.1f}", f"{ours / read:.1f}",
        )  # fmt: skip
    return table


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
    console = Console()
    console.print(kernels())
    console.print(catalogue())
