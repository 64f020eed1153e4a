"""Worlds and exact solutions: instance -> Solution."""

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
