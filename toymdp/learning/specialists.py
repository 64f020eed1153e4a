"""Specialists learnt from feedback, as tables (Spectral Souping §4, offline phase).

With ``R(τ) = Σ_t Q(t, s_{t+1}) − Σ_{t≥1} V(t, s_t)`` the composite objective is the binary loss
``−[l log σ(R) + (1−l) log(1−σ(R))]`` plus the Gumbel loss ``e^{A/β} − A/β − 1``, ``A = Q − V``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy  # whose parts are imported when they are first asked for

from ..arrays import Array, IntArray
from ..errors import SolverError
from ..threads import one_blas_thread

RIDGE = 1e-3  # of both tables, a trajectory: what no data show stays where it began


@dataclass(frozen=True, eq=False)
class Trajectories:
    """Labelled answers as counts.

    q: sparse [N, T·S], which (t, s_{t+1}) an answer passed; v: sparse [N, T·S], which (t, s_t) with
    t ≥ 1. pairs: [M, 2] indices into both of every step seen, (t, s_{t+1}) and (t, s_t), the first
    state among them; share: [M], of the steps. good: [N] labels, 1 good and 0 bad.
    """

    q: Any
    v: Any
    pairs: IntArray
    share: Array
    good: Array


@one_blas_thread()
def composite_jointly(data: Trajectories, beta: float, weight: float) -> tuple[Array, Array]:
    """Q and V, each [T·S] in reward units, that minimise both losses together, as printed.

    The Gumbel loss pulls A towards 0 wherever there are data: Q is shrunk towards V however many
    there are (ss.sec4.composite). weight: of the Gumbel loss. Raises SolverError where it does not end.
    """
    N, n = data.q.shape
    iq, iv = data.pairs.T
    by_q, by_v = data.q.T.tocsr(), data.v.T.tocsr()

    def both(x: Array) -> tuple[float, Array]:
        Q, V = x[:n], x[n:]
        R = data.q @ Q - data.v @ V
        A = (Q[iq] - V[iv]) / beta
        # beyond 30 nats the exponential goes on as its tangent, which no minimum comes near
        tail = np.minimum(A, 30.0)
        grown = np.exp(tail)
        value = (np.logaddexp(0.0, -R) + (1.0 - data.good) * R).mean()
        value += weight * (data.share @ (grown * (1.0 + A - tail) - A - 1.0))
        by_R = (scipy.special.expit(R) - data.good) / N
        by_A = weight * data.share * (grown - 1.0) / beta
        slope = np.concatenate([by_q @ by_R, -(by_v @ by_R)])
        np.add.at(slope, iq, by_A)
        np.add.at(slope, n + iv, -by_A)
        return float(value + 0.5 * RIDGE / N * (x @ x)), slope + RIDGE / N * x

    end = scipy.optimize.minimize(
        both, np.zeros(2 * n), jac=True, method="L-BFGS-B",
        options={"maxiter": 3000, "ftol": 1e-12, "gtol": 1e-8},
    )  # fmt: skip
    if not end.success:
        raise SolverError(f"the composite objective is not at rest: {end.message}")
    return end.x[:n], end.x[n:]
