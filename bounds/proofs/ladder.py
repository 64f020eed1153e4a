"""The ladder of bounds on one gap: from the exact identity down to the printed bound.

Each rung is a valid statement of its own claim; a rung that does not apply here (a hypothesis is
false) has no value and says which. Two branches are ordered by proof (BRANCHES); between them, and
with the repaired and the printed bound, no order is claimed. Two more rungs show what re-expressing
the features could do for the printed bound: ψ -> Mᵀpsi, ν -> M⁻¹nu changes no hypothesis and
every norm.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from toymdp import SolverError
from toymdp.exact.policy import Policy
from toymdp.exact.scans import extrema, least_difference
from toymdp.threads import one_blas_thread
from toymdp.worlds.features import Tabular

from .. import formulas
from ..claims.catalogue import CLAIMS
from ..claims.gap import feature_rate, start_deltas
from ..facts.soup import Soup
from ..sides import Array

RUNGS = {
    "identity": "ss.thm1.gap.identity",
    "Bennett": "ss.thm1.gap.bennett",
    "chord": "ss.thm1.gap.chord",
    "span": "ss.thm1.gap.sharp",
    "mean shift": "ss.thm1.gap.mean-shift",
    "feature shift": "ss.thm1.gap.mean-shift-features",
    "features": "ss.thm1.gap.sharp-features",
    "minimal repair": "ss.thm1.gap.minimal",
    "printed (10)": "ss.thm1.gap",
}
BRANCHES = (
    ("identity", "Bennett", "chord", "span"),
    ("identity", "mean shift", "feature shift"),
)
GP_VARIABLES = 400  # one-hot coordinates up to which the best scale is a geometric program


@dataclass(frozen=True)
class Rung:
    """One bound on the gap: value in reward units, its ratio to the gap, and remarks.

    claim: id of the claim whose right side it is; empty for the gap itself and for what (10) could be.
    """

    name: str
    value: float | None
    ratio: float | None
    note: str = ""
    claim: str = ""


@one_blas_thread()
def ladder(soup: Soup) -> list[Rung]:
    """Return the rungs on a soup's gap, the true gap first."""
    rungs = [Rung("true gap", soup.gap, 1.0)]
    for name, claim in RUNGS.items():
        check = CLAIMS[claim].evaluate(soup.facts, soup)
        note = check.reason if check.rhs is None else ""
        rungs.append(_rung(name, check.rhs, soup.gap, note, claim))
    if rungs[-1].value is not None:
        rungs.extend(_rung(*item[:2], soup.gap, item[2]) for item in _re_expressed(soup))
    return rungs


def _rung(name: str, value: float | None, gap: float, note: str, claim: str = "") -> Rung:
    ratio = value / gap if value is not None and gap > 0 else None
    return Rung(name, value, ratio, note, claim)


def _fields(soup: Soup) -> tuple[Array, Array]:
    """Reward mismatch and logit error of (10) as fields [T, S], in reward units."""
    mdp, sol = soup.mdp, soup.facts.sol
    mismatch = (mdp.w - np.abs(soup.lam) / soup.size) @ mdp.rewards
    logits = sol.Q_w - (mdp.beta / soup.beta_prime) * np.tensordot(soup.lam, sol.Q, axes=1)
    used = mdp.reach.nexts
    return np.where(used, mismatch, 0.0), np.where(used, logits, 0.0)


def _penalty(soup: Soup) -> float:
    deltas = start_deltas(soup.facts)
    return float(formulas.negative_weight_penalty(deltas, soup.lam, soup.mdp.beta, soup.beta_prime))


def _re_expressed(soup: Soup) -> Iterator[tuple[str, float | None, str]]:
    """What (10) could be after the best change of features, from below and from above.

    From below: ``‖Mᵀpsi‖·‖M⁻¹nu‖ ≥ |ψ·ν|`` for every M, so (10) is at least what its terms are
    with ``|ψ·ν|`` in place of the product of norms; one product alone can come arbitrarily close
    to that, both together need not. From above: for one-hot features the best positive scale is a
    geometric program, hence global within that class.
    """
    mdp = soup.mdp
    mismatch, logits = _fields(soup)
    ref = np.zeros_like(logits)
    at_ref = Policy(mdp, ref).mean(np.abs(logits))[0, mdp.start_context]
    if np.abs(mismatch).max() > 1e-12 * np.abs(mdp.rewards).max():
        # the minimising policy earns the least total; its absolute value bounds E Σ|mismatch|
        try:
            least = least_difference(mdp, np.abs(soup.lam), ref).total / soup.size
        except SolverError:
            return
        first = abs(least)
    else:
        first = 0.0
    floor = first + _penalty(soup) + float(at_ref)
    yield "printed, any features ≥", floor, "no invertible re-expression goes below this"
    features = mdp.features
    variables = int(mdp.reach.nexts.sum())
    if isinstance(features, Tabular) and features.per_step and variables <= GP_VARIABLES:
        value, note = _best_scale(soup, mismatch, logits)
        yield "printed, best one-hot scale", value, note


def _best_scale(soup: Soup, mismatch: Array, logits: Array) -> tuple[float | None, str]:
    """Least (10) over positive scales of the one-hot features, as a geometric program.

    The minimising policy of the first term stays the one of the given scale (its tie-break depends
    on the norms), so the value is the bound at one scale, not a bound over all scales.
    """
    import cvxpy as cp  # slow to import, and few ladders ask for it

    mdp = soup.mdp
    used = mdp.reach.nexts
    path = _minimiser_visits(soup)
    visits = Policy(mdp, np.zeros_like(logits)).occupancy.nexts
    first_step = np.zeros_like(visits)
    first_step[0] = visits[0]
    scale = cp.Variable(int(used.sum()), pos=True)

    def product(weights: Array, field: Array) -> Any:
        w, x = weights[used], np.abs(field[used])
        nonzero_w = np.flatnonzero(w > 0)
        nonzero_x = np.flatnonzero(x > 1e-14 * max(1e-300, x.max()))
        if len(nonzero_w) == 0 or len(nonzero_x) == 0:
            return 0.0
        mean = cp.sum(cp.multiply(w[nonzero_w], scale[nonzero_w]))
        square = cp.sum(cp.multiply(x[nonzero_x] ** 2, scale[nonzero_x] ** -2.0))
        return mean * square**0.5

    terms = [product(path, mismatch), product(first_step, logits)]
    live = [t for t in terms if not isinstance(t, float)]
    penalty = _penalty(soup)
    if not live:
        return penalty, "both products vanish"
    bounds = [scale >= 1e-9, scale <= 1e9]
    problem = cp.Problem(cp.Minimize(sum(live[1:], live[0])), bounds)
    try:
        with warnings.catch_warnings():  # any scale gives a valid bound, accurate or not
            warnings.filterwarnings("ignore", "Solution may be inaccurate")
            problem.solve(gp=True, solver=cp.CLARABEL)
    except cp.error.SolverError as error:
        return None, f"geometric program: {error}"
    if problem.status not in (cp.OPTIMAL, cp.OPTIMAL_INACCURATE):
        return None, f"geometric program: {problem.status}"
    return float(problem.value) + penalty, "geometric program, scales in [1e-9, 1e9]"


def _minimiser_visits(soup: Soup) -> Array:
    """Expected visits [T, S] of next contexts under the minimising policy of Theorem 1.

    The hard minimiser as a policy: a very sharp softmax of minus the cost-to-go, in which tied
    actions share the probability (every tied policy has the same first term up to its norms).
    """
    mdp = soup.mdp
    cost = np.abs(soup.lam) @ (mdp.reward_w - mdp.rewards)
    T, S = mdp.steps, mdp.n_contexts
    size = np.abs(mdp.rewards).max()
    sharp = 1e9 / size if size > 0 else 0.0
    ahead = np.zeros(S)
    logits = np.zeros((T, S))
    for t in range(T - 1, -1, -1):
        field = np.broadcast_to(cost + ahead, (T, S))
        low, _ = extrema(mdp, field)
        logits[t] = -sharp * (cost + ahead)
        ahead = np.where(mdp.reach.states[t], low[t], 0.0)
    return Policy(mdp, logits).occupancy.nexts


def feature_rungs(soup: Soup) -> dict[str, float]:
    """The features rung taken apart: by diameter alone, by Jeffreys alone, by the better."""
    n = soup.logit_norm / soup.beta_prime
    beta = soup.mdp.beta
    excess = 0.0 if soup.size == 0 else soup.temperature - beta
    rest = excess * soup.expected(soup.kl_ref)
    diameter = formulas.hoeffding(soup.facts.features.diameters * n)
    jeffreys = (soup.mean_norm + soup.facts.bespoke_norm) * n
    both = feature_rate(soup.facts, soup)
    return {
        name: beta * soup.expected(rate) + rest
        for name, rate in (("diameter", diameter), ("Jeffreys", jeffreys), ("better", both))
    }
