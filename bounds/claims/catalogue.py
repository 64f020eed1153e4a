"""The catalogue: the tables of all claim modules in the papers' order."""

from __future__ import annotations

from fnmatch import fnmatchcase

from toymdp import InstanceError

from ..claim import Claim
from . import (
    appendix_c,
    bellman,
    delta,
    exact_selection,
    exact_topics,
    gap,
    kl,
    lemma1_proof,
    optimum,
    section4,
    theorem1_proof,
)

CLAIMS: dict[str, Claim] = {
    claim.id: claim
    for table in (
        bellman.TABLE,
        lemma1_proof.TABLE,
        optimum.TABLE,
        kl.TABLE,
        gap.TABLE,
        theorem1_proof.TABLE,
        delta.TABLE,
        section4.TABLE,
        appendix_c.TABLE,
        exact_selection.TABLE,
        exact_topics.TABLE,
    )
    for claim in table
}


def claim_named(claim_id: str) -> Claim:
    """Return the claim of this id. Raises InstanceError if there is none."""
    if claim_id not in CLAIMS:
        raise InstanceError.of("claim", claim_id, "unknown", "list them with `soupcheck claims`")
    return CLAIMS[claim_id]


def select(pattern: str) -> list[Claim]:
    """Return the claims whose id matches a shell pattern (several, separated by commas).

    Raises InstanceError if a pattern matches none.
    """
    chosen: dict[str, Claim] = {}
    for part in pattern.split(","):
        matching = {i: c for i, c in CLAIMS.items() if fnmatchcase(i, part.strip())}
        if not matching:
            raise InstanceError.of(
                "claims", part.strip(), "matches no claim", "list them with `soupcheck claims`"
            )
        chosen |= matching
    return [claim for claim in CLAIMS.values() if claim.id in chosen]
