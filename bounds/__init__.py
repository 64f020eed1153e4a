"""Claims, checks, search, certificates, reports: what the papers say, put to numbers."""

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
