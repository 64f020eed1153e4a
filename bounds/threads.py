"""Threads of a check: one for linear algebra, so that bits do not hang on their number, and a helper."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
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


one_blas_thread = OneThread()


@cache
def _libraries() -> ThreadpoolController:
    """The thread pools of NumPy's and SciPy's linear algebra; looking for them takes a while."""
    scipy.linalg.inv  # noqa: B018  # loaded first: a library that comes later would not be found
    return ThreadpoolController()


@contextmanager
def helper(wanted: bool) -> Iterator[Executor | None]:
    """A thread beside the caller's, where it is wanted and there is a core for it; else None."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if not wanted or (cores or 1) < 2:
        yield None
        return
    with ThreadPoolExecutor(1) as pool:
        try:
            yield pool
        finally:  # what is still waiting is not asked for any more, least of all after Ctrl-C
            pool.shutdown(wait=False, cancel_futures=True)
