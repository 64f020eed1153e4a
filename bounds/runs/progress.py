"""How far a run has come: the one kind of callback that every run takes."""

from __future__ import annotations

from collections.abc import Callable

# stage, what of it is done, how much there is
OnProgress = Callable[[str, int, int], None]


def silent(stage: str, done: int, total: int) -> None:
    """Show nothing."""
