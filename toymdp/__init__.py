"""Worlds and exact solutions: instance -> Solution."""

from .errors import InstanceError, SolverError
from .mdp import TokenMDP
from .optimum import SoupOptimum, soup_optimum
from .solver import Solution, soft_values, solve

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
