"""Writing: JSON Lines whose numbers are plain, what they depend on, and files that fail softly."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from toymdp.errors import UNPRINTABLE, InstanceError, OutputError
from toymdp.files import to_json

from ..terminal import drop_output, standard_stream

Record = dict[str, Any]  # plain values by name: what a task gives and a ledger holds
_PACKAGES = ("soupcheck", "numpy", "scipy", "numba", "cvxpy")


@cache
def versions() -> dict[str, str]:
    """Return the versions that a number may depend on."""
    installed = {"python": ".".join(map(str, sys.version_info[:3]))}
    for package in _PACKAGES:
        try:
            installed[package] = version(package)
        except PackageNotFoundError:
            installed[package] = "not installed"
    return installed


def content_hash(mdp: Any) -> str:
    """SHA-256 of an instance's canonical JSON, its name and free data left out."""
    fields = {k: v for k, v in mdp.fields().items() if k not in ("name", "meta")}
    return hashlib.sha256(to_json(fields).encode()).hexdigest()


def number(value: float | None) -> float | None:
    """Return a finite float or None: neither NaN nor an infinity is ever written."""
    return float(value) if value is not None and math.isfinite(value) else None


def dump(record: Mapping[str, Any]) -> str:
    """One line of JSON, by anybody's notion of a line; no control character stands in it raw."""
    text = json.dumps(record, allow_nan=False, ensure_ascii=False)
    return UNPRINTABLE.sub(lambda found: f"\\u{ord(found.group()):04x}", text)


def encodable(line: str, encoding: str | None) -> str:
    """A line of JSON, in ASCII if the encoding lacks one of its characters (which strings alone hold)."""
    try:
        line.encode(encoding or "utf-8")
    except UnicodeEncodeError:
        return "".join(c if c.isascii() else json.dumps(c)[1:-1] for c in line)
    return line


class OutputFile:
    """A file, or '-' for standard output, that never costs a result; a context manager.

    It is opened with the first line, so that a run which fails before loses nothing that was there,
    and flushed with each, so that a killed run keeps what it had finished. A run that ends well
    without a line leaves it empty: what was there is not what this run found. If it cannot be
    opened or written, the lines go to standard output instead, and OutputError says so at the end.

    append: add to what the file holds. Raises InstanceError, before anything is computed, if the path is
    one of ``inputs``, a folder, or in a folder that does not exist.
    """

    def __init__(
        self, path: str | None, inputs: Iterable[Path] = (), *, append: bool = False
    ) -> None:
        self.path, self.failure, self._append = path, "", append
        own = None if path is None else standard_stream(path)
        # of now: a bar that is shown meanwhile puts its own in that place
        self._out: TextIO = own or sys.stdout
        self._file: TextIO | None = own
        self._whole = 0  # bytes of the lines that were written to the end
        taken = {os.path.realpath(p) for p in inputs}
        if path is not None and own is None and os.path.realpath(path) in taken:
            raise InstanceError.of("--json", path, "is an input of this run", "name another")
        if path is not None and own is None:
            if os.path.isdir(path):
                raise InstanceError.of("--json", path, "is a folder", "name a file in it")
            if not os.path.isdir(os.path.dirname(path) or "."):
                raise InstanceError.of("--json", path, "its folder does not exist", "create it")

    def __enter__(self) -> OutputFile:
        return self

    def write(self, lines: Iterable[str]) -> None:
        """Write lines, each ended by a newline, and flush. Raises OutputError if even that fails."""
        if self.path is None:
            return
        for line in lines:
            if self._file is self._out:
                self._print(line)
                continue
            try:
                if self._file is None:
                    self._file = self._opened(self.path)
                self._file.write(line + "\n")
                self._file.flush()
                self._whole += len(line.encode()) + 1
            except OSError as error:
                self._cut()
                reason = error.strerror or str(error)
                self.failure = f"{self.path}: cannot be written ({reason}); printed instead"
                self._file = self._out
                self._print(line)

    def _opened(self, path: str) -> TextIO:
        opened = open(path, "a" if self._append else "w", encoding="utf-8", newline="\n")  # noqa: SIM115
        self._whole = opened.tell() if opened.seekable() else 0
        return opened

    def _print(self, line: str) -> None:
        try:
            self._out.write(encodable(line, self._out.encoding) + "\n")
            self._out.flush()
        except OSError as error:
            drop_output()
            where = (
                "standard output" if not self.failure else f"{self.failure}, but standard output"
            )
            raise OutputError(f"{where}: cannot be written ({error.strerror})") from None

    def _empty(self, path: str) -> None:
        try:
            Path(path).write_bytes(b"")
        except OSError as error:
            self.failure = f"{path}: cannot be written ({error.strerror or error})"

    def _close(self) -> None:
        if self._file is not None and self._file is not self._out:
            with contextlib.suppress(OSError):  # a full disk refuses the last flush as well
                self._file.close()

    def _cut(self) -> None:
        """Close, and leave no half line in the file: what was written whole can still be read."""
        self._close()
        with contextlib.suppress(OSError):  # a device cannot be cut, nor what is no longer there
            if self._file is not None and Path(str(self.path)).is_file():
                os.truncate(str(self.path), self._whole)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None and self.path is not None and self._file is None and not self._append:
            self._empty(self.path)
        self._close()
        if self.failure and isinstance(error, OutputError):
            raise OutputError(f"{self.failure}; {error}") from None
        if self.failure and kind is None:
            raise OutputError(self.failure)
