"""What policies of the form ``π ∝ ref·exp(G)`` do, as functions of their logits.

G [T, S] is indexed by the next context. All results are zero outside the reachable states. Where
one policy is asked several things, hold its Policy instead.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import kernels
from ..errors import InstanceError
from ..worlds.features import Array, IntArray
from ..worlds.reach import Mask
from ..worlds.token_mdp import TokenMDP
from . import until_eos
from .policy import LARGEST, Policy


def expectation(mdp: TokenMDP, gain: Array, f: Array, out: Array) -> None:
    """Write ``E_ref[gain·f]`` into out [T, S], 1 where nothing follows.

    gain: [S], f: [T, S], both on next contexts; out is another array than f.
    """
    kernels.blocks.tilted_sums(mdp.columns, gain[None], f, out)
    kernels.scans.fill(out.ravel(), mdp.reach.absent, 1.0)


def mixture(weights: Array, fields: Array) -> Array:
    """Return ``Σ_k weights_k·fields_k`` [R, S] of fields [K, R, S], on one thread."""
    weights, mixed = np.asarray(weights, dtype=np.float64), np.empty(fields.shape[1:])
    if weights.shape != fields.shape[:1]:  # the kernel would read beyond its end
        raise ValueError(f"{weights.shape} weights for {len(fields)} fields")
    kernels.soups.mix(np.ascontiguousarray(fields), weights, mixed)
    return mixed


def largest(F: Array, mask: Mask) -> float:
    """Return the largest ``|F|`` at the marked places, 0 if none is marked."""
    return float(kernels.scans.largest(F.ravel(), mask.ravel())[0])


def farthest(F: Array, G: Array, mask: Mask) -> tuple[float, tuple[int, ...]]:
    """Return the largest ``|F − G|`` at the marked places, and its index."""
    most, place = kernels.scans.farthest(F.ravel(), G.ravel(), mask.ravel())
    return float(most), tuple(int(i) for i in np.unravel_index(place, F.shape))


def rejection_sampler(target: Policy, ratio: Policy, shift: Array) -> tuple[Array, Array]:
    """Compare what a rejection sampler draws with ``target``, both [T, S].

    It draws a from ref and accepts it with probability ``min(1, exp(h(s') + shift(s)))``, h [T, S]
    the logits of ``ratio``. Returned: the total variation and the chance that a draw is accepted.
    """
    mdp, room = target.mdp, kernels.sampling.SHIFT_ROOM
    exponent = ratio.to_states(shift, ratio.blocks[0])
    scale = np.exp(np.clip(exponent, -room, room))
    apart, accepted = np.empty_like(shift), np.empty_like(shift)
    weights = ratio.weights, scale, target.weights, target.scales[0]
    kernels.sampling.accepted_laws(mdp.columns, *weights, apart, accepted)
    for table in (apart, accepted):
        kernels.scans.fill(table.ravel(), mdp.reach.absent, 0.0)
    lost = (accepted <= kernels.sampling.ACCEPT_FLOOR) | (target.scales[0] >= LARGEST)
    rows = mdp.reach.states & (lost | (np.abs(exponent) > room))
    if rows.any():
        arrays = ratio.logits, shift, target.logits, apart, accepted
        kernels.sampling.accepted_rows(mdp.ref, rows, *arrays)
    return apart, accepted


def sample(mdp: TokenMDP, G: Array, n: int, seed: int = 0) -> IntArray:
    """Return n sequences of tokens [n, T] drawn from the policy with logits G [T, S].

    After ``eos`` a sequence repeats it. Raises InstanceError without a finite horizon, where
    sequences have no common length.
    """
    if mdp.horizon is None:
        raise InstanceError.of("horizon", None, "sequences need an end", "set a finite horizon")
    ladder = np.cumsum(Policy(mdp, G).table, axis=2)
    rng = np.random.default_rng(seed)
    context = np.full(n, mdp.start_context)
    tokens = np.empty((n, mdp.horizon), dtype=np.int64)
    for t in range(mdp.horizon):
        rungs = ladder[t, context]
        # scaled by the last rung, a height below 1 stays below it however the sum was rounded
        height = rng.random((n, 1)) * rungs[:, -1:]
        tokens[:, t] = (rungs <= height).sum(axis=1)
        if mdp.eos is not None:
            tokens[mdp.ended[context], t] = mdp.eos
        context = (context * mdp.vocab_size + tokens[:, t]) % mdp.n_contexts
    return tokens


def extrema(mdp: TokenMDP, F: Array) -> tuple[Array, Array]:
    """Return the least and largest ``F[t, s']`` over allowed tokens, each [T, S]."""
    return _by_block(mdp, F, kernels.rows.block_range, kernels.rows.row_range)


def _by_block(mdp: TokenMDP, F: Array, of_block: Any, of_rows: Any) -> tuple[Array, Array]:
    """Two facts [T, S] about the allowed values of F [T, S]: found once for each block.

    Only the rows that forbid a token are looked at one by one.
    """
    F = np.ascontiguousarray(F)
    T, S = F.shape
    A, reach = mdp.vocab_size, mdp.reach
    shared, found = np.empty((2, T, S // A)), np.empty((2, T, S))
    of_block(F, shared[0], shared[1])
    found.reshape(2, T, A, S // A)[:] = shared[:, :, None]
    of_rows(mdp.ref, reach.partial, F, found[0], found[1])
    for table in found:
        kernels.scans.fill(table.ravel(), reach.absent, 0.0)
    return found[0], found[1]


def inner_extent(mdp: TokenMDP, q: Array) -> tuple[Array, Array]:
    """Return ``max_a min(q − low, high − q)`` and ``high − low`` over allowed tokens, [T, S]."""
    return _by_block(mdp, q, kernels.ratios.block_extent, kernels.ratios.row_extent)


def hard_minimum(mdp: TokenMDP, first: Array, second: Array) -> tuple[float, float]:
    """Least expected total of ``first`` over all policies, and of ``second`` among the minimisers.

    Both [T, S] on next contexts. Totals that agree within rounding are ties, broken towards the
    least ``second``: the policy of Theorem 1 that minimises the weighted reward difference.
    Raises SolverError where the minimum does not exist (until ``eos``).
    """
    first, second = np.ascontiguousarray(first), np.ascontiguousarray(second)
    tolerance = 32 * np.finfo(float).eps * largest(first, mdp.reach.nexts) * mdp.steps
    if mdp.horizon is None:
        tolerance *= mdp.n_contexts
        C0, D0 = until_eos.hard_minimum(mdp, first[0], second[0], tolerance)
        return float(C0[mdp.start_context]), float(D0[mdp.start_context])
    C = np.zeros((mdp.steps + 1, mdp.n_contexts))
    D = np.zeros_like(C)
    reach = mdp.reach
    rows = reach.allowed, reach.full, reach.whole, reach.states
    kernels.rows.hard_backward(*rows, first, second, tolerance, C, D)
    return float(C[0, mdp.start_context]), float(D[0, mdp.start_context])
