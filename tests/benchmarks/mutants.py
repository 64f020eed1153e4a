"""Small changes of a source file that its tests ought to notice.

Text is spliced at the positions that ``ast`` gives, so all other lines stay as they are. Left alone:
docstrings and other strings, type hints, decorators, imports, what is raised, blocks under
``TYPE_CHECKING``, and the factor of a rounding allowance (``32 * EPS``: no test tells 32 from 33).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

BINARY = {
    ast.Add: "-", ast.Sub: "+", ast.Mult: "/", ast.Div: "*", ast.Pow: "*", ast.FloorDiv: "%",
    ast.Mod: "//", ast.BitAnd: "|", ast.BitOr: "&",
}  # fmt: skip
AUGMENTED = {ast.Add: "-=", ast.Sub: "+=", ast.Mult: "/=", ast.Div: "*=", ast.BitOr: "&=",
             ast.BitAnd: "|="}  # fmt: skip
COMPARED = {
    ast.Lt: ("<=", ">"), ast.LtE: ("<", ">"), ast.Gt: (">=", "<"), ast.GtE: (">", "<"),
    ast.Eq: ("!=",), ast.NotEq: ("==",), ast.Is: ("is not",), ast.IsNot: ("is",),
    ast.In: ("not in",), ast.NotIn: ("in",),
}  # fmt: skip
TWINS = (
    ("min", "max"), ("minimum", "maximum"), ("argmin", "argmax"), ("any", "all"),
    ("zeros", "ones"), ("zeros_like", "ones_like"), ("log1p", "log"), ("expm1", "exp"),
    ("floor", "ceil"), ("lower", "upper"), ("nextafter", "maximum"), ("sinh", "cosh"),
)  # fmt: skip
OTHER_NAME = dict(TWINS) | {b: a for a, b in TWINS[:6] + TWINS[8:10]}
DROPPED = {"abs", "fabs", "absolute", "sqrt", "sorted"}  # f(x) becomes x
SYMMETRIC = {"min", "max", "minimum", "maximum", "union", "isclose", "zip", "logaddexp", "gcd"}
ROUNDING = {"EPS", "TINY"}


@dataclass(frozen=True)
class Mutant:
    """One change: the characters start..end of a file become ``new``."""

    file: str
    line: int
    kind: str
    start: int
    end: int
    old: str
    new: str

    def apply(self, text: str) -> str:
        """The file's text with this change. Raises ValueError if the text is another one."""
        if text[self.start : self.end] != self.old:
            raise ValueError(f"{self.file} has changed: draw the mutants anew")
        return text[: self.start] + self.new + text[self.end :]

    def __str__(self) -> str:
        old, new = (" ".join(x.split()) for x in (self.old, self.new))
        return f"{self.file}:{self.line} {self.kind}: {old[:60]} -> {new[:60]}"


class Changes(ast.NodeVisitor):
    """Collects the mutants of one file."""

    def __init__(self, file: str, text: str) -> None:
        self.file, self.text, self.all = file, text, set[Mutant]()
        lines = text.splitlines(keepends=True)
        self.lines, self.before = lines, [0]
        for line in lines:
            self.before.append(self.before[-1] + len(line))
        tree = ast.parse(text)
        self.plain = ast.dump(tree)
        self.visit(tree)

    def offset(self, line: int, column: int) -> int:
        """Characters before a position; ast counts columns in bytes of UTF-8."""
        return self.before[line - 1] + len(self.lines[line - 1].encode()[:column].decode())

    def span(self, node: ast.expr | ast.stmt | ast.keyword) -> tuple[int, int]:
        """Where a node starts and ends."""
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        start = self.offset(node.lineno, node.col_offset)
        return start, self.offset(node.end_lineno, node.end_col_offset)

    def source(self, node: ast.expr) -> str:
        """The node's text, in brackets where it needs some."""
        start, end = self.span(node)
        text = self.text[start:end]
        plain = isinstance(node, ast.Name | ast.Constant | ast.Attribute | ast.Call | ast.Subscript)
        return text if plain else f"({text})"

    def add(self, node: ast.expr | ast.stmt | ast.keyword, kind: str, new: str) -> None:
        """Replace a node."""
        start, end = self.span(node)
        self.put(start, end, node.lineno, kind, new)

    def put(self, start: int, end: int, line: int, kind: str, new: str) -> None:
        old = self.text[start:end]
        changed = self.text[:start] + new + self.text[end:]
        try:  # a change of brackets alone is none
            same = ast.dump(ast.parse(changed)) == self.plain
        except SyntaxError:
            return
        if not same:
            self.all.add(Mutant(self.file, line, kind, start, end, old, new))

    def swap(self, left: ast.expr, right: ast.expr, kind: str, new: str) -> None:
        """Replace the operator between two operands."""
        start, end = self.span(left)[1], self.span(right)[0]
        between = self.text[start:end]
        mark = between.strip("() \n\t\\")
        if mark and "#" not in between:
            at = start + between.index(mark)
            self.put(at, at + len(mark), left.lineno, kind, new)

    # what is left alone

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        for default in (*node.args.defaults, *filter(None, node.args.kw_defaults)):
            self.visit(default)
        for child in node.body:
            self.visit(child)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for child in node.body:
            self.visit(child)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None and "TypeAlias" not in ast.unparse(node.annotation):
            self.visit(node.value)

    def visit(self, node: ast.AST) -> None:
        if not isinstance(
            node, ast.Raise | ast.Import | ast.ImportFrom | ast.JoinedStr | ast.Assert
        ):
            super().visit(node)

    # what is changed

    def visit_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant | ast.Yield | ast.YieldFrom):
            self.add(node, "statement dropped", "pass")
        if not isinstance(node.value, ast.Constant):
            self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self.add(node, "statement dropped", "pass")
        if type(node.op) in AUGMENTED:
            self.swap(node.target, node.value, "operator", AUGMENTED[type(node.op)])
        self.generic_visit(node)

    def visit_If(self, node: ast.If) -> None:
        if "TYPE_CHECKING" in ast.unparse(node.test):
            return
        self.add(node.test, "branch never taken", "False")
        self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self.add(node, "choice", self.source(node.body))
        self.add(node, "choice", self.source(node.orelse))
        self.generic_visit(node)

    def visit_Continue(self, node: ast.Continue) -> None:
        self.add(node, "loop", "break")

    def visit_BinOp(self, node: ast.BinOp) -> None:
        self.generic_visit(node)
        hint = isinstance(node.op, ast.BitOr) and not isinstance(node.left, ast.Compare)
        if hint and any(x in ast.unparse(node) for x in ("None", "float", "int", "str", "Array")):
            return  # a union of types
        kind = type(node.op)
        if kind in BINARY:
            self.swap(node.left, node.right, "operator", BINARY[kind])
        if kind in (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow, ast.BitAnd, ast.BitOr):
            self.add(node, "right dropped", self.source(node.left))
        if kind in (ast.Add, ast.Mult, ast.BitAnd, ast.BitOr):
            self.add(node, "left dropped", self.source(node.right))

    def visit_Compare(self, node: ast.Compare) -> None:
        self.generic_visit(node)
        operands = [node.left, *node.comparators]
        for left, op, right in zip(operands, node.ops, operands[1:], strict=False):
            for new in COMPARED[type(op)]:
                self.swap(left, right, "comparison", new)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        self.generic_visit(node)
        new = "or" if isinstance(node.op, ast.And) else "and"
        for left, right in zip(node.values, node.values[1:], strict=False):
            self.swap(left, right, "and/or", new)
        for value in node.values:
            self.add(node, "condition alone", self.source(value))

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        self.generic_visit(node)
        self.add(node, "sign or not dropped", self.source(node.operand))

    def visit_Constant(self, node: ast.Constant) -> None:
        value = node.value
        if isinstance(value, bool):
            self.add(node, "constant", str(not value))
        elif isinstance(value, int):
            for new in {value + 1, abs(value - 1)}:
                self.add(node, "constant", str(new))
        elif isinstance(value, float):
            self.add(node, "constant", repr(2.0 * value if value else 1.0))

    def visit_Subscript(self, node: ast.Subscript) -> None:
        self.generic_visit(node)
        places = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        for place in places:
            if isinstance(place, ast.Name) and place.id in {"t", "s", "k", "a", "i", "j", "m"}:
                self.add(place, "index", f"{place.id} - 1")

    def visit_keyword(self, node: ast.keyword) -> None:
        if node.arg == "axis":
            at = ast.unparse(node.value)
            self.add(node.value, "axis", "0" if at != "0" else "-1")
        else:
            self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        self.generic_visit(node)
        name = node.func.attr if isinstance(node.func, ast.Attribute) else ast.unparse(node.func)
        if name in OTHER_NAME:
            end = self.span(node.func)[1]
            self.put(end - len(name), end, node.lineno, "other function", OTHER_NAME[name])
        starred = any(isinstance(x, ast.Starred | ast.GeneratorExp) for x in node.args[:2])
        if name in DROPPED and node.args and not starred:
            self.add(node, "function dropped", self.source(node.args[0]))
        if len(node.args) >= 2 and not starred and name not in SYMMETRIC:
            first, second = node.args[0], node.args[1]
            if not any(
                isinstance(x, ast.Constant) and isinstance(x.value, str) for x in (first, second)
            ):
                start, middle = self.span(first)
                other, end = self.span(second)
                new = self.text[other:end] + self.text[middle:other] + self.text[start:middle]
                self.put(start, end, node.lineno, "arguments swapped", new)


def about_rounding(mutant: Mutant, text: str) -> bool:
    """Whether only the size of a rounding allowance changes: the factor of EPS."""
    ahead, behind = text[mutant.end : mutant.end + 8], text[: mutant.start][-8:]
    near = any(ahead.startswith(f" * {n}") or behind.endswith(f"{n} * ") for n in ROUNDING)
    return near and mutant.kind == "constant"


def mutants_of(file: str, text: str) -> Iterator[Mutant]:
    """All mutants of one file, in the order of its lines."""
    found = Changes(file, text).all
    for mutant in sorted(found, key=lambda m: (m.start, m.end, m.new)):
        if not about_rounding(mutant, text):
            yield mutant
