"""The house: imports point one way, nested ones too; files stay small; nothing hidden."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# each package and the packages it may import
ALLOWED = {
    "toymdp": set(),
    "bounds": {"toymdp"},
    "llm_bridge": {"toymdp", "bounds"},
    "paper_figs": {"toymdp", "bounds", "llm_bridge"},
}
# instance -> solve -> check -> record -> report: a room imports rooms to its left, and itself
ORDER = {
    "toymdp": (
        ("errors", "extras", "face", "threads"), ("arrays", "cached", "shown"), ("validators",),
        ("archives",), ("files",), ("lines",), ("instance",), ("worlds",), ("kernels",), ("exact",),
        ("soup",), ("families",), ("learning",), ("methods",), ("kinds",), ("warm_up",),
    ),
    "bounds": (
        ("certificates",), ("formulas", "sides", "terminal", "threads"), ("subject",),
        ("claim",), ("verdicts",), ("facts",), ("claims",),
        ("checking",), ("records",), ("conformance",), ("proofs",), ("runs",), ("experiments",),
        ("report",), ("search",),
        ("commands", "pytest_plugin"), ("cli",), ("face",),
    ),
    "llm_bridge": (
        ("backend",), ("folding", "forward", "texts", "base_content"), ("adapter_files", "bank"),
        ("adapter_loading", "answers", "gguf_model"),
        ("preferences", "loading", "decoding"), ("formats", "lookup"), ("oracle",),
        ("measure",), ("methods", "training"), ("comparison",), ("studies",),
        ("commands",),
    ),
    "paper_figs": (("canvas", "cached_table", "notebook"),),
}  # fmt: skip
# who may import the compiled kernels, beside the tests
KERNEL_USERS = {"exact", "soup", "kernels", "warm_up"}


def module_of(path: Path) -> str:
    """The dotted name of a file."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {
    module_of(path): path
    for package in ALLOWED
    for path in sorted((ROOT / package).rglob("*.py"))
    if "witnesses" not in path.parts  # programs that are data: nothing imports them
}


def imported(path: Path) -> Iterator[str]:
    """Every module of ours that a file imports, at its top, inside functions or for types alone."""
    tree, base = ast.parse(path.read_text(encoding="utf-8")), module_of(path).split(".")
    if path.name != "__init__.py":
        base = base[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.split(".")[0] in ALLOWED)
        elif isinstance(node, ast.ImportFrom):
            above = base[: len(base) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            if module.split(".")[0] in ALLOWED:
                for alias in node.names:
                    name = f"{module}.{alias.name}"
                    yield name if name in SOURCES else module


def hidden_imports(path: Path) -> Iterator[str]:
    """What is imported by a string, or reached as an attribute of a package: no arrow shows it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in (
            "import_module", "__import__", "exec", "eval",
        ):  # fmt: skip
            constants = [a.value for a in node.args if isinstance(a, ast.Constant)]
            yield from (
                str(x) for x in constants if str(x).split(".")[0] in (*ALLOWED, "soupcheck")
            )
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "toymdp.kernels":
            yield "toymdp.kernels"
        if (
            isinstance(node, ast.ImportFrom)
            and not (node.module or "").startswith("kernels")
            and (node.module or "") not in ("", "toymdp")
            and any(a.name == "kernels" for a in node.names)
        ):
            yield f"{node.module}.kernels"
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module]
            yield from (n for n in names if n and n.split(".")[0] in ("soupcheck", "tests"))


GRAPH = {name: set(imported(path)) - {name} for name, path in SOURCES.items()}


@pytest.mark.parametrize("package", ALLOWED)
def test_packages_import_only_those_below_them(package):
    for name, imports in GRAPH.items():
        if name.split(".")[0] == package:
            others = {other.split(".")[0] for other in imports} - {package}
            assert others <= ALLOWED[package], f"{name} imports {others - ALLOWED[package]}"


def room(name: str) -> str:
    """The room of a module: its folder or, at the top of a package, its file."""
    return name.split(".")[1] if "." in name else ""


@pytest.mark.parametrize("package", [p for p in ALLOWED if p != "paper_figs"])
def test_rooms_import_only_rooms_before_them(package):
    rank = {name: i for i, rooms in enumerate(ORDER[package]) for name in rooms}
    for name, imports in GRAPH.items():
        if name.split(".")[0] != package or not room(name):
            continue
        assert room(name) in rank, f"{name}: which room is it? Give it a place in ORDER"
        for other in imports:
            if other.split(".")[0] == package and room(other) != room(name):
                if room(name) == "face" and not room(other):
                    continue  # which shows what the package's own face shows
                assert room(other), f"{name} imports the face of its own package"
                upward = rank[room(other)] >= rank[room(name)]
                assert not upward, f"{name} imports {other}, of a room beside or above it"


def test_no_circles():
    """Nested imports, those of types and those of packages' faces count like any other."""
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, f"circle: {' -> '.join((*path[path.index(name) :], name))}"
        if name in done:
            return
        for other in GRAPH.get(name, ()):
            visit(other, (*path, name))
        done.add(name)

    for name in GRAPH:
        visit(name, ())


def test_kernels_are_imported_by_exact_and_soup_alone():
    for name, imports in GRAPH.items():
        if any(other.startswith("toymdp.kernels") for other in imports):
            assert name.startswith("toymdp."), name
            assert room(name) in KERNEL_USERS, name


def test_certificates_import_nothing_of_ours():
    for name, imports in GRAPH.items():
        if name.startswith("bounds.certificates"):
            assert all(other.startswith("bounds.certificates") for other in imports), name


def test_learning_knows_arrays_alone():
    """Claims, methods and the bridge share it: it knows no token MDP and no torch."""
    for name, imports in GRAPH.items():
        if name.startswith("toymdp.learning"):
            assert {room(other) for other in imports} <= {
                "arrays",
                "cached",
                "errors",
                "learning",
                "threads",
            }
            assert "torch" not in SOURCES[name].read_text(encoding="utf-8"), name


def test_the_command_line_names_no_package_above_it():
    """What lies above is found by entry points; a figure is imported by nothing."""
    for name, imports in GRAPH.items():
        if not name.startswith("paper_figs"):
            assert not any(other.startswith("paper_figs") for other in imports), name


def test_no_import_is_hidden():
    """The installed name is for others, and nothing of ours is imported by a string."""
    for name, path in SOURCES.items():
        assert list(hidden_imports(path)) == [], name


def test_nothing_is_hidden():
    """No weak references, no thread identities, no caches of functions that could hold instances."""
    for name, path in SOURCES.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            words = {
                ast.Name: lambda n: n.id, ast.Attribute: lambda n: n.attr,
                ast.alias: lambda n: n.name,
            }.get(type(node), lambda n: "")(node)  # fmt: skip
            if name == "toymdp.families.corpus" and words == "lru_cache":
                continue  # the tables of the last fit of a text, plain data that no instance is
            assert words not in {"weakref", "get_ident", "lru_cache"}, f"{name}: {words}"
            assert not (isinstance(node, ast.Attribute) and ast.unparse(node) == "threading.local")
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                marks = {ast.unparse(mark).split(".")[-1] for mark in node.decorator_list}
                if "cache" in marks:
                    kinds = {ast.unparse(a.annotation or ast.Name("?")) for a in node.args.args}
                    assert kinds <= {"int"}, f"{name}.{node.name}: a cache of what it is given"


def test_files_are_small():
    for path in SOURCES.values():
        lines = len(path.read_text(encoding="utf-8").splitlines())
        assert lines <= 320, f"{path} has {lines} lines: split it"


def test_every_folder_of_code_is_packaged():
    """``soupcheck`` is the folder bounds/face under another name."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    named = set(settings["tool"]["setuptools"]["packages"])
    folders = {module_of(p) for p in SOURCES.values() if p.name == "__init__.py"}
    assert named == folders - {"bounds.face"} | {"soupcheck"}
    assert settings["tool"]["setuptools"]["package-dir"] == {"soupcheck": "bounds/face"}


@pytest.mark.parametrize("package", ALLOWED)
def test_every_package_says_what_it_is(package):
    for name, path in SOURCES.items():
        if name.split(".")[0] == package:
            doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
            assert doc, name
            assert "TODO" not in doc, name
