"""Instances by name: of a seeded family, a classic, a stored witness."""

from __future__ import annotations

import re
from difflib import get_close_matches

from toymdp import InstanceError
from toymdp.instance import Instance
from toymdp.kinds import ALL_CLASSICS, ALL_FAMILIES

from ..records.witness import Witness, stored_witness, stored_witness_claims

_SEEDED = re.compile(r"(?P<family>.+)-(?P<seed>[0-9]{1,9})")


def named(name: str) -> Instance | Witness:
    """Make the instance of this name: a stored witness, a classic, or FAMILY-SEED, say ``softmax-12``.

    Raises InstanceError for an unknown name, with the nearest ones.
    """
    if name in stored_witness_claims():
        return stored_witness(name)
    if name in ALL_CLASSICS:
        return ALL_CLASSICS[name]()
    found = _SEEDED.fullmatch(name)
    if found is not None and found["family"] in ALL_FAMILIES:
        instance: Instance = ALL_FAMILIES[found["family"]](int(found["seed"]))
        return instance
    known = [*ALL_FAMILIES, *ALL_CLASSICS, *stored_witness_claims()]
    if name in ALL_FAMILIES:
        remedy = f"add a seed: {name}-0"
    else:
        near = get_close_matches(name, [*known, *(f"{family}-0" for family in ALL_FAMILIES)])
        remedy = f"did you mean {' or '.join(near)}?" if near else "`soupcheck instance` lists them"
    raise InstanceError.of("NAME", name, "names no instance", remedy)
