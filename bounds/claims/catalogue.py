"""The catalogue: the tables of all claim modules in the papers' order."""

from __future__ import annotations

from fnmatch import fnmatchcase

from toymdp import InstanceError

from ..claim import Claim
from . import appendix_c as appendix_c_claims
from . import bellman as bellman_claims
from . import delta as delta_claims
from . import exact_selection as exact_claims
from . import exact_topics as topic_claims
from . import gap as gap_claims
from . import kl as kl_claims
from . import lemma1_proof as spectral_claims
from . import optimum as optimum_claims
from . import section4 as section4_claims
from . import theorem1_proof as proof_claims
from .hypotheses import HYPOTHESES
from .hypotheses_small_worlds import HYPOTHESES_EX

HYPOTHESES.update(HYPOTHESES_EX)

CLAIMS: dict[str, Claim] = {
    claim.id: claim
    for table in (
        bellman_claims.TABLE,
        spectral_claims.TABLE,
        optimum_claims.TABLE,
        kl_claims.TABLE,
        gap_claims.TABLE,
        proof_claims.TABLE,
        delta_claims.TABLE,
        section4_claims.TABLE,
        appendix_c_claims.TABLE,
        exact_claims.TABLE,
        topic_claims.TABLE,
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
        found = {i: c for i, c in CLAIMS.items() if fnmatchcase(i, part.strip())}
        if not found:
            raise InstanceError.of(
                "claims", part.strip(), "matches no claim", "list them with `soupcheck claims`"
            )
        chosen |= found
    return [claim for claim in CLAIMS.values() if claim.id in chosen]
