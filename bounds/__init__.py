"""Claims, checks, search, certificates, reports: what the papers say, put to numbers."""

from .checking import assert_claim, check
from .claim import Check, Claim
from .claims.catalogue import CLAIMS

__all__ = ["CLAIMS", "Check", "Claim", "assert_claim", "check"]
