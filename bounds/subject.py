"""What a claim asks of the facts it is judged on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from .sides import Array


class Owner(Protocol):
    """Hypotheses and claims are judged on it; it caches what is derived from it (facts/once.py)."""

    def once(self, function: Callable[[Any], Any]) -> Any:
        """Return ``function(self)``, computed when first asked for."""
        ...


class Subject(Owner, Protocol):
    """Facts of one instance: of a solved token MDP, or of an instance of another world.

    second: the same facts computed by another method, so that what differs is rounding.
    depth: length of the longest chain of additions, for the rounding floor.
    """

    @property
    def second(self) -> Any:
        """The facts by the other method."""
        ...

    @property
    def depth(self) -> int:
        """Length of the longest chain of additions."""
        ...


class AtLambda(Owner, Protocol):
    """One λ on such facts."""

    @property
    def lam(self) -> Array:
        """λ [K]."""
        ...

    @property
    def second(self) -> Any:
        """The same λ on the facts by the other method."""
        ...
