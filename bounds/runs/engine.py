"""Tasks to what they give. An engine knows neither claims nor methods.

A task is small, pure and named by its content, so that it is the same wherever it runs: in this
process, or in one of several beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

from .beside import processes
from .progress import OnProgress, silent
from .task import Task

Y = TypeVar("Y")


def run(
    tasks: Sequence[Task[Y]], stage: str = "", on_progress: OnProgress = silent, workers: int = 1
) -> Iterator[tuple[Task[Y], Y]]:
    """Yield each task with what it gives as soon as it is done; stage: what the progress is of.

    workers: processes that share the tasks. With one they are taken in their order, in this process;
    with more they come in the order in which they are done, so that none waits unwritten for another.
    """
    if workers > 1 and len(tasks) > 1:
        done_by = processes(tasks, min(workers, len(tasks)))
    else:
        done_by = ((task, task.run()) for task in tasks)
    on_progress(stage, 0, len(tasks))
    for done, finished in enumerate(done_by, 1):
        yield finished
        on_progress(stage, done, len(tasks))
