"""The process that works for a guard: it is sent tasks and sends back where it is, and what came out.

``python -m bounds.runs.child READ WRITE LEASH``: numbers of open pipes. Whoever holds the other end of
the leash lets go of it by ending, however that happens, and this process ends at once.

What it sends: ``at`` a step, ``tick`` each second of a task, both with the CPU time so far, and ``done``
or ``failed`` with what came out.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import time
from multiprocessing.connection import Connection
from threading import Event, Lock, Thread
from typing import Any

TICK = 1.0  # seconds


class Worker:
    """A loop over what is asked, and a thread beside it that says that time goes by."""

    def __init__(self, asked: Connection, answers: Connection) -> None:
        self._asked, self._answers = asked, answers
        self._busy, self._lock = Event(), Lock()

    def serve(self) -> None:
        """Do the tasks that come, one after the other, until the pipe is closed."""
        Thread(target=self._ticks, daemon=True).start()
        while True:
            try:
                guarded, task, skip = pickle.loads(self._asked.recv_bytes())
                more = {"skip": skip, "beat": self._beat} if guarded else {}
                self._busy.set()
                answer = "done", task.run(**more)
            except EOFError:
                return
            except Exception as error:  # it is the asker's
                answer = "failed", _sendable(error)
            self._busy.clear()
            self._say(*answer)

    def _beat(self, at: str) -> None:
        self._say("at", at, time.process_time())

    def _ticks(self) -> None:
        while self._busy.wait():
            time.sleep(TICK)
            if self._busy.is_set():
                self._say("tick", "", time.process_time())

    def _say(self, kind: str, value: Any, seconds: float = 0.0) -> None:
        with self._lock:
            if kind != "tick" or self._busy.is_set():  # nobody listens between two tasks
                self._answers.send((kind, value, seconds))


def _sendable(error: Exception) -> Exception:
    """The error itself, or its text where it cannot be sent."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _end_with(leash: int) -> None:
    os.read(leash, 1)
    os._exit(1)


def main(read: int, write: int, leash: int) -> None:
    """Work for whoever holds the other ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever asked
    os.dup2(2, 1)  # what a claim prints is no part of a command's output
    Thread(target=_end_with, args=(leash,), daemon=True).start()
    Worker(Connection(read, writable=False), Connection(write, readable=False)).serve()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
