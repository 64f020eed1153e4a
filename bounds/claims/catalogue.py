"""The catalogue: the tables of all claim modules in the papers' order, then those of plug-ins.

A package adds claims by an entry point of the group ``soupcheck.claims`` that names an iterable of
Claim; a single run adds those of a module by ``--plugin`` (``CLAIMS.add_module``).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from fnmatch import fnmatchcase
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from threading import RLock
from types import ModuleType
from typing import Any, Literal

from toymdp import InstanceError
from toymdp.kinds import KINDS

from ..claim import Claim, Hypothesis
from . import (
    appendix_c,
    appendix_c_convex,
    bellman,
    completeness,
    delta,
    disagreement,
    exact_retrieval,
    exact_selection,
    exact_topics,
    gap,
    kl,
    kl_proof,
    lemma1_proof,
    logit_error,
    optimum,
    psoups,
    section4,
    section4_composite,
    softmax_readings,
    span,
    theorem1_proof,
)

GROUP = "soupcheck.claims"
TABLES = (
    bellman.TABLE,
    lemma1_proof.TABLE,
    softmax_readings.TABLE,
    completeness.TABLE,
    optimum.TABLE,
    kl.TABLE,
    kl_proof.TABLE,
    gap.TABLE,
    logit_error.TABLE,
    disagreement.TABLE,
    theorem1_proof.TABLE,
    delta.TABLE,
    span.TABLE,
    section4.TABLE,
    section4_composite.TABLE,
    psoups.TABLE,
    appendix_c.TABLE,
    appendix_c_convex.TABLE,
    exact_selection.TABLE,
    exact_topics.TABLE,
    exact_retrieval.TABLE,
)


class Catalogue(Mapping[str, Claim]):
    """Claims by id. Installed plug-ins are loaded when the catalogue is first read, not before:
    they import this package, which must be complete by then.
    """

    def __init__(self, tables: Iterable[Iterable[Claim]]) -> None:
        self._claims = {claim.id: claim for table in tables for claim in table}
        self._lock = RLock()
        self._state: Literal["ours", "loading", "whole"] = "ours"

    def __getitem__(self, claim_id: str) -> Claim:
        return self._loaded()[claim_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._loaded())

    def __len__(self) -> int:
        return len(self._loaded())

    def add(self, claims: Iterable[Claim], source: str) -> None:
        """Add claims; source says where they come from.

        Raises InstanceError for what is no Claim, and for an id that another claim has.
        """
        try:
            given: list[Any] = list(claims)
        except TypeError:
            given = [claims]
        for claim in given:
            if not isinstance(claim, Claim):
                rule = "must be an iterable of Claim"
                raise InstanceError.of(
                    source, type(claim).__name__, rule, "give bounds.Claim objects"
                )
            if claim.world not in KINDS:
                rule = f"{claim.id} speaks of no known format"
                raise InstanceError.of("world", claim.world, rule, f"one of {sorted(KINDS)}")
            if self._claims.setdefault(claim.id, claim) != claim:
                rule = f"{source} gives another claim this id"
                raise InstanceError.of("claim", claim.id, rule, "rename it")

    def add_module(self, name: str) -> None:
        """Add the claims of a module: a dotted name or the path of a file, its attribute CLAIMS.

        Raises InstanceError if it cannot be imported or names no claims.
        """
        module = _module(name)
        if not hasattr(module, "CLAIMS"):
            rule = "has no attribute CLAIMS"
            raise InstanceError.of("--plugin", name, rule, "list its claims there")
        self.add(module.CLAIMS, f"--plugin {name}")

    def _loaded(self) -> dict[str, Claim]:
        with self._lock:
            if self._state == "ours":
                self._state = "loading"  # what is loaded may read the catalogue meanwhile
                try:
                    self._load_installed()
                except BaseException:
                    self._state = "ours"  # asked again, it fails again
                    raise
                self._state = "whole"
        return self._claims

    def _load_installed(self) -> None:
        for entry in sorted(entry_points(group=GROUP), key=lambda e: e.name):
            try:
                claims = entry.load()
            except (Exception, SystemExit) as error:
                remedy = "mend or uninstall that package"
                rule = f"plug-in cannot be loaded ({type(error).__name__}: {error})"
                raise InstanceError.of(entry.name, entry.value, rule, remedy) from error
            self.add(claims, f"plug-in {entry.name}")


def _module(name: str) -> ModuleType:
    """A module by its dotted name, or by its file. Raises InstanceError if it cannot be imported."""
    try:
        if not name.endswith(".py"):
            return import_module(name)
        path = Path(name)
        known = sys.modules.get(path.stem)
        if known is not None:
            if Path(str(getattr(known, "__file__", None))).resolve() == path.resolve():
                return known
            rule = f"a module {path.stem} is imported already"
            raise InstanceError.of("--plugin", name, rule, "rename the file")
        spec = spec_from_file_location(path.stem, path)
        if spec is None or spec.loader is None:
            raise ImportError(f"no module can be made of {path}")
        module = sys.modules[path.stem] = module_from_spec(spec)  # so that its claims pickle
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[path.stem]
            raise
        return module
    except InstanceError:
        raise
    except Exception as error:  # any error of the file's code is reported as its fault, in one line
        missing = isinstance(error, ImportError | FileNotFoundError)
        remedy = "give a module that Python can import, or the path of a file"
        rule = f"cannot be imported ({type(error).__name__}: {error})"
        raise InstanceError.of("--plugin", name, rule, remedy if missing else "mend it") from error


CLAIMS = Catalogue(TABLES)
Asked = str | Claim | Iterable[str | Claim]


def claim_named(claim_id: str) -> Claim:
    """Return the claim of this id. Raises InstanceError if there is none."""
    if claim_id not in CLAIMS:
        raise InstanceError.of("claim", claim_id, "unknown", _nearest(claim_id))
    return CLAIMS[claim_id]


def of_number(text: str) -> list[str]:
    """The ids of the claims that an equation's number names: ``(10)``, ``10`` and ``eq10`` are one."""
    number = re.fullmatch(r"\((\d+)\)|(?:eq\.?\s*)?\(?(\d+)\)?", text.strip().lower())
    if number is None:
        return []
    source = re.compile(rf"SS (?:\w+ \d+ )?\({number[1] or number[2]}\)")
    return [c.id for c in CLAIMS.values() if source.fullmatch(c.source)]


def numbered(text: str) -> str | None:
    """The id of the one claim that an equation's number names; None where none or several do."""
    ids = of_number(text)
    return ids[0] if len(ids) == 1 else None


def _nearest(claim_id: str, *, pattern: bool = False) -> str:
    """What to do about an id that is no claim's: a number of the papers, a part of an id, a slip."""
    number = claim_id.strip("()")
    near = [c.id for c in CLAIMS.values() if f"({number})" in c.source] if number.isdigit() else []
    held = [known for known in CLAIMS if number and number in known]
    near = near or ([f"*{number}*"] if held and pattern else held[:3])
    near = near or get_close_matches(claim_id, list(CLAIMS))
    if near:
        return f"did you mean {' or '.join(near)}?"
    return "list them with `soupcheck claims`"


def hypotheses() -> dict[str, Hypothesis]:
    """Return the hypotheses that claims of the catalogue name, by id."""
    return {h.id: h for claim in CLAIMS.values() for h in (*claim.hypotheses, *claim.reported)}


def asked_by_name(pattern: str) -> dict[str, str]:
    """The proved claims whose id stands in a pattern letter by letter: id -> world."""
    parts = [part.strip() for part in pattern.split(",")]
    return {p: CLAIMS[p].world for p in parts if p in CLAIMS and CLAIMS[p].status == "proved"}


def select(asked: Asked) -> list[Claim]:
    """The claims asked for: shell patterns of ids by commas, a Claim, or several of either.

    Those of a pattern come in the catalogue's order. Raises InstanceError if a pattern matches none, for
    what is neither, and for two claims of one id.
    """
    if isinstance(asked, str):
        return _matching(asked)
    chosen: dict[str, Claim] = {}
    given: Iterable[object] = [asked] if isinstance(asked, Claim) else asked
    for one in given:
        if not isinstance(one, str | Claim):
            rule = "must be an id, a pattern or a Claim"
            raise InstanceError.of("claims", type(one).__name__, rule, "give one of these")
        for claim in [one] if isinstance(one, Claim) else _matching(one):
            if chosen.setdefault(claim.id, claim) != claim:
                rule = "two claims that are given have this id"
                raise InstanceError.of("claim", claim.id, rule, "rename one")
    return list(chosen.values())


def _matching(pattern: str) -> list[Claim]:
    chosen: set[str] = set()
    for part in pattern.split(","):
        matching = set(of_number(part))
        matching |= {claim_id for claim_id in CLAIMS if fnmatchcase(claim_id, part.strip())}
        if not matching:
            raise InstanceError.of(
                "claims", part.strip(), "matches no claim", _nearest(part.strip(), pattern=True)
            )
        chosen |= matching
    return [claim for claim in CLAIMS.values() if claim.id in chosen]
