"""Compiling the kernels ahead of use, so that the wait is announced and happens once."""

from __future__ import annotations

import numpy as np

from . import kernels
from .exact.policy import Policy
from .exact.sampling import rejection_sampler
from .exact.scans import extrema, farthest, hard_minimum, inner_extent, largest, mixture
from .exact.solution import solve
from .soup.optimum import soup_optimum
from .worlds.token_mdp import TokenMDP


def kernels_are_cached(claims: bool) -> bool:
    """Whether the kernels are on disk, compiled from their present source.

    claims: those of every claim too, not only those that a solution and its λ* need.
    """
    asked = [kernels.backward.soft_backward, kernels.soups.soup_slope]
    asked += [kernels.curvature.soup_curvature]
    if claims:
        asked += [kernels.backward.scaled_backward, kernels.blocks.tilted_sums, kernels.soups.mix]
        asked += [kernels.rows.hard_backward, kernels.sampling.accepted_laws]
    return kernels.compiled.is_cached(*asked)


def bounds_are_cached() -> bool:
    """The same for the kernels of branch and bound."""
    return kernels.compiled.is_cached(kernels.boxes.place, kernels.envelopes.envelopes)


def compile_kernels(claims: bool) -> None:
    """Run each kernel once on a tiny instance; claims: those of every claim too."""
    mdp = TokenMDP(
        vocab_size=2, order=1, horizon=2, start=[0], ref_weights=np.ones((2, 2)),
        rewards=np.eye(2), beta=1.0, w=np.array([0.25, 0.75]),
        features={"kind": "tabular", "per_step": True, "scale": 1.0},
    )  # fmt: skip
    sol = solve(mdp)
    soup_optimum(mdp, sol, draws=0)
    if not claims:
        return
    solve(mdp, method="log")
    logits = np.zeros((2, 2))
    mixture(mdp.w, sol.Q)
    policy = Policy(mdp, logits)
    policy.divergence(policy)
    extrema(mdp, logits)
    assert policy.importance_ratio
    inner_extent(mdp, logits)
    largest(logits, mdp.reach.nexts)
    farthest(logits, logits, mdp.reach.nexts)
    rejection_sampler(sol.bespoke, sol.bespoke, logits)
    hard_minimum(mdp, logits, logits, 1.0)
    policy.value(logits)
    _ = policy.occupancy
