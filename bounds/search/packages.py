"""What a search needs beyond the package itself."""

from __future__ import annotations

from importlib.util import find_spec

from toymdp import InstanceError
from toymdp.extras import install


def require_packages() -> None:
    """Raise InstanceError, before anything costs time, where the extra ``search`` is missing."""
    for name in ("torch", "cmaes"):
        if find_spec(name) is None:
            raise InstanceError(f"search needs {name}; {install('search')}")
