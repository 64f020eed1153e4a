"""Instances without a horizon: linear systems in the desirability instead of a recursion.

Until ``eos`` the soft Bellman equation (2)–(4) is, with ``z = exp(V/β)`` and ``z = 1`` once ended,

    z(s) = Σ_a ref(a|s) exp(r(s')/β) z(s'),

one linear system for each reward (Todorov 2006). Its least non-negative solution is the value iff
the matrix over contexts that go on has spectral radius below 1; otherwise the objective is
unbounded. Rewards of ±1e4 β would overflow, so the system is first balanced by its max-plus
solution ``h`` (the log-weight of the single best trajectory): ``D⁻¹MD`` with ``D = diag(e^h)`` has
entries at most 1 and a solution at least 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy  # whose parts are imported when they are first asked for

from ..errors import SolverError
from ..worlds.features import Array
from ..worlds.token_mdp import TokenMDP

NEAR_ONE = 1e-9  # a spectral radius nearer to 1 may be on either side of it
LONGEST = 1e13  # expected steps of a policy beyond which 1 − P has no digits of how it ends
Edges = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def edges(mdp: TokenMDP) -> Edges:
    """Return reachable contexts [n], and for each transition its row in them, s' and entry in mdp.rows."""
    reachable, rows = mdp.reach.states[0], mdp.rows
    entry = np.flatnonzero(reachable[rows.owners])
    index = np.cumsum(reachable) - 1
    return np.flatnonzero(reachable), index[rows.owners[entry]], rows.nexts[entry], entry


def chain(mdp: TokenMDP, weights: Array) -> scipy.sparse.csc_matrix:
    """Sparse [n, n] matrix of the given edge weights between contexts that go on."""
    states, row, nexts, _ = edges(mdp)
    index = np.full(mdp.n_contexts, -1)
    index[states] = np.arange(len(states))
    inside = index[nexts] >= 0
    shape = (len(states), len(states))
    return scipy.sparse.csc_matrix(
        (weights[inside], (row[inside], index[nexts[inside]])), shape=shape
    )


def best_trajectory(log_weight: Array, row: np.ndarray, nexts: np.ndarray, states: np.ndarray,
                    contexts: int, ended: np.ndarray) -> Array | None:  # fmt: skip
    """Max-plus value of each context [S] (Bellman–Ford), or None if a cycle gains weight."""
    h = np.where(ended, 0.0, -np.inf)
    for _ in range(len(states) + 1):
        reached = np.full(len(states), -np.inf)
        np.maximum.at(reached, row, log_weight + h[nexts])
        if np.array_equal(reached, h[states]):
            return h
        h[states] = np.maximum(reached, h[states])
    return None


def spectral_radius(matrix: scipy.sparse.csc_matrix) -> float:
    """Largest modulus of an eigenvalue; dense below 200 rows, Arnoldi above."""
    if matrix.shape[0] < 200:
        return float(np.abs(np.linalg.eigvals(matrix.toarray())).max())
    eigenvalues = scipy.sparse.linalg.eigs(matrix, k=1, which="LM", return_eigenvectors=False)
    return float(np.abs(eigenvalues[0]))


def soft_value(mdp: TokenMDP, reward: Array, which: str) -> Array:
    """Return V [S] for one reward [S] in reward units.

    Raises SolverError if the spectral radius of the desirability system is 1 or more, or so close
    to 1 that doubles do not tell.
    """
    states, row, nexts, entry = edges(mdp)
    log_weight = np.log(mdp.rows.ref[entry]) + reward[nexts] / mdp.beta
    h = best_trajectory(log_weight, row, nexts, states, mdp.n_contexts, mdp.ended)
    if h is None:
        raise SolverError(_unbounded(mdp, which, "a cycle of contexts gains more than ref costs"))
    weight = np.exp(log_weight + h[nexts] - h[states[row]])
    matrix = chain(mdp, weight)
    source = np.zeros(len(states))
    np.add.at(source, row, np.where(mdp.ended[nexts], weight, 0.0))
    system = (scipy.sparse.identity(len(states), format="csc") - matrix).tocsc()
    ones = np.ones(len(states))
    try:
        factor = scipy.sparse.linalg.splu(system)
        witness = factor.solve(ones)
        solution = factor.solve(source)
    except RuntimeError:  # singular to rounding
        raise SolverError(_unbounded(mdp, which, *_radius(matrix))) from None
    # a positive vector that the matrix strictly shrinks proves the radius below 1
    if (witness <= 0).any() or (system @ witness < 0.5).any() or (solution <= 0).any():
        raise SolverError(_unbounded(mdp, which, *_radius(matrix)))
    # one refinement step: the system is well scaled but may be close to singular
    solution = solution + factor.solve(source - system @ solution)
    V = np.zeros(mdp.n_contexts)
    V[states] = mdp.beta * (h[states] + np.log(solution))
    return V


def _radius(matrix: scipy.sparse.csc_matrix) -> tuple[str, str]:
    """Why there is no value to give, and whether there is one."""
    radius = spectral_radius(matrix)
    if radius > 1.0 + NEAR_ONE:
        return f"spectral radius {radius:.6g} ≥ 1", "no finite value"
    return "spectral radius 1 to rounding", "doubles do not tell whether there is a value"


def _unbounded(mdp: TokenMDP, which: str, reason: str, what: str = "no finite value") -> str:
    return (
        f"{which}: {what} until eos ({reason}) at beta = {mdp.beta:g}; "
        "raise beta, lower the rewards, or set a finite horizon"
    )


def policy_matrix(mdp: TokenMDP, policy: Array) -> tuple[np.ndarray, scipy.sparse.csc_matrix]:
    """Reachable contexts and the transition matrix between them under ``policy`` [E]."""
    states, _, _, entry = edges(mdp)
    return states, chain(mdp, policy[entry])


@dataclass(frozen=True, eq=False)
class Chain:
    """What a policy does until ``eos``: the reachable contexts [n], visits to each, factors of 1 − P.

    ``1 − P`` is a subtraction: of a chance to end below 1e-16 a step nothing is left in it, and
    the answers are noise of either sign. The expected number of steps says how much is lost.
    """

    states: np.ndarray
    visits: Array
    factor: Any

    def total(self, gain: Array) -> Array:
        """Expected total of ``gain`` [S] (per visited context) until ``eos`` [S]."""
        value = np.zeros_like(gain)
        value[self.states] = self.factor.solve(gain[self.states])
        return value


def policy_chain(mdp: TokenMDP, policy: Array) -> Chain:
    """Factor 1 − P under ``policy`` [E], an entry for each allowed token of each context.

    Raises SolverError where the policy ends too rarely for its totals to have digits.
    """
    states, matrix = policy_matrix(mdp, policy)
    system = (scipy.sparse.identity(len(states), format="csc") - matrix).tocsc()
    source = (states == mdp.start_context).astype(float)
    try:
        factor = scipy.sparse.linalg.splu(system)
    except RuntimeError:  # exactly singular: some context never ends
        raise SolverError(_endless("never")) from None
    steps, visits = factor.solve(np.ones(len(states))), factor.solve(source, trans="T")
    seen = steps[visits != 0]
    if not (np.isfinite(steps).all() and (seen > 0).all() and (seen < LONGEST).all()):
        raise SolverError(_endless(f"after {np.abs(seen).max():.3g} steps or more"))
    # what is so rare that rounding makes it negative is never seen
    return Chain(states, np.maximum(visits, 0.0), factor)


def _endless(when: str) -> str:
    return f"a policy ends {when}: what it earns until eos has no digits left in doubles"


def hard_minimum(
    mdp: TokenMDP, first: Array, second: Array, tolerance: float
) -> tuple[float, float]:
    """Least total of ``first`` [1, S] until ``eos`` and the least total of ``second`` among its ties.

    Both from the start context. Raises SolverError where the minimum does not exist (a cycle of
    negative cost).
    """
    first, second = first[0], second[0]
    states, row, nexts, _ = edges(mdp)
    C = best_trajectory(-first[nexts], row, nexts, states, mdp.n_contexts, mdp.ended)
    if C is None:
        raise SolverError("the minimising policy does not exist: a cycle lowers the total for ever")
    C = -C
    # C itself is a sum over a path of as many steps as there are contexts
    tied = first[nexts] + C[nexts] <= C[states[row]] + tolerance * mdp.n_contexts
    D = best_trajectory(
        -second[nexts[tied]], row[tied], nexts[tied], states, mdp.n_contexts, mdp.ended
    )
    if D is None:
        raise SolverError("the tie-break of the minimising policy has no least total")
    total, path = float(C[mdp.start_context]), -float(D[mdp.start_context])
    return total, path
