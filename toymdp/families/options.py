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

# what each stands for, in every family that takes it
MEANINGS: Mapping[str, str] = {
    "A": "number of tokens (in tree of those that are emitted)",
    "L": "how many last tokens a context holds: there are A^L contexts",
    "T": "steps of an answer",
    "K": "number of rewards, each with its specialist; in priors, of entries of λ",
    "d": "width of the features; of topic clouds, dimension of a prompt",
    "beta": "β, reward units per nat: the price of divergence from the reference; above 0",
    "beta_prime": "β' of the soup, above 0; λ matters only as λ/β'",
    "scale": "factor on the reference's logits: 0 makes it uniform",
    "rank": "rank of each transition block, at most A",
    "concentration": "of the Gamma weights of a reference row: small, and few tokens carry it",
    "forbid": "chance, 0 to 1, that a token is forbidden after a context",
    "vocab_size": "tokens: 8 to 64 classes of words, above that the most frequent words",
    "order": "context length L",
    "horizon": "steps of an answer",
    "width": "most n-gram features",
    "smoothing": "θ of the Witten–Bell model: weight of the shorter context",
    "most": "tokens kept after a context where a table of all contexts would not fit",
    "synergy": "how a gain grows with the size of the set: above 1 attributes need company",
    "C": "number of topics",
    "M": "atoms of each cloud",
    "delta": "δ of (18), the chance of a wrong topic, between 0 and 1",
    "N": "number of preference pairs",
}


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


def defaults_of(family: Callable[..., Any]) -> dict[str, str]:
    """The same names with their defaults in words; what has none is drawn from the seed, or follows."""
    parameters, own = signature(family).parameters, getattr(family, "defaults", {})
    none = {"beta_prime": "β", "width": "64 or more, by the vocabulary"}
    return {
        name: none.get(name, "drawn from the seed") if default is None else f"{default:g}"
        for name in options_of(family)
        for default in (own.get(name, parameters[name].default),)
    }


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
