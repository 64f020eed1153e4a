"""Processes beside the caller's that share tasks, and end with it, however it ends."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from queue import SimpleQueue
from threading import Lock, Thread
from typing import TypeVar

from .guard import Guard
from .task import Task

Y = TypeVar("Y")


def processes(
    tasks: Iterable[Task[Y]], workers: int, *, guarded: bool = False, limit: float | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[tuple[Task[Y], Y]]:  # fmt: skip
    """Each task with what it gives, in the order in which they are done.

    tasks: a worker that is free takes the next, so that an iterator can still leave some out.
    guarded, limit, environment: see ``Guard``. What a task raises is raised here, and the other tasks
    are given up. Raises SolverError where a process is ended from outside again and again.
    """
    left, lock = iter(tasks), Lock()
    done: SimpleQueue[tuple[Task[Y], Y] | BaseException | None] = SimpleQueue()
    guards = [Guard(guarded=guarded, limit=limit, environment=environment) for _ in range(workers)]

    def work(guard: Guard) -> None:
        try:
            with guard:
                while True:
                    with lock:
                        task = next(left, None)
                    if task is None:
                        break
                    done.put((task, guard.run(task)))
            done.put(None)
        except BaseException as error:
            done.put(error)

    threads = [Thread(target=work, args=(guard,), daemon=True) for guard in guards]
    for thread in threads:
        thread.start()
    try:
        for _ in range(workers):
            while (finished := done.get()) is not None:
                if isinstance(finished, BaseException):
                    raise finished
                yield finished
    finally:
        with lock:
            left = iter(())
        for guard in guards:
            guard.stop()  # whoever is still at work, after Ctrl-C or an error, ends at once
        for thread in threads:
            thread.join()
