"""The file of a search: ``soup-witness/1``, with what is needed to go on in the instance's ``meta``.

Until the claim is broken the file holds the best instance so far, whose ``meta.search.found`` is
false: it is well formed, but no witness.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from toymdp import InstanceError
from toymdp.validators import check_memory, integer, number, table

from ..records.witness import Witness, load_witness
from .climb import Ranked
from .engine import State, lead_of
from .judge import Find, verdict

MOST_LOOKS = 2**63
REMEDY = "drop --resume to start anew"


def as_witness(find: Find, claim: str, seed: int, meta: dict[str, Any]) -> Witness:
    """The find as a witness, named after the claim."""
    name = claim.removeprefix("ss.").replace(".", "-") + f"-{seed}"
    assert find.check.lhs is not None
    assert find.check.rhs is not None
    instance = find.mdp.replace(name=name, meta={"search": meta})
    lam = None if find.lam is None else tuple(float(x) for x in find.lam)
    expected = {"lhs": find.check.lhs, "rhs": find.check.rhs}
    return Witness(name, instance, claim, lam, seed, expected)


def summary(state: State, factor: float) -> dict[str, Any]:
    """What a search did, as plain data."""
    return {
        "found": state.breaks_by(factor), "factor": factor, "rounds": state.rounds,
        "looks": state.looks, "seconds": round(state.seconds, 3), "tried": dict(state.tried),
    }  # fmt: skip


def save(path: Path, state: State, factor: float) -> None:
    """Write the best find, atomically; nothing before there is one."""
    if state.best is None:
        return
    meta = summary(state, factor)
    if state.lead is not None and not meta["found"]:
        z = state.lead.population.sizes
        meta["lead"] = {
            "theta": state.lead.theta[0].tolist(), "sizes": [z.A, z.L, z.T, z.K],
            "allowed": state.lead.population.allowed[0].astype(int).tolist(),
        }  # fmt: skip
    write(path, as_witness(state.best, state.claim, state.seed, meta))


def write(path: Path, witness: Witness) -> None:
    """Write a witness whole or not at all. Raises InstanceError if it cannot be written."""
    try:
        witness.save(path)
    except OSError as error:
        raise InstanceError(f"{path}: cannot be written ({error.strerror}); name another") from None


def resume(path: Path, claim: str) -> State:
    """The state that a file holds. Raises InstanceError if it is of another claim or no search."""
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
    lam = None if witness.lam is None else np.array(witness.lam)
    state = State(claim, witness.seed)
    state.take(verdict(witness.instance, claim, lam, witness.seed))
    state.rounds, state.looks, state.seconds, state.tried = rounds, looks, seconds, counts
    state.lead = lead
    return state


def _lead(stored: Any, label: str) -> Ranked:
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
    return lead_of(theta, allowed, (A, L, T, K))
