"""Claims, checks, search, certificates, reports: what the papers say, put to numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from toymdp.face import shows

if TYPE_CHECKING:
    from .checking import assert_claim, check
    from .claim import Check, Claim, Hypothesis
    from .claims.catalogue import CLAIMS
    from .facts.soup import Soup
    from .facts.token_mdp import Facts
    from .sides import NotApplicable, Sides, Undecidable

__all__ = [
    "CLAIMS",
    "Check",
    "Claim",
    "Facts",
    "Hypothesis",
    "NotApplicable",
    "Sides",
    "Soup",
    "Undecidable",
    "assert_claim",
    "check",
]
if not TYPE_CHECKING:  # a type checker sees the imports above, and no other name
    __getattr__, __dir__ = shows(
        __name__,
        {
            "bounds.checking": ("assert_claim", "check"),
            "bounds.claim": ("Check", "Claim", "Hypothesis"),
            "bounds.claims.catalogue": ("CLAIMS",),
            "bounds.facts.soup": ("Soup",),
            "bounds.facts.token_mdp": ("Facts",),
            "bounds.sides": ("NotApplicable", "Sides", "Undecidable"),
        },
    )
