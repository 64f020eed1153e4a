"""Statements of claims as MathML, in pieces between which a line may break."""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from latex2mathml.converter import convert
from markupsafe import Markup

PRIME = re.compile(r"<msup>(<mi>[^<]*</mi>)<mi>&#x02032;</mi></msup>")
XMLNS = ' xmlns="http://www.w3.org/1998/Math/MathML"'  # which HTML does without
CLOSES = {")": "(", "]": "["}
BARS = "|‖"
BREAKS_BEFORE = frozenset("+≤≥=∝⇒⟺→≃")  # and at a thin space, which stands between two factors


def mathml(statement: str) -> Markup:
    """MathML of a claim's LaTeX; raises ValueError for a command that the converter left as is."""
    # the converter knows \max but not \arg
    markup = convert(statement.replace(r"\arg", r"\operatorname{arg}"), display="block")
    left = re.search(r"\\[A-Za-z]+", markup)
    if left:
        raise ValueError(f"{left.group()} is not rendered in {statement}")
    # a prime glyph is raised and small of itself: as an exponent it would be too small to see
    return Markup(PRIME.sub(r"<mrow>\1<mo lspace='0' rspace='0'>&#x02032;</mo></mrow>", markup))


def breakable(statement: str) -> Markup:
    """The same in several inline formulas of full size: no browser breaks a line inside of one.

    A line may break before a relation or a +, between factors, and after a comma, outside
    parentheses and norms. Raises ValueError as ``mathml`` does.
    """
    row = ElementTree.fromstring(mathml(statement).replace(XMLNS, ""))[0]
    return Markup(" ").join(_formula(piece) for piece in _pieces(_flat(row)))


def _flat(row: Element) -> Iterator[Element]:
    """What a row holds, without the groups that only make it smaller (``\\textstyle``, ``\\tfrac``)."""
    for child in row:
        if child.tag == "mstyle":
            yield from _flat(child)
        else:
            yield child


def _pieces(children: Iterator[Element]) -> Iterator[list[Element]]:
    piece: list[Element] = []
    opened: list[str] = []
    for child in children:
        sign = (child.text or "") if child.tag == "mo" else ""
        # a sum in square brackets may be as long as the statement itself
        outside = all(bracket == "[" for bracket in opened)
        space = child.tag == "mspace"
        if piece and outside and (sign in BREAKS_BEFORE or space):
            yield piece
            piece = []
        if sign in BREAKS_BEFORE:
            child.set("form", "infix")  # at the beginning of a row it would stand as a sign
        piece.append(child)
        _follow(opened, _bracket(child))
        if sign == "," and not opened:
            yield piece
            piece = []
    if piece:
        yield piece


def _bracket(child: Element) -> str:
    """The bracket or bar that this is, with an index or not (``|λ|_1``)."""
    base = child[0] if len(child) and child.tag in ("msub", "msup") else child
    return (base.text or "") if base.tag == "mo" else ""


def _follow(opened: list[str], sign: str) -> None:
    """Open or close a bracket; a bar closes the bar before it, and one without a partner ends with
    the parentheses around it, as in ``KL(p‖q)``."""
    if sign in ("(", "["):
        opened.append(sign)
    elif sign in CLOSES and CLOSES[sign] in opened:
        while opened.pop() != CLOSES[sign]:
            pass
    elif sign and sign in BARS:
        if opened and opened[-1] == sign:
            opened.pop()
        else:
            opened.append(sign)


def _formula(piece: list[Element]) -> Markup:
    math = Element("math", {"displaystyle": "true"})
    math.append(Element("mrow"))
    math[0].extend(piece)
    return Markup(ElementTree.tostring(math, encoding="unicode"))
