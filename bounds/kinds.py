"""The kinds of instance that claims speak of, by the ``format`` key of their files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toymdp import InstanceError, Solution, TokenMDP, solve
from toymdp.families import FAMILIES
from toymdp.files import read_fields, read_json

from . import attribute_worlds, pair_worlds, topic_worlds
from .claim import Subject
from .records.witness import FORMAT, load_witness


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
    attribute_worlds.FORMAT: World(
        attribute_worlds.AttributeSet,
        attribute_worlds.AttributeSet.from_fields,
        attribute_worlds.subject,
    ),
    topic_worlds.FORMAT: World(
        topic_worlds.TopicCloud, topic_worlds.TopicCloud.from_fields, topic_worlds.subject
    ),
    pair_worlds.FORMAT: World(
        pair_worlds.PreferencePairs, pair_worlds.PreferencePairs.from_fields, pair_worlds.subject
    ),
}

# every seeded family, of token MDPs and of the small worlds, and the classics of the latter
ALL_FAMILIES: dict[str, Callable[[int], Any]] = {
    **FAMILIES,
    **attribute_worlds.FAMILIES,
    **topic_worlds.FAMILIES,
    **pair_worlds.FAMILIES,
}
SMALL_CLASSICS: dict[str, Callable[[], Any]] = {
    **attribute_worlds.CLASSICS,
    **topic_worlds.CLASSICS,
    **pair_worlds.CLASSICS,
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
    if not isinstance(world, str) or world not in WORLDS:
        raise InstanceError.of(
            f"{path}: format", world, "not an instance format", f"one of {sorted(WORLDS)}"
        )
    return WORLDS[world].build(found)


def load_any(path: Path) -> Any:
    """Read an instance file, or the instance inside a witness file."""
    if path.suffix != ".npz" and read_json(path).get("format") == FORMAT:
        return load_witness(path).instance
    return load_instance(path)


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
