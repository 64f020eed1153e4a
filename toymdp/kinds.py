"""The kinds of instance there are, by the ``format`` key of their files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import InstanceError
from .families import FAMILIES
from .families.classics import CLASSICS, EXAMPLES
from .files import read_object
from .instance import Instance
from .worlds import attribute_set, preference_pairs, token_mdp, topic_cloud


@dataclass(frozen=True)
class Kind:
    """One format of instances.

    instance: its class. families: seeded generators by name. classics: named instances, each made
    to show something.
    """

    instance: type[Instance]
    families: Mapping[str, Callable[..., Instance]]
    classics: Mapping[str, Callable[[], Instance]]


KINDS: dict[str, Kind] = {
    token_mdp.FORMAT: Kind(
        token_mdp.TokenMDP,
        FAMILIES,
        {make.__name__.replace("_", "-"): make for make in (*CLASSICS.values(), *EXAMPLES)},
    ),
    attribute_set.FORMAT: Kind(
        attribute_set.AttributeSet, attribute_set.FAMILIES, attribute_set.CLASSICS
    ),
    topic_cloud.FORMAT: Kind(topic_cloud.TopicCloud, topic_cloud.FAMILIES, topic_cloud.CLASSICS),
    preference_pairs.FORMAT: Kind(
        preference_pairs.PreferencePairs, preference_pairs.FAMILIES, preference_pairs.CLASSICS
    ),
}

# every seeded family and every classic, of token MDPs and of the small worlds
ALL_FAMILIES = {name: make for kind in KINDS.values() for name, make in kind.families.items()}
ALL_CLASSICS = {name: make for kind in KINDS.values() for name, make in kind.classics.items()}
SMALL_CLASSICS = {
    name: make
    for format, kind in KINDS.items()
    for name, make in kind.classics.items()
    if format != token_mdp.FORMAT
}


def load_instance(path: Path) -> Instance:
    """Read an instance file of any kind, JSON or NPZ, by its ``format`` key.

    Raises InstanceError for an unknown format or a file that does not fit it.
    """
    return instance_of(read_object(path), path)


def instance_of(keys: Mapping[str, Any], path: Path) -> Instance:
    """Build an instance of any kind from what ``path`` holds. Raises as ``load_instance`` does."""
    format = keys.get("format")
    if not isinstance(format, str) or format not in KINDS:
        raise InstanceError.of(
            f"{path}: format", format, "not an instance format", f"one of {sorted(KINDS)}"
        )
    return KINDS[format].instance.from_file(keys, path)
