"""The numbers that a seeded family takes beside its seed: read off its own signature."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from inspect import Parameter, signature
from typing import Any

from ..errors import InstanceError
from ..validators import integer

Option = int | float
_TYPES: Mapping[str, type] = {"int": int, "float": float}
_OTHERS = ("seed", "limit_gib")  # numbers that say which world, and how much memory, not what kind


def options_of(family: Callable[..., Any]) -> dict[str, type]:
    """Names of the whole numbers (int: sizes) and of the other numbers (float) that it takes.

    Where a family hands its options on, the signature is that of the function they go to.
    """
    found = {}
    for name, parameter in signature(family).parameters.items():
        kind = _TYPES.get(str(parameter.annotation).split("|")[0].strip())
        if parameter.kind is Parameter.KEYWORD_ONLY and kind is not None and name not in _OTHERS:
            found[name] = kind
    return found


def checked_options(
    name: str, family: Callable[..., Any], given: Mapping[str, Any]
) -> dict[str, Option]:
    """The given options as numbers of their types: sizes from 1, the others finite and from 0.

    name: of the family, for messages. Raises InstanceError for any other value, and for an option
    that the family does not take. What the instance's own rules say is left to it.
    """
    known, checked = options_of(family), dict[str, Option]()
    for key, value in given.items():
        if key not in known:
            rule = f"is no option of the family {name}"
            remedy = f"choose from {', '.join(known)}" if known else "it has none: drop it"
            raise InstanceError.of("option", key, rule, remedy)
        if known[key] is int:
            checked[key] = integer(f"{name}: {key}", value, 1)
        elif isinstance(value, bool) or not isinstance(value, Option) or not 0 <= value < math.inf:
            rule = "must be a finite number, at least 0"
            raise InstanceError.of(f"{name}: {key}", value, rule, "correct it")
        else:
            checked[key] = float(value)
    return checked
