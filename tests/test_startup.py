"""What is slow to import is imported when it is needed, not before."""

from __future__ import annotations

import subprocess
import sys

IMPORT_ALL = """
import importlib, pkgutil, sys
import toymdp
for module in pkgutil.walk_packages(toymdp.__path__, "toymdp."):
    if not module.name.startswith("toymdp.kernels."):
        importlib.import_module(module.name)
slow = ("numba", "cvxpy", "clarabel", "sympy", "scipy.optimize", "scipy.sparse", "scipy.special",
        "scipy.stats", "scipy.linalg", "scipy.cluster")
print(*(name for name in slow if name in sys.modules))
"""


def test_importing_toymdp_imports_nothing_slow():
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
