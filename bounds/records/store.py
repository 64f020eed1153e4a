"""The folder of a sweep: its plan, and the parts that are done.

    plan.json                        what is asked for, and the code it is computed by
    parts/ab/part-<id>.parquet       one a task, whole or not there at all

A part is written beside its place and renamed, so that two that write the same part, or one that is
killed, leave no half of it.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from toymdp.errors import InstanceError, OutputError
from toymdp.files import read_json, write_whole

from .parts import DamagedPartError, read_part

PLAN_FORMAT = "soup-sweep-plan/1"


class Store:
    """A folder of parts. Raises OutputError for what cannot be written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, task: str) -> Path:
        """Where the part of a task is, or will be."""
        return self.folder / "parts" / task[:2] / f"part-{task}.parquet"

    def has(self, task: str) -> bool:
        """Whether the part is there; whether it is whole, ``damaged`` says."""
        return self.path(task).exists()

    def write(self, task: str, content: bytes) -> None:
        """Put a part in its place, flushed to the disk before it has its name."""
        path = self.path(task)
        beside = path.with_name(
            f".{task}.{socket.gethostname()}.{os.getpid()}.{secrets.token_hex(4)}.tmp"
        )
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

    def damaged(self, tasks: Iterable[str]) -> Iterator[tuple[str, str]]:
        """The tasks whose part is there but not whole any more, each with what is wrong."""
        for task in tasks:
            try:
                if self.has(task):
                    read_part(self.path(task), task)
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
        return plan
