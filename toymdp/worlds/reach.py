"""Which contexts, next contexts and triples have positive probability under ``ref``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..arrays import IntArray
from ..cached import cached_property
from ..errors import NoTable

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Reach:
    """Support of the reference policy from the start context.

    states: [T, S]; nexts: [T, S], the contexts that the step-t action can lead to (ended ones
    included); counts: [S], how many tokens have positive weight, of vocab_size; table: [S, A], which,
    or None where the reference is sparse. T is 1 for an instance until ``eos``, whose tables hold at
    every step.
    """

    states: Mask
    nexts: Mask
    counts: IntArray
    vocab_size: int
    table: Mask | None = None

    @property
    def allowed(self) -> Mask:
        """[S, A]: tokens with positive weight. Raises NoTable where the reference is sparse."""
        if self.table is None:
            S, A = len(self.counts), self.vocab_size
            raise NoTable(f"written for a table of {A} tokens after {S} contexts; ref is sparse")
        return self.table

    @cached_property
    def live(self) -> Mask:
        """[S]: some token is allowed."""
        return np.asarray(self.counts > 0)

    @cached_property
    def n_triples(self) -> int:
        """Number of reachable (t, s, a)."""
        return sum(int(self.counts[states].sum()) for states in self.states)

    @cached_property
    def full(self) -> Mask:
        """[S]: every token is allowed; all such rows of a block share its extremes."""
        return np.asarray(self.counts == self.vocab_size)

    @cached_property
    def partial(self) -> IntArray:
        """Flat indices into [T, S] of the reachable states that forbid a token."""
        return np.flatnonzero(self.states & ~self.full)

    @cached_property
    def whole(self) -> Mask:
        """[T]: every context is a reachable state that allows every token."""
        return np.asarray((self.states & self.full).all(axis=1))

    @cached_property
    def absent(self) -> IntArray:
        """Flat indices into [T, S] of what is no reachable state."""
        return np.flatnonzero(~self.states)

    @cached_property
    def any_next(self) -> Mask:
        """[S]: reachable as a next context at some step."""
        return np.asarray(self.nexts.any(axis=0))

    @cached_property
    def any_state(self) -> Mask:
        """[S]: reachable as a state at some step."""
        return np.asarray(self.states.any(axis=0))


def successors(states: Mask, allowed: Mask) -> Mask:
    """[S] next contexts of the marked contexts, by the block structure.

    Context ``s = x1·B + y`` (B = A**(L-1)) leads to the contiguous block ``y·A ... y·A + A-1``.
    """
    contexts, vocab = allowed.shape
    live = (allowed & states[:, None]).reshape(vocab, contexts // vocab, vocab)
    return np.asarray(live.any(axis=0)).reshape(contexts)


def reach(
    step: Callable[[Mask], Mask], start: int, contexts: int, horizon: int | None, ended: Mask
) -> tuple[Mask, Mask]:
    """States and next contexts, both [T, S]: breadth-first, exact, since a token is forbidden or not.

    step: the contexts that follow marked ones, both [S]. start: context index. ended: [S], contexts
    in which nothing follows.
    """
    first = np.zeros(contexts, dtype=bool)
    first[start] = True
    if horizon is None:
        seen, frontier = first, first
        nexts = np.zeros(contexts, dtype=bool)
        while frontier.any():
            new = step(frontier)
            nexts |= new
            frontier = new & ~ended & ~seen
            seen = seen | frontier
        return seen[None], nexts[None]
    states = np.zeros((horizon, contexts), dtype=bool)
    nexts = np.zeros((horizon, contexts), dtype=bool)
    current, seen_at = first, dict[bytes, int]()
    for t in range(horizon):
        begin = seen_at.setdefault(current.tobytes(), t)
        if begin < t:  # from here on everything repeats itself; a horizon may be millions
            for i in range(begin, t):
                at = slice(t + i - begin, None, t - begin)
                states[at], nexts[at] = states[i], nexts[i]
            break
        states[t] = current
        nexts[t] = step(current)
        current = nexts[t] & ~ended
    return states, nexts
