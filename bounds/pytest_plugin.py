"""A pytest plugin: a lab's own instances under regression.

Put ``token-mdp/1`` files (or files of any world) in a folder and name it in the configuration,

    [tool.pytest.ini_options]
    soupcheck_instances = "tests/mdps"
    soupcheck_claims = "ss.thm1.gap.sharp ss.thm1.gap.identity"   # default: every proved claim

and a test that asks for the fixtures ``soupcheck_instance`` and ``soupcheck_claim`` runs once for
each file and claim; ``@pytest.mark.soupcheck(folder, claims, lam=[...])`` does the same for one
test, at the λ given. The fixture ``soupcheck_gate`` is ``assert_claim`` with the instance solved once
for all its claims: a claim that does not apply is a skip with its reason, never a pass.

At the end the verdicts of the proved claims are counted. Two more settings make the gate stricter:
``soupcheck_strict`` (an undecided claim fails its test) and ``soupcheck_require_applicable`` (a
proved claim that was applicable nowhere fails the session).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import SkipTest

import pytest

from toymdp import InstanceError, SolverError, TokenMDP, solve

from .checking import check_one, passed
from .claim import Check
from .claims.catalogue import CLAIMS, asked_by_name, select
from .records.loading import files_of, load_any
from .runs.gate import Gate

PROPERTY = "soupcheck"  # of a test's report: what its gate found, as JSON


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register the settings."""
    parser.addini("soupcheck_instances", "folder of instance files", default="")
    parser.addini("soupcheck_claims", "claim ids or patterns", type="args", default=[])
    parser.addini("soupcheck_strict", "fail undecided claims", type="bool", default=False)
    parser.addini(
        "soupcheck_require_applicable",
        "fail the session if a proved claim was applicable nowhere",
        type="bool",
        default=False,
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, and what counts verdicts."""
    config.addinivalue_line(
        "markers",
        "soupcheck(folder, claims, lam=None): run once for each instance file and claim, at λ = lam",
    )
    if not hasattr(config, "workerinput"):  # reports of xdist's workers come to their controller
        config.pluginmanager.register(_Counter(config), "soupcheck-counter")


class _Counter:
    """Counts what ``soupcheck_gate`` leaves in the reports of tests, and says so at the end."""

    def __init__(self, config: pytest.Config) -> None:
        self.gate = Gate(require_applicable=bool(config.getini("soupcheck_require_applicable")))

    @property
    def shut(self) -> bool:
        return bool(self.gate.claims and self.gate.shut_by())

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count a test when it is over, once."""
        if report.when == "teardown":
            for name, value in report.user_properties:
                if name == PROPERTY:
                    self.gate.count(*json.loads(str(value)))

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail a session that would pass, though a proved claim was applicable nowhere."""
        if self.shut and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print the counts."""
        if self.gate.claims:
            terminalreporter.section("soupcheck")
            for line in self.gate.lines():
                terminalreporter.write_line(line)
            for line in self.gate.shut_by():
                terminalreporter.write_line(line, red=True)


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
    try:
        loaded = {path: _load(path) for path in files_of(root)}
    except (InstanceError, SolverError) as error:
        raise pytest.UsageError(f"soupcheck: {error}") from None
    with_claim = "soupcheck_claim" in metafunc.fixturenames
    if with_claim and config.getini("soupcheck_require_applicable"):
        worlds = {world for world, _ in loaded.values()}
        for claim, world in asked_by_name(",".join(patterns)).items():
            if world not in worlds:
                raise pytest.UsageError(f"soupcheck: {claim}: no {world} instance in {folder}")
    cases = [
        (path, claim)
        for path in loaded
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
def soupcheck_gate(request: pytest.FixtureRequest) -> Callable[..., Check]:
    """Return ``assert_claim`` as the settings and the marker want it, which is counted.

    Called with an instance and a claim, and any option of ``assert_claim``. Skips the test where
    the claim does not apply; raises AssertionError where it is violated or, with soupcheck_strict,
    undecided.
    """
    marker = request.node.get_closest_marker("soupcheck")
    strict = bool(request.config.getini("soupcheck_strict"))

    def gate(instance: Any, claim: str, **options: Any) -> Check:
        at = {} if marker is None or "lam" not in marker.kwargs else {"lam": marker.kwargs["lam"]}
        asked = {"undecided_ok": not strict, **at, **options}
        where = {key: asked.pop(key) for key in ("lam", "seed") if key in asked}
        outcome = check_one(instance, claim, **where)
        verdict = [claim, outcome.status, outcome.verdict, outcome.reason]
        request.node.user_properties.append((PROPERTY, json.dumps(verdict)))
        try:
            return passed(outcome, **asked)
        except SkipTest as nothing:
            pytest.skip(str(nothing))

    return gate
