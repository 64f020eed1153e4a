"""What is true of the soup optimum (8) without features: its sign, its vertices, its parameters."""

from __future__ import annotations

import numpy as np
import scipy  # whose parts are imported when they are first asked for

from toymdp.soup.bound import MOST_SPECIALISTS, branch_and_bound, why_no_bound
from toymdp.soup.objective import SoupObjective

from ..claim import Claim
from ..facts.soup import Soup
from ..facts.token_mdp import Facts
from ..sides import Array, NotApplicable, Sides, Undecidable
from .gap import gap_rounding, gap_terms
from .hypotheses import IN_DOMAIN
from .kl import kl

BESIDE = 1e-9  # at 0, where J has a kink, its slopes are those a little way out
PIECES = 4096  # simplices of a branch and bound over λ ≥ 0
CONVERGED = 1e-11  # of the returns' size: how far a climb may end below its maximum
BETA_PRIME_FACTOR = 3.7  # how far ss.betaprime moves β'; any factor other than 1 would do


def gap_nonnegative(facts: Facts, soup: Soup) -> Sides:
    """Theorem 1.2, left side: ``0 ≤ gap(λ)``.

    Proof: the two terms of ss.thm1.gap.identity are non-negative, the second because
    ``β|λ|₁ ≤ β'``.
    """
    return Sides(0.0, soup.gap, facts.size_of_returns, error=soup.value_error)


def beats_specialists(facts: Facts, soup: Soup) -> Sides:
    """App. A.2 (ii): ``J(λ*) ≥ V_w^{π_k}`` for every k: the one-hot λ = (β'/β)e_k is in the domain.

    The specialists are evaluated by policy evaluation, not through J.
    """
    values = facts.specialist_values
    k = int(np.argmax(values))
    terms = {f"V_w^π_{i}": v for i, v in enumerate(values.tolist())}
    error = soup.value_error + facts.value_error(facts.specialists[k], float(values[k]))
    scale = facts.size_of_returns
    return Sides(float(values[k]), soup.value, scale, terms, {"k": k}, error=error)


def beta_prime_free(facts: Facts, soup: Soup) -> Sides:
    """J, the gap and both bounds depend on (λ, β') only through ``mu = λ/β'``.

    All are computed at (λ, β') and at (cλ, cβ') from the formulas as printed, with λ and β' apart;
    the bounds at λ*, of which they speak. lhs: the quantity that moves most, in the first
    parametrisation; rhs: in the second.
    """
    if not soup.lam.any():
        raise NotApplicable("λ = 0 is the same in every parametrisation")
    bounds = soup.is_optimum
    moved = Soup(facts, BETA_PRIME_FACTOR * soup.lam, BETA_PRIME_FACTOR * soup.beta_prime)
    after = _quantities(facts, moved, bounds)
    pairs = {name: (v, after[name]) for name, v in _quantities(facts, soup, bounds).items()}
    name = max(pairs, key=lambda n: abs(pairs[n][0] - pairs[n][1]) / (1 + abs(pairs[n][0])))
    first, second = pairs[name]
    terms = {n: v for n, (v, _) in pairs.items()}
    radius = soup.value_error
    if name == "right side of (9)":
        radius = kl(facts, soup).error
    elif name == "right side of (10)":
        radius = gap_rounding(facts, soup, gap_terms(facts, soup))
    scale = facts.size_of_returns * (1 + 1 / facts.mdp.beta) + abs(first)
    return Sides(first, second, scale, terms, error=2 * radius, note=f"compared at: {name}")


def _quantities(facts: Facts, soup: Soup, bounds: bool) -> dict[str, float]:
    """J and the gap, and the right sides of (9) and (10) if asked for and if ν exists."""
    quantities = {"J": soup.value, "gap": soup.gap}
    fits = (*facts.reward_fit.exists(), *facts.value_fit.exists())
    if bounds and all(exists is True for exists in fits):
        quantities["right side of (9)"] = kl(facts, soup).rhs
        terms = gap_terms(facts, soup)
        quantities["right side of (10)"] = sum(
            terms[name] for name in ("reward term", "penalty", "logit term")
        )
    return quantities


def _best_nonnegative(facts: Facts, lam: Array) -> tuple[float, Array]:
    """The best J found with λ ≥ 0, and its ``u = βλ/β'``: climbs from the vertices, w and λ's own part."""
    mdp, objective = facts.mdp, SoupObjective(facts.sol)
    K = mdp.n_rewards
    best, where = objective.value(np.zeros(K)), np.zeros(K)
    for start in (*np.eye(K), mdp.w, np.maximum(lam, 0.0) * mdp.beta / mdp.beta_prime):
        if not start.any():
            continue

        def fall(u: Array, start: Array = start) -> tuple[float, Array]:
            point = objective.at(u if u.any() else BESIDE * start)
            return -point.value, -(point.slope + point.kink)

        climbed = scipy.optimize.minimize(
            fall, start / max(1.0, float(start.sum())), jac=True, method="SLSQP",
            bounds=[(0.0, 1.0)] * K, options={"ftol": 1e-15, "maxiter": 500},
            constraints={"type": "ineq", "fun": lambda u: 1.0 - u.sum(), "jac": lambda u: -np.ones(K)},
        )  # fmt: skip
        for u in (start, climbed.x):
            inside = np.maximum(u, 0.0)
            inside = inside / max(1.0, float(inside.sum()))
            if (value := objective.value(inside)) > best:
                best, where = value, inside
    return best, where


def simplex(facts: Facts, soup: Soup) -> Sides:
    """``J(λ*) = max_{λ ≥ 0} J(λ)`` over the domain: nothing is lost by weights that subtract no one.

    False in a plain world (``signed-uniform``: uniform ref, symmetric, r ≥ 0): two specialists want one
    token in common and one that only each likes; a soup that subtracts one of them prefers the common
    token less. lhs: J(λ*); rhs: the best J found with λ ≥ 0; error: how much better any λ ≥ 0 could be,
    by branch and bound.
    """
    if (soup.lam >= 0).all():
        raise NotApplicable("λ* has no negative weight: it is the best of those itself")
    if facts.mdp.n_rewards > MOST_SPECIALISTS:
        raise Undecidable(f"more than {MOST_SPECIALISTS} specialists: no bound over λ ≥ 0")
    reason = why_no_bound(facts.mdp)
    if reason is not None:
        raise Undecidable(reason)
    best, u = _best_nonnegative(facts, soup.lam)
    scale, above = facts.size_of_returns, CONVERGED * facts.size_of_returns
    if soup.value > best + above:
        range_of_J = max(1.0, facts.sol.value_w - SoupObjective(facts.sol).value(0.0 * u))
        bound = branch_and_bound(
            facts.sol, best, tolerance=(soup.value - best) / (32.0 * range_of_J), seconds=1e9,
            signs="nonnegative", pieces=PIECES,
        )  # fmt: skip
        if bound.point is not None and bound.point.any():  # better than all climbs
            best, u = bound.J, bound.point
        above += bound.value - best
    full = facts.mdp.beta_prime / facts.mdp.beta
    terms = {f"best λ_{k} in the simplex": x for k, x in enumerate((full * u).tolist())}
    rhs = Soup(facts, full * u).value
    return Sides(soup.value, rhs, scale, terms, error=above + soup.value_error)


TABLE = (
    Claim(
        "ss.betaprime", "ours",
        r"J, \mathrm{gap}, (9), (10) \text{ depend on } \lambda/\beta' \text{ only}",
        "proved", "equality", "every", beta_prime_free,
        "β' is no parameter of the problem", needs_optimum=True, zero=True,
        title="only λ/β' matters",
    ),
    Claim(
        "ss.eq8.upper", "SS Thm 1.2, left", r"0 \le V_w - J(\lambda)",
        "proved", "inequality", "every", gap_nonnegative,
        "both terms of the identity are non-negative",
        hypotheses=(IN_DOMAIN,), zero=True,
        title="no soup beats the bespoke policy",
    ),
    Claim(
        "ss.eq8.simplex", "ours", r"\max_{\lambda\ge0} J(\lambda) = J(\lambda^*)",
        "refuted", "equality", "optimum", simplex,
        "what the specialists have in common is weighted down by subtracting one of them",
        needs_optimum=True, zero=True,
        true_when="λ* ≥ 0, as where one specialist is the user: w one-hot, or K = 1 and J(λ) ≥ J(0)",
        title="non-negative weights are enough",
    ),
    Claim(
        "ss.eq8.onehot", "SS App. A.2 (ii)", r"J(\lambda^*) \ge V_w^{\pi_k}",
        "proved", "inequality", "optimum", beats_specialists,
        "one-hot weights are in the domain", needs_optimum=True, zero=True,
        title="the best soup beats every specialist",
    ),
)  # fmt: skip
