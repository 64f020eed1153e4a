"""Units of an experiment as tasks of a sweep: the same engines, the same folder of parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from toymdp.errors import SolverError

from ..records.output import Record
from ..records.parts import read_part, records_of, records_part
from ..records.sources import code_hash
from ..records.store import Store
from ..runs.task import Task
from .catalogue import named
from .experiment import Ask, Experiment, Settings


def unit_part(
    experiment: str, ask: Ask, code: str, *, skip: Mapping[str, str], beat: Callable[[str], None]
) -> bytes:
    """The part of one user of one seed. Raises SolverError where other code is here than was asked for."""
    if code != code_hash():
        raise SolverError("the code is not the one that this run was begun with; start it again")
    beat("unit/")
    if skip:
        raise SolverError(f"{experiment}, seed {ask.seed}, user {ask.user}: {skip['unit/']}")
    own = Task.of(unit_part, experiment=experiment, ask=ask, code=code).id
    return records_part(own, named(experiment).unit(ask))


def parts_of(experiment: Experiment, settings: Settings) -> dict[str, Task[bytes]]:
    """A task for each seed and user, by id, in their order."""
    code = code_hash()
    tasks = [
        Task.of(unit_part, experiment=experiment.name, ask=unit.args["ask"], code=code)
        for unit in experiment.tasks(settings)
    ]
    return {task.id: task for task in tasks}


def records_in(store: Store, tasks: Sequence[str]) -> list[Record]:
    """The records of tasks that are done, in their order."""
    return [row for t in tasks if store.has(t) for row in records_of(read_part(store.path(t), t))]
