"""Certificates: a witness re-checked in ball arithmetic, by code that shares none with the rest.

Nothing here imports toymdp or the claims (a test reads the imports). One file goes in, exact
rational numbers are made of it (instance), both sides are enclosed in balls (values, statements),
every maximiser of J is enclosed where the claim speaks of λ* (maximisers), and the verdict is
PROVED or NOT PROVED (certificate).
"""

from __future__ import annotations

from .catalogue import STATEMENTS
from .certificate import Certificate, certify
from .coq import coq_file, require_coq
from .instance import WitnessError
from .small_worlds import SMALL
from .standalone import standalone

__all__ = [
    "SMALL", "STATEMENTS", "Certificate", "WitnessError", "certify", "coq_file", "require_coq", "standalone",
]  # fmt: skip
