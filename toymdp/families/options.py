"""The numbers that a seeded family takes beside its seed: read off its own signature."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import Parameter, signature
from typing import Any

import numpy as np

from ..errors import InstanceError
from ..validators import LARGEST, MOST

Option = int | float
_TYPES: Mapping[str, type] = {"int": int, "float": float}
_OTHERS = ("seed", "limit_gib")  # numbers that say which world, and how much memory, not what kind


@dataclass(frozen=True)
class Meaning:
    """What an option stands for in every family that takes it, and the numbers that it may be.

    Of sizes the least is at least 1. What ties it to other options the instance's own rules say.
    """

    says: str
    least: float = 0.0
    most: float = math.inf

    def takes(self, kind: type) -> str:
        """The numbers that it may be, in words."""
        least = max(self.least, 1) if kind is int else self.least
        most = min(self.most, LARGEST) if kind is int else self.most
        to = "" if most in (LARGEST, math.inf) else f" to {most:g}"
        return f"{'a whole number' if kind is int else 'a number'} from {least:g}{to}"

    def holds(self, kind: type, value: Any) -> bool:
        """Whether it may be this number."""
        if isinstance(value, bool | np.bool_) or not isinstance(
            value, int if kind is int else Option
        ):
            return False
        within = self.least <= value <= self.most and math.isfinite(value)
        return within and (kind is float or 1 <= value <= LARGEST)


_TEMPERATURE = (1.0 / MOST, MOST)
MEANINGS: Mapping[str, Meaning] = {
    "A": Meaning("number of tokens (in tree of those that are emitted)"),
    "L": Meaning("how many last tokens a context holds: there are A^L contexts"),
    "T": Meaning("steps of an answer"),
    "K": Meaning("number of rewards, each with its specialist; in priors, of entries of λ"),
    "d": Meaning("width of the features; of topic clouds, dimension of a prompt"),
    "beta": Meaning(
        "β, reward units per nat: the price of divergence from the reference", *_TEMPERATURE
    ),
    "beta_prime": Meaning("β' of the soup; λ matters only as λ/β'", *_TEMPERATURE),
    "scale": Meaning("factor on the reference's logits: 0 makes it uniform"),
    "rank": Meaning("rank of each transition block, at most A"),
    "concentration": Meaning(
        "of the Gamma weights of a reference row: small, and few tokens carry it"
    ),
    "forbid": Meaning("chance that a token is forbidden after a context", most=1.0),
    "vocab_size": Meaning("tokens: 8 to 64 classes of words, above that the most frequent words"),
    "order": Meaning("context length L"),
    "horizon": Meaning("steps of an answer"),
    "width": Meaning("most n-gram features"),
    "smoothing": Meaning("θ of the Witten–Bell model: weight of the shorter context"),
    "most": Meaning("tokens kept after a context where a table of all contexts would not fit"),
    "synergy": Meaning(
        "how a gain grows with the size of the set: above 1 attributes need company"
    ),
    "C": Meaning("number of topics"),
    "M": Meaning("atoms of each cloud"),
    "delta": Meaning("δ of (18), the chance of a wrong topic, between 0 and 1", most=1.0),
    "N": Meaning("number of preference pairs"),
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
    """The given options as numbers of their types, each in its range.

    name: of the family, for messages. Raises InstanceError for any other value, and for an option
    that the family does not take. What the instance's own rules say is left to it.
    """
    known, checked = options_of(family), dict[str, Option]()
    for key, value in given.items():
        if key not in known:
            rule = f"is no option of the family {name}"
            remedy = f"choose from {', '.join(known)}" if known else "it has none: drop it"
            raise InstanceError.of("option", key, rule, remedy)
        meaning, kind = MEANINGS[key], known[key]
        if not meaning.holds(kind, value):
            remedy = f"`soupcheck instance {name}` says what it is"
            raise InstanceError.of(
                f"{name}: {key}", value, f"must be {meaning.takes(kind)}", remedy
            )
        checked[key] = kind(value)
    return checked
