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
