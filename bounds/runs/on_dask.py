"""The tasks of a sweep on a Dask cluster: ``dask://host:port`` is its scheduler.

Workers need this package, of the same code; they need no folder in common with this process, which
alone writes parts. Each thread of a worker has a guard of its own, so that a claim that hangs or ends
its process takes no worker with it. A task whose worker is lost is done by another.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator, Mapping
from itertools import islice
from queue import SimpleQueue
from typing import Any

from toymdp.errors import InstanceError, SolverError
from toymdp.extras import install

from .guard import Guard
from .sweep import Engine, Part

AHEAD = 2  # tasks that a thread has been given: one at work, one to begin at once
WAIT = 20  # seconds for the scheduler to answer


class Guards:
    """The guards of one worker, one for each of its threads: a worker plugin of Dask."""

    def __init__(self, limit: float) -> None:
        self._limit = limit

    def setup(self, worker: Any) -> None:
        """Called by Dask where the worker is."""
        self._all = [Guard(guarded=True, limit=self._limit) for _ in range(worker.state.nthreads)]
        self._free: SimpleQueue[Guard] = SimpleQueue()
        for guard in self._all:
            self._free.put(guard)

    def teardown(self, worker: Any) -> None:
        """The same, at its end."""
        for guard in self._all:
            guard.stop()

    def run(self, task: Part) -> bytes:
        """The part of a task, made by a guard that is free."""
        guard = self._free.get()
        try:
            return guard.run(task)
        finally:
            self._free.put(guard)


def guarded(name: str, task: Part) -> bytes:
    """What a worker of Dask is asked to do."""
    from distributed import get_worker

    guards: Guards = get_worker().plugins[name]
    return guards.run(task)


def on_dask(address: str) -> Engine:
    """Tasks on the cluster of a scheduler. Raises InstanceError where there is none, or no Dask."""
    try:
        from distributed import Client, KilledWorker, WorkerPlugin, as_completed
    except ImportError:
        rule = "asks for Dask, which is not installed"
        raise InstanceError(f"--engine: {rule}; {install('dask')}") from None

    class Plugin(Guards, WorkerPlugin):  # type: ignore[misc]
        """As Dask wants it."""

    def engine(
        tasks: Iterator[Part], limit: float, environment: Mapping[str, str]
    ) -> Iterator[tuple[Part, bytes]]:
        logging.getLogger("distributed").setLevel(logging.ERROR)
        name = f"soupcheck-{secrets.token_hex(8)}"
        try:
            client = Client(
                address.replace("dask://", "tcp://"), timeout=WAIT, set_as_default=False
            )
        except (OSError, ValueError) as error:
            said = " ".join(str(error).split())
            rule = f"no scheduler answers there ({said})"
            raise InstanceError.of("--engine", address, rule, "start one: dask scheduler") from None
        with client:
            client.register_plugin(Plugin(limit), name=name)
            asked: dict[Any, Part] = {}

            def more(n: int) -> list[Any]:
                chosen = list(islice(tasks, n))
                futures = [client.submit(guarded, name, task, pure=False) for task in chosen]
                asked.update(zip(futures, chosen, strict=True))
                return futures

            threads = max(1, sum(client.nthreads().values()))
            waiting = as_completed(more(AHEAD * threads), loop=client.loop)
            try:
                for future in waiting:
                    try:
                        content = future.result()
                    except KilledWorker:
                        rule = "the workers of this task were ended again and again"
                        raise SolverError(
                            f"--engine {address}: {rule}; start the sweep again"
                        ) from None
                    yield asked.pop(future), content
                    for following in more(1):
                        waiting.add(following)
            finally:
                client.cancel(list(asked))
                client.unregister_worker_plugin(name)

    return engine
