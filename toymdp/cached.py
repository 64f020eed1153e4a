"""``cached_property`` without a lock, so that threads on different objects do not wait in line.

That of functools holds one lock for all instances of a class before Python 3.12. Here two threads
that ask one object at once may both compute; what is cached is a function of frozen data, and the
last to finish is kept.
"""

from __future__ import annotations

import functools
from typing import Any, Self, TypeVar, overload

from .threads import one_blas_thread

T = TypeVar("T")


class cached_property(functools.cached_property[T]):  # noqa: N801  # stands in for a function's name
    """A property that is computed when first asked for."""

    @overload
    def __get__(self, instance: None, owner: type[Any] | None = None) -> Self: ...

    @overload
    def __get__(self, instance: object, owner: type[Any] | None = None) -> T: ...

    def __get__(self, instance: object, owner: type[Any] | None = None) -> Any:
        """Return the value that the instance holds, or compute and hold it."""
        if instance is None:
            return self
        held, name = instance.__dict__, self.func.__name__
        if name not in held:
            with one_blas_thread():  # what is kept must not hang on the number of threads
                held[name] = self.func(instance)
        return held[name]
