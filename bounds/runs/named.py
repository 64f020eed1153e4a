"""Instances by name: of a seeded family, a classic, a stored witness."""

from __future__ import annotations

import re
from difflib import get_close_matches

from toymdp import InstanceError
from toymdp.families.options import Option
from toymdp.instance import Instance
from toymdp.kinds import ALL_CLASSICS, ALL_FAMILIES

from ..records.witness import Witness, stored_witness, stored_witness_claims

_SEEDED = re.compile(r"(?P<family>.+)-(?P<seed>[0-9]{1,9})")


def family_of(name: str) -> tuple[str, int] | None:
    """The family and seed that a name like ``softmax-12`` stands for, or None."""
    found = _SEEDED.fullmatch(name)
    if found is None or found["family"] not in ALL_FAMILIES or name in stored_witness_claims():
        return None
    return found["family"], int(found["seed"])


def named(name: str, **options: Option) -> Instance | Witness:
    """Make the instance of this name: a stored witness, a classic, or FAMILY-SEED, say ``softmax-12``.

    options: of the family. Raises InstanceError for an unknown name, with the nearest ones.
    """
    if name in stored_witness_claims():
        return stored_witness(name)
    if name in ALL_CLASSICS:
        return ALL_CLASSICS[name]()
    seeded = family_of(name)
    if seeded is not None:
        family, seed = seeded
        instance: Instance = ALL_FAMILIES[family](seed, **options)
        return instance
    known = [*ALL_FAMILIES, *ALL_CLASSICS, *stored_witness_claims()]
    if name in ALL_FAMILIES:
        remedy = f"add a seed: {name}-0"
    else:
        near = get_close_matches(name, [*known, *(f"{family}-0" for family in ALL_FAMILIES)])
        remedy = f"did you mean {' or '.join(near)}?" if near else "`soupcheck instance` lists them"
    raise InstanceError.of("NAME", name, "names no instance", remedy)
