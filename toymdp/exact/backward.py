"""The three recursions for the soft values (4) over a finite horizon; they share no arithmetic.

"exp"   the exponential domain, in which the language MDP is linear: no logarithm until the end;
"log"   the log domain with one scale a block, which no reward/β up to 1e4 and beyond can overflow;
"rows"  the log domain row by row, the definition itself.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from .. import kernels
from ..arrays import Array, IntArray
from ..worlds.reach import Mask

Recursion = Literal["exp", "log", "rows"]

# e^{V/β} stays clear of overflow and underflow while max|r|·T/β is below this
EXPONENT_ROOM = 600.0
# vocabulary above which, and number of blocks below which, matrix products beat vectors over blocks
WIDE, SHORT = 12, 12


def fits(rewards: Array, beta: float, horizon: int) -> bool:
    """Whether no ``exp(V/β)`` can leave the range of doubles, ended episodes included."""
    return bool(np.abs(rewards).max() * horizon / beta < EXPONENT_ROOM)


def soft_backward(
    ref: Array, live: Mask, rewards: Array, beta: float, T: int, method: Recursion
) -> Array:
    """V [M, T+1, S] in reward units by (4), with the chosen recursion.

    ref: [S, A]; live: [S], whether any token is allowed; rewards: [M, S] on next contexts.
    """
    if method == "log":
        return beta * block_by_block(ref, live, rewards / beta, T)
    if method == "rows":
        return row_by_row(ref, live, rewards, beta, T)
    V = np.log(desirability(ref, live, rewards / beta, T, T + 1))
    V *= beta
    return V


def block_by_block(ref: Array, live: Mask, q: Array, T: int) -> Array:
    """V/β [M, T+1, S] by (4) in the log domain, one scale a block; q [M, S] = r/β.

    A row that forbids, or nearly forbids, all that is large in its block is scaled by itself.
    """
    (M, S), A = q.shape, ref.shape[1]
    blocks = _blocks(ref)
    top, span = np.empty((2, M, S // A))
    centred, rows = np.empty((2, M, S))
    v = np.zeros((M, T + 1, S))
    for t in range(T - 1, -1, -1):
        ahead = q + v[:, t + 1]
        kernels.blocks.centre(ahead, top, span, centred)
        weights = np.exp(centred).reshape(M, S // A, A)
        sums = np.matmul(blocks, weights.transpose(1, 2, 0)).transpose(2, 1, 0)
        lost = live & (sums.reshape(M, S) <= kernels.ROW_FLOOR)
        with np.errstate(divide="ignore"):
            logs = (np.log(sums) + top[:, None, :]).reshape(M, S)
        if lost.any():
            kernels.rows.tilted_means(
                ref, lost, ahead, np.empty((0, M, S)), rows, np.empty((0, M, S))
            )
            np.copyto(logs, rows, where=lost)
        v[:, t] = np.where(live, logs, 0.0)
    return v


def _blocks(ref: Array) -> Array:
    """The stochastic blocks ``Π_y[x1, a] = ref[(x1, y), a]`` as [S/A, A, A]."""
    S, A = ref.shape
    return ref.reshape(A, S // A, A).transpose(1, 0, 2)


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


def desirability(ref: Array, live: Mask, rewards: Array, T: int, rows: int) -> Array:
    """Return ``z = exp(V/β)`` as [M, rows, S]: (4) in the exponential domain, where it is linear.

    rewards: [M, S] = r/β. rows: T + 1 keeps every step, 2 the first two of them only. With
    ``s = x1·B + y`` a step multiplies the stochastic block ``Π_y[x1, a]`` with ``gain·z`` on the A
    contiguous next contexts, batched over y and rewards.
    """
    (M, S), A = rewards.shape, ref.shape[1]
    gain = np.exp(rewards)
    dead = np.flatnonzero(~live)
    if A > WIDE or S // A < SHORT:  # the blocks are matrices worth multiplying as such
        return _by_blocks(ref, dead, gain, T)[:, :rows]
    columns = np.ascontiguousarray(ref.T)
    z = np.empty((M, rows, S))
    z[:, -1] = 1.0
    if rows == T + 1:
        kernels.blocks.soft_backward_exp(columns, dead, gain, z)
        return z
    for _ in range(T):
        kernels.blocks.soft_backward_exp(columns, dead, gain, z)
        z[:, 1] = z[:, 0]
    return z


def _by_blocks(ref: Array, dead: IntArray, gain: Array, T: int) -> Array:
    """The same [M, T+1, S] by batched matrix products of the blocks."""
    (M, S), A = gain.shape, ref.shape[1]
    blocks = _blocks(ref)
    weight = np.ascontiguousarray(gain.T)  # rewards innermost: the products then run over them
    z = np.empty((T + 1, S, M))
    z[T] = 1.0
    for t in range(T - 1, -1, -1):
        ahead = (weight * z[t + 1]).reshape(S // A, A, M)
        z[t] = np.matmul(blocks, ahead).transpose(1, 0, 2).reshape(S, M)
        z[t, dead] = 1.0
    return np.ascontiguousarray(z.transpose(2, 0, 1))
