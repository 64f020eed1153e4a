"""EXPERIMENTS: one row an experiment, in the order in which they are listed."""

from __future__ import annotations

from toymdp.errors import InstanceError

from . import bases, corpus, exact, offline, sleep, t2i, ultrafeedback, weights
from .experiment import Experiment

_ROWS = (
    ultrafeedback.EXPERIMENT, t2i.EXPERIMENT, sleep.EXPERIMENT, exact.EXPERIMENT, bases.EXPERIMENT,
    weights.EXPERIMENT, offline.EXPERIMENT, corpus.EXPERIMENT,
)  # fmt: skip
EXPERIMENTS: dict[str, Experiment] = {row.name: row for row in _ROWS}


def named(name: str) -> Experiment:
    """The experiment of a name. Raises InstanceError if there is none."""
    if name not in EXPERIMENTS:
        rule = f"no such experiment; choose from {', '.join(EXPERIMENTS)}"
        raise InstanceError.of("experiment", name, rule, "correct it")
    return EXPERIMENTS[name]
