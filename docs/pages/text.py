"""Plain docstrings and our own words as Markdown: nothing in them is markup but code in backticks."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence

_CODE = re.compile(r"``(.+?)``|`([^`]+)`", re.DOTALL)
_MARKUP = re.compile(r"([\\`*_\[\]<>#|~$&])")
_ARGUMENT = re.compile(r"(?:^|\n)((?:[a-z_]\w*(?:, )?)+: )")


def plain(text: str) -> str:
    """Text in which no character is markup; what stands in backticks, one or two, is code."""
    out, end = [], 0
    for found in _CODE.finditer(text):
        out += [_MARKUP.sub(r"\\\1", text[end : found.start()]), code(found[1] or found[2])]
        end = found.end()
    return "".join([*out, _MARKUP.sub(r"\\\1", text[end:])])


def code(text: str) -> str:
    """A code span; a bar in it would end a cell of a table."""
    escaped = (
        " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace("|", "&#124;")
    )
    for sign in "\\`*_[]$~":
        escaped = escaped.replace(sign, f"&#{ord(sign)};")
    return f"<code>{escaped}</code>"


def paragraphs(doc: str | None) -> list[str]:
    """The paragraphs of a docstring, each on one line; what it says of an argument is an item."""
    out = []
    for part in inspect.cleandoc(doc or "").split("\n\n"):
        pieces = _ARGUMENT.split(part)
        if pieces[0].strip():
            out.append(plain(" ".join(pieces[0].split())))
        items = zip(pieces[1::2], pieces[2::2], strict=True)
        listed = [f"- {code(name[:-2])}: {plain(' '.join(says.split()))}" for name, says in items]
        if listed:
            out.append("\n".join(listed))
    return out


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; cells are Markdown already."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def page(*parts: str) -> str:
    """Parts that are not empty, a blank line between them."""
    return "\n\n".join(part for part in parts if part) + "\n"
