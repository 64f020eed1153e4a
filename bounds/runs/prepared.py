"""Compiled kernels kept in a sweep's folder: compiled once, copied by each machine to a disk of its own.

Thousands of processes that compile into one shared folder, or read from it while it is written, would
wait for each other and lose minutes each.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from toymdp.errors import OutputError

KEY = "NUMBA_CACHE_DIR"
COMPILE = "from toymdp.warm_up import compile_kernels; compile_kernels(claims=True)"


def prepare(folder: Path) -> None:
    """Compile the kernels into a folder. Raises OutputError where that fails."""
    folder.mkdir(parents=True, exist_ok=True)
    # a process of its own: numba asks for its folder when the kernels are first imported
    done = subprocess.run(
        [sys.executable, "-c", COMPILE], env={**os.environ, **modules(), KEY: str(folder.resolve())}
    )
    if done.returncode or not any(folder.rglob("*.nbi")):
        raise OutputError(f"{folder}: the kernels could not be compiled into it")


def modules() -> dict[str, str]:
    """What makes another Python find its modules where this one finds them."""
    return {"PYTHONPATH": os.pathsep.join(p or os.getcwd() for p in sys.path)}


@contextmanager
def prepared(folder: Path) -> Iterator[Mapping[str, str]]:
    """The environment of workers: with a copy of the folder on this machine, where it is there."""
    if not folder.is_dir():
        yield {}
        return
    with tempfile.TemporaryDirectory(prefix="soupcheck-") as own:
        copy = Path(own) / "numba"
        shutil.copytree(folder, copy)
        yield {KEY: str(copy)}
