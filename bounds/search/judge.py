"""The judge of what a search finds: the claims themselves, at an optimum found with more starts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from toymdp import Solution, SoupOptimum, TokenMDP, solve, soup_optimum
from toymdp.soup.ascent import ascend
from toymdp.soup.objective import SoupObjective

from ..checking import check
from ..claim import Check, Claim
from ..claims.catalogue import CLAIMS
from ..facts.soup import Soup
from ..facts.token_mdp import Facts, InstanceFacts
from ..sides import Array
from .climb import Ranked, ball
from .objectives import OBJECTIVES, Objective, batch_facts, best_scale
from .witness_features import constant_norm, logit_error, masses, one_hot_variants

DRAWS = 24  # random starts of the optimum that an accepted witness is judged at
MATCHES = 10  # rounds of moving w to |λ*|/|λ*|₁


@dataclass(frozen=True)
class Find:
    """An instance, the λ [K] it is judged at (None: the claim names none, or λ*), and the check."""

    mdp: TokenMDP
    lam: Array | None
    check: Check

    @property
    def broken(self) -> bool:
        """Whether the claim is violated with every hypothesis true."""
        return self.check.verdict == "violated"

    @property
    def strength(self) -> float:
        """How far the claim is from holding: above 1 it is broken.

        lhs/rhs of an inequality (infinite where only the left side is positive); of an equality
        1 + |lhs − rhs| over the larger of both sides and β.
        """
        return strength(self.check, self.mdp.beta)


def strength(check: Check, beta: float) -> float:
    """See ``Find.strength``; −inf where there are no sides, or none above rounding, to compare."""
    lhs, rhs = check.lhs, check.rhs
    if lhs is None or rhs is None or check.error is None:
        return -np.inf
    if CLAIMS[check.claim].kind == "inequality" and max(abs(lhs), abs(rhs)) <= check.error:
        return -np.inf  # both sides vanish: nothing is compared
    if CLAIMS[check.claim].kind == "equality":
        return 1.0 + abs(lhs - rhs) / max(abs(lhs), abs(rhs), beta)
    if rhs > 0:
        return lhs / rhs
    return np.inf if lhs > rhs else -np.inf if lhs < rhs else 1.0


def at_lambda(
    claim: Claim, sol: Solution, lam: Array | None, optimum: SoupOptimum | None = None
) -> Check:
    """Judge a claim on a solution at one λ [K]; None where it speaks of none."""
    facts = Facts(sol, instance=InstanceFacts(sol.mdp, optimum))
    return claim.evaluate(facts, None if lam is None else Soup(facts, lam))


def verdict(mdp: TokenMDP, claim: str, lam: Array | None, seed: int = 0) -> Find:
    """Judge a claim on an instance: at lam [K], or where the claim says, with many starts."""
    sol = solve(mdp)
    if CLAIMS[claim].at == "instance":
        (outcome,) = check(sol, claim, seed=seed)
        return Find(mdp, None, outcome)
    if lam is not None:
        return Find(mdp, lam, at_lambda(CLAIMS[claim], sol, lam))
    optimum = soup_optimum(mdp, sol, seed=seed, draws=DRAWS)
    (outcome,) = check(sol, claim, optimum=optimum, seed=seed)
    at_optimum = CLAIMS[claim].at == "optimum" or outcome.lam is None
    return Find(mdp, None if at_optimum else np.array(outcome.lam), outcome)


def matched(mdp: TokenMDP) -> TokenMDP:
    """The instance with w moved towards a fixed point of ``w -> |λ*(w)|/|λ*(w)|₁`` (secant, K = 2).

    λ* is the local optimum climbed to from λ = w. With other K the instance is returned as it is;
    where the steps do not converge, with the last w: the judge decides.
    """
    if mdp.n_rewards != 2:
        return mdp
    tried: list[tuple[float, float]] = []
    w = float(mdp.w[0])
    for _ in range(MATCHES):
        mdp = mdp.replace(w=np.array([w, 1.0 - w]))
        u = np.abs(ascend(SoupObjective(solve(mdp)), mdp.w, "user weights").u)
        miss = float(u[0] / u.sum()) - w
        if abs(miss) < 1e-13:
            break
        tried.append((w, miss))
        step = miss
        if len(tried) > 1:
            (w0, m0), (w1, m1) = tried[-2:]
            step = m1 * (w1 - w0) / (m0 - m1) if m0 != m1 else miss
        w = float(np.clip(w + step, 0.5 * w, 0.5 * (1.0 + w)))
    return mdp


def estimate(objective: Objective, claim: str, mdp: TokenMDP) -> tuple[float, float]:
    """What a matched objective would be at λ = (β'/β)w, and by how much of the gap J(λ*) is ahead.

    lhs over the right side at ideal features; the second by a coarse look at the ball. Costs a few
    milliseconds: an instance that clearly fails here need not be judged. For β = 1 and K = 2.
    """
    sol = solve(mdp)
    J = SoupObjective(sol)
    lam = mdp.w * (mdp.beta_prime or mdp.beta) / mdp.beta
    facts = Facts(sol)
    lhs = CLAIMS[claim].sides(facts, Soup(facts, lam)).lhs
    e = np.abs(logit_error(sol, lam))
    rhs = float(e.max())
    if not objective.constant:
        begin = mdp.start_context
        nexts = (begin * mdp.vocab_size + np.arange(mdp.vocab_size)) % mdp.n_contexts
        mass = masses(sol, lam, objective.mass, 0, begin)
        rhs = float(best_scale(torch.as_tensor(mass), torch.as_tensor(e[0, nexts])))
    gap = sol.value_w - J.value(mdp.w)
    ahead = float(J.values(ball().numpy()).max()) - J.value(mdp.w)
    return lhs / max(rhs, 1e-300), ahead / max(gap, 1e-300)


def instances_of(claim: str, ranked: Ranked) -> Iterator[tuple[TokenMDP, Array | None]]:
    """Instances with features, and the λ to judge at, of a point that an objective ranked."""
    objective = OBJECTIVES[claim]
    mdp, lam = ranked.population.instance(ranked.theta, 0)
    place = (0, mdp.start_context)
    if objective.everywhere:
        place = _worst_place(objective, ranked)
    if objective.matched:
        mdp = matched(mdp)
    sol = solve(mdp)
    at = soup_optimum(mdp, sol).lam if objective.matched else lam
    for featured in with_features(objective, sol, at, place):
        yield featured, None if objective.matched else lam


def with_features(
    objective: Objective, sol: Solution, lam: Array, place: tuple[int, int]
) -> Iterator[TokenMDP]:
    """The solved instance with each of the feature tables that the objective means."""
    if not lam.any():
        return
    if objective.constant:
        yield from constant_norm(sol, lam)
    elif objective.mass:
        yield from one_hot_variants(sol, lam, objective.mass, place)
    else:
        yield sol.mdp


def _worst_place(objective: Objective, ranked: Ranked) -> tuple[int, int]:
    with torch.no_grad():
        batch, lam = ranked.population.solve(ranked.theta, ranked.population.reach())
        table = objective.places(batch_facts(batch, lam))[0]
    t, s = divmod(int(table.argmax()), table.shape[1])
    return t, s


def best_find(claim: str, ranked: Ranked, seed: int) -> Find | None:
    """Judge a ranked point with each feature table at one quickly found λ*, the best in full."""
    best: Find | None = None
    for mdp, lam in instances_of(claim, ranked):
        find = quick(mdp, claim, lam)
        if best is None or find.strength > best.strength:
            best = find
    if best is None or not best.broken:
        return best
    return verdict(best.mdp, claim, best.lam, seed)


def quick(mdp: TokenMDP, claim: str, lam: Array | None) -> Find:
    """Judge a claim with few starts of λ*: enough to reject, or to rank."""
    sol = solve(mdp)
    if CLAIMS[claim].at == "instance":
        return verdict(mdp, claim, None)
    if lam is not None:
        return Find(mdp, lam, at_lambda(CLAIMS[claim], sol, lam))
    optimum = soup_optimum(mdp, sol, draws=2)
    return Find(mdp, None, at_lambda(CLAIMS[claim], sol, optimum.lam, optimum))
