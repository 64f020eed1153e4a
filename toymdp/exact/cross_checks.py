"""Second and third methods for ``V*``: every trajectory, and a cone program with its dual.

Neither uses the block structure, the Bellman recursion or a compiled kernel, so agreement with
toymdp.exact.solution is evidence.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import scipy

from ..errors import SolverError
from ..worlds.features import Array
from ..worlds.token_mdp import TokenMDP

MAX_TRAJECTORIES = 200_000


def trajectory_count(mdp: TokenMDP) -> int | None:
    """Number of trajectories with positive probability (None until ``eos``)."""
    if mdp.horizon is None:
        return None
    count = np.zeros(mdp.n_contexts, dtype=object)
    count[mdp.start_context] = 1
    done = 0
    for _ in range(mdp.horizon):
        ahead = np.zeros(mdp.n_contexts, dtype=object)
        for s in np.flatnonzero(count).tolist():
            ahead[mdp.rows.at(s)[1]] += count[s]
        done += int(ahead[mdp.ended].sum())
        ahead[mdp.ended] = 0
        count = ahead
    return done + int(count.sum())


def enumerated_value(mdp: TokenMDP, reward: Array) -> float:
    """``V = β log Σ_τ ref(τ) exp(R(τ)/β)`` over all trajectories from the start context.

    reward: [S]. Raises SolverError until ``eos`` or beyond 200,000 trajectories.
    """
    count = trajectory_count(mdp)
    if count is None or count > MAX_TRAJECTORIES:
        raise SolverError(f"{count or 'infinitely many'} trajectories are too many to enumerate")
    assert mdp.horizon is not None
    contexts = np.array([mdp.start_context])
    weight = np.zeros(1)  # log ref(τ) + R(τ)/β of each unfinished trajectory
    finished = []
    for _ in range(mdp.horizon):
        law, nexts = mdp.rows.padded(contexts)
        possible = law > 0
        grown = weight[:, None] + np.log(np.where(possible, law, 1.0)) + reward[nexts] / mdp.beta
        contexts, weight = nexts[possible], grown[possible]
        over = mdp.ended[contexts]
        finished.append(weight[over])
        contexts, weight = contexts[~over], weight[~over]
    return float(mdp.beta * scipy.special.logsumexp(np.concatenate([*finished, weight])))


@dataclass(frozen=True)
class ConeValue:
    """Bracket of ``V*`` from the occupancy program: ``lower ≤ V* ≤ upper``, in reward units.

    lower: the objective at the policy read off the primal solution, evaluated trajectory step by
    step. upper: a feasible point of the dual made from the solver's multipliers.
    """

    lower: float
    upper: float
    objective: float


def cone_value(mdp: TokenMDP, reward: Array) -> ConeValue:
    """Solve ``max_x Σ x r − β Σ x log(x/(ref·Σ_a x))`` over occupancies as a cone program.

    The dual of (1): any table with ``V(t,s) ≥ β log Σ_a ref exp((r + V(t+1,s'))/β)`` has
    ``V(0, start) ≥ V*``. The multipliers of the flow constraints are such a table up to solver
    accuracy; lifting each step by its worst deficit makes it one.

    Raises SolverError if the solver reports no solution, or until ``eos``.
    """
    import cvxpy as cp  # slow to import, and few ask for this

    if mdp.horizon is None:
        raise SolverError("the occupancy program is written for a finite horizon")
    T, S, rows = mdp.horizon, mdp.n_contexts, mdp.rows
    t, entry = np.nonzero(mdp.reach.states[:, rows.owners])
    s, nexts, ref = rows.owners[entry], rows.nexts[entry], rows.ref[entry]
    states = np.argwhere(mdp.reach.states)
    index = np.full((T + 1, S), -1)
    index[tuple(states.T)] = np.arange(len(states))
    owner = index[t, s]
    gather = scipy.sparse.csr_matrix((np.ones(len(t)), (owner, np.arange(len(t)))))
    target = index[t + 1, nexts]
    inner = target >= 0
    flow_in = scipy.sparse.csr_matrix(
        (np.ones(inner.sum()), (target[inner], np.flatnonzero(inner))), shape=gather.shape
    )
    source = np.zeros(len(states))
    source[index[0, mdp.start_context]] = 1.0

    x = cp.Variable(len(t), nonneg=True)
    weighted = scipy.sparse.diags(ref) @ gather.T
    divergence = cp.sum(cp.rel_entr(x, (weighted @ gather) @ x))
    # in units of β: the multipliers are then V/β whatever the temperature
    balance = gather @ x - flow_in @ x == source
    problem = cp.Problem(cp.Maximize((reward[nexts] / mdp.beta) @ x - divergence), [balance])
    try:
        with warnings.catch_warnings():  # the bracket below says how accurate it is
            warnings.filterwarnings("ignore", "Solution may be inaccurate")
            problem.solve(solver=cp.CLARABEL)
    except cp.error.SolverError as error:
        raise SolverError(f"cone program: {error}") from None
    if problem.status not in (cp.OPTIMAL, cp.OPTIMAL_INACCURATE):
        raise SolverError(f"cone program: {problem.status}")

    mass = np.maximum(np.asarray(x.value), 0.0)
    total = np.asarray(gather @ mass)
    policy = np.where(total[owner] > 0, mass / np.where(total > 0, total, 1.0)[owner], 0.0)
    policy = np.where(total[owner] > 0, policy, ref)
    low = np.zeros((T + 1, S))
    log_ratio = np.log(np.where(policy > 0, policy, 1.0)) - np.log(ref)
    for step in range(T - 1, -1, -1):
        now = t == step
        ahead = low[step + 1, nexts[now]] + reward[nexts[now]] / mdp.beta - log_ratio[now]
        np.add.at(low[step], s[now], policy[now] * ahead)

    def lifted(multiplier: Array) -> float:
        """Value at the start of the table made dual feasible, in nats."""
        high = np.zeros((T + 1, S))
        for step in range(T - 1, -1, -1):
            now = t == step
            soft = np.full(S, -np.inf)
            above = np.log(ref[now]) + reward[nexts[now]] / mdp.beta
            np.logaddexp.at(soft, s[now], above + high[step + 1, nexts[now]])
            reachable = mdp.reach.states[step]
            guess = multiplier[index[step, reachable]]
            # nothing is left to lift once every episode has ended
            lift = float((soft[reachable] - guess).max(initial=-np.inf))
            high[step, reachable] = guess + lift
        return float(high[0, mdp.start_context])

    # lifting makes any table feasible, so neither sign convention of multipliers need be trusted
    dual = np.asarray(balance.dual_value)
    begin = (0, mdp.start_context)
    upper = min(lifted(dual), lifted(-dual))
    return ConeValue(
        mdp.beta * float(low[begin]), mdp.beta * upper,
        mdp.beta * float(problem.value),
    )  # fmt: skip
