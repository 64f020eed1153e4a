"""Witnesses: an instance, the claim it breaks, and what must be recomputed (``soup-witness/1``)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from toymdp import InstanceError, TokenMDP
from toymdp.files import read_json, to_plain, write_whole
from toymdp.instance import Instance
from toymdp.kinds import KINDS
from toymdp.validators import integer, number

FORMAT = "soup-witness/1"
MOST_SEED = 2**63
KEYS = ("format", "instance", "claim", "lambda", "seed", "expected")


@dataclass(frozen=True, eq=False)
class Witness:
    """An instance, of any format, that breaks a claim.

    lam: the λ [K] it is broken at, or None where the claim names none, or names λ*.
    expected: ``{"lhs", "rhs"}`` as found, to be recomputed.
    """

    name: str
    instance: Instance
    claim: str
    lam: tuple[float, ...] | None
    seed: int
    expected: Mapping[str, float]

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "format": FORMAT, "instance": self.instance.fields(), "claim": self.claim,
            "lambda": None if self.lam is None else list(self.lam), "seed": self.seed,
            "expected": dict(self.expected),
        }  # fmt: skip

    def save(self, path: Path) -> None:
        """Write the witness as indented JSON, small enough to be read."""
        text = json.dumps(to_plain(self.as_dict()), indent=1, allow_nan=False)
        write_whole(path, (text + "\n").encode("utf-8"))


def load_witness(path: Path) -> Witness:
    """Read a witness file. Raises InstanceError for extra, missing or inconsistent fields."""
    return witness_of(read_json(path), path)


def witness_of(fields: Mapping[str, Any], path: Path) -> Witness:
    """Build from what ``path`` holds. Raises InstanceError as ``load_witness`` does."""
    return _witness(fields, path.stem, str(path))


def _witness(fields: Mapping[str, Any], name: str, source: str) -> Witness:
    if set(fields) != set(KEYS):
        odd = sorted(set(fields) ^ set(KEYS))
        raise InstanceError(f"{source}: {odd} extra or missing; a witness has exactly {list(KEYS)}")
    label = f"{source}: "
    if not isinstance(fields["format"], str) or fields["format"] != FORMAT:
        raise InstanceError.of(
            f"{label}format", fields["format"], f"must be '{FORMAT}'", "convert the file"
        )
    if not isinstance(fields["claim"], str):
        raise InstanceError.of(f"{label}claim", fields["claim"], "must be a claim's id", "quote it")
    expected = fields["expected"]
    if not isinstance(expected, dict) or set(expected) != {"lhs", "rhs"}:
        rule = "must be an object of lhs and rhs"
        raise InstanceError.of(f"{label}expected", expected, rule, "recompute it")
    sides = {side: number(f"{label}expected.{side}", x) for side, x in expected.items()}
    if not isinstance(fields["instance"], dict):
        raise InstanceError.of(
            f"{label}instance", fields["instance"], "must be an object", "give a token-mdp/1"
        )
    format = fields["instance"].get("format")
    if not isinstance(format, str) or format not in KINDS:
        rule = "not an instance format"
        raise InstanceError.of(f"{label}instance: format", format, rule, f"one of {sorted(KINDS)}")
    try:
        instance = KINDS[format].instance.from_fields(fields["instance"])
    except InstanceError as error:
        raise InstanceError(f"{label}instance: {error}") from None
    lam, K = fields["lambda"], instance.n_rewards if isinstance(instance, TokenMDP) else 0
    if lam is not None and (not isinstance(lam, list) or len(lam) != K or K == 0):
        rule = f"must list K = {K} numbers or be null"
        raise InstanceError.of(f"{label}lambda", lam, rule, "correct it")
    weights = None if lam is None else tuple(
        number(f"{label}lambda[{k}]", x) for k, x in enumerate(lam)
    )  # fmt: skip
    seed = integer(f"{label}seed", fields["seed"], 0, MOST_SEED)
    return Witness(name, instance, fields["claim"], weights, seed, sides)


def stored_witness(name: str) -> Witness:
    """Return one of the witnesses that come with the package."""
    return _witness(_stored(name), name, f"{name}.json")


def stored_witnesses() -> list[Witness]:
    """Return the witnesses that come with the package, by name."""
    return [stored_witness(name) for name in _stored_names()]


def stored_witness_claims() -> dict[str, str]:
    """Return the claim that each stored witness breaks, by the witness's name; builds none."""
    return {name: _stored(name)["claim"] for name in _stored_names()}


def _stored_names() -> list[str]:
    names = (p.name for p in (files("bounds") / "witnesses").iterdir())
    return sorted(name.removesuffix(".json") for name in names if name.endswith(".json"))


def _stored(name: str) -> dict[str, Any]:
    path = files("bounds") / "witnesses" / f"{name}.json"
    fields: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return fields


def stored_certificates() -> dict[str, dict[str, Any]]:
    """Return what ``soupcheck certify`` said of each stored witness, by its name.

    Only of the witness as it is now: a certificate names the sha256 of the file it read.
    """
    folder = files("bounds") / "witnesses"
    lines = (folder / "certificates.jsonl").read_text(encoding="utf-8").splitlines()
    stored = {entry.pop("witness"): entry for entry in map(json.loads, lines)}
    return {
        name: entry for name, entry in stored.items()
        if hashlib.sha256((folder / f"{name}.json").read_bytes()).hexdigest() == entry["sha256"]
    }  # fmt: skip
