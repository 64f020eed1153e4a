"""A pytest plugin: a lab's own instances under regression.

Put ``token-mdp/1`` files (or files of any world) in a folder and name it in the configuration,

    [tool.pytest.ini_options]
    soupcheck_instances = "tests/mdps"
    soupcheck_claims = "ss.thm1.gap.sharp ss.thm1.gap.identity"   # default: every proved claim

and a test that asks for the fixtures ``soupcheck_instance`` and ``soupcheck_claim`` runs once for
each file and claim; ``@pytest.mark.soupcheck(folder, claims)`` does the same for one test. The
fixture ``soupcheck_gate`` is ``assert_claim`` with the instance solved once for all its claims.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from toymdp import TokenMDP, solve

from .checking import assert_claim
from .claim import Check
from .claims.catalogue import CLAIMS, select
from .records.loading import load_any

_KINDS = (".json", ".npz")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register the two settings."""
    parser.addini("soupcheck_instances", "folder of instance files", default="")
    parser.addini("soupcheck_claims", "claim ids or patterns", type="args", default=[])


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line(
        "markers", "soupcheck(folder, claims): run once for each instance file and claim"
    )


def _load(path: Path) -> tuple[str, Any]:
    """Format of a file's instance, and the instance: solved, if it is a token MDP."""
    instance = load_any(path)
    return instance.format, solve(instance) if isinstance(instance, TokenMDP) else instance


def _chosen(patterns: list[str]) -> list[str]:
    if not patterns:
        return [c.id for c in CLAIMS.values() if c.status == "proved"]
    return [c.id for c in select(",".join(patterns))]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test for each instance file and claim of its world."""
    if "soupcheck_instance" not in metafunc.fixturenames:
        return
    marker = metafunc.definition.get_closest_marker("soupcheck")
    config = metafunc.config
    folder = str(config.getini("soupcheck_instances"))
    patterns = list(config.getini("soupcheck_claims"))
    if marker is not None:
        folder = str(marker.args[0]) if marker.args else folder
        given = marker.args[1] if len(marker.args) > 1 else marker.kwargs.get("claims", patterns)
        patterns = given.split() if isinstance(given, str) else list(given)
    root = config.rootpath / folder
    if not folder or not root.is_dir():
        raise pytest.UsageError(
            f"soupcheck: {folder or 'no folder'} is not a folder; set soupcheck_instances, or give "
            "the marker one"
        )
    paths = sorted(p for p in root.rglob("*") if p.suffix in _KINDS)
    if not paths:
        raise pytest.UsageError(f"soupcheck: {folder} holds no instance file ({', '.join(_KINDS)})")
    with_claim = "soupcheck_claim" in metafunc.fixturenames
    loaded = {path: _load(path) for path in paths}
    cases = [
        (path, claim)
        for path in paths
        for claim in (_chosen(patterns) if with_claim else [""])
        if not claim or CLAIMS[claim].world == loaded[path][0]
    ]
    names = ["soupcheck_instance", "soupcheck_claim"] if with_claim else ["soupcheck_instance"]
    values: list[Any] = [
        (loaded[p][1], claim) if with_claim else loaded[p][1] for p, claim in cases
    ]
    ids = [f"{p.relative_to(root)}-{claim}".rstrip("-") for p, claim in cases]
    metafunc.parametrize(",".join(names), values, ids=ids)


@pytest.fixture
def soupcheck_gate() -> Callable[..., Check]:
    """Return ``assert_claim``: raises AssertionError if the claim is violated on the instance."""
    return assert_claim
