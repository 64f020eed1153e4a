"""A task: a pure call on plain values, with an id that follows from both."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, is_dataclass
from typing import Any, Generic, TypeVar

Y = TypeVar("Y")


@dataclass(frozen=True)
class Task(Generic[Y]):
    """One unit of work.

    call: a function of a module (found again by its name in another process): its records, or a part.
    args: its keyword arguments: numbers, strings, lists and flat dataclasses of these. What the call
    needs beyond them (an instance, a solution) it makes itself, so that a task is small to send.
    aside: keyword arguments that change nothing of what comes out, as where a file lies. size: how many
    instances or users it is about, for who wants to know how far a run has come.
    """

    call: Callable[..., Y]
    args: Mapping[str, Any]
    aside: Mapping[str, Any] = field(default_factory=dict)
    size: int = 1

    @classmethod
    def of(cls, call: Callable[..., Y], **args: Any) -> Task[Y]:
        """The task of calling ``call`` with these keyword arguments."""
        return cls(call, args)

    @property
    def id(self) -> str:
        """SHA-256 of what is called and on what: the same in every process, at any time."""
        content = {"call": f"{self.call.__module__}.{self.call.__qualname__}", "args": self.args}
        text = json.dumps(content, sort_keys=True, allow_nan=False, default=_plain)
        return hashlib.sha256(text.encode()).hexdigest()

    def run(self, **more: Any) -> Y:
        """Call it; more: what the engine itself gives (see ``guard``)."""
        return self.call(**self.args, **self.aside, **more)


def _plain(value: Any) -> Any:
    """Fields of a dataclass. Raises TypeError for what is no plain value: it belongs in no task."""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise TypeError(f"{value!r} is not a plain value")
