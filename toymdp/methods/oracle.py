"""The best soups there are, by the true reward: inside the budget of (7), and anywhere.

One λ serves all train prompts, as the λ of every method does: J of (8) is averaged over them, which
leaves every property of it (it is linear in where a policy starts).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy  # whose parts are imported when they are first asked for

from ..arrays import Array
from ..exact.solution import Solution, solve
from ..exact.tables import value_and_slope
from ..learning.feedback import Feedback
from ..soup.ascent import Ascent, ascend
from ..soup.objective import SoupObjective, SoupPoint
from ..soup.starts import projection
from .explicit import soup
from .method import Bases, Domain, Facts, Fitted
from .pad import nearest_weights

ONE_HOTS = 1  # of the specialists' vertices, those of largest value are climbed from
DRAWS = 1
STEPS = 300
RANK = 1e-7  # directions of the Q_k that are smaller than this beside the largest are left alone


@dataclass(frozen=True, eq=False)
class MeanObjective:
    """J of (8) averaged over prompts: what an ascent asks of an objective."""

    parts: tuple[SoupObjective, ...]

    @property
    def sol(self) -> Solution:
        """The first prompt's solution: the number of specialists, and β."""
        return self.parts[0].sol

    @property
    def scale(self) -> float:
        """Size of what J is made of, reward units."""
        return max(part.scale for part in self.parts)

    def value(self, u: Array) -> float:
        """J(u), reward units."""
        return float(np.mean([part.value(u) for part in self.parts]))

    def at(self, u: Array) -> SoupPoint:
        """Value, slope and kink at u ≠ 0."""
        points = [part.at(u) for part in self.parts]
        slope = np.mean([point.slope for point in points], axis=0)
        value = float(np.mean([point.value for point in points]))
        kink = float(np.mean([point.kink for point in points]))

        def second() -> tuple[Array, Array]:
            bends, turns = zip(*(point.second() for point in points), strict=True)
            return np.mean(bends, axis=0), np.mean(turns, axis=0)

        return SoupPoint(np.asarray(u, dtype=np.float64), value, slope, kink, second)


def objective_of(domain: Domain, bases: Bases, user: int) -> MeanObjective:
    """J for a user, over the train prompts: the user's reward, soups of the given bases."""
    parts = []
    for p in np.flatnonzero(domain.train).tolist():
        w = domain.world[p]
        alone = domain.prompt(p).replace(rewards=domain.users[user, w][None], w=[1.0])
        sol = solve(alone)
        parts.append(SoupObjective(replace(sol, Q=bases.Q[w])))
    return MeanObjective(tuple(parts))


def best_soup(domain: Domain, bases: Bases, user: int, seed: int) -> tuple[Array, list[Ascent]]:
    """u [K] of the largest J met, ``u = βλ/β'``, and the ascents; u = 0 where ref is best.

    Starts: the best one-hot vertices, the nearest mixture of the base rewards, the projection of Q_u
    on the Q_k, seeded signed draws. J at all vertices is compared too, so that no specialist is better.
    """
    objective, K = objective_of(domain, bases, user), bases.n
    rng = np.random.default_rng([seed, user, 0x0AC1E])
    vertices = np.eye(K)
    heights = np.array([objective.value(u) for u in vertices])
    starts = {f"one-hot {k}": vertices[k] for k in np.argsort(-heights)[:ONE_HOTS].tolist()}
    starts["nearest weights"] = bases.once(nearest_weights, domain, user)
    starts["projection"] = np.mean([projection(part.sol) for part in objective.parts], axis=0)
    draws = rng.dirichlet(np.full(K, 0.5), size=16) * rng.choice([-1.0, 1.0], size=(16, K))
    order = np.argsort([-objective.value(u) for u in draws])
    starts |= {f"draw {i}": draws[i] for i in order[:DRAWS].tolist()}
    ends = [ascend(objective, u, name) for name, u in starts.items() if np.any(u)]
    top = max(ends, key=lambda end: end.value)
    return (np.array(top.u) if top.value > objective.value(np.zeros(K)) else np.zeros(K)), ends


def budget(domain: Domain, bases: Bases, feedback: Feedback, seed: int) -> Fitted:
    """λ* of (8) for the user's reward, ``|λ|₁ ≤ 1`` with β' = β, over the train prompts."""
    lam, ends = bases.once(best_soup, domain, bases, feedback.user, seed)
    values = [end.value for end in ends]
    hyper = {"starts": len(ends), "spread": float(np.ptp(values)), "evidence": "multistart"}
    return soup(bases, lam, Facts(lam, True, hyper, evaluations=bases.n + 1))


def free(domain: Domain, bases: Bases, feedback: Feedback, seed: int) -> Fitted:
    """The best λ ∈ ℝᴷ by the plain value at β, outside the budget too: no soup does better here.

    Climbs from λ* of (8), so that it is never worse than that on the train prompts.
    """
    user = feedback.user
    start, _ = bases.once(best_soup, domain, bases, user, seed)
    worlds = [w for w in range(len(domain.worlds)) if domain.starts(w).any()]
    # nearly collinear bases: climbed in coordinates in which the logits, not λ, have unit scale
    fields = np.concatenate([bases.Q[w].reshape(bases.n, -1) for w in worlds], axis=1) / domain.beta
    U, size, _ = np.linalg.svd(fields, full_matrices=False)
    to_lam = U[:, size > RANK * size[0]] / size[size > RANK * size[0]]

    def both(z: Array) -> tuple[float, Array]:
        value, slope = 0.0, np.zeros(bases.n)
        logits = bases.mixed(start + to_lam @ z)
        for w in worlds:
            V, g = value_and_slope(
                domain.worlds[w], logits[w], domain.users[user, w], domain.starts(w)
            )
            value, slope = value + V, slope + np.tensordot(bases.Q[w], g, axes=2) / domain.beta
        return -value, -(slope @ to_lam)

    z0 = np.zeros(to_lam.shape[1])
    end = scipy.optimize.minimize(both, z0, jac=True, method="L-BFGS-B",
                                  options={"maxiter": STEPS, "ftol": 1e-12, "gtol": 1e-8})  # fmt: skip
    lam = start + to_lam @ end.x if end.fun <= both(z0)[0] else start
    hyper = {"steps": int(end.nit), "evidence": "local"}
    return soup(bases, lam, Facts(lam, True, hyper, evaluations=bases.n + 1))
