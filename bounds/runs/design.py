"""What a sweep is asked for: a TOML file of families, parameters, seeds, files and claims.

    claims = "ss.thm1.*, ss.delta"    # ids or patterns; all by default
    plugins = ["my_claims.py"]        # modules with claims of your own
    chunk = 100                       # seeds a task; aim at 10 to 60 s a task
    limit = 600                       # seconds without an answer after which a claim is given up
    [[grid]]
    family = "dirichlet"
    seeds = 1000                      # 0 to 999; or {from = 0, to = 1000}
    beta = [0.25, 1.0, 4.0]           # lists are crossed
    scale = {log = [0.1, 10, 5]}      # five values; {lin = ...} likewise
    [[files]]
    glob = "mdps/*.npz"
    [adaptive]                        # then breed the worlds where a claim is tightest
    claim = "ss.thm1.gap"
    generations = 20
    keep = 64                         # parents of each generation: the tightest so far
    children = 8                      # of each

A chunk begins at a multiple of its length, so that more seeds later do not change what there is.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from toymdp.errors import InstanceError
from toymdp.families.options import checked_options, options_of
from toymdp.files import read_bytes
from toymdp.kinds import ALL_FAMILIES
from toymdp.validators import integer, number

from ..claims.catalogue import CLAIMS, select
from .cases import from_files

Source = dict[str, Any]
CHUNK, LIMIT = 100, 600.0
TABLES = {"claims", "plugins", "chunk", "limit", "grid", "files", "adaptive"}
MOST_POINTS = 100_000  # of one grid: more is a slip of the pen


@dataclass(frozen=True)
class Adaptive:
    """Generations after the first: of which claim, how many, parents of each, children of a parent."""

    claim: str
    generations: int
    keep: int
    children: int


@dataclass(frozen=True)
class Design:
    """A sweep as plain values.

    claims: ids. sources: one a task (see ``chunk``). paths: where its files are, by SHA-256. refused:
    a line for each file that is no instance. limit: seconds.
    """

    claims: tuple[str, ...]
    sources: tuple[Source, ...]
    paths: Mapping[str, str]
    refused: tuple[str, ...]
    plugins: tuple[str, ...]
    limit: float
    chunk: int
    adaptive: Adaptive | None


def read_design(path: Path) -> Design:
    """The design in a TOML file. Raises InstanceError, with the key, for what it cannot be."""
    try:
        config = tomllib.loads(read_bytes(path).decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InstanceError(f"{path}: is no TOML ({error}); correct it") from None
    try:
        return _design(config, path.parent)
    except InstanceError as error:
        raise InstanceError(f"{path}: {error}") from None


def _design(config: Mapping[str, Any], folder: Path) -> Design:
    _known(config, TABLES, "the file")
    plugins = config.get("plugins", [])
    if not isinstance(plugins, list) or not all(isinstance(p, str) for p in plugins):
        raise InstanceError.of("plugins", plugins, "must be a list of modules", "correct it")
    plugins = [str(folder / p) if p.endswith(".py") else p for p in plugins]
    for name in plugins:
        CLAIMS.add_module(name)
    claims = tuple(claim.id for claim in select(_text(config.get("claims", "*"), "claims")))
    length = integer("chunk", config.get("chunk", CHUNK), 1)
    limit = number("limit", config.get("limit", LIMIT))
    if limit <= 0:
        raise InstanceError.of("limit", limit, "must be above 0 s", "correct it")
    sources = [s for table in _tables(config, "grid") for s in _grid(table, length)]
    paths: dict[str, str] = {}
    refused: list[str] = []
    for table in _tables(config, "files"):
        cases, bad = from_files(_files(table, folder))
        paths |= {str(case.options["sha256"]): str(case.options["path"]) for case in cases}
        refused += bad
    names = list(paths)
    sources += [{"files": names[i : i + length]} for i in range(0, len(names), length)]
    if not sources and not refused:
        raise InstanceError("nothing to look at: it needs a table [[grid]] or [[files]]")
    unique = {repr(source): source for source in sources}  # grids may share points
    adaptive = _adaptive(config["adaptive"], claims) if "adaptive" in config else None
    return Design(
        claims, tuple(unique.values()), paths, tuple(dict.fromkeys(refused)), tuple(plugins), limit,
        length, adaptive,
    )  # fmt: skip


def _adaptive(table: Any, claims: Sequence[str]) -> Adaptive:
    if not isinstance(table, dict):
        raise InstanceError.of("adaptive", table, "must be a table [adaptive]", "correct it")
    _known(table, {"claim", "generations", "keep", "children"}, "[adaptive]")
    claim = _text(table.get("claim", ""), "adaptive.claim")
    if claim not in claims or CLAIMS[claim].world != "token-mdp/1":
        rule = "must be one of this sweep's claims, about token MDPs"
        raise InstanceError.of("adaptive.claim", claim, rule, "add it to claims, or name another")
    sizes = {"generations": 20, "keep": 64, "children": 8}
    return Adaptive(claim, **{k: integer(k, table.get(k, n), 1) for k, n in sizes.items()})


def _tables(config: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    tables = config.get(name, [])
    if not isinstance(tables, list) or not all(isinstance(t, dict) for t in tables):
        raise InstanceError.of(name, tables, f"must be tables [[{name}]]", "correct it")
    return tables


def _known(table: Mapping[str, Any], keys: set[str], where: str) -> None:
    for key in table:
        if key not in keys:
            rule = f"is no key of {where}"
            raise InstanceError.of("key", key, rule, f"choose from {', '.join(sorted(keys))}")


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise InstanceError.of(name, value, "must be a string", "put it in quotes")
    return value


def _grid(table: Mapping[str, Any], length: int) -> Iterator[Source]:
    """One source for each point of a grid and each chunk of its seeds."""
    family = _text(table.get("family", ""), "family")
    if family not in ALL_FAMILIES:
        raise InstanceError.of("family", family, "unknown", f"choose from {list(ALL_FAMILIES)}")
    make = ALL_FAMILIES[family]
    _known(table, {"family", "seeds", "chunk", *options_of(make)}, f"a grid of {family}")
    length = integer("chunk", table.get("chunk", length), 1)
    first, end = _seeds(table.get("seeds", 1))
    axes = {k: _values(k, v) for k, v in table.items() if k not in ("family", "seeds", "chunk")}
    if math.prod(map(len, axes.values())) > MOST_POINTS:
        rule = f"has more than {MOST_POINTS:,} points"
        raise InstanceError.of("grid", family, rule, "take fewer values")
    for point in product(*axes.values()):
        options = checked_options(family, make, dict(zip(axes, point, strict=True)))
        starts = [first, *range(first - first % length + length, end, length)]
        for start, stop in zip(starts, [*starts[1:], end], strict=True):
            yield {"family": family, "options": options, "first": start, "n": stop - start}


def _seeds(value: Any) -> tuple[int, int]:
    if isinstance(value, dict):
        _known(value, {"from", "to"}, "seeds")
        first = integer("seeds.from", value.get("from", 0), 0)
        return first, integer("seeds.to", value.get("to"), first + 1)
    return 0, integer("seeds", value, 1)


def _values(name: str, value: Any) -> list[Any]:
    """The values of one parameter: a list, a range in equal steps or factors, or one number."""
    if isinstance(value, list) and value:
        return value
    if not isinstance(value, dict):
        return [value]
    rule = "must be a number, a list, or {lin = [a, b, n]} or {log = [a, b, n]}"
    kind = next(iter(value), "")
    ends = value.get(kind)
    if (
        len(value) != 1
        or kind not in ("lin", "log")
        or not isinstance(ends, list)
        or len(ends) != 3
    ):
        raise InstanceError.of(name, value, rule, "correct it")
    low, high = (number(name, x) for x in ends[:2])
    n = integer(name, ends[2], 1)
    if kind == "log" and not (low > 0 and high > 0):
        raise InstanceError.of(name, value, "a range in factors has ends above 0", "correct it")
    spread = np.geomspace if kind == "log" else np.linspace
    return [float(x) for x in spread(low, high, n)]


def _files(table: Mapping[str, Any], folder: Path) -> list[Path]:
    """The files that a pattern matches."""
    _known(table, {"glob"}, "[[files]]")
    pattern = _text(table.get("glob", ""), "glob")
    found = sorted(path for path in folder.glob(pattern) if path.is_file()) if pattern else []
    if not found:
        raise InstanceError.of("glob", pattern, "matches no file", f"it is read from {folder}")
    return found
