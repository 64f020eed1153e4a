"""Numbers and tables as people see them: short numbers, and HTML for notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from .errors import printable


def short(value: float | None) -> str:
    """A number in at most nine characters."""
    if value is None:
        return "–"
    if value == 0:
        return "0"
    return f"{value:.4g}" if 1e-3 <= abs(value) < 1e5 else f"{value:.2e}"


def brief(value: float) -> str:
    """A number in at most seven characters (a negative one: eight): for a glance."""
    if value == 0:
        return "0"
    return f"{value:.3g}" if 1e-3 <= abs(value) < 1e4 else f"{value:.1e}"


def html_table(title: str, rows: Iterable[Sequence[str]], header: Sequence[str] = ()) -> str:
    """A table of plain texts, which may come from files: nothing in them is markup.

    Without a header the first cell of each row heads it.
    """
    top = "".join(f'<th scope="col" style="text-align:left">{_safe(cell)}</th>' for cell in header)
    head = f"<thead><tr>{top}</tr></thead>" if header else ""
    body = "".join(f"<tr>{_row(row, headed=not header)}</tr>" for row in rows)
    caption = f'<caption style="text-align:left;font-weight:bold">{_safe(title)}</caption>'
    return f"<table>{caption}{head}<tbody>{body}</tbody></table>"


def _row(row: Sequence[str], headed: bool) -> str:
    left = ' style="text-align:left"'
    first = f'<th scope="row"{left}>{_safe(row[0])}</th>' if headed else ""
    return first + "".join(f"<td{left}>{_safe(cell)}</td>" for cell in row[int(headed) :])


def _safe(text: str) -> str:
    return escape(printable(text))
