"""The convex program of one step of an ascent: a concave quadratic model over the budget.

    max_m  g·m − ½ mᵀBm   over  centre + m ≥ 0,  Σ(centre + m) ≤ 1,  |m|_∞ ≤ radius

Its solution usually lies inside the trust region; a few linear solves then find the face it lies on,
and it, exactly: what belongs at 0 is 0. Otherwise the cone data are handed to Clarabel, a new solver
each time: one that is kept would carry its scaling into the last digits of the next answer. The
program as cvxpy states and solves it is in tests/test_soup.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy

from ..arrays import Array

# a step is judged on the true J, so that a program which ended early may serve too
USABLE = ("Solved", "AlmostSolved", "InsufficientProgress")
ACCURACY = 1e-12  # asked of the solver, relative
NEGLIGIBLE = 1e-9  # an interior point stays this far, or less, from bounds that it means to reach
EXACT = 1e-13  # a multiplier counts as negative beyond this share of the gradient


def best_move(g: Array, B: Array, centre: Array, radius: float) -> Array | None:
    """Return the maximising move [K], or None if there is none or the solver has no answer.

    g: [K]. B: [K, K], positive definite. centre: [K], inside the budget.
    """
    move = _on_its_face(g, B, centre)
    if move is None or np.abs(move).max() > radius:
        move = _by_clarabel(g, B, centre, radius)
    return move


def _on_its_face(g: Array, B: Array, centre: Array) -> Array | None:
    """The solution without a trust region, by the primal active-set method; None if it gives up.

    From the centre towards the best point of the face in hand; a bound that is met on the way is
    added to the face, and at a best point the bound whose multiplier is most negative is left.
    """
    K, tolerance = len(g), EXACT * float(np.abs(g).max())
    at, slope = centre.copy(), g + B @ centre  # the model's gradient is slope − B·x
    full = bool(centre.sum() >= 1.0 - NEGLIGIBLE)
    free = (centre > 0) | (g > 0)
    for _ in range(4 * K + 8):
        kept = np.flatnonzero(free)
        n = len(kept)
        if n == 0:
            return None
        system, right = np.zeros((n + full, n + full)), np.ones(n + full)
        system[:n, :n], right[:n] = B[np.ix_(kept, kept)], slope[kept]
        if full:
            system[n, :n] = system[:n, n] = 1.0
        try:
            solved = np.linalg.solve(system, right)
        except np.linalg.LinAlgError:
            return None
        best = np.zeros(K)
        best[kept] = solved[:n]
        price = float(solved[n]) if full else 0.0
        share, meets = 1.0, -1
        for k in kept[best[kept] < 0.0].tolist():
            reached = float(at[k] / (at[k] - best[k]))
            if reached < share or meets < 0:
                share, meets = reached, k
        over = float(best.sum()) - 1.0
        if not full and over > 0.0:
            room = max(0.0, 1.0 - float(at.sum()))
            if room / (room + over) <= share:
                at, full = at + room / (room + over) * (best - at), True
                continue
        if meets >= 0:
            at = np.maximum(at + share * (best - at), 0.0)
            at[meets], free[meets] = 0.0, False
            continue
        at = best
        rates = np.where(free, -np.inf, slope - B @ at - price)
        entering = int(rates.argmax())
        if full and price < -tolerance and -price >= rates[entering]:
            full = False
        elif rates[entering] > tolerance:
            free[entering] = True
        else:
            return at - centre
    return None


def _by_clarabel(g: Array, B: Array, centre: Array, radius: float) -> Array | None:
    """The solution from the program's cone data: ``min ½mᵀPm + q·m`` over ``b − Am ≥ 0``."""
    import clarabel  # only some steps need it

    # in units in which the gradient is of order one
    K, size = len(g), max(float(np.abs(g).max()), float(B.diagonal().max()), 1e-300)
    one = np.eye(K)
    A = scipy.sparse.csc_matrix(np.vstack([-one, np.ones((1, K)), one, -one]))
    b = np.concatenate([centre, [1.0 - centre.sum()], np.full(2 * K, radius)])
    P: Any = scipy.sparse.csc_matrix(np.triu(B / size))  # Clarabel reads the upper triangle
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = ACCURACY
    cones = [clarabel.NonnegativeConeT(len(b))]
    solution = clarabel.DefaultSolver(P, -g / size, A, b, cones, settings).solve()
    move = np.asarray(solution.x)
    if str(solution.status) not in USABLE or not np.isfinite(move).all():
        return None
    ahead = centre + move
    ahead[ahead < NEGLIGIBLE] = 0.0
    total = float(ahead.sum())
    return np.asarray((ahead / total if total > 1.0 - NEGLIGIBLE else ahead) - centre)
