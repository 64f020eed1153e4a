"""The file of a search: ``soup-witness/1``, with what is needed to go on in the instance's ``meta``.

Until the claim is broken the file holds the best instance so far, whose ``meta.search.found`` is
false: it is well formed, but no witness.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from toymdp import InstanceError, TokenMDP

from ..records.witness import Witness
from .engine import State, lead_of
from .judge import Find, verdict
from .ordinary_population import OrdinaryPopulation
from .stored import StoredSearch


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
    asked = {} if state.ordinary is None else {"natural": state.ordinary.as_record()}
    return asked | {
        "found": state.breaks_by(factor), "factor": factor, "rounds": state.rounds,
        "looks": state.looks, "met": state.met,
        "seconds": round(state.seconds, 3), "tried": dict(state.tried),
    }  # fmt: skip


def save(path: Path, state: State, factor: float) -> None:
    """Write the best find, atomically; nothing before there is one."""
    if state.best is None:
        return
    meta = summary(state, factor)
    if state.lead is not None and not meta["found"]:
        population = state.lead.population
        z = population.sizes
        meta["lead"] = {
            "theta": state.lead.theta[0].tolist(), "sizes": [z.A, z.L, z.T, z.K],
            "allowed": population.allowed[0].astype(int).tolist(),
            "mirrored": isinstance(population, OrdinaryPopulation) and population.mirrored,
        }  # fmt: skip
    write(path, as_witness(state.best, state.claim, state.seed, meta))


def write(path: Path, witness: Witness) -> None:
    """Write a witness whole or not at all. Raises InstanceError if it cannot be written."""
    try:
        witness.save(path)
    except OSError as error:
        raise InstanceError(f"{path}: cannot be written ({error.strerror}); name another") from None


def resume(stored: StoredSearch) -> State:
    """The state from which a stored search goes on."""
    witness = stored.witness
    lam = None if witness.lam is None else np.array(witness.lam)
    state = State(witness.claim, witness.seed, stored.ordinary)
    assert isinstance(witness.instance, TokenMDP)  # read_search has seen to it
    state.take(verdict(witness.instance, witness.claim, lam, witness.seed))
    state.rounds, state.looks, state.met = stored.rounds, stored.looks, stored.met
    state.seconds = stored.seconds
    state.tried = dict(stored.tried)
    if stored.lead is not None:
        lead = stored.lead
        state.lead = lead_of(lead.theta, lead.allowed, lead.sizes, stored.ordinary, lead.mirrored)
    return state
