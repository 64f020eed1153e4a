"""Tasks to records. An engine knows neither claims nor methods.

This one takes the tasks in their order, in this process. Since a task is small, pure and named by
its content, another may send it elsewhere, or leave out those whose records are there already.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..records.output import Record
from .progress import OnProgress, silent
from .task import Task


def run(
    tasks: Sequence[Task], stage: str = "", on_progress: OnProgress = silent
) -> Iterator[tuple[Task, list[Record]]]:
    """Yield each task with its records as soon as it is done; stage: what the progress is of."""
    for done, task in enumerate(tasks):
        on_progress(stage, done, len(tasks))
        yield task, task.run()
    on_progress(stage, len(tasks), len(tasks))
