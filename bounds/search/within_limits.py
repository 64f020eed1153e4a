"""One search of an effort that a computer's speed does not change: so many instances, no clock."""

from __future__ import annotations

import math

from .budget import Budget
from .engine import State, search
from .ordinary import Ordinary


def most_broken(claim: str, ordinary: Ordinary, looks: int, seed: int) -> State:
    """What a search within limits comes to after ``looks`` instances (and the end of that step).

    The same arguments give the same find on any day.
    """
    state = State(claim, seed, ordinary)
    budget = Budget(float(looks), clock=lambda: float(state.looks))
    return search(state, budget, math.inf, lambda now: None)
