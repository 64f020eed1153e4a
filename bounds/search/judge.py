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
from .objectives import OBJECTIVES, Objective, batch_facts, best_scale, within
from .ordinary import Ordinary
from .witness_features import (
    constant_norm,
    logit_error,
    masses,
    norms_within,
    one_hot_variants,
)

DRAWS = 24  # random starts of the optimum that an accepted witness is judged at
MATCHES = 10  # rounds of moving w to |λ*|/|λ*|₁
MATCHED = 1e-8  # a miss of a fixed w that is left: what is symmetric stays so


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


def matched(mdp: TokenMDP, ordinary: Ordinary | None = None) -> TokenMDP:
    """The instance moved towards ``w = |λ*|/|λ*|₁`` by a secant on one number (K = 2).

    λ* is the local optimum climbed to from λ = w. What moves is w or, where ``ordinary`` fixes it, the
    size of one reward beside the other, neither of which grows. With other K the instance is returned
    as it is; where the steps do not converge, with the last number: the judge decides.
    """
    if mdp.n_rewards != 2:
        return mdp
    fixed = ordinary is not None and ordinary.weights is not None
    tried: list[tuple[float, float]] = []
    x, moved = 0.5 if fixed else float(mdp.w[0]), mdp
    for _ in range(MATCHES):
        if fixed:
            size = np.array([min(1.0, x / (1.0 - x)), min(1.0, (1.0 - x) / x)])
            moved = mdp.replace(rewards=mdp.rewards * size[:, None])
        else:
            moved = mdp.replace(w=np.array([x, 1.0 - x]))
        u = np.abs(ascend(SoupObjective(solve(moved)), moved.w, "user weights").u)
        miss = float(u[0] / u.sum() - moved.w[0])
        if abs(miss) < (MATCHED if fixed else 1e-13):
            break
        tried.append((x, miss))
        step = miss
        if len(tried) > 1:
            (x0, m0), (x1, m1) = tried[-2:]
            step = m1 * (x1 - x0) / (m0 - m1) if m0 != m1 else miss
        x = float(np.clip(x + step, 0.5 * x, 0.5 * (1.0 + x)))
    return moved


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


def objective_of(claim: str, ordinary: Ordinary | None) -> Objective | None:
    """What a search of the claim climbs, with the features that its worlds may have; None: nothing."""
    objective = OBJECTIVES.get(claim)
    if objective is None or ordinary is None:
        return objective
    return within(objective, ordinary.norm_ratio)


def instances_of(
    claim: str, ranked: Ranked, ordinary: Ordinary | None = None
) -> Iterator[tuple[TokenMDP, Array | None]]:
    """Instances with features, and the λ to judge at, of a point that an objective ranked."""
    objective = objective_of(claim, ordinary)
    assert objective is not None
    mdp, lam = ranked.population.instance(ranked.theta, 0)
    if objective.full:
        lam = lam / np.abs(lam).sum()
    place = (0, mdp.start_context)
    if objective.everywhere:
        place = _worst_place(objective, ranked)
    worlds = [mdp]
    if objective.matched:
        moved = matched(mdp, ordinary)
        # an ordinary world may be the better for being left as it was climbed
        same = np.array_equal(moved.rewards, mdp.rewards) and np.array_equal(moved.w, mdp.w)
        worlds = [moved] if ordinary is None or same else [mdp, moved]
    for world in worlds:
        sol = solve(world)
        draws = None if ordinary is None else 2
        at = soup_optimum(world, sol, draws=draws).lam if objective.matched else lam
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
    elif objective.mass and objective.norm_ratio is not None:
        yield from norms_within(sol, lam, objective.norm_ratio)
    elif objective.mass:
        yield from one_hot_variants(sol, lam, objective.mass, place)
    else:
        yield sol.mdp


def _worst_place(objective: Objective, ranked: Ranked) -> tuple[int, int]:
    with torch.no_grad():
        batch, lam = ranked.population.solve(ranked.theta, ranked.population.reach())
        soup = objective.soup(ranked.population, batch, lam)
        table = objective.places(batch_facts(batch, soup))[0]
    t, s = divmod(int(table.argmax()), table.shape[1])
    return t, s


def best_find(
    claim: str, ranked: Ranked, seed: int, ordinary: Ordinary | None = None
) -> Find | None:
    """Judge a ranked point with each feature table at one quickly found λ*, the best in full."""
    best: Find | None = None
    for mdp, lam in instances_of(claim, ranked, ordinary):
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
