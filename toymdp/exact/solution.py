"""Exact solutions: soft backward induction for all rewards at once, with a residual and a status.

Source: Spectral Souping (2)–(4). There are several methods (toymdp.exact.backward, and
toymdp.exact.until_eos where there is no horizon). An instance solved twice, by two of them, shows
what rounding does: what moves between the two solutions is rounding.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Literal

import numpy as np

from .. import kernels
from ..errors import InstanceError
from ..shown import html_table, short
from ..threads import one_blas_thread
from ..worlds.features import Array
from ..worlds.token_mdp import TokenMDP
from . import sparse, until_eos
from .backward import Recursion, fits, in_threads, soft_backward
from .policy import Policy

Method = Recursion | Literal["linear", "nudged"]

_SECOND: dict[Method, Method] = {
    "exp": "log", "log": "rows", "rows": "log", "linear": "nudged", "nudged": "linear",
}  # fmt: skip
RESIDUAL_LIMIT = 1e-9


@dataclass(frozen=True, eq=False)
class Solution:
    """Optimal values of an instance, for each reward ``r_k`` and for the user's ``r_w``.

    Q: [K, T, S] in reward units; ``Q[k, t, s'] = r_k(s') + V[k, t+1, s']``, eq (3).
    V: [K, T+1, S]; ``V[k, t, s] = β log E_ref exp(Q_k/β)``, eq (4); ``V[k, T] = 0``.
    Q_w, V_w: the same for ``r_w``, [T, S] and [T+1, S].
    residual: largest Bellman error over reachable states as a share of the largest value or
    reward, or what rounding may hide where that is more.
    status: "solved", or "inaccurate" where the residual exceeds 1e-9. method: what solved it.

    Plain data: nothing that is derived from it is kept in it (that is what bounds.Facts is for).
    """

    mdp: TokenMDP
    Q: Array
    V: Array
    Q_w: Array
    V_w: Array
    residual: float
    status: str
    method: Method

    def _repr_html_(self) -> str:
        rows = [
            ("V_w, bespoke", short(self.value_w)),
            ("V_k, specialists", "  ".join(map(short, self.values))),
            ("status", f"{self.status}, residual {self.residual:.1e} (by {self.method})"),
        ]
        return html_table(f"Solution of {self.mdp.name or 'an instance'}", rows)

    @property
    def value_w(self) -> float:
        """``V_w`` at the start context."""
        return float(self.V_w[0, self.mdp.start_context])

    @property
    def values(self) -> Array:
        """``V_k`` at the start context, [K]."""
        return np.asarray(self.V[:, 0, self.mdp.start_context])

    @property
    def specialists(self) -> tuple[Policy, ...]:
        """The specialists ``π_k ∝ ref·exp(Q_k/β)``, eq (2), made anew each time."""
        return tuple(Policy(self.mdp, q / self.mdp.beta) for q in self.Q)

    @property
    def bespoke(self) -> Policy:
        """The bespoke policy ``π_w ∝ ref·exp(Q_w/β)``, made anew each time."""
        return Policy(self.mdp, self.Q_w / self.mdp.beta)

    @property
    def reference(self) -> Policy:
        """``ref`` itself, made anew each time."""
        return Policy(self.mdp, np.zeros_like(self.Q_w))

    def policy(self, k: int) -> Array:
        """Return the table of the specialist ``π_k``, [T, S, A]."""
        return self.specialists[k].table

    @property
    def policy_w(self) -> Array:
        """The table of the bespoke policy, [T, S, A]."""
        return self.bespoke.table


def other_road(sol: Solution) -> Solution:
    """The same instance solved by another method: what moves between the two is rounding.

    "exp" → "log" → "rows" → "log"; until ``eos`` "linear" ↔ "nudged".
    """
    return solve(sol.mdp, method=_SECOND[sol.method])


def solve(mdp: TokenMDP, *, method: Method | None = None, threads: int = 1) -> Solution:
    """Solve all K rewards and ``r_w``.

    method: "exp", "log" or "rows" for a finite horizon (by default the first where nothing can
    overflow, else the second); "linear" until ``eos``, or "nudged": the same linear system with the
    rewards moved by one unit in the last place, so that a second solution exists there too.
    threads: for a table of a finite horizon; the rewards are shared out, and no bit changes.

    Raises SolverError where no finite value exists (until ``eos``), InstanceError for a method that
    is not for this horizon.
    """
    rewards = np.vstack([mdp.rewards, mdp.reward_w])
    if mdp.horizon is None:
        method = method or "linear"
        if method not in ("linear", "nudged"):
            raise _wrong_method(method, "without a horizon use 'linear' or 'nudged'")
        names = [*(f"r_{k}" for k in range(mdp.n_rewards)), "r_w"]
        nudge = 1.0 + np.finfo(float).eps if method == "nudged" else 1.0
        with one_blas_thread():
            values = [
                until_eos.soft_value(mdp, nudge * reward, name)
                for reward, name in zip(rewards, names, strict=True)
            ]
        V0 = np.stack(values)
        V = np.stack([V0, V0], axis=1)
        Q = rewards[:, None, :] + V[:, 1:, :]
    else:
        if method is None:
            method = "exp" if fits(rewards, mdp.beta, mdp.horizon) else "log"
        if method == "linear" or method == "nudged":
            raise _wrong_method(method, "with a horizon use 'exp', 'log' or 'rows'")
        V, Q = _soft_backward(mdp, rewards, mdp.horizon, method, threads)
    residual = _residual(mdp, Q, V, threads)
    status = "solved" if residual <= RESIDUAL_LIMIT else "inaccurate"
    return Solution(mdp, Q[:-1], V[:-1], Q[-1], V[-1], residual, status, method)


def _soft_backward(
    mdp: TokenMDP, rewards: Array, T: int, method: Recursion, threads: int
) -> tuple[Array, Array]:
    if not mdp.dense:
        V = sparse.soft_backward(mdp, rewards, T, method)
        return V, rewards[:, None, :] + V[:, 1:, :]
    live = mdp.reach.live
    return soft_backward(mdp.ref, live, rewards, mdp.beta, T, method, threads=threads)


def _wrong_method(method: Method, remedy: str) -> InstanceError:
    return InstanceError.of("method", method, "not for this horizon", remedy)


def soft_values(
    ref: Array, rewards: Array, beta: float, horizon: int, order: int, *, threads: int = 1
) -> Array:
    """Return soft values at t = 0: the bare kernel, without an instance around it.

    ref: [S, A] rows summing to 1, S = A**order; rewards: [M, S] on the next context.
    Returns V [M, S] in reward units; eq (4) iterated ``horizon`` times. threads: the rewards are
    shared out, and no bit changes.
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
    live = ref[:, 0] > 0.0
    doubtful = np.flatnonzero(~live)
    live[doubtful] = ref[doubtful].any(axis=1)
    method: Recursion = "exp" if fits(rewards, beta, horizon) else "log"
    V, _ = soft_backward(ref, live, rewards, beta, horizon, method, whole=False, threads=threads)
    return V[:, 0]


def _residual(mdp: TokenMDP, Q: Array, V: Array, threads: int) -> float:
    """The largest Bellman error as a share of the largest value or reward; of β if all are 0.

    Where β is so large beside the rewards that 1 + r/β has lost them, both sides agree on nothing:
    then it is the share that this rounding may be.
    """
    met = mdp.reach.any_next
    rewards = float(np.abs(mdp.rewards).max(where=met, initial=0.0))
    hidden = sys.float_info.epsilon * mdp.beta / rewards if rewards > 0 else 0.0  # it may be inf
    errors, sizes = _errors_and_sizes(mdp, Q, V, threads)
    sizes = np.maximum(sizes, rewards)
    return max(hidden, float((errors / np.where(sizes > 0, sizes, mdp.beta)).max()))


def bellman_errors(mdp: TokenMDP, Q: Array, V: Array) -> Array:
    """Return the largest ``|V − β log E_ref exp(Q/β)|`` over reachable states, by another kernel.

    Q: [M, T, S]; V: [M, T+1, S]. Returns [M] in reward units.
    """
    return _errors_and_sizes(mdp, Q, V, 1)[0]


def _errors_and_sizes(mdp: TokenMDP, Q: Array, V: Array, threads: int) -> tuple[Array, Array]:
    if not mdp.dense:
        return sparse.bellman_errors(mdp, Q, V), np.abs(V).max(axis=(1, 2))
    errors, sizes = np.empty((2, len(Q)))
    tables = np.ascontiguousarray(Q), np.ascontiguousarray(V), errors, sizes
    fixed = mdp.ref, mdp.columns, mdp.reach.states

    def run(part: slice) -> None:
        q, v, error, size = (table[part] for table in tables)
        kernels.blocks.bellman_errors(*fixed, q, v, mdp.beta, error, size)

    in_threads(run, len(Q), threads, 1)
    return errors, sizes
