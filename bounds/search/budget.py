"""The seconds that one search has for everything: imports, looking and shrinking."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Budget:
    """Seconds from the moment it is made, by a clock that a test may replace.

    Whoever is given one asks ``over`` between two pieces of work; a piece that has begun is ended.
    """

    seconds: float
    clock: Callable[[], float] = time.monotonic
    _began: float = field(init=False)

    def __post_init__(self) -> None:
        self._began = self.clock()

    @property
    def spent(self) -> float:
        """Seconds that have passed."""
        return self.clock() - self._began

    @property
    def left(self) -> float:
        """Seconds that are left, 0 when it is over."""
        return max(0.0, self.seconds - self.spent)

    def over(self) -> bool:
        """Whether no time is left."""
        return self.spent >= self.seconds
