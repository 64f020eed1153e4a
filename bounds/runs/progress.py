"""How far a run has come: the one kind of callback that every run takes."""

from __future__ import annotations

from collections.abc import Callable

# stage, what of it is done, how much there is
OnProgress = Callable[[str, int, int], None]


def silent(stage: str, done: int, total: int) -> None:
    """Show nothing."""


def one_part(on_progress: OnProgress, part: int, parts: int) -> OnProgress:
    """The callback for one of several equally long parts; the whole is what is reported."""

    def of_part(stage: str, done: int, total: int) -> None:
        on_progress(stage, part * total + done, parts * total)

    return of_part


class Estimate:
    """How long the rest will take, from how long what is done took; for tasks in random order."""

    def __init__(self, now: float) -> None:
        self._last = now
        self._n, self._mean, self._squares = 0, 0.0, 0.0

    def add(self, now: float) -> None:
        """One more task is done, at this time in seconds."""
        gap, self._last = now - self._last, now
        self._n += 1
        before = gap - self._mean
        self._mean += before / self._n
        self._squares += before * (gap - self._mean)  # Welford's sum of squares

    def rest(self, left: int) -> tuple[float, float] | None:
        """Seconds for what is left, and twice their standard error; None before there are three.

        That of a sum of ``left`` gaps whose mean is known from n: ``s √(left + left²/n)``.
        """
        if self._n < 3:
            return None
        variance = self._squares / (self._n - 1)
        return self._mean * left, 2.0 * (variance * (left + left**2 / self._n)) ** 0.5
