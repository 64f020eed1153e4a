"""How long work says how far it is: one kind of callback for every stage of every command."""

from __future__ import annotations

from collections.abc import Callable

OnProgress = Callable[[str, int, int], None]  # stage, steps done, steps in all


def no_progress(stage: str, done: int, total: int) -> None:
    """Say nothing."""


def one_part(on_progress: OnProgress, part: int, parts: int) -> OnProgress:
    """The callback for one of several equally long parts; the whole is what is reported."""

    def of_part(stage: str, done: int, total: int) -> None:
        on_progress(stage, part * total + done, parts * total)

    return of_part
