"""Reading what a command is given: an instance of any kind, or the one inside a witness."""

from __future__ import annotations

from pathlib import Path

from toymdp.files import read_json
from toymdp.instance import Instance
from toymdp.kinds import load_instance

from .witness import FORMAT, load_witness


def load_any(path: Path) -> Instance:
    """Read an instance file, or the instance inside a witness file."""
    if path.suffix != ".npz" and read_json(path).get("format") == FORMAT:
        return load_witness(path).instance
    return load_instance(path)
