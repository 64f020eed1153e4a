"""Adaptive sweeps: the tasks of a generation are a function of the parts of those before, and of nothing
else, so that it goes on, shards and repeats like any other sweep.

It gives breadth where ``search`` climbs: thousands of worlds at once, from every family, none of them
optimised for long.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from ..records.queries import tightest
from ..records.store import Store
from .chunk import lineage_of
from .sweep import Part, tasks_from, tasks_of


def generations(store: Store, plan: Mapping[str, Any]) -> Iterator[dict[str, Part]]:
    """The tasks of each generation. The next can be named once all before are done: until then it ends."""
    done = tasks_of(plan)
    yield done
    adaptive = plan.get("adaptive")
    for _ in range(0 if adaptive is None else adaptive["generations"]):
        if not all(map(store.has, done)):
            return
        following = tasks_from(plan, _sources(store, plan, done))
        new = {task: part for task, part in following.items() if task not in done}
        if not new:  # nothing that the claim speaks of
            return
        yield new
        done = done | new


def _sources(
    store: Store, plan: Mapping[str, Any], done: Mapping[str, Part]
) -> Iterator[dict[str, Any]]:
    """Children of the tightest worlds so far, cut into chunks."""
    adaptive = plan["adaptive"]
    children = []
    for row in tightest(store.rows(done), adaptive["claim"], adaptive["keep"]):
        parent = lineage_of(row)
        for i in range(adaptive["children"]):
            # of the parent's content and of how many worlds there were: kept again, it has other children
            text = f"{row['sha256'].hex()}:{len(done)}:{i}"
            step = int.from_bytes(hashlib.sha256(text.encode()).digest()[:6])
            children.append({**parent, "steps": [*parent["steps"], step]})
    for i in range(0, len(children), plan["chunk"]):
        yield {"lineages": children[i : i + plan["chunk"]]}
