"""The option ``--html`` of several commands: where a page may go, and writing it whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from toymdp.errors import InstanceError, OutputError
from toymdp.files import write_whole

from ..terminal import standard_stream


def check_target(html: Path | None, json_path: str | None, inputs: Sequence[Path] = ()) -> None:
    """Refuse a place for a page before the run: a run must not end in it. Raises InstanceError."""
    if html is None:
        return
    if standard_stream(html) is not None:
        raise InstanceError.of("--html", str(html), "is where the tables go", "name a file")
    one = json_path is not None and os.path.realpath(html) == os.path.realpath(json_path)
    if one and (html.is_file() or not html.exists()):
        raise InstanceError.of("--html", str(html), "is the file of --json too", "name another")
    if os.path.realpath(html) in map(os.path.realpath, inputs):
        raise InstanceError.of("--html", str(html), "is an input of this run", "name another")
    if html.is_dir():
        raise InstanceError.of("--html", str(html), "is a folder", "name a file in it")
    if not html.parent.is_dir():
        raise InstanceError.of("--html", str(html), "its folder does not exist", "create it")


def write_page(path: Path, text: str) -> None:
    """Write a page. Raises OutputError where that fails."""
    try:
        write_whole(path, text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror})") from None
