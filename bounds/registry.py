"""The catalogue: the tables of all claim modules in the papers' order."""

from __future__ import annotations

from fnmatch import fnmatchcase

from toymdp import InstanceError

from . import bellman_claims, delta_claims, optimum_claims, theorem1_claims
from .claim import Claim

CLAIMS: dict[str, Claim] = {
    claim.id: claim
    for table in (
        bellman_claims.TABLE,
        optimum_claims.TABLE,
        theorem1_claims.TABLE,
        delta_claims.TABLE,
    )
    for claim in table
}


def select(pattern: str) -> list[Claim]:
    """Return the claims whose id matches a shell pattern (several, separated by commas).

    Raises InstanceError if a pattern matches none.
    """
    chosen: dict[str, Claim] = {}
    for part in pattern.split(","):
        found = {i: c for i, c in CLAIMS.items() if fnmatchcase(i, part.strip())}
        if not found:
            raise InstanceError.of(
                "claims", part.strip(), "matches no claim", "list them with `soupcheck claims`"
            )
        chosen |= found
    return [claim for claim in CLAIMS.values() if claim.id in chosen]
