"""What an earlier search left in a file, read and checked without importing torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from toymdp import InstanceError, TokenMDP
from toymdp.validators import check_memory, integer, number, table

from ..records.witness import Witness, load_witness
from ..sides import Array
from .ordinary import Ordinary

MOST_LOOKS = 2**63
REMEDY = "drop --resume to start anew"


@dataclass(frozen=True)
class StoredLead:
    """The point that was being climbed: theta [n], allowed [S, A] of 0 and 1, sizes A, L, T, K.

    mirrored: whether its tokens turn (bounds.search.ordinary_population).
    """

    theta: Array
    allowed: Array
    sizes: tuple[int, int, int, int]
    mirrored: bool = False


@dataclass(frozen=True)
class StoredSearch:
    """The best instance so far, the effort of all runs, and where to climb on (None: anywhere).

    ordinary: the limits that were asked for; None: worlds of every kind.
    """

    witness: Witness
    rounds: int
    looks: int
    met: int
    seconds: float
    tried: dict[str, int]
    lead: StoredLead | None
    ordinary: Ordinary | None


def read_search(path: Path, claim: str) -> StoredSearch:
    """Read the file of a search. Raises InstanceError if it is of another claim or no search."""
    witness = load_witness(path)
    if witness.claim != claim:
        raise InstanceError.of(
            f"{path}: claim", witness.claim, f"is not {claim}", "resume with the claim of the file"
        )
    mdp = witness.instance
    if not isinstance(mdp, TokenMDP):
        raise InstanceError(f"{path}: instance: search knows token MDPs only; {REMEDY}")
    stored = mdp.meta.get("search")
    if not isinstance(stored, dict) or not {"rounds", "looks", "seconds", "tried"} <= set(stored):
        raise InstanceError(
            f"{path}: meta.search is missing: not written by `search`; drop --resume"
        )
    label = f"{path}: meta.search."
    effort = {"met": 0} | stored  # older files do not say
    rounds, looks, met = (
        integer(label + key, effort[key], 0, MOST_LOOKS) for key in ("rounds", "looks", "met")
    )
    seconds, tried = number(label + "seconds", stored["seconds"]), stored["tried"]
    if seconds < 0:
        raise InstanceError.of(label + "seconds", seconds, "must be ≥ 0", "drop --resume")
    if not isinstance(tried, dict):
        raise InstanceError.of(label + "tried", tried, "must be an object of counts", REMEDY)
    counts = {what: integer(f"{label}tried.{what}", n, 0, MOST_LOOKS) for what, n in tried.items()}
    lead = _lead(stored["lead"], label + "lead") if "lead" in stored else None
    ordinary = _ordinary(stored["natural"], label + "natural") if "natural" in stored else None
    if ordinary is not None:
        if not ordinary.admits(mdp):
            raise InstanceError(f"{path}: its instance leaves meta.search.natural; {REMEDY}")
        if lead is not None and lead.sizes[3] != ordinary.rewards:
            rule = f"must be the {ordinary.rewards} of meta.search.natural"
            raise InstanceError.of(label + "lead.sizes[3]", lead.sizes[3], rule, REMEDY)
    return StoredSearch(witness, rounds, looks, met, seconds, counts, lead, ordinary)


def _ordinary(stored: Any, label: str) -> Ordinary:
    """The limits of a search. Raises InstanceError unless they are what one can ask for."""
    fields = set(Ordinary().as_record())
    if not isinstance(stored, dict) or {*stored, "order"} != fields:  # files older than that limit
        raise InstanceError.of(label, stored, f"must hold {', '.join(sorted(fields))}", REMEDY)
    w, T, forbids = (stored[name] for name in ("weights", "horizon", "may_forbid"))
    L = stored.get("order")
    if not isinstance(forbids, bool):
        raise InstanceError.of(f"{label}.may_forbid", forbids, "must be true or false", REMEDY)
    return Ordinary(
        number(f"{label}.least_ref", stored["least_ref"]),
        number(f"{label}.norm_ratio", stored["norm_ratio"]),
        number(f"{label}.reward_over_beta", stored["reward_over_beta"]),
        None if w is None else tuple(table(f"{label}.weights", w, (None,)).tolist()),
        None if T is None else integer(f"{label}.horizon", T, 1),
        forbids,
        None if L is None else integer(f"{label}.order", L, 1),
    )


def _lead(stored: Any, label: str) -> StoredLead:
    """The point that was being climbed. Raises InstanceError unless its parts fit together."""
    if not isinstance(stored, dict) or set(stored) - {"mirrored"} != {"theta", "sizes", "allowed"}:
        raise InstanceError.of(label, stored, "must hold theta, sizes and allowed", REMEDY)
    sizes, mirrored = stored["sizes"], stored.get("mirrored", False)
    if not isinstance(mirrored, bool):
        raise InstanceError.of(f"{label}.mirrored", mirrored, "must be true or false", REMEDY)
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
    if mirrored and not A > K:
        raise InstanceError.of(f"{label}.mirrored", mirrored, f"needs A > K = {K}", REMEDY)
    return StoredLead(theta, allowed, (A, L, T, K), mirrored)
