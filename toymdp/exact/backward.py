"""The recursions for the soft values (4) over a finite horizon.

"exp"   the exponential domain, in which the language MDP is linear: no logarithm until the end;
"log"   the log domain with one scale a block, which no reward/β up to 1e4 and beyond can overflow;
"rows"  the log domain row by row in NumPy, the definition itself.

The first two round at different places, and share the compiled product of a few rows with weights;
the third shares nothing with them.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import numpy as np

from .. import kernels
from ..arrays import Array
from ..worlds.reach import Mask

Recursion = Literal["exp", "log", "rows"]

# e^{V/β} stays clear of overflow and underflow while max|r|·T/β is below this
EXPONENT_ROOM = 600.0


def fits(rewards: Array, beta: float, horizon: int) -> bool:
    """Whether no ``exp(V/β)`` can leave the range of doubles, ended episodes included."""
    largest = np.maximum(rewards.max(), -rewards.min())  # NaN if there is one
    return bool(largest * horizon / beta < EXPONENT_ROOM)


def soft_backward(
    ref: Array,
    live: Mask,
    rewards: Array,
    beta: float,
    T: int,
    method: Recursion,
    *,
    whole: bool = True,
    threads: int = 1,
) -> tuple[Array, Array]:
    """V [M, T+1, S] and Q [M, T, S] in reward units by (4), (3), with the chosen recursion.

    ref: [S, A]; live: [S], whether any token is allowed; rewards: [M, S] on next contexts.
    whole: all steps; else V [M, 1, S] at t = 0 and an empty Q. threads: over which the rewards are
    shared out, with the same bits however many: no thread waits for another before it is done.
    """
    M, S = rewards.shape
    R = T + 1 if whole else 1
    if method == "rows":
        V = row_by_row(ref, live, rewards, beta, T)[:, :R]
        return V, rewards[:, None, :] + V[:, 1:]
    V, Q = np.empty((M, R, S)), np.empty((M, R - 1, S))
    # kernels are compiled for what cannot be written to: instances are frozen
    ref, rewards, lanes = frozen(ref), frozen(rewards), kernels.backward.LANES
    dead, kernel = np.flatnonzero(~live), kernels.backward.soft_backward
    if method == "log":
        kernel = kernels.backward.scaled_backward

    def run(part: slice) -> None:
        size = len(rewards[part])
        work = np.empty((3, S, -(-size // lanes) * lanes))
        table = V[part], Q[part]
        kernel(ref, dead, rewards[part], beta, T, work, *table)

    in_threads(run, M, threads, lanes)
    if len(dead):
        V[:, :, dead], Q[:, :, dead] = 0.0, rewards[:, None, dead]
    if whole:
        V[:, T], Q[:, T - 1] = 0.0, rewards
    return V, Q


def in_threads(run: Callable[[slice], None], size: int, threads: int, step: int) -> None:
    """Call ``run`` on up to so many parts of ``range(size)`` at once, each of a multiple of ``step``."""
    each = -(-size // (max(threads, 1) * step)) * step
    parts = [slice(low, min(low + each, size)) for low in range(0, size, each)]
    if len(parts) == 1:
        run(parts[0])
        return
    with ThreadPoolExecutor(len(parts)) as pool:
        list(pool.map(run, parts))


def frozen(table: Array) -> Array:
    """A view of a table that cannot be written to, in C order."""
    view = np.ascontiguousarray(table, dtype=np.float64).view()
    view.setflags(write=False)
    return view


def row_by_row(ref: Array, live: Mask, rewards: Array, beta: float, T: int) -> Array:
    """V [M, T+1, S] from (4) as it stands: a log-sum-exp over the allowed tokens of each row."""
    (M, S), A = rewards.shape, ref.shape[1]
    with np.errstate(divide="ignore"):
        log_ref = np.log(ref).reshape(A, S // A, A)
    v = np.zeros((M, T + 1, S))
    for t in range(T - 1, -1, -1):
        ahead = (rewards / beta + v[:, t + 1]).reshape(M, 1, S // A, A)
        row = (log_ref + ahead).reshape(M, S, A)[:, live]
        top = row.max(axis=2)
        v[:, t, live] = top + np.log(np.exp(row - top[..., None]).sum(axis=2))
    v *= beta
    return v
