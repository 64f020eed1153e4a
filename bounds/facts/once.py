"""What is derived from an object is computed once, kept in that object, and freed with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self, TypeVar

X = TypeVar("X")


class ComputesOnce:
    """A mixin of frozen objects: results are functions of what the object holds, so one is enough.

    Two threads that ask at once may both compute; the results are the same and the last is kept.
    """

    def __getstate__(self) -> dict[str, Any]:
        """Pickles hold what the object is and its own properties, not what others derived."""
        return {key: value for key, value in self.__dict__.items() if key != "_results"}

    def once(self, function: Callable[[Self], X]) -> X:
        """Return ``function(self)``, computed when first asked for.

        function: hashable and the same object each time (a function of a module, not a lambda).
        An exception is not kept: it is raised anew each time.
        """
        results: dict[Any, Any] = self.__dict__.setdefault("_results", {})
        if function not in results:
            results[function] = function(self)
        result: X = results[function]
        return result
