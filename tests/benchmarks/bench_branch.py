"""How far branch and bound gets in a minute, and how often multi-start was not global.

The goal: S·A·T ≤ 10⁴, two threads, one minute: ``upper − J ≤ τ·max(1, V_w − J(0))`` with τ = 1e-4 for
K = 2 and 1e-2 for K = 3.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from rich.console import Console
from rich.table import Table

from toymdp import TokenMDP, solve, soup_optimum
from toymdp.families import generate

GOAL = {2: 1e-4, 3: 1e-2}
SECONDS = 60.0
THREADS = 2


def plain(seed: int, A: int, L: int, T: int, K: int, beta: float, forbid: float = 0.0) -> TokenMDP:
    """Normal rewards on an exponential reference."""
    rng = np.random.default_rng(seed)
    S = A**L
    weights = rng.exponential(size=(S, A)) * (rng.random((S, A)) >= forbid)
    weights[np.arange(S), rng.integers(A, size=S)] += 0.1
    return TokenMDP(
        vocab_size=A, order=L, horizon=T, start=[0] * L, ref_weights=weights,
        rewards=rng.normal(size=(K, S)), beta=beta, w=rng.dirichlet(np.ones(K)),
        features={"kind": "tabular", "per_step": True, "scale": 1.0},
    )  # fmt: skip


def opposite(seed: int, A: int, L: int, T: int, K: int, beta: float, noise: float) -> TokenMDP:
    """Rewards that nearly cancel: many local optima, λ* = 0 among them."""
    mdp = plain(seed, A, L, T, K, beta)
    rng = np.random.default_rng(seed)
    signs = np.where(np.arange(K) % 2 == 0, 1.0, -1.0)[:, None]
    rewards = signs * mdp.rewards[0] + noise * rng.normal(size=mdp.rewards.shape)
    return mdp.replace(rewards=rewards, w=np.full(K, 1 / K))


def instances(K: int) -> Iterator[tuple[str, TokenMDP]]:
    """The instances of one table."""
    for A, L, T, beta in (
        (6, 2, 10, 0.5), (10, 2, 10, 1.0), (10, 2, 10, 0.25), (10, 2, 10, 0.05),
        (4, 4, 9, 0.5), (3, 5, 13, 0.1), (3, 3, 100, 0.5), (20, 1, 25, 0.5),
    ):  # fmt: skip
        yield f"plain, β = {beta:g}", plain(1, A, L, T, K, beta)
    yield "plain, half forbidden", plain(2, 10, 2, 10, K, 0.2, forbid=0.5)
    for noise, beta in ((0.05, 0.5), (0.3, 0.5), (0.3, 0.05)):
        yield f"opposite ± {noise:g}, β = {beta:g}", opposite(0, 10, 2, 10, K, beta, noise)
    for family in ("softmax", "low-rank", "dirichlet"):
        options = {"A": 10, "L": 2, "T": 10, "K": K, "beta": 0.25}
        yield family, generate(family, 3, **options)
    yield "tree", generate("tree", 1, A=2, T=6, K=K, beta=0.25)


def reached(K: int) -> Table:
    """Gap within a minute, relative to the goal's scale."""
    table = Table(title=f"K = {K}: τ = {GOAL[K]:g} within {SECONDS:g} s on {THREADS} threads")
    for name in ("instance", "S·A·T", "max |Q|/β", "pieces", "seconds", "stopped", "gap reached"):
        table.add_column(name, justify="left" if name == "instance" else "right")
    for name, mdp in instances(K):
        sol = solve(mdp)
        opt = soup_optimum(mdp, sol, tolerance=GOAL[K], seconds=SECONDS, threads=THREADS)
        b = opt.bound
        assert b is not None
        largest = np.abs(sol.Q[:, mdp.reach.nexts]).max() / mdp.beta
        size = mdp.n_contexts * mdp.vocab_size * mdp.steps
        table.add_row(
            name, str(size), f"{largest:.0f}", str(b.pieces), f"{b.seconds:.2f}", b.stopped,
            f"{b.gap / b.allowed * GOAL[K]:.1e}",
        )  # fmt: skip
    return table


def multistart(K: int, n: int, tolerance: float) -> str:
    """How often, on n random instances, branch and bound found a better soup than multi-start."""
    missed, certified, worst = 0, 0, 0.0
    for seed in range(n):
        rng = np.random.default_rng([seed, K])
        size = (int(rng.integers(2, 6)), int(rng.integers(1, 3)), int(rng.integers(2, 9)), K)
        beta = float(rng.choice([0.05, 0.2, 1.0]))
        if seed % 2:
            mdp = plain(seed, *size, beta)
        else:
            mdp = opposite(seed, *size, beta, float(rng.choice([0.05, 0.3])))
        sol = solve(mdp)
        alone = soup_optimum(mdp, sol, grid=False)
        opt = soup_optimum(mdp, sol, grid=False, tolerance=tolerance, threads=THREADS)
        assert opt.bound is not None
        certified += opt.bound.reached
        gain = (opt.J - alone.J) / opt.bound.allowed * tolerance
        missed += gain > 1e-9
        worst = max(worst, gain)
    return (
        f"K = {K}: multi-start was not global on {missed} of {n} (by up to {worst:.1e} of "
        f"max(1, V_w − J(0))); certified within {tolerance:g}: {certified}"
    )


if __name__ == "__main__":
    console = Console(width=120)
    for k in (2, 3):
        console.print(reached(k))
    console.print(multistart(2, 50, 1e-6))
    console.print(multistart(3, 20, 1e-4))
