"""What a researcher would use instead of the exact kernels. Each peer is optional: it is there or named.

All find V [M, S] at t = 0 from ref [S, A], rewards [M, S] (next context), β and T. "structured": the
A contexts that share their last L − 1 tokens share their next contexts, so that a step is a batched
product of S/A stochastic blocks with A·M numbers each. Who knows nothing of it multiplies a sparse
[S, S] matrix, or sums row by row.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib import import_module
from types import SimpleNamespace

import numpy as np
import scipy.sparse as sp

from toymdp.exact.backward import row_by_row

Values = Callable[[], np.ndarray]


class World(SimpleNamespace):
    """ref [S, A], rewards [M, S], beta, T, and the blocks [S/A, A, A] that peers are handed ready made."""

    def __init__(self, A: int, L: int, T: int, M: int, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        S = A**L
        ref = rng.dirichlet(np.ones(A), size=S)
        super().__init__(
            A=A, L=L, T=T, M=M, S=S, beta=1.0, ref=ref, rewards=rng.normal(size=(M, S)),
            blocks=np.ascontiguousarray(ref.reshape(A, S // A, A).transpose(1, 0, 2)),
        )  # fmt: skip


def naive_numpy(w: World) -> Values:
    """The definition: a log-sum-exp a row."""
    live = np.ones(w.S, dtype=bool)
    return lambda: row_by_row(w.ref, live, w.rewards, w.beta, w.T)[:, 0]


def structured_numpy(w: World) -> Values:
    """The log domain, a scale a block: what the others are measured by."""

    def run() -> np.ndarray:
        q, v = w.rewards.T / w.beta, np.zeros((w.S, w.M))
        for _ in range(w.T):
            x = (q + v).reshape(-1, w.A, w.M)
            top = x.max(axis=1, keepdims=True)
            v = np.log(w.blocks @ np.exp(x - top)) + top
            v = v.transpose(1, 0, 2).reshape(w.S, w.M)
        return np.asarray(w.beta * v.T)

    return run


def two_buffers(w: World) -> Values:
    """The exponential domain in two arrays that take turns."""

    def run() -> np.ndarray:
        gain, z, x = np.exp(w.rewards.T / w.beta), np.ones((w.S, w.M)), np.empty((w.S, w.M))
        for _ in range(w.T):
            np.multiply(gain, z, out=x)
            onto = z.reshape(w.A, -1, w.M).transpose(1, 0, 2)
            np.matmul(w.blocks, x.reshape(-1, w.A, w.M), out=onto)
        return np.asarray(w.beta * np.log(z.T))

    return run


def numexpr_(w: World) -> Values:
    """As structured NumPy, elementwise parts by numexpr."""
    ne = import_module("numexpr")
    ne.set_num_threads(1)

    def evaluate(formula: str, **tables: np.ndarray) -> np.ndarray:
        return np.asarray(ne.evaluate(formula, tables))

    def run() -> np.ndarray:
        q, v = w.rewards.T / w.beta, np.zeros((w.S, w.M))
        for _ in range(w.T):
            x = evaluate("q + v", q=q, v=v).reshape(-1, w.A, w.M)
            top = x.max(axis=1, keepdims=True)
            sums = w.blocks @ evaluate("exp(x - top)", x=x, top=top)
            v = evaluate("log(sums) + top", sums=sums, top=top)
            v = v.transpose(1, 0, 2).reshape(w.S, w.M)
        return np.asarray(w.beta * v.T)

    return run


def torch_bmm(w: World) -> Values:
    """As structured NumPy, in torch."""
    torch = import_module("torch")
    torch.set_num_threads(1)
    blocks, rewards = torch.from_numpy(w.blocks), torch.from_numpy(w.rewards)

    def run() -> np.ndarray:
        q, v = (rewards / w.beta).T.contiguous(), torch.zeros(w.S, w.M, dtype=torch.float64)
        for _ in range(w.T):
            x = (q + v).reshape(-1, w.A, w.M)
            top = x.amax(dim=1, keepdim=True)
            v = torch.bmm(blocks, (x - top).exp()).log() + top
            v = v.transpose(0, 1).reshape(w.S, w.M)
        return np.asarray((w.beta * v.T).numpy())

    return run


def jax_jit(w: World) -> Values:
    """As structured NumPy, compiled by XLA for one thread (see speed.py)."""
    jax = import_module("jax")
    jax.config.update("jax_enable_x64", True)
    jnp = jax.numpy

    def values(blocks, rewards):
        q = rewards.T / w.beta

        def step(_, v):
            x = (q + v).reshape(-1, w.A, w.M)
            top = x.max(axis=1, keepdims=True)
            v = jnp.log(blocks @ jnp.exp(x - top)) + top
            return v.transpose(1, 0, 2).reshape(w.S, w.M)

        return w.beta * jax.lax.fori_loop(0, w.T, step, jnp.zeros((w.S, w.M))).T

    compiled, blocks, rewards = jax.jit(values), jnp.asarray(w.blocks), jnp.asarray(w.rewards)
    return lambda: np.asarray(compiled(blocks, rewards))


def scipy_csr(w: World) -> Values:
    """The exponential domain with one sparse [S, S] matrix."""
    rows = np.repeat(np.arange(w.S), w.A)
    nexts = (rows * w.A + np.tile(np.arange(w.A), w.S)) % w.S
    matrix = sp.csr_matrix((w.ref.ravel(), (rows, nexts)), shape=(w.S, w.S))

    def run() -> np.ndarray:
        gain, z = np.exp(w.rewards / w.beta).T, np.ones((w.S, w.M))
        for _ in range(w.T):
            z = matrix @ (gain * z)
        return np.asarray(w.beta * np.log(z.T))

    return run


PEERS: dict[str, Callable[[World], Values]] = {
    "NumPy, row by row": naive_numpy, "NumPy, structured": structured_numpy, "numexpr": numexpr_,
    "torch bmm": torch_bmm, "JAX jit": jax_jit, "scipy CSR": scipy_csr,
    "NumPy, two buffers": two_buffers,
}  # fmt: skip


def imitation(w: World) -> Values:
    """Soft value iteration of ``imitation`` on a dense [S, A, S]: uniform ref, one reward at a time.

    It pays a state's own reward and sums over tokens without weights: its values are ours plus r and
    log A for each step.
    """
    solve = import_module("imitation.algorithms.mce_irl").mce_partition_fh
    law = np.zeros((w.S, w.A, w.S))
    contexts, tokens = np.arange(w.S)[:, None], np.arange(w.A)
    law[contexts, tokens, (contexts * w.A + tokens) % w.S] = 1.0

    def run() -> np.ndarray:
        found = []
        for reward in w.rewards / w.beta:
            env = SimpleNamespace(
                horizon=w.T + 1, state_dim=w.S, action_dim=w.A, transition_matrix=law,
                reward_matrix=reward,
            )  # fmt: skip
            found.append(w.beta * (solve(env)[0][0] - reward - (w.T + 1) * np.log(w.A)))
        return np.array(found)

    return run


def all_steps(w: World, *, exponential: bool) -> Callable[[], tuple[np.ndarray, np.ndarray]]:
    """Structured NumPy, or the two buffers, writing every V [M, T+1, S] and Q [M, T, S]."""

    def run() -> tuple[np.ndarray, np.ndarray]:
        V, Q = np.zeros((w.M, w.T + 1, w.S)), np.empty((w.M, w.T, w.S))
        q, v, x = w.rewards.T / w.beta, np.zeros((w.S, w.M)), np.empty((w.S, w.M))
        gain, z = np.exp(q) if exponential else q, np.ones((w.S, w.M))
        for t in range(w.T - 1, -1, -1):
            np.add(w.rewards, V[:, t + 1], out=Q[:, t])
            if exponential:
                np.multiply(gain, z, out=x)
                onto = z.reshape(w.A, -1, w.M).transpose(1, 0, 2)
                np.matmul(w.blocks, x.reshape(-1, w.A, w.M), out=onto)
                np.multiply(w.beta, np.log(z.T), out=V[:, t])
            else:
                y = (q + v).reshape(-1, w.A, w.M)
                top = y.max(axis=1, keepdims=True)
                v = np.log(w.blocks @ np.exp(y - top)) + top
                v = v.transpose(1, 0, 2).reshape(w.S, w.M)
                np.multiply(w.beta, v.T, out=V[:, t])
        return V, Q

    return run


def quantecon(w: World, cost: np.ndarray) -> Callable[[], np.ndarray]:
    """Least expected total of ``cost`` [S] on next contexts by QuantEcon's hard dynamic program, [S]."""
    markov = import_module("quantecon.markov")
    s, a = np.repeat(np.arange(w.S), w.A), np.tile(np.arange(w.A), w.S)
    nexts = (s * w.A + a) % w.S
    law = sp.csr_matrix((np.ones(len(s)), (np.arange(len(s)), nexts)), shape=(len(s), w.S))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "infinite horizon")  # which is not what is asked
        ddp = markov.DiscreteDP(-cost[nexts], law, 1.0, s, a)
    return lambda: -np.asarray(markov.backward_induction(ddp, w.T)[0][0])
