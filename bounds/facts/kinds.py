"""From an instance of any kind to the subject that claims are judged on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from toymdp import InstanceError, Solution, solve
from toymdp.kinds import KINDS
from toymdp.worlds import attribute_set as attributes
from toymdp.worlds import preference_pairs as pairs
from toymdp.worlds import token_mdp
from toymdp.worlds import topic_cloud as topics

from ..claim import Subject
from . import attribute_set, preference_pairs, topic_cloud

# format -> instance -> subject
PREPARE: dict[str, Callable[[Any], Subject]] = {
    token_mdp.FORMAT: solve,
    attributes.FORMAT: attribute_set.subject,
    topics.FORMAT: topic_cloud.subject,
    pairs.FORMAT: preference_pairs.subject,
}


def subject_of(instance: Any) -> tuple[str, Subject]:
    """The format of an instance (or of a solution), and the subject to judge claims on."""
    if isinstance(instance, Solution):
        return token_mdp.FORMAT, instance
    for format, kind in KINDS.items():
        if isinstance(instance, kind.instance):
            return format, PREPARE[format](instance)
    raise InstanceError.of(
        "instance", type(instance).__name__, "no world has such instances", f"{sorted(KINDS)}"
    )
