"""Linear algebra on one thread, so that no bit hangs on how many threads there are."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from threading import Lock

import scipy  # whose parts are imported when they are first asked for
from threadpoolctl import ThreadpoolController


class OneThread:
    """Holds the linear algebra libraries to one thread while anybody asks for it.

    A sum that several threads share is rounded by their number. The first to enter sets the limit
    and the last to leave lifts it, in whatever order they come and go.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._inside = 0
        self._limit = ExitStack()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._after_fork)

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """A context in which they have one thread."""
        with self._lock:
            if self._inside == 0:
                self._limit.enter_context(_libraries().limit(limits=1, user_api="blas"))
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if self._inside == 0:
                    self._limit.close()

    def _after_fork(self) -> None:
        """The threads that were inside do not exist in the child."""
        self._lock = Lock()
        self._inside = 0
        self._limit.close()


one_blas_thread = OneThread()


@cache
def _libraries() -> ThreadpoolController:
    """The thread pools of NumPy's and SciPy's linear algebra; looking for them takes a while."""
    scipy.linalg.inv  # noqa: B018  # loaded first: a library that comes later would not be found
    return ThreadpoolController()
