"""The kinds of instance that claims speak of, by the ``format`` key of their files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toymdp import InstanceError, Solution, TokenMDP, solve
from toymdp.fileio import read_fields, read_json

from .claim import Subject


@dataclass(frozen=True)
class World:
    """One kind of instance.

    kind: its class. build: fields of a file -> instance, refusing what does not fit.
    prepare: instance -> the subject that claims are judged on.
    """

    kind: type
    build: Callable[[Mapping[str, Any]], Any]
    prepare: Callable[[Any], Subject]


WORLDS: dict[str, World] = {
    "token-mdp/1": World(TokenMDP, lambda fields: TokenMDP(**fields), solve),
}


def load_instance(path: Path) -> Any:
    """Read an instance file of any world by its ``format`` key.

    Raises InstanceError for an unknown format or a file that does not fit it.
    """
    if path.suffix == ".npz":
        return TokenMDP(**read_fields(path))
    found = read_json(path)
    world = found.get("format")
    if world == "token-mdp/1":
        return TokenMDP(**read_fields(path))
    if world not in WORLDS:
        raise InstanceError.of(
            f"{path}: format", world, "not an instance format", f"one of {sorted(WORLDS)}"
        )
    return WORLDS[world].build(found)


def subject_of(instance: Any) -> tuple[str, Subject]:
    """The world of an instance (or of a solution), and the subject to judge claims on."""
    if isinstance(instance, Solution):
        return "token-mdp/1", instance
    for name, world in WORLDS.items():
        if isinstance(instance, world.kind):
            return name, world.prepare(instance)
    raise InstanceError.of(
        "instance", type(instance).__name__, "no world has such instances", f"{sorted(WORLDS)}"
    )
