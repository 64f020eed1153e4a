"""The papers' methods side by side: what experiments record of each, flat, for figures.

One unit is one user of one world of an experiment, on prompts not seen before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..records.output import Record
from ..runs.task import Task
from .catalogue import named

DOMAINS = ("ultrafeedback", "sleep", "t2i")
SLOW = {"t2i": ("pad-sf",)}  # half a minute a fit, and more
ONE_USER = ("t2i",)  # whose units take as long as several of the others
LOSSES = ("span", "estimation", "souping", "specialists")


def tasks(
    domains: Sequence[str], seeds: int, users: int, pairs: Sequence[int], methods: Sequence[str]
) -> list[Task]:
    """A task for each domain, seed and user; methods: patterns, less those too slow for a domain.

    A domain of ``ONE_USER`` has one user a seed, whatever is asked.
    """
    return [
        Task.of(
            flat, domain=domain, seed=seed, user=user, pairs=list(pairs),
            methods=[m for m in methods if m not in SLOW.get(domain, ())],
        )
        for domain in domains for seed in range(seeds)
        for user in range(1 if domain in ONE_USER else users)
    ]  # fmt: skip


def flat(domain: str, seed: int, user: int, pairs: list[int], methods: list[str]) -> list[Record]:
    """Rows ``{domain, seed, user, pairs, method, oracle, share, span, ..., reason}`` of one unit.

    The four losses are shares of ``V_u − V_ref`` as well, and add up to ``1 − share``; pairs is None
    for a method that sees none. Variants marked as slow are left out. Labels and outside are those of
    the experiment's whole run.
    """
    experiment = named(domain)
    settings = replace(
        experiment.full, seeds=seed + 1, users=user + 1, pairs=tuple(pairs), methods=tuple(methods),
        quick=True,
    )  # fmt: skip
    last = experiment.tasks(settings)[-1]
    return [_flat(r) for r in last.run() if r["prompts"] == "test"]


def _flat(record: Record) -> Record:
    name = record["method"] + (f"[{record['variant']}]" if record["variant"] else "")
    lost = record["losses"] or dict.fromkeys(LOSSES)
    whole = None if record["share"] is None else record["V_u"] - record["V_ref"]
    return {
        **{k: record[k] for k in ("domain", "seed", "user", "pairs")},
        "method": name,
        **{k: record[k] for k in ("oracle", "share")},
        **{k: None if whole is None or lost[k] is None else lost[k] / whole for k in LOSSES},
        "status": record["status"],
        "reason": record["reason"],
    }
