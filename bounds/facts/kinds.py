"""From an instance of any kind to the facts that claims are judged on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from toymdp import InstanceError, Solution, SoupOptimum, TokenMDP, solve
from toymdp.kinds import KINDS
from toymdp.soup.objective import SoupObjective
from toymdp.worlds import token_mdp
from toymdp.worlds.attribute_set import AttributeSet
from toymdp.worlds.preference_pairs import PreferencePairs
from toymdp.worlds.topic_cloud import TopicCloud

from ..subject import Subject
from .attribute_set import AttributeFacts
from .preference_pairs import PairFacts
from .token_mdp import Facts, InstanceFacts
from .topic_cloud import TopicFacts


def facts_of(
    instance: Any, *, optimum: SoupOptimum | None = None, seed: int = 0
) -> tuple[str, Subject]:
    """The format of an instance (of its solution, of its facts), and the facts claims are judged on.

    optimum: a soup optimum found before. seed: of the ascents' starts where one is still to be found.
    Raises InstanceError for what is no instance, SolverError if no finite value exists.
    """
    if isinstance(instance, Facts):
        if optimum is None and seed == instance.instance.seed:
            return token_mdp.FORMAT, instance
        _must_be_of(instance.sol, optimum)
        shared = InstanceFacts(instance.mdp, optimum, seed)
        return token_mdp.FORMAT, replace(instance, instance=shared)
    if isinstance(instance, TokenMDP | Solution):
        sol = solve(instance) if isinstance(instance, TokenMDP) else instance
        _must_be_of(sol, optimum)
        return token_mdp.FORMAT, Facts(sol, instance=InstanceFacts(sol.mdp, optimum, seed))
    if isinstance(instance, AttributeSet):
        return instance.format, AttributeFacts(instance)
    if isinstance(instance, TopicCloud):
        return instance.format, TopicFacts(instance)
    if isinstance(instance, PreferencePairs):
        return instance.format, PairFacts.of(instance)
    name, rule = type(instance).__name__, "is no instance of a known format"
    raise InstanceError.of("instance", name, rule, f"the formats are {sorted(KINDS)}")


def _must_be_of(sol: Solution, optimum: SoupOptimum | None) -> None:
    """Raise InstanceError for a soup optimum of another instance: it has another J here."""
    if optimum is None:
        return
    rule, remedy = "is not of this instance", "find the optimum of the instance that is judged"
    if optimum.lam.shape != (sol.mdp.n_rewards,):
        raise InstanceError.of("optimum.lam", optimum.lam.tolist(), rule, remedy)
    objective = SoupObjective(sol)
    J = objective.value(sol.mdp.beta * optimum.mu)
    if abs(J - optimum.J) > 1e-6 * max(objective.scale, abs(J)):
        raise InstanceError.of("optimum.J", optimum.J, f"{rule}, where it would be {J:.6g}", remedy)
