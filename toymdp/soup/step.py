"""The convex program of one step of an ascent: formulated in cvxpy once for each K, solved afresh.

cvxpy formulates and canonicalises the program; its parameters enter the cone data linearly (DPP).
That map is read off once, and each step hands its own data to a new Clarabel solver. cvxpy's own
``solve`` would hand Clarabel the solver of the step before, whose scaling then decides the last
digits of this one: the same instance would give other bits after other instances.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from threading import Lock
from typing import Any

import numpy as np
import scipy

from ..arrays import Array, IntArray

_FORMULATING = Lock()  # cvxpy counts its variables without a lock
# a step is judged on the true J, so that a program which ended early may serve too
USABLE = ("Solved", "AlmostSolved", "InsufficientProgress")
ACCURACY = 1e-12  # asked of the solver: a coordinate that should be 0 is then seen to be


@dataclass(frozen=True, eq=False)
class StepProgram:
    """``max_m g·m − ½|root·m|²`` over ``centre + m ≥ 0, Σ(centre + m) ≤ 1, |m|_∞ ≤ radius``.

    In cone form: ``min ½xᵀPx + q·x`` over ``Ax + s = b``, s in a product of cones. The entries of
    P, q, A and b, one after another, are ``constant + linear @ p`` for the parameters
    p = (g, root by columns, centre, radius).

    rows, begins: row index and column pointers of P and of A; zeros: number of equalities;
    places: [K], where in x the move is.
    """

    linear: Any
    constant: Array
    rows: tuple[IntArray, ...]
    begins: tuple[IntArray, ...]
    zeros: int
    places: IntArray

    def solve(self, g: Array, root: Array, centre: Array, radius: float) -> Array | None:
        """Return the maximising move [K], or None if the solver has no answer."""
        import clarabel  # slow to import, and not every user asks for an optimum

        # the program is solved in units where the gradient is of order one
        size = max(float(np.abs(g).max()), float((root**2).max()), 1e-300)
        inside = (root / np.sqrt(size)).ravel(order="F")
        p = np.concatenate([g / size, inside, centre, [radius]])
        entries = self.constant + self.linear @ p
        (P_rows, A_rows), (P_begins, A_begins) = self.rows, self.begins
        n = len(P_begins) - 1
        P, q, A, b = np.split(entries, np.cumsum([len(P_rows), n, len(A_rows)]))
        m = len(b)
        cones = [clarabel.ZeroConeT(self.zeros), clarabel.NonnegativeConeT(m - self.zeros)]
        settings = clarabel.DefaultSettings()
        settings.verbose = False
        settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = ACCURACY
        solution = clarabel.DefaultSolver(
            scipy.sparse.csc_matrix((P, P_rows, P_begins), shape=(n, n)), q,
            scipy.sparse.csc_matrix((A, A_rows, A_begins), shape=(m, n)), b, cones, settings,
        ).solve()  # fmt: skip
        move = np.asarray(solution.x)[self.places]
        if str(solution.status) not in USABLE or not np.isfinite(move).all():
            return None
        ahead = np.maximum(centre + move, 0.0)
        return np.asarray(ahead / max(1.0, ahead.sum()) - centre)


def formulate(K: int) -> tuple[Any, list[Any]]:
    """The cvxpy problem for K coordinates, and its parameters in the order of p."""
    import cvxpy as cp  # slow to import, and not every user asks for an optimum

    gradient, root = cp.Parameter(K), cp.Parameter((K, K))
    centre, radius = cp.Parameter(K, nonneg=True), cp.Parameter(nonneg=True)
    move = cp.Variable(K)
    model = gradient @ move - 0.5 * cp.sum_squares(root @ move)
    limits = [centre + move >= 0, cp.sum(centre + move) <= 1, cp.norm_inf(move) <= radius]
    return cp.Problem(cp.Maximize(model), limits), [gradient, root, centre, radius]


def program(K: int) -> StepProgram:
    """The program for K coordinates; it is plain arrays, so that threads may share it."""
    with _FORMULATING:
        return _compiled(K)


@cache
def _compiled(K: int) -> StepProgram:
    problem, parameters = formulate(K)
    splits = np.cumsum([parameter.size for parameter in parameters])

    def cone_data(p: Array) -> tuple[Array, Array, Array, Array]:
        for parameter, part in zip(parameters, np.split(p, splits[:-1]), strict=True):
            parameter.value = part.reshape(parameter.shape, order="F")
        data = problem.get_problem_data("CLARABEL")[0]
        upper = np.triu(data["P"].toarray())  # Clarabel reads the upper triangle
        return upper, data["c"], data["A"].toarray(), data["b"]

    # at parameters without a pattern no entry of the matrices cancels
    general = np.random.default_rng(0).uniform(0.5, 1.5, size=splits[-1])
    P, q, A, _ = cone_data(general)
    patterns = P.T != 0, A.T != 0  # transposed: entries in order of columns

    def entries(p: Array) -> Array:
        P, q, A, b = cone_data(p)
        return np.concatenate([P.T[patterns[0]], q, A.T[patterns[1]], b])

    constant = entries(np.zeros(splits[-1]))
    linear = np.stack([entries(one) - constant for one in np.eye(splits[-1])], axis=1)
    first = int(patterns[0].sum())
    dims = problem.get_problem_data("CLARABEL")[0]["dims"]
    return StepProgram(
        linear=scipy.sparse.csr_matrix(linear), constant=constant,
        rows=tuple(np.nonzero(pattern)[1] for pattern in patterns),
        begins=tuple(np.append(0, np.cumsum(pattern.sum(axis=1))) for pattern in patterns),
        zeros=dims.zero,
        # the cost of the move is the gradient, and nothing else costs it
        places=np.abs(linear[first : first + len(q), :K]).argmax(axis=0),
    )  # fmt: skip
