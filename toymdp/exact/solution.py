"""Exact solutions: soft backward induction for all rewards at once, with a residual and a status.

Source: Spectral Souping (2)–(4). The roads share no recursion: the exponential domain, in which the
language MDP is linear (no logarithm until the end); the log domain with one scale a block, which no
reward/β up to 1e4 and beyond can overflow; and the log domain row by row, the definition itself.
Each solution has a shadow on another road: what moves between the two is rounding.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

import numpy as np

from .. import kernels
from ..cached import cached_property
from ..errors import InstanceError
from ..worlds.features import Array, IntArray
from ..worlds.reach import Mask
from ..worlds.token_mdp import TokenMDP
from . import until_eos
from .policy import Policy

Road = Literal["exp", "log", "rows", "linear", "nudged"]

# e^{V/β} stays clear of overflow and underflow while max|r|·T/β is below this
EXPONENT_ROOM = 600.0
# vocabulary above which, and number of blocks below which, matrix products beat vectors over blocks
WIDE, SHORT = 12, 12
_SHADOW: dict[Road, Road] = {
    "exp": "log", "log": "rows", "rows": "log", "linear": "nudged", "nudged": "linear",
}  # fmt: skip
RESIDUAL_LIMIT = 1e-9


@dataclass(frozen=True, eq=False)
class Solution:
    """Optimal values of an instance, for each reward ``r_k`` and for the user's ``r_w``.

    Q: [K, T, S] in reward units; ``Q[k, t, s'] = r_k(s') + V[k, t+1, s']``, eq (3).
    V: [K, T+1, S]; ``V[k, t, s] = β log E_ref exp(Q_k/β)``, eq (4); ``V[k, T] = 0``.
    Q_w, V_w: the same for ``r_w``, [T, S] and [T+1, S].
    residual: largest Bellman error over reachable states, relative to the largest value.
    status: "solved", or "inaccurate" where the residual exceeds 1e-9.
    """

    mdp: TokenMDP
    Q: Array
    V: Array
    Q_w: Array
    V_w: Array
    residual: float
    status: str
    road: Road
    cache: dict[Any, Any] = field(default_factory=dict, repr=False)
    # weakly: two solutions that held each other would wait for the garbage collector
    cast_by: weakref.ref[Solution] | None = field(default=None, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        """Pickles and copies hold the fields; what was derived from them is derived again."""
        kept = {part.name: getattr(self, part.name) for part in fields(self)}
        return kept | {"cache": {}, "cast_by": None}

    def policy(self, k: int) -> Array:
        """Return the specialist ``π_k ∝ ref·exp(Q_k/β)``, eq (2), as [T, S, A]."""
        return self.specialists[k].table

    @cached_property
    def policy_w(self) -> Array:
        """The bespoke policy ``π_w ∝ ref·exp(Q_w/β)`` as [T, S, A]."""
        return self.bespoke.table

    @cached_property
    def specialists(self) -> tuple[Policy, ...]:
        """The specialists ``π_k``, eq (2)."""
        return tuple(Policy(self.mdp, q) for q in self.exponents)

    @cached_property
    def exponents(self) -> Array:
        """``Q_k/β`` [K, T, S], the specialists' logits over ref, in nats."""
        return np.asarray(self.Q / self.mdp.beta)

    @cached_property
    def bespoke(self) -> Policy:
        """The bespoke policy ``π_w``."""
        return Policy(self.mdp, self.Q_w / self.mdp.beta)

    @cached_property
    def reference(self) -> Policy:
        """``ref`` itself."""
        return Policy(self.mdp, np.zeros_like(self.Q_w))

    @property
    def depth(self) -> int:
        """Number of backups between the start and the end, for rounding estimates."""
        return self.mdp.steps

    @property
    def value_w(self) -> float:
        """``V_w`` at the start context."""
        return float(self.V_w[0, self.mdp.start_context])

    @property
    def values(self) -> Array:
        """``V_k`` at the start context, [K]."""
        return np.asarray(self.V[:, 0, self.mdp.start_context])

    @property
    def shadow(self) -> Solution:
        """The same instance solved on the other road; what moves between the two is rounding.

        A shadow's own shadow is the solution it was cast by, as long as that is in use.
        """
        first = self.cast_by() if self.cast_by is not None else None
        return self.second_road if first is None else first

    @cached_property
    def second_road(self) -> Solution:
        """The shadow of a solution that is none itself."""
        return replace(solve(self.mdp, road=_SHADOW[self.road]), cast_by=weakref.ref(self))


def solve(mdp: TokenMDP, *, road: Road | None = None) -> Solution:
    """Solve all K rewards and ``r_w``.

    road: "exp", "log" or "rows" for a finite horizon (by default the first where nothing can
    overflow, else the second); "linear" until ``eos``, or "nudged": the same linear system with the
    rewards moved by one unit in the last place, so that a shadow exists there too.

    Raises SolverError where no finite value exists (until ``eos``).
    """
    rewards = np.vstack([mdp.rewards, mdp.reward_w])
    if mdp.horizon is None:
        names = [*(f"r_{k}" for k in range(mdp.n_rewards)), "r_w"]
        nudge = 1.0 + np.finfo(float).eps if road == "nudged" else 1.0
        values = [
            until_eos.soft_value(mdp, nudge * reward, name)
            for reward, name in zip(rewards, names, strict=True)
        ]
        V0 = np.stack(values)
        V = np.stack([V0, V0], axis=1)
        used: Road = road or "linear"
    else:
        live = np.asarray(mdp.reach.allowed.any(axis=1))
        used = road or ("exp" if _fits(rewards, mdp.beta, mdp.horizon) else "log")
        V = _backward(mdp.ref, live, rewards, mdp.beta, mdp.horizon, used)
    Q = rewards[:, None, :] + V[:, 1:, :]
    residual = _residual(mdp, Q, V)
    status = "solved" if residual <= RESIDUAL_LIMIT else "inaccurate"
    return Solution(mdp, Q[:-1], V[:-1], Q[-1], V[-1], residual, status, used)


def soft_values(ref: Array, rewards: Array, beta: float, horizon: int, order: int) -> Array:
    """Return soft values at t = 0: the bare kernel, without an instance around it.

    ref: [S, A] rows summing to 1, S = A**order; rewards: [M, S] on the next context.
    Returns V [M, S] in reward units; eq (4) iterated ``horizon`` times.
    Raises InstanceError for shapes that do not fit.
    """
    ref = np.ascontiguousarray(ref, dtype=np.float64)
    rewards = np.ascontiguousarray(np.atleast_2d(rewards), dtype=np.float64)
    if ref.ndim != 2 or ref.shape[0] != ref.shape[1] ** order:
        raise InstanceError.of("ref", f"shape {ref.shape}", "must be [A**order, A]", "check order")
    if rewards.shape[1] != ref.shape[0]:
        raise InstanceError.of(
            "rewards", f"shape {rewards.shape}", f"must be [M, {ref.shape[0]}]", "one per context"
        )
    if not beta > 0 or horizon < 1:
        raise InstanceError.of("beta, horizon", (beta, horizon), "must be > 0 and ≥ 1", "correct")
    live = np.asarray(ref.any(axis=1))
    if _fits(rewards, beta, horizon):
        return np.asarray(beta * np.log(desirability(ref, live, rewards / beta, horizon, 2)[:, 0]))
    return np.asarray(_backward(ref, live, rewards, beta, horizon, "log")[:, 0])


def _fits(rewards: Array, beta: float, horizon: int) -> bool:
    """Whether no ``exp(V/β)`` can leave the range of doubles, ended episodes included."""
    return bool(np.abs(rewards).max() * horizon / beta < EXPONENT_ROOM)


def _backward(ref: Array, live: Mask, rewards: Array, beta: float, T: int, road: Road) -> Array:
    """V [M, T+1, S] by the chosen road."""
    if road == "log":
        return beta * _block_by_block(ref, live, rewards / beta, T)
    if road == "rows":
        return _row_by_row(ref, live, rewards, beta, T)
    V = np.log(desirability(ref, live, rewards / beta, T, T + 1))
    V *= beta
    return V


def _block_by_block(ref: Array, live: Mask, q: Array, T: int) -> Array:
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
            found = (np.log(sums) + top[:, None, :]).reshape(M, S)
        if lost.any():
            kernels.rows.tilted_means(
                ref, lost, ahead, np.empty((0, M, S)), rows, np.empty((0, M, S))
            )
            np.copyto(found, rows, where=lost)
        v[:, t] = np.where(live, found, 0.0)
    return v


def _blocks(ref: Array) -> Array:
    """The stochastic blocks ``Π_y[x1, a] = ref[(x1, y), a]`` as [S/A, A, A]."""
    S, A = ref.shape
    return ref.reshape(A, S // A, A).transpose(1, 0, 2)


def _row_by_row(ref: Array, live: Mask, rewards: Array, beta: float, T: int) -> Array:
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


def _residual(mdp: TokenMDP, Q: Array, V: Array) -> float:
    """Largest ``|V − β log E_ref exp(Q/β)|`` over reachable states, by the policy kernel."""
    worst = 0.0
    for q, v in zip(Q, V, strict=True):
        error = np.abs(mdp.beta * Policy(mdp, q / mdp.beta).log_partition - v[:-1])
        scale = max(1.0, float(np.abs(v).max()))
        worst = max(worst, float(np.where(mdp.reach.states, error, 0.0).max()) / scale)
    return worst


def other_road(sol: Solution) -> Solution:
    """Return the same instance solved by another method; what moves between the two is rounding."""
    return solve(sol.mdp, road=_SHADOW[sol.road])
