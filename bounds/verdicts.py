"""The checks of one instance together: a list that shows itself, as a table, a frame or LaTeX."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from toymdp.shown import html_table, short

from .claim import Check

if TYPE_CHECKING:
    import pandas

RELATION = {"equality": "=", "inequality": "≤"}
_NUMBER = re.compile(r"(?P<digits>-?[0-9.]+)(?:e(?P<e>[+-][0-9]+))?")
_LATEX = {"=": "$=$", "≤": r"$\le$", "–": "--", "_": r"\_"}


class Checks(list[Check]):
    """Checks in the catalogue's order; a list like any other."""

    def _repr_html_(self) -> str:
        header = ("claim", "verdict", "left", "", "right", "left/right", "why, or at")
        rows = [
            (c.claim, c.verdict, short(c.lhs), RELATION[c.kind], short(c.rhs), short(decided(c)),
             c.reason or c.lam_name or "")
            for c in self
        ]  # fmt: skip
        return html_table("Checks", rows, header)

    def to_frame(self) -> pandas.DataFrame:
        """A pandas frame, a row a check; needs pandas, which soupcheck does not install.

        ratio is there where the sides were told apart, as in the ledger. Raises ImportError.
        """
        import pandas

        columns = ("claim", "status", "kind", "verdict", "lhs", "rhs", "slack", "ratio", "error",
                   "lambda_name", "reason")  # fmt: skip
        rows = [
            (c.claim, c.status, c.kind, c.verdict, c.lhs, c.rhs, c.slack, decided(c), c.error,
             c.lam_name, c.reason)
            for c in self
        ]  # fmt: skip
        return pandas.DataFrame(rows, columns=list(columns))

    def to_latex(self) -> str:
        """A LaTeX tabular with the rules of booktabs: claim, verdict, both sides, their ratio."""
        rows = [
            (rf"\texttt{{{c.claim}}}", c.verdict, short(c.lhs), RELATION[c.kind], short(c.rhs),
             short(decided(c)))
            for c in self
        ]  # fmt: skip
        head = "claim & verdict & left & & right & left/right"
        body = "\n".join(" & ".join(map(_latex, row)) + r" \\" for row in rows)
        return "\n".join([
            r"\begin{tabular}{llrcrr}", r"\toprule", head + r" \\", r"\midrule", body,
            r"\bottomrule", r"\end{tabular}",
        ])  # fmt: skip


def decided(c: Check) -> float | None:
    """``lhs / rhs`` where the sides were told apart: the quotient of two roundings says nothing."""
    return c.ratio if c.verdict in ("holds", "violated") else None


def _latex(cell: Any) -> str:
    text = str(cell)
    number = _NUMBER.fullmatch(text)
    if number is not None:
        power = "" if number["e"] is None else rf"\times10^{{{int(number['e'])}}}"
        return f"${number['digits']}{power}$"
    return "".join(_LATEX.get(sign, sign) for sign in text)
