"""The papers' methods side by side: what experiments record of each, flat, for figures.

One unit is one user of one world of an experiment, on prompts not seen before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from toymdp.learning.feedback import Mode

from ..records.output import Record
from ..runs.task import Task
from . import exact
from .catalogue import named as experiment_of
from .findings import LOSSES, named

DOMAINS = ("ultrafeedback", "sleep", "t2i")
ONE_USER = ("t2i",)  # whose units take as long as several of the others
COLUMNS = ("domain", "seed", "user", "pairs", "labels")


def tasks(
    experiments: Sequence[str], seeds: int, users: int, pairs: Sequence[int], methods: Sequence[str],
    labels: Sequence[Mode] = ("bt",), *, quick: bool = True,
) -> list[Task[list[Record]]]:  # fmt: skip
    """A task for each experiment, way to answer, seed and user; methods: patterns.

    An experiment of ``ONE_USER`` has one user a seed, whatever is asked. quick: the fewer sizes and
    variants of its quick run.
    """
    return [
        Task.of(
            flat, experiment=name, seed=seed, user=user, pairs=list(pairs), methods=list(methods),
            labels=mode, quick=quick,
        )
        for name in experiments for mode in labels for seed in range(seeds)
        for user in range(1 if name in ONE_USER else users)
    ]  # fmt: skip


def flat(
    experiment: str, seed: int, user: int, pairs: list[int], methods: list[str], labels: Mode,
    quick: bool,
) -> list[Record]:  # fmt: skip
    """Rows ``{domain, seed, user, pairs, labels, method, oracle, share, ...}`` of one unit.

    The four losses are shares of V_u − V_ref as well, and add up to ``1 − share``; pairs is None
    for a method that sees none, bases how many specialists where that varies. ``outside`` is that of the
    experiment's whole run.
    """
    chosen = experiment_of(experiment)
    settings = replace(
        chosen.full, seeds=seed + 1, users=user + 1, pairs=tuple(pairs), methods=tuple(methods),
        labels=labels, quick=quick,
    )  # fmt: skip
    last = chosen.tasks(settings)[-1]
    return [_flat(r) for r in last.run() if r["prompts"] == "test"]


def _flat(record: Record) -> Record:
    lost = record["losses"] or dict.fromkeys(LOSSES)
    whole = None if record["share"] is None else record["V_u"] - record["V_ref"]
    rates = record["acceptance"] or {}
    return {
        **{k: record[k] for k in COLUMNS},
        "bases": record.get("bases"),
        "method": named(record),
        **{k: record[k] for k in ("oracle", "share", "accuracy")},
        **{k: None if whole is None or lost[k] is None else lost[k] / whole for k in LOSSES},
        **{f"accepted_{k}": rates.get(k) for k in ("token", "answer")},
        "status": record["status"],
        "reason": record["reason"],
    }


def topics(
    seeds: int, users: int, pairs: int, turned: Sequence[int], separations: Sequence[float]
) -> list[Task[list[Record]]]:
    """A task for each world of EXACT's topics: how far a taste turns, how far topics are apart."""
    return [
        Task.of(of_topics, seed=seed, user=user, pairs=pairs, turned=t, separation=r)
        for t in turned for r in separations for seed in range(seeds) for user in range(users)
    ]  # fmt: skip


def of_topics(seed: int, user: int, pairs: int, turned: int, separation: float) -> list[Record]:
    """The rows of ``flat``, with the two that make the world."""
    rows = exact.by_topics(seed, user, pairs, turned, separation)
    return [
        _flat(r) | {"turned": turned, "separation": separation}
        for r in rows if r["prompts"] == "test"
    ]  # fmt: skip
