"""The unit of work of a sweep: some instances and some claims give one part.

Whatever a claim does, its row is there: one that raises, that does not answer, or that takes its
process with it has the verdict ``error`` and the reason. Each instance is judged as ``verify --seed``
judges its seed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from toymdp.errors import SolverError

from ..checking import judge
from ..claim import Claim
from ..claims.catalogue import CLAIMS, claim_named
from ..records.output import Record, content_hash
from ..records.parts import part_of
from ..records.record import record
from ..records.sources import code_of
from .cases import Case, from_family, from_lineage
from .rows import one_by_one
from .task import Task

NO_OPTIONS = (
    "family",
    "seed",
    "steps",
    "path",
    "sha256",
)  # of a case's: they have their own columns
Beat = Callable[[str], None]


def chunk(
    source: Mapping[str, Any], claims: Sequence[str], code: str, *,
    paths: Mapping[str, str], plugins: Sequence[str] = (),
    skip: Mapping[str, str], beat: Beat,
) -> bytes:  # fmt: skip
    """One part: every claim on every instance of a source.

    source: ``{family, options, first, n}``, ``{lineages: [{family, seed, steps, options}]}`` or
    ``{files: [sha256 of each]}``; paths: where those are.
    code: what the claims must be computed by. Raises SolverError where that is another than is here.
    """
    for name in plugins:
        CLAIMS.add_module(name)
    chosen = [claim_named(name) for name in claims]
    if code_of(chosen) != code:
        rule = "the code is not, or not any more, the one that this sweep was planned with"
        raise SolverError(f"{rule}; start the sweep again: parts of before are kept, not counted")
    own = Task.of(chunk, source=source, claims=claims, code=code).id
    rows = [
        row
        for i, case in enumerate(cases_of(source, paths))
        for row in _rows(str(i), case, chosen, skip, beat)
    ]
    return part_of(own, rows)


def cases_of(source: Mapping[str, Any], paths: Mapping[str, str]) -> Iterator[Case]:
    """The instances of a source, as cases."""
    if "files" in source:
        for digest in source["files"]:
            options = {"path": paths[digest], "sha256": digest}
            yield Case(paths[digest], "file", "file", options)
        return
    if "lineages" in source:
        for line in source["lineages"]:
            yield from_lineage(line["family"], line["seed"], line["steps"], **line["options"])
        return
    yield from from_family(source["family"], source["n"], source["first"], **source["options"])


def case_of_row(row: Mapping[str, Any], paths: Mapping[str, str]) -> Case:
    """The case that a row of a part is of; paths: of files, by SHA-256."""
    if row["family"] == "file":
        digest = next((d for d, path in paths.items() if path == row["instance"]), "")
        return next(cases_of({"files": [digest]}, paths))
    if row["steps"]:
        return next(cases_of({"lineages": [lineage_of(row)]}, paths))
    own = lineage_of(row)
    source = {"family": own["family"], "options": own["options"], "first": own["seed"], "n": 1}
    return next(cases_of(source, paths))


def lineage_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """Where the world of a row comes from: family, its parameters, seed, changes since."""
    options = {k[2:]: v for k, v in row.items() if k.startswith("p_") and v is not None}
    return {
        "family": row["family"], "seed": row["seed"], "steps": list(row["steps"] or ()),
        "options": options,
    }  # fmt: skip


def _rows(
    at: str, case: Case, claims: Sequence[Claim], skip: Mapping[str, str], beat: Beat
) -> list[Record]:
    """The rows of one instance."""
    began = time.process_time()
    given = {k: v for k, v in case.options.items() if k not in NO_OPTIONS}
    seed = case.options.get("seed", 0)
    about = {
        "family": case.family, "instance": case.name, "seed": seed,
        "steps": case.options.get("steps"),
        **{f"p_{name}": value for name, value in given.items()},
    }  # fmt: skip
    beat(at)
    try:
        if at in skip:
            raise TimeoutError(skip[at])
        instance = case.build()
        digest = content_hash(instance)
        judged = judge(claims, instance, seed=seed)
        rows = [record(case.name, digest, check, seed, family=case.family) for check in judged]
    except Exception:  # of one claim, or of all: each is asked alone
        rows = list(one_by_one(case, seed, claims, lambda name: _step(f"{at}/{name}", skip, beat)))
    seconds = time.process_time() - began
    return [row | about | {"seconds": seconds} for row in rows]


def _step(at: str, skip: Mapping[str, str], beat: Beat) -> None:
    """Say where the work is. Raises TimeoutError for a step that must not be taken any more."""
    beat(at)
    if at in skip:
        raise TimeoutError(skip[at])
