"""Reading what a command is given: instances of any kind and stored witnesses, alone or in folders."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NoReturn

from toymdp import InstanceError, TokenMDP
from toymdp.files import read_object
from toymdp.instance import Instance
from toymdp.kinds import KINDS

from .witness import FORMAT, Witness, witness_of

SUFFIXES = (".json", ".npz")


def load_any(path: Path) -> Instance:
    """Read an instance file, or the instance inside a witness file."""
    given = load_given(path)
    return given.instance if isinstance(given, Witness) else given


def load_given(path: Path) -> Instance | Witness:
    """Read an instance file of any kind, or a witness file. Raises InstanceError if it is neither."""
    keys = read_object(path)
    format = keys.get("format")  # in an archive it may be a table
    if isinstance(format, str) and format == FORMAT:
        return witness_of(keys, path)
    if not isinstance(format, str) or format not in KINDS:
        known = sorted([*KINDS, FORMAT])
        rule = "neither an instance nor a stored witness (a JSON file)"
        raise InstanceError.of(f"{path}: format", format, rule, f"one of {known}")
    return KINDS[format].instance.from_file(keys, path)


def load_token_mdp(path: Path, command: str) -> tuple[TokenMDP, Witness | None]:
    """Read the token MDP in a file, and the witness if it is one's.

    Raises InstanceError, saying what to do instead, for a folder and for instances of other formats.
    """
    if path.is_dir():
        rule = f"is a folder, and {command} takes one file"
        raise InstanceError.of("FILE", str(path), rule, "name a file in it")
    given = load_given(path)
    witness = given if isinstance(given, Witness) else None
    instance = given.instance if isinstance(given, Witness) else given
    if not isinstance(instance, TokenMDP):
        rule = f"{command} speaks of token MDPs, and this is {instance.format}"
        raise InstanceError.of("FILE", str(path), rule, "try `soupcheck verify` on it")
    return instance, witness


def files_of(path: Path) -> list[Path]:
    """The file itself; of a folder all .json and .npz files in it, at any depth, sorted.

    Links to folders are not followed. Raises InstanceError for a folder without such files.
    """
    if not path.is_dir():
        return [path]
    walk = os.walk(path, onerror=_refuse)
    inside = [Path(folder, name) for folder, _, names in walk for name in names]
    chosen = sorted(file for file in inside if file.suffix in SUFFIXES)
    if not chosen:
        raise InstanceError(f"{path}: no {' or '.join(SUFFIXES)} file is in this folder")
    return chosen


def _refuse(error: OSError) -> NoReturn:
    raise InstanceError(f"{error.filename}: cannot be read ({error.strerror})") from None
