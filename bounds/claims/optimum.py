"""What is true of the soup optimum (8) without features: its sign, its vertices, its parameters."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from toymdp import Solution
from toymdp.soup.optimum import SoupOptimum

from ..claim import Array, Claim, NotApplicable, Sides
from ..facts.linear_fit import value_fits
from ..facts.soup import bespoke_norm, reference_norm, size_of_returns, soup, specialist_values
from .delta import deltas
from .gap import gap_rounding, gap_terms
from .kl import kl

BETA_PRIME_FACTOR = 3.7  # how far ss.betaprime moves β'; any factor other than 1 would do


def gap_nonnegative(sol: Solution, lam: Array | None, opt: SoupOptimum | None) -> Sides:
    """Theorem 1.2, left side: ``0 ≤ gap(λ)``.

    Proof: the two terms of ss.thm1.gap.identity are non-negative, the second because
    ``β|λ|₁ ≤ β'``.
    """
    assert lam is not None
    here = soup(sol, lam)
    return Sides(0.0, here.gap, size_of_returns(sol), error=here.value_error)


def beats_specialists(sol: Solution, lam: Array | None, opt: SoupOptimum | None) -> Sides:
    """App. A.2 (ii): ``J(λ*) ≥ V_w^{π_k}`` for every k: the one-hot λ = (β'/β)e_k is in the domain.

    The specialists are evaluated by policy evaluation, not through J.
    """
    assert opt is not None
    values = specialist_values(sol)
    k = int(np.argmax(values))
    terms = {f"V_w^π_{i}": v for i, v in enumerate(values.tolist())}
    return Sides(float(values[k]), soup(sol, opt.lam).value, size_of_returns(sol), terms, {"k": k})


def beta_prime_free(sol: Solution, lam: Array | None, opt: SoupOptimum | None) -> Sides:
    """J, the gap and both bounds depend on (λ, β') only through ``mu = λ/β'``.

    All are computed at (λ, β') and at (cλ, cβ') from the formulas as printed, with λ and β' apart;
    the bounds at λ*, of which they speak. lhs: the quantity that moves most, in the first
    parametrisation; rhs: in the second.
    """
    assert lam is not None
    mdp = sol.mdp
    if not lam.any():
        raise NotApplicable("λ = 0 is the same in every parametrisation")
    bounds = opt is not None and np.array_equal(lam, opt.lam)
    there = _quantities(_moved(sol), BETA_PRIME_FACTOR * lam, bounds)
    pairs = {name: (value, there[name]) for name, value in _quantities(sol, lam, bounds).items()}
    name = max(pairs, key=lambda n: abs(pairs[n][0] - pairs[n][1]) / (1 + abs(pairs[n][0])))
    first, second = pairs[name]
    terms = {n: v for n, (v, _) in pairs.items()}
    radius = soup(sol, lam).value_error
    if name == "right side of (9)":
        radius = kl(sol, lam, None).error
    elif name == "right side of (10)":
        radius = gap_rounding(sol, soup(sol, lam), gap_terms(sol, soup(sol, lam)))
    return Sides(first, second, size_of_returns(sol) * (1 + 1 / mdp.beta) + abs(first), terms,
                 error=2 * radius, note=f"compared at: {name}")  # fmt: skip


def _moved(sol: Solution) -> Solution:
    """The same solution of the instance with another β' (no Q depends on it), cached."""
    if "moved" not in sol.cache:
        assert sol.mdp.beta_prime is not None
        moved = sol.mdp.replace(beta_prime=BETA_PRIME_FACTOR * sol.mdp.beta_prime)
        deltas(sol), value_fits(sol), bespoke_norm(sol), reference_norm(sol)
        # a copy first: another thread may add to it meanwhile
        kept = {k: v for k, v in sol.cache.copy().items() if k[0] not in ("soup", "hypothesis")}
        sol.cache.setdefault("moved", replace(sol, mdp=moved, cache=kept, cast_by=None))
    found = sol.cache["moved"]
    assert isinstance(found, Solution)
    return found


def _quantities(sol: Solution, lam: Array, bounds: bool) -> dict[str, float]:
    """J and the gap, and the right sides of (9) and (10) if asked for and if nu exists."""
    here = soup(sol, lam)
    found = {"J": here.value, "gap": here.gap}
    rewards, values = value_fits(sol)
    if bounds and all(e is True for e in (*rewards.exists(), *values.exists())):
        found["right side of (9)"] = kl(sol, lam, None).rhs
        terms = gap_terms(sol, here)
        found["right side of (10)"] = sum(
            terms[name] for name in ("reward term", "penalty", "logit term")
        )
    return found


TABLE = (
    Claim(
        "ss.betaprime", "ours",
        r"J, \mathrm{gap}, (9), (10) \text{ depend on } \lambda/\beta' \text{ only}",
        "proved", "equality", "every", beta_prime_free,
        "β' is no parameter of the problem", zero=True,
    ),
    Claim(
        "ss.eq8.upper", "SS Thm 1.2, left", r"0 \le V_w - J(\lambda)",
        "proved", "inequality", "every", gap_nonnegative,
        "both terms of the identity are non-negative",
        hypotheses=("lambda-in-domain",), zero=True,
    ),
    Claim(
        "ss.eq8.onehot", "SS App. A.2 (ii)", r"J(\lambda^*) \ge V_w^{\pi_k}",
        "proved", "inequality", "optimum", beats_specialists,
        "one-hot weights are in the domain", needs_optimum=True, zero=True,
    ),
)  # fmt: skip
