"""Worlds and exact solutions: instance -> Solution."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .face import shows

if TYPE_CHECKING:
    from .errors import InstanceError, SolverError
    from .exact.solution import Solution, soft_values, solve
    from .soup.optimum import SoupOptimum, soup_optimum
    from .worlds.token_mdp import TokenMDP

__all__ = [
    "InstanceError",
    "Solution",
    "SolverError",
    "SoupOptimum",
    "TokenMDP",
    "soft_values",
    "solve",
    "soup_optimum",
]
if not TYPE_CHECKING:  # a type checker sees the imports above, and no other name
    __getattr__, __dir__ = shows(
        __name__,
        {
            "toymdp.errors": ("InstanceError", "SolverError"),
            "toymdp.exact.solution": ("Solution", "soft_values", "solve"),
            "toymdp.soup.optimum": ("SoupOptimum", "soup_optimum"),
            "toymdp.worlds.token_mdp": ("TokenMDP",),
        },
    )
