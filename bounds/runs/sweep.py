"""A sweep: the tasks of a design, those that are left, and who does them.

A task is named by what is computed and by what code, a part by its task; nothing else is remembered
between runs. Any number of runs may share a folder, one after the other or at once.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..claims.catalogue import CLAIMS, claim_named
from ..records.sources import code_of
from ..records.store import Store
from .beside import processes
from .chunk import chunk
from .design import Design
from .task import Task

Part = Task[bytes]
# does tasks, in any order: those that are left, seconds without an answer, environment of workers
Engine = Callable[[Iterator[Part], float, Mapping[str, str]], Iterator[tuple[Part, bytes]]]
OnPart = Callable[["Progress"], None]


def plan_of(design: Design) -> dict[str, Any]:
    """A design with the code that it is computed by: all that a folder need know."""
    return {
        "claims": list(design.claims), "sources": list(design.sources), "limit": design.limit,
        "paths": dict(design.paths), "plugins": list(design.plugins), "chunk": design.chunk,
        "refused": list(design.refused),
        "adaptive": None if design.adaptive is None else asdict(design.adaptive),
        "code": code_of(claim_named(name) for name in design.claims),
    }  # fmt: skip


def tasks_of(plan: Mapping[str, Any]) -> dict[str, Part]:
    """The tasks of a plan by id; of an adaptive one, its first generation."""
    return tasks_from(plan, plan["sources"])


def tasks_from(plan: Mapping[str, Any], sources: Iterable[Mapping[str, Any]]) -> dict[str, Part]:
    """Tasks by id."""
    tasks = []
    for source in sources:
        paths = {digest: plan["paths"][digest] for digest in source.get("files", ())}
        tasks.append(Task(
            chunk, {"source": source, "claims": plan["claims"], "code": plan["code"]},
            {"paths": paths, "plugins": plan["plugins"]},
            source["n"] if "n" in source else len(source.get("files") or source["lineages"]),
        ))  # fmt: skip
    return {task.id: task for task in tasks}


def shard(ids: Sequence[str], i: int, n: int) -> list[str]:
    """The i-th of n parts of equal length: ids are hashes, so that each is a fair sample."""
    return sorted(ids)[i::n]


@dataclass
class Progress:
    """How far a run has come. instances: judged by this run, in ``seconds``; left: not yet."""

    tasks: int
    done: int
    by_others: int
    instances: int
    left: int


def sweep(
    store: Store, tasks: Mapping[str, Part], ids: Sequence[str], engine: Engine, limit: float,
    on_part: OnPart, environment: Mapping[str, str],
) -> Progress:  # fmt: skip
    """Do what is left of these tasks and write each part as soon as it is done.

    They are taken in a random order: what is done at any time is a fair sample of the whole, an
    estimate of the rest is honest, and runs that share a folder seldom do the same. Which task is
    left is asked again before it is begun.
    """
    left = [task for task in ids if not store.has(task)]
    random.shuffle(left)
    now = Progress(len(ids), len(ids) - len(left), 0, 0, sum(tasks[t].size for t in left))
    on_part(now)

    def wanted() -> Iterator[Part]:
        for task in left:
            if store.has(task):
                now.by_others += 1
                now.left -= tasks[task].size
            else:
                yield tasks[task]

    for task, content in engine(wanted(), limit, environment):
        store.write(task.id, content)
        now.done += 1
        now.instances += task.size
        now.left -= task.size
        on_part(now)
    now.done += now.by_others
    on_part(now)
    return now


def local(workers: int) -> Engine:
    """Processes beside this one."""

    def engine(
        tasks: Iterator[Part], limit: float, environment: Mapping[str, str]
    ) -> Iterator[tuple[Part, bytes]]:
        return processes(tasks, workers, guarded=True, limit=limit, environment=environment)

    return engine


def load_plugins(plan: Mapping[str, Any]) -> None:
    """Make the claims of a plan known to this process."""
    for name in plan["plugins"]:
        CLAIMS.add_module(name)
