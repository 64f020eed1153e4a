"""EXACT's Algorithm 1 on any gain function."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..arrays import Array


def greedy(
    values: Callable[[tuple[int, ...], list[int]], Array],
    n: int,
    k: int,
    *,
    start: float = 0.0,
    stop: bool = False,
) -> tuple[tuple[int, ...], float]:
    """Add k of n attributes, each the one of largest value; of equals the first.

    values: (taken, rest) -> F(taken ∪ {a}) for each a of rest. start: F(∅). As printed an attribute
    is added even if that lowers F; stop: end before that instead (the filter of B.1.2 from the
    first attribute on). Returns the attributes in the order of choice, and their F.
    """
    taken: tuple[int, ...] = ()
    value = start
    for _ in range(k):
        rest = [a for a in range(n) if a not in taken]
        ahead = values(taken, rest)
        best = int(np.argmax(ahead))
        if stop and ahead[best] <= value:
            break
        taken, value = (*taken, rest[best]), float(ahead[best])
    return taken, value
