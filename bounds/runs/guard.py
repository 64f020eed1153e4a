"""A guard over one process that works: if that dies or does not answer, its task is done by another.

A task that is told of its guard (``guarded``) says before each step where it is (``beat``), and is
sent again with a note of the steps that it must not take any more (``skip``: step -> why).
"""

from __future__ import annotations

import contextlib
import math
import os
import pickle
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, TypeVar

from toymdp.errors import SolverError

from .child import TICK
from .prepared import modules
from .task import Task

TRIES = 3  # of a step at which the process ended: once may have been somebody's kill -9
SILENCE = (
    20  # limits without a tick: compiled code that does not return cannot say that time goes by
)
IDLE = 0.002  # seconds of CPU in a tick: less is sleep, not a machine that is shared
Y = TypeVar("Y")


@dataclass
class Step:
    """The step that a process is at, and the time it has spent there.

    Seconds of CPU, and ticks in which it did nothing: those of the clock would be as many on a machine
    that is busy with other things.
    """

    at: str = ""
    spent: float = 0.0
    _cpu: float = 0.0

    @property
    def parts(self) -> bool:
        """Whether it is made of steps ``at/...``, which are taken one by one the next time."""
        return bool(self.at) and "/" not in self.at

    def take(self, kind: str, at: str, cpu: float) -> None:
        """Take in what the process said."""
        if kind == "at":
            self.at, self.spent, self._cpu = at, 0.0, cpu
            return
        used, self._cpu = cpu - self._cpu, cpu
        self.spent += used if used > IDLE else TICK


class Guard:
    """One process beside the caller's, begun when it is needed; a context manager.

    limit: seconds (see ``Step``) after which a step is given up, from the first step on, so that what is
    imported does not count; None: as long as it takes.
    guarded: whether the calls of its tasks take ``skip`` and ``beat``. environment: what the process
    has beside this one's.
    """

    def __init__(
        self, *, guarded: bool = False, limit: float | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self._guarded, self._limit = guarded, limit
        self._environment = {**os.environ, **modules(), **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self._asked: Connection | None = None
        self._answers: Connection | None = None
        self._leash = -1
        self._stopped = False

    def run(self, task: Task[Y]) -> Y:
        """What the task gives. Raises what it raises, and SolverError if its process keeps ending."""
        skip: dict[str, str] = {}
        deaths: Counter[str] = Counter()
        while True:
            step = Step()
            try:
                self._send(task, skip)
                while True:
                    kind, value, seconds = self._next(step)
                    if kind == "done":
                        result: Y = value
                        return result
                    if kind == "failed":
                        raise value
                    step.take(kind, value, seconds)
            except TimeoutError:
                self.end()
                skip[step.at] = f"no answer within {self._limit:g} s"
            except (EOFError, OSError):
                code = self.end()
                if self._stopped:
                    raise
                deaths[step.at] += 1
                if deaths[step.at] == (1 if step.parts else TRIES):
                    if not step.at:  # it takes no part in this, or does not even begin
                        rule = f"a worker was ended from outside {TRIES} times at one unit"
                        raise SolverError(
                            f"{rule}; the units that are done are written: go on with --resume, "
                            "with fewer --workers"
                        ) from None
                    skip[step.at] = f"its process ended {TRIES} times here ({_said(code)})"

    def _send(self, task: Task[Any], skip: dict[str, str]) -> None:
        if self._stopped:
            raise EOFError("stopped")
        if self._process is None:
            self._begin()
        assert self._asked is not None
        self._asked.send_bytes(pickle.dumps((self._guarded, task, skip)))

    def _next(self, step: Step) -> Any:
        """What the process says next. Raises TimeoutError where that has no end."""
        assert self._answers is not None
        limit = self._limit if step.at and self._limit != math.inf else None
        if limit is not None and step.spent > limit:
            raise TimeoutError
        if not self._answers.poll(None if limit is None else SILENCE * limit):
            raise TimeoutError
        return self._answers.recv()

    def _begin(self) -> None:
        """A fresh interpreter: a fork would inherit locks and threads of numerical libraries."""
        its_read, ask = os.pipe()
        answer, its_write = os.pipe()
        its_leash, self._leash = os.pipe()
        theirs = (its_read, its_write, its_leash)
        command = [sys.executable, "-m", "bounds.runs.child", *map(str, theirs)]
        try:
            self._process = subprocess.Popen(
                command, pass_fds=theirs, stdin=subprocess.DEVNULL, env=self._environment
            )
        finally:
            for handle in theirs:
                os.close(handle)
            self._asked = Connection(ask, readable=False)
            self._answers = Connection(answer, writable=False)

    def stop(self) -> None:
        """Make ``run``, in another thread, end at once and raise EOFError."""
        self._stopped = True
        process = self._process
        if process is not None:
            process.kill()

    def end(self) -> int | None:
        """End the process, whatever it does; its exit code, None if there was none."""
        if self._process is None:
            return None
        with contextlib.suppress(OSError):
            os.close(self._leash)
        self._process.kill()
        code = self._process.wait()
        for pipe in (self._asked, self._answers):
            if pipe is not None:
                pipe.close()
        self._process = self._asked = self._answers = None
        return code

    def __enter__(self) -> Guard:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()


def _said(code: int | None) -> str:
    if code is not None and code < 0:
        return f"signal {signal.Signals(-code).name}"
    return f"exit code {code}"
