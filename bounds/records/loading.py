"""Reading what a command is given: an instance of any kind, or the one inside a witness."""

from __future__ import annotations

from pathlib import Path

from toymdp.files import read_object
from toymdp.instance import Instance
from toymdp.kinds import instance_of

from .witness import FORMAT, witness_of


def load_any(path: Path) -> Instance:
    """Read an instance file, or the instance inside a witness file."""
    keys = read_object(path)
    format = keys.get("format")  # in an archive it may be a table
    is_witness = isinstance(format, str) and format == FORMAT
    return witness_of(keys, path).instance if is_witness else instance_of(keys, path)
