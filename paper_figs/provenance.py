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
    "₂": r"$_2$", "₁": r"$_1$", "–": "--", "’": "'", "é": r"\'e",
}  # fmt: skip


def latex(text: str) -> str:
    """Plain text as LaTeX source in ASCII. Raises ValueError for a sign that has no way to be set."""
    told = re.sub(r"Δ_k", "\0", text)
    out = "".join(_SIGNS.get(sign, sign) for sign in told).replace("\0", r"$\Delta_k$")
    out = out.replace("Q*", "$Q^*$")
    odd = [sign for sign in out if not sign.isascii()]
    if odd:
        raise ValueError(f"{odd[0]!r} has no LaTeX in {text!r}: add it to paper_figs.provenance")
    return out


def sha256_of(table: Path) -> str:
    """The hash of the CSV that a figure is drawn from: its ledger."""
    return hashlib.sha256(table.read_bytes()).hexdigest()


def caption(name: str, says: str, of: Sequence[str], rows: Sequence[Row], table: Path) -> str:
    """A ``\\caption`` with what is drawn, of how many instances, of what, and by which version.

    of: where the rows are from, as ``seeded`` says it of a figure's own.
    """
    instances = {row["instance"] for row in rows if "instance" in row}
    told = [
        f"{len(rows)} rows" + (f" on {n} instance{'s' * (n > 1)}" if (n := len(instances)) else "")
    ]
    sentence = f"{says[0].upper()}{says[1:]}. {'; '.join([*told, *of])}."
    made = f"soupcheck {version('soupcheck')}, table {sha256_of(table)[:12]}"
    return (
        f"% soupcheck figures {name}; table {table.name}, sha256 {sha256_of(table)}\n"
        f"\\caption{{{latex(sentence)} Made by {latex(made)}.}}\n\\label{{fig:{table.stem}}}\n"
    )


def seeded(parameters: Mapping[str, Any]) -> list[str]:
    """The parameters of a figure's own instances, in words."""
    told = [f"{key} = {_value(value)}" for key, value in parameters.items()]
    return [*told, "seeds count from 0 unless given"]


def _value(value: Any) -> str:
    if isinstance(value, tuple | list) and len(value) > 6:
        return f"{_value(value[0])} to {_value(value[-1])} ({len(value)} values)"
    if isinstance(value, tuple | list):
        return ", ".join(map(_value, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def metadata(name: str, says: str, table: Path) -> dict[str, str | None]:
    """Of the PDF; without a date two runs write the same bytes."""
    return {
        "Title": f"soupcheck figures {name}", "Subject": says,
        "Creator": f"soupcheck {version('soupcheck')}",
        "Keywords": f"sha256 of {table.name}: {sha256_of(table)}", "CreationDate": None,
    }  # fmt: skip
