"""The code that a number depends on, as one hash."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable
from functools import cache, partial
from importlib.resources import files
from pathlib import Path
from typing import Any

from ..claim import Claim

PACKAGES = ("toymdp", "bounds")  # through which every number of an instance is computed
SOURCES = (".py", ".json", ".gz")


@cache
def code_hash() -> str:
    """SHA-256 of all source and data of our own packages, as this process found them."""
    digest = hashlib.sha256()
    for package in PACKAGES:
        folder = Path(str(files(package)))
        for path in sorted(p for p in folder.rglob("*") if p.suffix in SOURCES):
            digest.update(f"{package}/{path.relative_to(folder).as_posix()}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def code_of(claims: Iterable[Claim]) -> str:
    """SHA-256 of that and of the modules, in other packages, in which these claims are computed."""
    digest = hashlib.sha256(code_hash().encode())
    for path in sorted({p for claim in claims for p in _elsewhere(claim)}):
        digest.update(Path(path).read_bytes())
    return digest.hexdigest()


def _elsewhere(claim: Claim) -> Iterable[str]:
    tests = [h.test for h in (*claim.hypotheses, *claim.reported)]
    for function in (claim.sides, *tests):
        plain: Any = function
        while isinstance(plain, partial):
            plain = plain.func
        name = str(getattr(plain, "__module__", ""))
        file = getattr(sys.modules.get(name), "__file__", None)
        if name.split(".")[0] not in PACKAGES and file is not None:
            yield file
