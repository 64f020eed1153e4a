"""What a figure says of itself: a caption for LaTeX, and where it comes from in the PDF's metadata."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .cached_table import Row

# every sign of a caption that plain LaTeX does not take as it is
_SIGNS = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "#": r"\#", "_": r"\_", "$": r"\$", "{": r"\{",
    "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "λ": r"$\lambda$",
    "Δ": r"$\Delta$", "β": r"$\beta$", "ν": r"$\nu$", "π": r"$\pi$", "ψ": r"$\psi$", "γ": r"$\gamma$",
    "‖": r"$\|$", "≤": r"$\le$", "≥": r"$\ge$", "±": r"$\pm$", "−": r"$-$", "×": r"$\times$",
    "ε": r"$\varepsilon$", "δ": r"$\delta$", "σ": r"$\sigma$", "Π": r"$\Pi$", "²": r"$^2$",
    "₂": r"$_2$", "₁": r"$_1$", "–": "--", "’": "'", "é": r"\'e",
}  # fmt: skip

_SYMBOL = re.compile(r"(?<![A-Za-z])([A-Za-zΔδλνπ]_[A-Za-z0-9]|[A-Zλνπ]\*)(?![A-Za-z0-9])")


def latex(text: str) -> str:
    """Plain text as LaTeX source in ASCII. Raises ValueError for a sign that has no way to be set."""
    out = ""
    for i, part in enumerate(_SYMBOL.split(text)):
        signs = "".join(_SIGNS.get(sign, sign) for sign in part if i % 2 == 0 or sign not in "_*")
        if i % 2:  # a symbol with its index or star: one formula
            letter, index = signs[:-1].strip("$"), signs[-1]
            signs = f"${signs.strip('$')}^*$" if part.endswith("*") else f"${letter}_{index}$"
        out += signs
    out = out.replace("$$", " ")  # one formula out of neighbours
    odd = [sign for sign in out if not sign.isascii()]
    if odd:
        raise ValueError(f"{odd[0]!r} has no LaTeX in {text!r}: add it to paper_figs.provenance")
    return out


def sha256_of(table: Path) -> str:
    """The hash of the CSV that a figure is drawn from: its ledger."""
    return hashlib.sha256(table.read_bytes()).hexdigest()


def caption(
    says: str, reading: str, made_of: str, command: str, rows: Sequence[Row], table: Path
) -> str:
    """A ``\\caption``: what is drawn and how to read it, of what, by which command and version."""
    instances = {row["instance"] for row in rows if "instance" in row}
    size = f"{len(rows)} rows" + (
        f" on {n} instance{'s' * (n > 1)}" if (n := len(instances)) else ""
    )
    told = f"{says[0].upper()}{says[1:]}. {reading} {made_of} The table behind it: {size}."
    made = f"{command} (soupcheck {version('soupcheck')}, table {sha256_of(table)[:12]})"
    return (
        f"% {command}; table {table.name}, sha256 {sha256_of(table)}\n"
        f"\\caption{{{latex(told)} Made by {latex(made)}.}}\n\\label{{fig:{table.stem}}}\n"
    )


def in_words(made_of: str, parameters: Mapping[str, Any], *, quick: bool) -> str:
    """What a figure is drawn of, with the parameters that were used in their places.

    made_of: a template of the figure's module. quick: whether these are the few of a first look.
    """
    told = made_of.format(**{key: _value(value) for key, value in parameters.items()})
    return f"A quick look, no result. {told}" if quick else told


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"{key.replace('_', ' ')} {_value(each)}" for key, each in value.items())
    if isinstance(value, tuple | list) and len(value) > 8:
        return f"{_value(value[0])} to {_value(value[-1])} ({len(value)} values)"
    if isinstance(value, tuple | list):
        *first, last = map(_value, value)
        return f"{', '.join(first)} and {last}" if first else last
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def metadata(command: str, says: str, table: Path) -> dict[str, str | None]:
    """Of the PDF; without a date two runs write the same bytes."""
    return {
        "Title": command, "Subject": says,
        "Creator": f"soupcheck {version('soupcheck')}",
        "Keywords": f"sha256 of {table.name}: {sha256_of(table)}", "CreationDate": None,
    }  # fmt: skip
