"""Processes beside the caller's that share tasks, and end with it, however it ends."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from multiprocessing.connection import Connection
from threading import Thread

from toymdp.errors import SolverError

from ..records.output import Record
from .task import Task


def processes(tasks: Sequence[Task], workers: int) -> Iterator[tuple[Task, list[Record]]]:
    """Each task with its records, in the order in which they are done.

    What a task raises is raised here, and the other tasks are given up. Raises SolverError where a
    process is ended from outside, as for want of memory.
    """
    # a fresh interpreter each: a fork would inherit locks and threads of numerical libraries
    context = get_context("spawn")
    reader, writer = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(workers, context, _begin, (reader,))
    try:
        asked = {pool.submit(task.run): task for task in tasks}
        for future in as_completed(asked):
            yield asked[future], future.result()
        pool.shutdown()
    except BrokenProcessPool:
        rule = "a worker was ended from outside; the units that are done are written"
        raise SolverError(f"{rule}: go on with --resume, with fewer --workers") from None
    finally:
        writer.close()  # whoever is still at work, after Ctrl-C or an error, ends at once
        pool.shutdown(cancel_futures=True)
        reader.close()


def _begin(reader: Connection) -> None:
    """Make a new process end when the one that asked does, and leave Ctrl-C to that one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with, args=(reader,), daemon=True).start()


def _end_with(reader: Connection) -> None:
    """Wait for the other end of the pipe to close, which the system does even after a kill."""
    reader.poll(None)
    os._exit(1)
