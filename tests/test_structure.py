"""The house: imports point one way, files stay small, the packages are what pyproject says."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# each room and the rooms it may import
ALLOWED = {
    "toymdp": set(),
    "bounds": {"toymdp"},
    "llm_bridge": {"toymdp", "bounds"},
    "paper_figs": {"toymdp", "bounds", "llm_bridge"},
}


def imported_rooms(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.split(".")[0])
    return found & set(ALLOWED)


@pytest.mark.parametrize("room", ALLOWED)
def test_imports_point_one_way(room):
    for path in (ROOT / room).rglob("*.py"):
        assert imported_rooms(path) - {room} <= ALLOWED[room], path


def module_imports(path: Path, room: str) -> set[str]:
    """Modules of the same room imported at the top of a file (not inside functions)."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = set()
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and (
            node.level or (node.module or "").startswith(room)
        ):
            names = [node.module] if node.module else [alias.name for alias in node.names]
            found |= {name.removeprefix(f"{room}.").split(".")[0] for name in names if name}
    return found


@pytest.mark.parametrize("room", ALLOWED)
def test_no_circular_imports(room):
    graph = {p.stem: module_imports(p, room) for p in (ROOT / room).glob("*.py")}

    def visit(node: str, path: tuple[str, ...]) -> None:
        assert node not in path, f"cycle: {' -> '.join((*path, node))}"
        for child in graph.get(node, ()):
            visit(child, (*path, node))

    for node in graph:
        visit(node, ())


def test_files_are_small():
    for room in ALLOWED:
        for path in (ROOT / room).rglob("*.py"):
            lines = len(path.read_text(encoding="utf-8").splitlines())
            assert lines <= 320, f"{path} has {lines} lines: split it"
