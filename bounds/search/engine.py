"""The search: rounds of restarts until a claim breaks or time is up; state kept after each round.

Round n of seed s draws from ``[s, n]`` alone (and from the best point so far), so two runs agree
round by round; the clock decides only how many rounds there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch

from ..claims.catalogue import CLAIMS
from ..sides import Array
from . import derivative_free as plain
from .batch_solver import Sizes
from .budget import Budget
from .climb import Ranked, ascend, evolve, generation_size
from .judge import Find, best_find, objective_of, verdict
from .objectives import OBJECTIVES
from .ordinary import Ordinary
from .ordinary_population import OrdinaryPopulation, ordinary_population
from .population import Population, random_population, random_sizes

COUNT = 24  # instances climbed together
STEPS = 300  # of Adam in a round
GENERATIONS = 60  # of CMA-ES on a differentiable objective
LOOKS = 400  # of CMA-ES on the claim itself
JUDGED = 4  # points of a round that are judged, at most
NOISE = 0.5  # around the best point where a round starts from it
# what the rounds of a claim with a differentiable objective do, in turn
CYCLE = ("ascend", "ascend", "ascend from best", "evolve", "plain")
ORDINARY_CYCLE = CYCLE[:4]  # the plain rounds draw worlds of every kind


@dataclass
class State:
    """What a search has done: best judged find, best ranked point, rounds, looks, seconds.

    met: looks at which the claim said something: no hypothesis false, and sides there.

    ordinary: the limits that every instance keeps, None for worlds of every kind.
    """

    claim: str
    seed: int
    ordinary: Ordinary | None = None
    best: Find | None = None
    lead: Ranked | None = None
    rounds: int = 0
    looks: int = 0
    met: int = 0
    seconds: float = 0.0
    interrupted: bool = False
    tried: dict[str, int] = field(default_factory=dict)

    @property
    def strength(self) -> float:
        """Of the best find; −inf before there is one."""
        return -np.inf if self.best is None else self.best.strength

    def breaks_by(self, factor: float) -> bool:
        """Whether the best find breaks the claim by the factor."""
        return self.best is not None and self.best.broken and self.strength >= factor

    def take(self, find: Find | None) -> None:
        """Keep a find that breaks the claim where the best does not, or that is stronger otherwise."""
        if find is None or not find.strength > -np.inf:
            return
        if self.best is None or (find.broken, find.strength) > (
            self.best.broken,
            self.best.strength,
        ):
            self.best = find


OnRound = Callable[[State], None]


def search(state: State, budget: Budget, factor: float, on_round: OnRound) -> State:
    """Run rounds until a find breaks the claim by ``factor`` or the budget is over.

    One round is begun even then, and ends with its first look: a search that says "not found" has
    looked. on_round is called after each round and at the end. After an interrupt the state so far is
    returned, with ``interrupted`` set.
    """
    began, before, rounds = budget.spent, state.seconds, state.rounds

    def over() -> bool:
        state.seconds = before + budget.spent - began
        return budget.over()

    try:
        while (state.rounds == rounds or not over()) and not state.breaks_by(factor):
            kind = _kind(state)
            for find in _round(state, kind, over):
                state.take(find)
                if state.breaks_by(factor):
                    break
            state.rounds += 1
            state.tried[kind] = state.tried.get(kind, 0) + 1
            over()
            on_round(state)
    except KeyboardInterrupt:
        state.interrupted = True
    on_round(state)
    return state


def _kind(state: State) -> str:
    if state.claim not in OBJECTIVES:
        return "plain"
    cycle = CYCLE if state.ordinary is None else ORDINARY_CYCLE
    kind = cycle[state.rounds % len(cycle)]
    return "ascend" if kind == "ascend from best" and state.lead is None else kind


def _round(state: State, kind: str, over: Callable[[], bool]) -> Iterator[Find | None]:
    """Judged finds of one round, the objective's best first."""
    rng = np.random.default_rng([state.seed, state.rounds])
    if kind == "plain":
        find, looks, met = plain.climb(CLAIMS[state.claim], rng, LOOKS, over)
        state.looks, state.met = state.looks + looks, state.met + met
        if find is not None and find.broken:  # once more, with every start
            find = verdict(find.mdp, state.claim, find.lam, state.seed)
        yield find
        return
    ranked = _ranked(state, kind, rng, over)
    if ranked and (state.lead is None or ranked[0].score > state.lead.score):
        state.lead = ranked[0]
    for i, point in enumerate(ranked[:JUDGED]):
        if i > 0 and (point.score <= 0 or over()):
            break
        yield best_find(state.claim, point, state.seed, state.ordinary)


def _ranked(
    state: State, kind: str, rng: np.random.Generator, over: Callable[[], bool]
) -> list[Ranked]:
    objective = objective_of(state.claim, state.ordinary)
    assert objective is not None
    if kind == "ascend from best" and state.lead is not None:
        population = state.lead.population.single(0, COUNT)
        noise = NOISE * rng.normal(size=(COUNT, population.width))
        noise[0] = 0.0
        theta = state.lead.theta + torch.as_tensor(noise)
    elif state.ordinary is not None:
        population, theta = ordinary_population(rng, state.ordinary, COUNT)
    else:
        population, theta = random_population(rng, random_sizes(rng), COUNT)

    def counting(looks: int) -> Callable[[], bool]:
        """``over``, which is asked once for each step, and counts the instances of the step."""

        def stop() -> bool:
            state.looks, state.met = state.looks + looks, state.met + looks
            return over()

        return stop

    if kind != "evolve":
        return ascend(objective, population, theta, STEPS, counting(COUNT))
    stop, seed = counting(generation_size(population)), int(rng.integers(2**31))
    evolved = evolve(objective, population, theta, GENERATIONS, seed, stop)
    if not evolved:
        return []
    return ascend(objective, evolved[0].population, evolved[0].theta, STEPS, counting(1))


def lead_of(
    theta: Array, allowed: Array, sizes: tuple[int, int, int, int],
    ordinary: Ordinary | None = None, mirrored: bool = False,
) -> Ranked:  # fmt: skip
    """A ranked point from what a checkpoint stores; its score is found when it is climbed again."""
    mask = np.asarray(allowed, dtype=bool)[None]
    population = Population(Sizes(*sizes), mask)
    if ordinary is not None:
        population = OrdinaryPopulation(Sizes(*sizes), mask, ordinary, mirrored)
    return Ranked(population, torch.as_tensor(theta)[None], -np.inf)
