"""The process around a command: its standard streams, and what Ctrl-C does to it.

Streams may be closed, full, or of an encoding that has no λ; Ctrl-C may come while a library is
being imported, which then turns it into an error of its own.
"""

from __future__ import annotations

import codecs
import contextlib
import logging
import os
import signal
import stat
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any, TextIO

from toymdp.errors import OutputError, printable

# how signs that tables use are written where the encoding of the output lacks them
_NAMES = {
    "λ": "lambda", "Δ": "Delta", "β": "beta", "μ": "mu", "π": "pi", "ψ": "psi", "γ": "gamma",
    "σ": "sigma", "Σ": "sum", "δ": "delta", "ε": "eps", "φ": "phi", "ν": "nu", "≤": "<=",
    "≥": ">=", "≠": "!=", "−": "-", "–": "-", "—": "-", "·": ".", "…": "...", "‖": "||",
    "∞": "inf", "×": "x", "±": "+-", "→": "->", "₁": "_1", "₂": "_2", "²": "^2", "’": "'",
    "“": '"', "”": '"', "∈": "in", "√": "sqrt", "∅": "{}", "∝": "~", "⁻": "^-", "¹": "1",
}  # fmt: skip
_ERRORS = "soupcheck"


def _spelt(error: UnicodeError) -> tuple[str, int]:
    """Spell out what an encoding lacks: by name where there is one, else as an escape."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    spelt = "".join(
        _NAMES.get(c) or c.encode("ascii", "backslashreplace").decode() for c in lacking
    )
    return spelt, error.end


codecs.register_error(_ERRORS, _spelt)


def spelt(text: str, encoding: str) -> str:
    """The text as a stream of this encoding will show it."""
    return text.encode(encoding, _ERRORS).decode(encoding)


def prepare_streams() -> None:
    """Make standard output and error writable whatever their encoding; put a sink where one is closed.

    A closed descriptor would be given to the next file that is opened, and then written into.
    Raises OutputError if standard output is closed: what a command finds would be lost.
    """
    closed = sys.stdout is None
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
    for name in ("stdout", "stderr"):
        stream: Any = getattr(sys, name)
        if stream is None:  # Python's sign that it was closed
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115  # to the end
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=_ERRORS)
    if closed:
        raise OutputError("standard output: is closed; send it to /dev/null if it is not wanted")


def standard_stream(path: object) -> TextIO | None:
    """Our own stream that ``path`` is another name of, or None: '-', /dev/stdout, /dev/fd/2 ...

    The file that a stream is sent to counts too. Opened a second time it would be emptied, and each
    of the two would write over the other.
    """
    if str(path) == "-":
        return sys.stdout
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream: TextIO = getattr(sys, name)
        names = (f"/dev/{name}", f"/dev/fd/{number}", f"/proc/self/fd/{number}")
        if str(path) in names or _is_sent_to(stream, path):
            return stream
    return None


def _is_sent_to(stream: Any, path: Any) -> bool:
    try:
        there, here = os.stat(path), os.fstat(stream.fileno())
    except (OSError, ValueError, AttributeError, TypeError):  # no such file, or no real stream
        return False
    # a device has no content that could be written over; 0: a system that numbers no files
    device = stat.S_ISCHR(there.st_mode) or stat.S_ISBLK(there.st_mode)
    return not device and there.st_ino != 0 and os.path.samestat(there, here)


def quiet_libraries() -> None:
    """Let matplotlib not speak, in several lines, of a home folder in which it can keep no cache."""
    logging.getLogger("matplotlib").setLevel(logging.ERROR)


def say(text: str) -> None:
    """Print one line of ours on standard error, or nothing if that is gone as well."""
    with contextlib.suppress(OSError, ValueError):
        print(f"soupcheck: {printable(' '.join(text.split()))}", file=sys.stderr, flush=True)


def drop_output() -> None:
    """Send what is still buffered for standard output nowhere: it could not be written."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, sys.stdout.fileno())
        os.close(sink)


class Interrupts:
    """Whether Ctrl-C was pressed, even where a library made another error of it."""

    def __init__(self) -> None:
        self.pressed = False

    def _press(self, number: int, frame: FrameType | None) -> None:
        self.pressed = True
        raise KeyboardInterrupt

    def _unraisable(self, about: Any) -> None:
        """Stop at once where an interrupt cannot be raised, as in a callback of a C library."""
        if isinstance(about.exc_value, KeyboardInterrupt):
            say("interrupted")
            os._exit(130)
        sys.__unraisablehook__(about)

    @contextlib.contextmanager
    def watched(self) -> Iterator[Interrupts]:
        """A context in which Ctrl-C is noted, then raised as usual; where it is ignored it stays so."""
        mine = threading.current_thread() is threading.main_thread()
        if not mine or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            yield self
            return
        hook, sys.unraisablehook = sys.unraisablehook, self._unraisable
        signal.signal(signal.SIGINT, self._press)
        try:
            yield self
        finally:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            sys.unraisablehook = hook
