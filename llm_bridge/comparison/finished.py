"""Numbers of finished steps in a file: a killed run takes them from there when it is called again."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from toymdp import InstanceError
from toymdp.arrays import Array, real_numbers
from toymdp.files import read_bytes, write_whole
from toymdp.lines import row_of

FORMAT = "soupcheck-llm-steps/1"


class Finished:
    """Steps by name with their numbers, as JSON Lines below a header that names the run.

    path: None for a run that keeps nothing. What another run wrote is left aside and replaced.
    """

    def __init__(self, path: Path | None, run: str):
        self.path = path
        self.known: dict[str, Array] = {}
        if path is None:
            return
        header = json.dumps({"format": FORMAT, "run": run})
        lines = read_bytes(path).split(b"\n") if path.is_file() else []
        kept = []
        if lines and lines[0] == header.encode():
            for number, line in enumerate(
                lines[1:-1], 2
            ):  # what follows the last break was being written
                row = row_of(line, f"{path}, line {number}")
                if not isinstance(row.get("step"), str):
                    raise InstanceError.of(
                        f"{path}, line {number}: step", row.get("step"), "must be text", "drop it"
                    )
                self.known[row["step"]] = real_numbers("values", row.get("values"))
                kept.append(line.decode())
        write_whole(path, "".join(f"{line}\n" for line in (header, *kept)).encode())

    def once(self, step: str, compute: Callable[[], Sequence[float] | Array]) -> Array:
        """The numbers of a step: those kept, or computed now and kept."""
        if step not in self.known:
            self.known[step] = np.asarray(compute(), dtype=np.float64)
            if self.path is not None:
                with self.path.open("a", encoding="utf-8", newline="\n") as file:
                    file.write(
                        json.dumps({"step": step, "values": self.known[step].tolist()}) + "\n"
                    )
        return self.known[step]
