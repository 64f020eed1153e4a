"""What a file format is made of: keys, what each may hold as JSON Schema, and rules in words."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from toymdp.validators import LARGEST, MOST

DIALECT = "https://json-schema.org/draft/2020-12/schema"
Schema = dict[str, Any]

FINITE: Schema = {"type": "number", "minimum": -sys.float_info.max, "maximum": sys.float_info.max}
ENTRY: Schema = {"type": "number", "minimum": -MOST, "maximum": MOST}
WEIGHT: Schema = {"type": "number", "minimum": 0, "maximum": sys.float_info.max}
SHARE: Schema = {"type": "number", "minimum": 0, "maximum": 1 + 1e-9}
POSITIVE: Schema = {"type": "number", "minimum": 1 / MOST, "maximum": MOST}
TEXT: Schema = {"type": "string"}


def whole(least: int, most: int = LARGEST) -> Schema:
    """A whole number in this range."""
    return {"type": "integer", "minimum": least, "maximum": most}


def table(entry: Schema, axes: int) -> Schema:
    """Lists of lists of an entry, none empty."""
    for _ in range(axes):
        entry = {"type": "array", "items": entry, "minItems": 1}
    return entry


def or_null(schema: Schema) -> Schema:
    """That, or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def exactly(required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None) -> Schema:
    """An object of these keys and no others."""
    optional = optional or {}
    return {
        "type": "object", "properties": {**required, **optional}, "required": [*required],
        "additionalProperties": False,
    }  # fmt: skip


def present(*keys: str) -> Schema:
    """That these keys are there and hold something."""
    holds = {key: {"not": {"type": "null"}} for key in keys}
    return {"required": [*keys], "properties": holds}


def absent(*keys: str) -> Schema:
    """That these keys are not there, or null."""
    return {"properties": {key: {"type": "null"} for key in keys}}


@dataclass(frozen=True)
class Key:
    """One key of a format: what it may hold, the same in words with shape and unit, if it must be there."""

    name: str
    holds: Schema
    says: str
    required: bool = False


@dataclass(frozen=True)
class Format:
    """One format. rules: what ties keys together and a schema can say; beyond: what none can say.

    example: the name under which ``soupcheck instance`` writes one; "" where another command writes it.
    """

    name: str
    says: str
    keys: tuple[Key, ...]
    rules: tuple[Schema, ...] = ()
    beyond: tuple[str, ...] = ()
    example: str = ""

    def schema(self) -> Schema:
        """The JSON Schema (draft 2020-12) of a whole file."""
        properties = {key.name: {**key.holds, "description": key.says} for key in self.keys}
        return {
            "$schema": DIALECT, "title": self.name, "description": self.says, "type": "object",
            "properties": properties, "required": [k.name for k in self.keys if k.required],
            "additionalProperties": False, **({"allOf": list(self.rules)} if self.rules else {}),
        }  # fmt: skip


def labels(format: str) -> tuple[Key, ...]:
    """The keys that every instance format has."""
    return (
        Key("format", {"const": format}, "names the format", True),
        Key("name", or_null(TEXT), "what tables call the instance"),
        Key("meta", {"type": "object"}, "free data, kept and not read"),
    )
