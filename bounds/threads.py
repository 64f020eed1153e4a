"""How many cores there are, and a thread beside the caller's for a check of large tables."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager


def cores() -> int:
    """How many cores this process may use."""
    own = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return own or 1


@contextmanager
def helper(wanted: bool) -> Iterator[Executor | None]:
    """A thread beside the caller's, where it is wanted and there is a core for it; else None."""
    if not wanted or cores() < 2:
        yield None
        return
    with ThreadPoolExecutor(1) as pool:
        try:
            yield pool
        finally:  # what is still waiting is not asked for any more, least of all after Ctrl-C
            pool.shutdown(wait=False, cancel_futures=True)
