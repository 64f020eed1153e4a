"""Shrinking a witness: the edits that keep it one, greedily, judged by the claim itself.

A candidate is kept if it takes fewer bits to write down, the claim is still violated by the user's
factor, and no hypothesis that held is lost, reported ones included; where the search is confined to
ordinary worlds, what leaves them is not looked at. (Opening forbidden tokens adds
bits, and a hypothesis: that is tried once.)

After an edit the features that were best for the old instance may not be for the new one, and w may
have left its fixed point: a candidate is tried as it is, with features built anew, and with w
matched anew, in that order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from toymdp import InstanceError, SolverError, TokenMDP, solve, soup_optimum
from toymdp.worlds.features import Tabular

from ..claims.catalogue import CLAIMS
from ..sides import Array
from . import edits
from .budget import Budget
from .edits import Draft, Edit
from .judge import Find, at_lambda, estimate, matched, objective_of, quick, verdict, with_features
from .objectives import OBJECTIVES
from .ordinary import Ordinary
from .ordinary_edits import rounder


def _length(x: float) -> int:
    """Bits of a number: those of its odd part and of its power of two; 1 for 0."""
    if x == 0:
        return 1
    numerator, denominator = abs(x).as_integer_ratio()
    shift = (numerator & -numerator).bit_length() - 1
    return (
        1
        + (numerator >> shift).bit_length()
        + max(shift, denominator.bit_length() - 1).bit_length()
    )


def bits(mdp: TokenMDP, lam: Array | None) -> int:
    """Length of what is particular about an instance, in bits; a repeated row counts little.

    Features count where they are a table of their own (per-step dense ones are made from the rest).
    """
    tables = [*mdp.ref_weights, *mdp.rewards, mdp.w]
    if isinstance(mdp.features, Tabular):
        tables.extend(np.atleast_2d(mdp.features.scale))
    elif not mdp.features.per_step:
        tables.extend(mdp.features.values)
    if lam is not None:
        tables.append(lam)
    rows = {tuple(float(x) for x in row) for row in tables}
    temperatures = (mdp.beta, float(mdp.beta_prime or mdp.beta))
    return (
        mdp.steps
        + sum(map(len, tables))
        + sum(_length(x) for r in (*rows, temperatures) for x in r)
    )


PASSES: tuple[tuple[str, Callable[[Draft], Iterator[Edit]], bool], ...] = (
    ("sizes", edits.smaller, True),
    ("temperatures", edits.plainer_temperatures, False),
    ("reference", edits.plainer_reference, False),
    ("rewards", edits.plainer_rewards, False),
    ("weights", edits.plainer_weights, False),
    ("features", edits.plainer_features, False),
)


@dataclass
class Shrinker:
    """Greedy passes over a find until none changes it, or until the budget is over.

    on_edit: called with the best find, the pass's name and how many edits were tried. ordinary: the
    limits of the search that found it.
    """

    claim: str
    factor: float
    budget: Budget
    seed: int = 0
    on_edit: Callable[[Find, str, int], None] = lambda find, name, tried: None
    ordinary: Ordinary | None = None
    tried: int = 0
    ended: bool = False

    @property
    def outcome(self) -> str:
        """How far it came, in words."""
        if self.ended:
            return f"{self.tried} edits tried, none is left that makes it smaller"
        return f"{self.tried} edits tried, then it was stopped: --resume goes on from --out"

    def run(self, find: Find) -> Find:
        """The smallest find reached. An interrupt ends the shrinking with what it has."""
        self._current = find
        self._needed = {h for h, holds in find.check.hypotheses.items() if holds}
        try:
            passes = PASSES
            if self.ordinary is None:
                self._pass("support", edits.opened, False)
            else:
                passes = (("round numbers", rounder, False), *PASSES)
            changed = True
            while changed and not self.budget.over():
                changed = any([self._pass(*item) for item in passes])  # noqa: C419  # every pass
            self.ended = not self.budget.over()
        except KeyboardInterrupt:
            pass
        return self._current

    def _pass(self, name: str, proposals: Callable[[Draft], Iterator[Edit]], again: bool) -> bool:
        """Try a pass's edits in order; after a success go on, or begin again where sizes change."""
        changed = False
        repeat = True
        while repeat:
            repeat = False
            for edit in proposals((self._current.mdp, self._current.lam)):
                if self.budget.over():
                    return changed
                self.tried += 1
                smaller = self._try(edit)
                self.on_edit(smaller or self._current, name, self.tried)
                if smaller is not None:
                    self._current, changed = smaller, True
                    if again:
                        repeat = True
                        break
        return changed

    def _try(self, edit: Edit) -> Find | None:
        try:
            draft = edit((self._current.mdp, self._current.lam))
            if draft is None:
                return None
            longer = bits(*draft) >= bits(self._current.mdp, self._current.lam)
            if longer and edit is not edits.open_tokens:
                return None
            if self._hopeless(draft[0]):
                return None
            for mdp, lam in self._variants(*draft):
                if self.budget.over():
                    return None
                if self.ordinary is not None and not self.ordinary.admits(mdp):
                    continue
                if self._good(quick(mdp, self.claim, lam)):
                    find = verdict(mdp, self.claim, lam, self.seed)
                    if self._good(find):
                        return find
        except (InstanceError, SolverError):  # an edit that leaves no instance is no improvement
            return None
        return None

    def _hopeless(self, mdp: TokenMDP) -> bool:
        """Whether a cheap estimate says that no features and no small change of w keep the break."""
        objective = OBJECTIVES.get(self.claim)
        if objective is None or not objective.matched or mdp.n_rewards != 2 or mdp.beta != 1.0:
            return False
        if self.ordinary is not None:
            return False  # λ* may lie below the full budget there
        ratio, ahead = estimate(objective, self.claim, mdp)
        return ratio < 0.8 * self.factor or ahead > 0.5

    def _good(self, find: Find) -> bool:
        holds = {h for h, verdict in find.check.hypotheses.items() if verdict}
        return find.broken and find.strength >= self.factor and self._needed <= holds

    def _variants(self, mdp: TokenMDP, lam: Array | None) -> Iterator[Draft]:
        yield mdp, lam
        objective = objective_of(self.claim, self.ordinary)
        if objective is None:
            return
        # a w that is fixed would be matched by unround rewards
        free = self.ordinary is None or self.ordinary.weights is None
        for change in (False, True) if objective.matched and free else (False,):
            candidate = matched(mdp, self.ordinary) if change else mdp
            sol = solve(candidate)
            at = soup_optimum(candidate, sol, draws=2).lam if lam is None else lam
            best = [
                (f.strength, i, f)
                for place in self._places(candidate, objective.everywhere)
                for i, m in enumerate(with_features(objective, sol, at, place))
                if (f := Find(m, lam, at_lambda(CLAIMS[self.claim], solve(m), at))).broken
            ]
            if best:
                yield max(best, key=lambda entry: entry[:2])[2].mdp, lam

    def _places(self, mdp: TokenMDP, everywhere: bool) -> set[tuple[int, int]]:
        """States to make features for: the start, and where the claim broke, or a step before."""
        places = {(0, mdp.start_context)}
        if everywhere and self._current.check.where:
            t, s = self._current.check.where["t"], self._current.check.where["s"]
            places |= {(t, s), (max(t - 1, 0), s)}
        return {
            (t, s)
            for t, s in places
            if t < mdp.steps and s < mdp.n_contexts and mdp.reach.states[t, s]
        }
