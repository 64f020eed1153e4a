"""What a format's reader is given and fills: one row with its place, and the preferences so far."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from toymdp import InstanceError
from toymdp.validators import MOST, number, plain_number

from ..preferences import Pair, Scored, ScoredSet
from ..texts import Conversation, Prompt, shown

# how published files call who speaks
ROLES = {
    "system": "system", "user": "user", "human": "user", "prompter": "user", "assistant": "assistant",
    "gpt": "assistant", "model": "assistant", "chatbot": "assistant", "bot": "assistant",
}  # fmt: skip
Turns = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Row:
    """One object of a file and where it stands; each method returns a field or says what is wrong."""

    place: str
    fields: dict[str, Any]

    def refuse(self, key: str, rule: str, remedy: str = "correct it") -> InstanceError:
        """An error about one field."""
        return InstanceError.of(f"{self.place}: {key}", self.fields.get(key), rule, remedy)

    def text(self, key: str) -> str:
        """A string."""
        value = self.fields.get(key)
        if not isinstance(value, str):
            raise self.refuse(key, "must be a string", "add it")
        return value

    def number(self, key: str) -> float:
        """A number, or a plain number in a string (a table has no others)."""
        return score(f"{self.place}: {key}", self.fields.get(key))

    def objects(self, key: str) -> list[Row]:
        """A list of objects (JSON text in a cell of a table)."""
        value = self._unpacked(key)
        if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
            raise self.refuse(key, "must be a list of objects")
        return [Row(f"{self.place}: {key}[{i}]", entry) for i, entry in enumerate(value)]

    def texts(self, key: str) -> list[str]:
        """A list of strings (JSON text in a cell of a table)."""
        value = self._unpacked(key)
        if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
            raise self.refuse(key, "must be a list of strings")
        return value

    def flag(self, key: str) -> bool:
        """True or false, 1 or 0, or these as text."""
        value = self.fields.get(key)
        known = {"true": True, "false": False, "1": True, "0": False, "1.0": True, "0.0": False}
        if str(value).lower() not in known:
            raise self.refuse(key, "must be true or false")
        return known[str(value).lower()]

    def turns(self, key: str) -> Turns:
        """Messages as turns: ``role, content`` or ``from, value``."""
        found = []
        for entry in self.objects(key):
            kind = "role" if "role" in entry.fields else "from"
            role = ROLES.get(str(entry.fields.get(kind)).lower())
            if role is None:
                raise entry.refuse(kind, f"must be one of {sorted(ROLES)}")
            content = "content" if kind == "role" else "value"
            parts = entry.fields.get(content)
            if isinstance(parts, list):  # parts of a message, of which text is one kind
                found.append((role, "".join(part.text("text") for part in entry.objects(content))))
            else:
                found.append((role, entry.text(content)))
        if not found:
            raise self.refuse(key, "must hold at least one message")
        return tuple(found)

    def prompt(self, key: str = "prompt") -> Prompt:
        """A string verbatim, or messages as turns."""
        value = self.fields.get(key)
        return Conversation(self.turns(key)) if isinstance(value, list) else self.text(key)

    def _unpacked(self, key: str) -> Any:
        value = self.fields.get(key)
        if isinstance(value, str) and value.lstrip().startswith("["):
            try:
                return json.loads(value)
            except ValueError:
                raise self.refuse(key, "is no JSON") from None
        return value


def score(label: str, value: Any) -> float:
    """A finite number of moderate size. Raises InstanceError."""
    if isinstance(value, str):
        try:
            value = plain_number(value.strip())
        except ValueError:
            raise InstanceError.of(label, value, "must be a finite number", "correct it") from None
    found = number(label, value)
    if abs(found) > MOST:  # squares of it are summed
        rule = f"must be at most {MOST:g} in absolute value"
        raise InstanceError.of(label, found, rule, "choose other units")
    return found


@dataclass
class Gathered:
    """Preferences read so far, and how many comparisons or answers were left out, by reason."""

    pairs: list[Pair] = field(default_factory=list)
    answers: dict[Hashable, tuple[Prompt, list[str], list[Sequence[float]]]] = field(
        default_factory=dict
    )
    names: tuple[str, ...] = ()
    left_out: Counter[str] = field(default_factory=Counter)
    memory: dict[Hashable, Any] = field(
        default_factory=dict
    )  # of formats whose rows belong together

    def compared(self, prompt: Prompt, chosen: str, rejected: str) -> None:
        """Take in one comparison, unless an answer of it is empty or both are the same."""
        if not shown(prompt).strip():
            self.left_out["empty prompts"] += 1
        elif not chosen.strip() or not rejected.strip():
            self.left_out["empty answers"] += 1
        elif chosen.strip() == rejected.strip():
            self.left_out["the same answer twice"] += 1
        else:
            self.pairs.append(Pair(prompt, chosen, rejected))

    def rated(self, group: Hashable, prompt: Prompt, text: str, scores: Sequence[float]) -> None:
        """Take in one answer with its scores, with others of its group; an empty one is left out."""
        if not shown(prompt).strip():
            self.left_out["empty prompts"] += 1
        elif not text.strip():
            self.left_out["empty answers"] += 1
        else:
            _, texts, table = self.answers.setdefault(group, (prompt, [], []))
            texts.append(text)
            table.append(scores)

    def scored(self) -> ScoredSet:
        """The rated answers by prompt."""
        items = [
            Scored(prompt, tuple(texts), np.array(table, dtype=np.float64))
            for prompt, texts, table in self.answers.values()
        ]
        return ScoredSet(self.names, tuple(items))
