"""What every figure shares: the table behind it, and a cache that knows the code.

A table is a list of records with the same keys and plain values, so that CSV and JSON hold all of
it; it is computed as tasks, each of which gives a few of its rows.
"""

from __future__ import annotations

import ast
import csv
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import Any

from bounds.records.output import Record, versions
from bounds.runs.engine import run
from bounds.runs.progress import OnProgress
from bounds.runs.task import Task

Row = Record
PACKAGES = ("toymdp", "bounds")  # what figures compute through
SOURCES = (".py", ".json", ".gz")


def rows_of(tasks: Sequence[Task[list[Row]]], stage: str, on_progress: OnProgress) -> list[Row]:
    """The rows of all tasks, in their order."""
    return [row for _, rows in run(tasks, stage, on_progress) for row in rows]


def write_csv(rows: Sequence[Row], path: Path) -> None:
    """Write the table; an empty cell is a value that does not exist."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _files_of(package: str) -> Iterator[Path]:
    folder = Path(str(files(package)))
    yield from (p for p in sorted(folder.rglob("*")) if p.suffix in SOURCES)


def cache_key(module: ModuleType, parameters: Mapping[str, Any]) -> str:
    """SHA-256 of what a table depends on: packages, the figure's own code and files, parameters, versions.

    What is only drawn or said of it is left out: a change of colours or words computes nothing again.
    """
    digest = hashlib.sha256(json.dumps([module.__name__, dict(parameters), versions()]).encode())
    for package in PACKAGES:
        for path in _files_of(package):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    for package, name in getattr(module, "FILES", ()):  # what it draws from besides
        digest.update(name.encode() + b"\0" + (files(package) / name).read_bytes())
    assert module.__file__ is not None
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    tree.body = [node for node in tree.body if not _shown(node)]
    digest.update(ast.dump(tree).encode())
    return digest.hexdigest()


def _shown(node: ast.stmt) -> bool:
    """Whether a statement of a figure's module is of its looks or words alone."""
    if isinstance(node, ast.FunctionDef):
        return node.name in ("draw", "seen")
    return isinstance(node, ast.Assign) and any(
        isinstance(name, ast.Name) and name.id in ("CAPTION", "READING", "MADE_OF")
        for name in node.targets
    )


def load(folder: Path, name: str, key: str) -> list[Row] | None:
    """Return the table stored under a key, or None."""
    path = folder / f"{name}-{key[:16]}.json"
    if not path.is_file():
        return None
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None  # half a file is no table: it is computed again and replaced
    rows: list[Row] | None = stored["rows"] if stored.get("key") == key else None
    return rows


def store(folder: Path, name: str, key: str, rows: Sequence[Row]) -> None:
    """Store a table; it appears whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{key[:16]}.json"
    half = path.with_suffix(f".{os.getpid()}")
    half.write_text(json.dumps({"key": key, "rows": list(rows)}), encoding="utf-8")
    half.replace(path)
