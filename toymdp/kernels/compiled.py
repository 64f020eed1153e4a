"""numba's ``njit`` with a cache on disk that never stops a run.

A cache that is damaged is rebuilt; where none can be kept (no folder can be written, the disk is
full) the kernels are compiled for this process alone, and one line says so. While a kernel is
compiled Python's collector of reference cycles rests: it would take a sixth of the time.
"""

from __future__ import annotations

import gc
import hashlib
import logging
import os
from collections.abc import Callable
from typing import Any
from weakref import WeakSet

import numba
from numba.core import event
from numba.core.caching import FunctionCache, IndexDataCacheFile

_log = logging.getLogger("toymdp")  # without handlers of the user's, a warning is one line
_DIGEST = hashlib.sha256
_said: list[str] = []  # why nothing is cached: said once a process


def njit(*, cache: bool, **options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Return numba's decorator; with ``cache`` compiled code is kept on disk wherever that works.

    options: numba's own. Nothing calls a kernel from C, so that no way in is compiled for it. With
    one rule for divisions by 0, NumPy's, numba compiles what it calls of its own once for all; what
    bounds J keeps Python's, since no number is a bound there.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        rules = {"no_cfunc_wrapper": True, "error_model": "numpy", **options}
        kernel = numba.njit(**rules)(function)
        _rest.kernels.add(kernel)
        if cache:
            try:
                kernel._cache = _KernelCache(function)
            except (RuntimeError, OSError) as error:  # numba found no folder that can be written
                _say(str(error))
        return kernel

    return decorate


def is_cached(*kernels: Any) -> bool:
    """Whether these kernels are on disk, compiled from their present source."""
    caches = [kernel._cache for kernel in kernels]
    return all(isinstance(c, _KernelCache) and c.file.entries() for c in caches)


class _Rest(event.Listener):
    """Stops the collector while one of our kernels is compiled, and what it calls with it.

    One thread compiles at a time: numba tells of it with its lock held.
    """

    def __init__(self) -> None:
        self.kernels: WeakSet[Any] = WeakSet()
        self.depth = 0  # of our kernels that are being compiled, each for the one before
        self.collects = True  # whether the collector ran before the first of them

    def on_start(self, event: event.Event) -> None:
        if event.data["dispatcher"] in self.kernels:
            if self.depth == 0:
                self.collects = gc.isenabled()
                gc.disable()
            self.depth += 1

    def on_end(self, event: event.Event) -> None:
        """Let it run again, also where compiling has failed."""
        if event.data["dispatcher"] in self.kernels:
            self.depth -= 1
            if self.depth == 0 and self.collects:
                gc.enable()


_rest = _Rest()
event.register("numba:compile", _rest)


def _say(reason: str) -> None:
    if not _said:
        _said.append(reason)
        _log.warning(
            "compiled kernels cannot be cached (%s): they are compiled anew in each run; set "
            "NUMBA_CACHE_DIR to a folder that can be written", " ".join(reason.split()),
        )  # fmt: skip


class _KernelFile(IndexDataCacheFile):
    """The index and data files of one kernel. Machine code that has changed on disk is not run."""

    def entries(self) -> dict[Any, str]:
        """Data files by signature; empty where the index is damaged or of another source."""
        try:
            found: dict[Any, str] = super()._load_index()
        except Exception:  # unpickling damaged bytes raises nearly everything: nothing is cached
            return {}
        return {k: v for k, v in found.items() if os.path.exists(self._data_path(v))}

    _load_index = entries

    def _save_data(self, name: str, data: Any) -> None:
        body = self._dump(data)
        with self._open_for_write(self._data_path(name)) as file:
            file.write(_DIGEST(body).digest() + body)

    def _load_data(self, name: str) -> Any:
        with open(self._data_path(name), "rb") as file:
            content = file.read()
        size = _DIGEST().digest_size
        if _DIGEST(content[size:]).digest() != content[:size]:
            return None  # as if it had never been compiled: it is, and replaces this
        import pickle  # the same that numba uses, on what it wrote itself

        return pickle.loads(content[size:])


class _KernelCache(FunctionCache):
    """numba's cache of one kernel, none of whose failures matters more than the time to compile."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        plain = self._cache_file
        self.file = self._cache_file = _KernelFile(
            cache_path=self._cache_path, filename_base=self._impl.filename_base,
            source_stamp=plain._source_stamp,
        )  # fmt: skip

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the compiled kernel, or None: it is then compiled."""
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # whatever is wrong with the file, compiling puts it right
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep a compiled kernel if that is possible."""
        try:
            super().save_overload(sig, data)
        except OSError as error:
            _say(f"{self._cache_path}: {error.strerror or error}")
