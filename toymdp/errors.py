"""What a refusal says when something does not fit: field, value, rule, remedy, on one line."""

from __future__ import annotations

import re
import reprlib

# what a terminal obeys instead of showing (C0 without line feed, DEL, C1), what reorders the text
# around it (bidirectional marks), ends a line unseen (U+2028, U+2029) or is no character at all
# (half a surrogate pair): none of it may come out of a user's file as it is
UNPRINTABLE = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


# how much of a list or object a message may quote
_CONTAINERS = reprlib.Repr()
_CONTAINERS.maxlist = _CONTAINERS.maxtuple = _CONTAINERS.maxdict = 20


def printable(text: str) -> str:
    r"""Return ``text`` as it may be shown: what is no visible character is written ``\x1b``, ``\u2028``."""
    return UNPRINTABLE.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    code = ord(found.group())
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


MOST_SAID = 2000  # characters of a refusal: it may quote a library that quotes the file


def one_line(text: str) -> str:
    """Return ``text`` as one line that a person will read: of a long one, its two ends."""
    line = " ".join(part.strip() for part in text.splitlines())
    if len(line) <= MOST_SAID:
        return line
    return f"{line[: MOST_SAID * 3 // 4]} ... {line[-MOST_SAID // 5 :]}"


class _OneLine(Exception):  # noqa: N818  # what the errors of users' input have in common
    """An error whose text is one line, whatever it was made of."""

    def __init__(self, text: object = "") -> None:
        super().__init__(one_line(str(text)))


class InstanceError(_OneLine, ValueError):
    """An instance, or the file it came from, breaks a rule of ``token-mdp/1``."""

    @classmethod
    def of(cls, field: str, value: object, rule: str, remedy: str) -> InstanceError:
        """Build the one-line message from its four parts."""
        if len(field) > 200:  # a key may come from a file, as long as the file
            field = field[:197] + "..."
        shown = repr(value[:80]) if isinstance(value, str) else _short(value)
        if len(shown) > 80:
            shown = shown[:77] + "..."
        return cls(f"{field} = {' '.join(shown.split())}: {rule}; {remedy}")


def _short(value: object) -> str:
    """``str(value)``, without the digits of an integer that Python would refuse to write."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**18:
        return "an integer beyond 1e18"
    try:
        held = isinstance(value, list | tuple | dict)
        return _CONTAINERS.repr(value) if held else str(value)
    except (ValueError, RecursionError):  # a huge integer inside a list, or nested too deeply
        return type(value).__name__


class SolverError(_OneLine, RuntimeError):
    """A solve has no answer, for a stated mathematical reason (never a silent bare array)."""


class NoTable(_OneLine, RuntimeError):  # noqa: N818  # an outcome: what was asked needs another layout
    """A sparse instance has no table [S, A] of every token after every context."""


class CorpusError(_OneLine, ValueError):
    """A corpus that cannot be used: one line with file, line, value, rule and remedy."""


class ClaimError(_OneLine, RuntimeError):
    """The code of a claim or of a hypothesis failed; the text says which, and how, in one line."""


class OutputError(_OneLine):
    """A file could not be written; the text says which and why, in one line."""
