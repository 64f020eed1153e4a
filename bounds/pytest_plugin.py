"""A pytest plugin: a lab's own instances under regression.

Put ``token-mdp/1`` files (or files of any world) in a folder and name it in the configuration,

    [tool.pytest.ini_options]
    soupcheck_instances = "tests/mdps"
    soupcheck_claims = ["ss.thm1.gap.sharp", "mine.*"]   # default: every proved claim
    soupcheck_plugins = ["my_claims.py"]                 # modules whose CLAIMS to add

and a test that asks for the fixtures ``soupcheck_instance`` and ``soupcheck_claim`` runs once for
each file and claim; ``@pytest.mark.soupcheck(folder, claims, lam=[...])`` does the same for one
test, at the λ given. The fixture ``soupcheck_gate`` is ``assert_claim`` with the instance solved once
for all its claims: a claim that does not apply is a skip with its reason, never a pass. A witness file
gives one test more, which passes where the witness breaks its claim; a file that is no instance gives
one that fails, and hides no other.

At the end the verdicts of the proved claims are counted. Two more settings make the gate stricter:
``soupcheck_strict`` (an undecided claim fails its test) and ``soupcheck_require_applicable`` (a
proved claim that was applicable nowhere fails the session).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import SkipTest

import pytest

from toymdp import InstanceError, SolverError, TokenMDP, solve
from toymdp.errors import ClaimError

from .checking import check_one, passed
from .claim import Check, Claim
from .claims.catalogue import CLAIMS, asked_by_name, select
from .records.loading import files_of, load_given
from .records.witness import Witness
from .runs.cases import claim_of_witness
from .runs.gate import Gate

PROPERTY = "soupcheck"  # of a test's report: what its gate found, as JSON
WITNESS = "soupcheck-witness"  # the same of a witness: its name, claim and verdict
FAULTS = (InstanceError, SolverError)  # of a file


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register the settings."""
    parser.addini("soupcheck_instances", "folder of instance files", default="")
    parser.addini("soupcheck_claims", "claim ids or patterns", type="args", default=[])
    parser.addini(
        "soupcheck_plugins", "modules or .py files whose CLAIMS to add", type="args", default=[]
    )
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


def pytest_sessionstart(session: pytest.Session) -> None:
    """Refuse settings that name no module, claim or folder, before anything is collected."""
    config = session.config
    try:
        for name in config.getini("soupcheck_plugins"):
            CLAIMS.add_module(str(config.rootpath / name) if name.endswith(".py") else name)
        for pattern in config.getini("soupcheck_claims"):
            select(pattern)
        if config.getini("soupcheck_instances"):
            _files(config, config.getini("soupcheck_instances"))
    except InstanceError as error:
        raise pytest.UsageError(f"soupcheck: {error}") from None


def _files(config: pytest.Config, folder: str) -> list[Path]:
    """The files of a folder that is named from the root. Raises InstanceError if there is none."""
    root = config.rootpath / folder
    if not folder or not root.is_dir():
        remedy = "set soupcheck_instances, or give the marker one"
        raise InstanceError.of("folder", folder, f"is not a folder of {config.rootpath}", remedy)
    return files_of(root)


class _Counter:
    """Counts what ``soupcheck_gate`` leaves in the reports of tests, and says so at the end."""

    def __init__(self, config: pytest.Config) -> None:
        self.gate = Gate(require_applicable=bool(config.getini("soupcheck_require_applicable")))

    @property
    def shut_by(self) -> list[str]:
        """What fails the session though each test has passed."""
        return self.gate.shut_by() if self.gate.claims else []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count a test when it is over, once."""
        if report.when == "teardown":
            for name, value in report.user_properties:
                if name == PROPERTY:
                    self.gate.count(*json.loads(str(value)))
                elif name == WITNESS:
                    self.gate.witnesses[json.loads(str(value)) == "violated"] += 1

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail a session that would pass, though a proved claim was applicable nowhere."""
        if self.shut_by and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print the counts; what fails the session stands among the failures that pytest counts."""
        if self.gate.claims or self.gate.witnesses:
            terminalreporter.section("soupcheck")
            for line in self.gate.lines():
                terminalreporter.write_line(line)
        for line in self.shut_by:
            terminalreporter.write_line(line, red=True)
            where = ("soupcheck", None, "soupcheck_require_applicable")
            failure = pytest.TestReport("::".join(where[::2]), where, {}, "failed", line, "call")
            terminalreporter.stats.setdefault("failed", []).append(failure)


@dataclass(frozen=True)
class _Refused:
    """Stands for the instance of a file that has none; says: why."""

    says: str


class _Broken(str):
    """The id of a claim that a witness must break, at its λ."""

    lam: tuple[float, ...] | None


@dataclass(frozen=True)
class _File:
    """What a file holds: an instance, solved if it is a token MDP, of this format; a witness's claim."""

    subject: Any
    world: str
    broken: _Broken | None


def _load(path: Path) -> _File | _Refused:
    try:
        given = load_given(path)
        broken = None
        if isinstance(given, Witness):
            broken = _Broken(claim_of_witness(given, path).id)
            broken.lam = given.lam
            given = given.instance
        subject = solve(given) if isinstance(given, TokenMDP) else given
    except FAULTS as error:
        return _Refused(str(error))
    return _File(subject, given.format, broken)


def _chosen(patterns: list[str]) -> list[Claim]:
    if not patterns:
        return [c for c in CLAIMS.values() if c.status == "proved"]
    return select(",".join(patterns))


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
    with_claim = "soupcheck_claim" in metafunc.fixturenames
    try:
        claims = _chosen(patterns)
        loaded = {path: _load(path) for path in _files(config, folder)}
        if with_claim and config.getini("soupcheck_require_applicable"):
            worlds = {file.world for file in loaded.values() if isinstance(file, _File)}
            for claim, world in asked_by_name(",".join(patterns)).items():
                if world not in worlds:
                    rule = f"speaks of {world}, of which no instance is in {folder}"
                    raise InstanceError.of("claim", claim, rule, "add one, or leave it out")
    except InstanceError as error:  # of a marker: pytest shows its text alone
        raise pytest.Collector.CollectError(f"soupcheck: {error}") from None
    rows: list[tuple[Any, str]] = []
    ids = []
    for path, file in loaded.items():
        name = str(path.relative_to(config.rootpath / folder))
        if isinstance(file, _Refused) or not with_claim:
            rows.append((file if isinstance(file, _Refused) else file.subject, ""))
            ids.append(name)
            continue
        of_its_world = [claim.id for claim in claims if claim.world == file.world]
        rows += [(file.subject, claim) for claim in of_its_world]
        ids += [f"{name}-{claim}" for claim in of_its_world]
        if file.broken is not None and "soupcheck_gate" in metafunc.fixturenames:
            rows.append((file.subject, file.broken))
            ids.append(f"{name}-breaks-{file.broken}")
    if with_claim:
        metafunc.parametrize("soupcheck_instance,soupcheck_claim", rows, ids=ids)
    else:
        metafunc.parametrize("soupcheck_instance", [subject for subject, _ in rows], ids=ids)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fail the one test of a file that is no instance."""
    callspec = getattr(item, "callspec", None)
    subject = None if callspec is None else callspec.params.get("soupcheck_instance")
    if isinstance(subject, _Refused):
        pytest.fail(f"soupcheck: {subject.says}", pytrace=False)


@pytest.fixture
def soupcheck_gate(request: pytest.FixtureRequest) -> Callable[..., Check]:
    """Return ``assert_claim`` as the settings and the marker want it, which is counted.

    Called with an instance and a claim (its id, or a Claim), and any option of ``assert_claim``. Skips
    the test where the claim does not apply; raises AssertionError where it is violated or, with
    soupcheck_strict, undecided, and where a witness does not break its claim.
    """
    marker = request.node.get_closest_marker("soupcheck")
    strict = bool(request.config.getini("soupcheck_strict"))
    found = request.node.user_properties

    def gate(instance: Any, claim: str | Claim, **options: Any) -> Check:
        __tracebackhide__ = True
        at = {} if marker is None or "lam" not in marker.kwargs else {"lam": marker.kwargs["lam"]}
        asked = {"undecided_ok": not strict, **at, **options}
        where = {key: asked.pop(key) for key in ("lam", "seed") if key in asked}
        if isinstance(claim, _Broken):
            where["lam"] = claim.lam
        try:
            outcome = check_one(instance, claim, **where)
        except (*FAULTS, ClaimError) as error:
            pytest.fail(f"soupcheck: {error}", pytrace=False)
        if isinstance(claim, _Broken):
            found.append((WITNESS, json.dumps(outcome.verdict)))
            if outcome.verdict != "violated":
                raise AssertionError(f"the witness does not break {claim}: {outcome.verdict}")
            return outcome
        verdict = [outcome.claim, outcome.status, outcome.verdict, outcome.reason]
        found.append((PROPERTY, json.dumps(verdict)))
        try:
            return passed(outcome, **asked)
        except SkipTest as nothing:
            pytest.skip(str(nothing))

    return gate
