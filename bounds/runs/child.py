"""The process that works for a guard: it is sent tasks and sends back where it is, and what came out.

``python -m bounds.runs.child READ WRITE LEASH``: numbers of open pipes. Whoever holds the other end of
the leash lets go of it by ending, however that happens, and this process ends at once.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
from multiprocessing.connection import Connection
from threading import Thread


def main(read: int, write: int, leash: int) -> None:
    """Do the tasks that come, one after the other, until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever asked
    os.dup2(2, 1)  # what a claim prints is no part of a command's output
    Thread(target=_end_with, args=(leash,), daemon=True).start()
    asked, answers = Connection(read, writable=False), Connection(write, readable=False)
    while True:
        try:
            guarded, task, skip = pickle.loads(asked.recv_bytes())
        except EOFError:
            return
        except Exception as error:  # what cannot be found again in this process
            answers.send(("failed", _sendable(error)))
            continue
        more = {"skip": skip, "beat": lambda at: answers.send(("at", at))} if guarded else {}
        try:
            answer = "done", task.run(**more)
        except Exception as error:  # it is the asker's
            answer = "failed", _sendable(error)
        answers.send(answer)


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


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
