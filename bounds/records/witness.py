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
from toymdp.files import read_json, to_plain

FORMAT = "soup-witness/1"
KEYS = ("format", "instance", "claim", "lambda", "seed", "expected")


@dataclass(frozen=True, eq=False)
class Witness:
    """An instance that breaks a claim.

    lam: the λ [K] it is broken at, or None where the claim names none, or names λ*.
    expected: ``{"lhs", "rhs"}`` as found, to be recomputed.
    """

    name: str
    instance: TokenMDP
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
        path.write_text(text + "\n", encoding="utf-8")


def load_witness(path: Path) -> Witness:
    """Read a witness file. Raises InstanceError for extra, missing or inconsistent fields."""
    return _witness(read_json(path), path.stem, str(path))


def _witness(fields: Mapping[str, Any], name: str, source: str) -> Witness:
    if set(fields) != set(KEYS):
        odd = sorted(set(fields) ^ set(KEYS))
        raise InstanceError(f"{source}: {odd} extra or missing; a witness has exactly {list(KEYS)}")
    if fields["format"] != FORMAT:
        raise InstanceError.of(
            "format", fields["format"], f"must be '{FORMAT}'", "convert the file"
        )
    if not isinstance(fields["claim"], str):
        raise InstanceError.of("claim", fields["claim"], "must be a claim's id", "quote it")
    expected = fields["expected"]
    numbers = isinstance(expected, dict) and all(
        isinstance(x, int | float) for x in expected.values()
    )
    if not numbers or set(expected) != {"lhs", "rhs"}:
        raise InstanceError.of("expected", expected, "must hold numbers lhs, rhs", "recompute it")
    if not isinstance(fields["instance"], dict):
        raise InstanceError.of("instance", fields["instance"], "must be an object", "see DESIGN")
    try:
        mdp = TokenMDP(**fields["instance"])
    except TypeError as error:
        raise InstanceError(f"{source}: instance: {error}") from None
    lam = fields["lambda"]
    K = mdp.n_rewards
    if lam is not None and (not isinstance(lam, list) or len(lam) != K):
        raise InstanceError.of("lambda", lam, f"must list K = {K} numbers or be null", "correct it")
    return Witness(
        name, mdp, fields["claim"], None if lam is None else tuple(float(x) for x in lam),
        int(fields["seed"]), expected,
    )  # fmt: skip


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
