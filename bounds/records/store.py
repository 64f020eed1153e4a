"""The folder of a sweep: its plan, and the parts that are done.

    plan.json                        what is asked for, and the code it is computed by
    parts/ab/part-<id>.parquet       one a task, whole or not there at all
    compact/compact-<hash>.parquet   many parts put together, once there are enough

A part is written beside its place and renamed, so that two that write the same part, or one that is
killed, leave no half of it.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toymdp.errors import InstanceError, OutputError
from toymdp.files import read_json, write_whole

from ..terminal import say
from .parts import DamagedPartError, about, bytes_of, gathered, read_part, schema
from .queries import Rows

if TYPE_CHECKING:
    import pyarrow as pa

PLAN_FORMAT = "soup-sweep-plan/1"
PLAN_KEYS = ("claims", "sources", "code", "limit", "paths", "plugins")
COMPACT = 64 * 2**20  # bytes of a file that holds many parts
GROUP = 50  # parts in one of its row groups


class Store:
    """A folder of parts. Raises OutputError for what cannot be written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._gathered: dict[str, Path] = {}  # task -> the file that it was put into, with others
        for path in sorted(folder.glob("compact/*.parquet")):
            self._gather(path)

    def _gather(self, path: Path) -> None:
        try:
            tasks = json.loads(about(path)["tasks"])
        except (DamagedPartError, KeyError, ValueError):
            say(f"{path}: is damaged and left out: its tasks are done again")
            return
        self._gathered |= dict.fromkeys(tasks, path)

    def path(self, task: str) -> Path:
        """Where the part of a task is, or will be."""
        return self.folder / "parts" / task[:2] / f"part-{task}.parquet"

    def has(self, task: str) -> bool:
        """Whether the rows of a task are there; whether its part is whole, ``damaged`` says."""
        return task in self._gathered or self.path(task).exists()

    def rows(self, tasks: Iterable[str]) -> Rows:
        """What is there of these tasks, each once."""
        wanted = set(tasks)
        files = {self._gathered[task] for task in wanted if task in self._gathered}
        others = any(path in files for task, path in self._gathered.items() if task not in wanted)
        parts = [self.path(t) for t in wanted if t not in self._gathered and self.path(t).exists()]
        return Rows(sorted([*files, *parts]), sorted(wanted) if others else None)

    def files(self) -> list[Path]:
        """Every file with rows, each task in one of them."""
        parts = self.folder.glob("parts/*/part-*.parquet")
        alone = {p for p in parts if p.stem.removeprefix("part-") not in self._gathered}
        return sorted({*self._gathered.values(), *alone})

    def compact(self, tasks: Iterable[str], most: int = COMPACT) -> tuple[int, int]:
        """Put parts together into files of about ``most`` bytes; how many parts, into how many files.

        A file has its name when it is whole, and only then do its parts go.
        """
        left = [t for t in sorted(tasks) if t not in self._gathered and self.path(t).exists()]
        moved = files = 0
        while moved < len(left):
            size, end = 0, moved
            while end < len(left) and (size < most or end == moved):
                size += self.path(left[end]).stat().st_size
                end += 1
            chosen, moved, files = left[moved:end], end, files + 1
            self._compact(chosen)
        for task in self._gathered:  # also those that an earlier run had no time to remove
            self.path(task).unlink(missing_ok=True)
        return moved, files

    def _compact(self, tasks: Sequence[str]) -> None:
        def groups() -> Iterator[pa.Table]:
            for i in range(0, len(tasks), GROUP):
                yield gathered([read_part(self.path(t), t) for t in tasks[i : i + GROUP]])

        content = bytes_of(groups(), schema(), {"tasks": json.dumps(list(tasks))})
        name = hashlib.sha256(content).hexdigest()
        path = self.folder / "compact" / f"compact-{name}.parquet"
        self._put(path, content)
        self._gather(path)

    def write(self, task: str, content: bytes) -> None:
        """Put a part in its place, flushed to the disk before it has its name."""
        self._put(self.path(task), content)

    def _put(self, path: Path, content: bytes) -> None:
        name = f".{path.stem}.{socket.gethostname()}.{os.getpid()}.{secrets.token_hex(4)}.tmp"
        beside = path.with_name(name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with beside.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, path)
        except OSError as error:
            reason = error.strerror or str(error)
            raise OutputError(
                f"{path}: cannot be written ({reason}); make room and start again: what is done stays"
            ) from None
        finally:
            with suppress(OSError):
                beside.unlink()

    def tidy(self) -> None:
        """Remove what processes of this machine were writing when they were killed."""
        ours = f".{socket.gethostname()}."
        for path in self.folder.rglob(".*.tmp"):
            begun, pid, _, _ = path.name.rsplit(".", 3)
            if f"{begun}.".endswith(ours) and not _alive(int(pid)):
                path.unlink(missing_ok=True)

    def damaged(self, tasks: Iterable[str]) -> Iterator[tuple[str, str]]:
        """The tasks whose part is there but not whole any more, each with what is wrong."""
        for task in tasks:
            try:
                if self.path(task).exists():
                    read_part(self.path(task), task, columns=[])
            except DamagedPartError as error:
                yield task, str(error)

    def write_plan(self, plan: dict[str, Any]) -> None:
        """Say what the folder is of; an earlier plan is replaced, its parts stay."""
        text = json.dumps({"format": PLAN_FORMAT, **plan}, sort_keys=True, indent=1)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_whole(self.folder / "plan.json", (text + "\n").encode())
        except OSError as error:
            raise OutputError(f"{self.folder}: cannot be written ({error.strerror})") from None

    def plan(self) -> dict[str, Any]:
        """What the folder is of. Raises InstanceError if it is no folder of a sweep."""
        path = self.folder / "plan.json"
        if not path.is_file():
            raise InstanceError(f"{self.folder}: is no folder of a sweep (it has no plan.json)")
        plan = read_json(path)
        if plan.get("format") != PLAN_FORMAT:
            rule = "is no plan of a sweep"
            raise InstanceError.of(f"{path}: format", plan.get("format"), rule, f"is {PLAN_FORMAT}")
        if missing := [key for key in PLAN_KEYS if key not in plan]:
            raise InstanceError(
                f"{path}: lacks {', '.join(missing)}; start the sweep from its design"
            )
        return plan


def _alive(pid: int) -> bool:
    """Whether a process runs, or may run: not one that has ended and whose parent never asked."""
    if os.name != "posix":  # where signal 0 is no question
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return True
    return state != "Z"
