"""What an earlier search left in a file, read and checked without importing torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from toymdp import InstanceError
from toymdp.validators import check_memory, integer, number, table

from ..records.witness import Witness, load_witness
from ..sides import Array

MOST_LOOKS = 2**63
REMEDY = "drop --resume to start anew"


@dataclass(frozen=True)
class StoredLead:
    """The point that was being climbed: theta [n], allowed [S, A] of 0 and 1, sizes A, L, T, K."""

    theta: Array
    allowed: Array
    sizes: tuple[int, int, int, int]


@dataclass(frozen=True)
class StoredSearch:
    """The best instance so far, the effort of all runs, and where to climb on (None: anywhere)."""

    witness: Witness
    rounds: int
    looks: int
    seconds: float
    tried: dict[str, int]
    lead: StoredLead | None


def read_search(path: Path, claim: str) -> StoredSearch:
    """Read the file of a search. Raises InstanceError if it is of another claim or no search."""
    witness = load_witness(path)
    if witness.claim != claim:
        raise InstanceError.of(
            f"{path}: claim", witness.claim, f"is not {claim}", "resume with the claim of the file"
        )
    stored = witness.instance.meta.get("search")
    if not isinstance(stored, dict) or not {"rounds", "looks", "seconds", "tried"} <= set(stored):
        raise InstanceError(
            f"{path}: meta.search is missing: not written by `search`; drop --resume"
        )
    label = f"{path}: meta.search."
    rounds, looks = (
        integer(label + key, stored[key], 0, MOST_LOOKS) for key in ("rounds", "looks")
    )
    seconds, tried = number(label + "seconds", stored["seconds"]), stored["tried"]
    if seconds < 0:
        raise InstanceError.of(label + "seconds", seconds, "must be ≥ 0", "drop --resume")
    if not isinstance(tried, dict):
        raise InstanceError.of(label + "tried", tried, "must be an object of counts", REMEDY)
    counts = {what: integer(f"{label}tried.{what}", n, 0, MOST_LOOKS) for what, n in tried.items()}
    lead = _lead(stored["lead"], label + "lead") if "lead" in stored else None
    return StoredSearch(witness, rounds, looks, seconds, counts, lead)


def _lead(stored: Any, label: str) -> StoredLead:
    """The point that was being climbed. Raises InstanceError unless its parts fit together."""
    if not isinstance(stored, dict) or set(stored) != {"theta", "sizes", "allowed"}:
        raise InstanceError.of(label, stored, "must hold theta, sizes and allowed", REMEDY)
    sizes = stored["sizes"]
    if not isinstance(sizes, list) or len(sizes) != 4:
        raise InstanceError.of(f"{label}.sizes", sizes, "must list A, L, T, K", REMEDY)
    A, L, T, K = (integer(f"{label}.sizes[{i}]", n, 1) for i, n in enumerate(sizes))
    check_memory(A, L, T, K)
    S = A**L
    theta = table(f"{label}.theta", stored["theta"], (S * A + K * S + 2 * K,))
    allowed = table(f"{label}.allowed", stored["allowed"], (S, A))
    if not np.isin(allowed, (0.0, 1.0)).all() or not allowed.any(axis=1).all():
        rule = "must be 0 or 1, with a 1 in each row"
        raise InstanceError.of(f"{label}.allowed", stored["allowed"], rule, REMEDY)
    return StoredLead(theta, allowed, (A, L, T, K))
