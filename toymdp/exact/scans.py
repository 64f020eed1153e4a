"""One pass over tables [T, S]: extremes, mixtures, the worst place, the hard minimum.

Tables are indexed by the next context unless said otherwise; what is returned on states is zero
outside the reachable ones.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .. import kernels
from ..arrays import Array
from ..worlds.reach import Mask
from ..worlds.token_mdp import TokenMDP
from . import sparse, until_eos


class Minimum(NamedTuple):
    """The least total, the second total of its policy, and how far rounding may have decided that."""

    total: float
    second: float
    doubt: float  # the second total without ties, less the one with them


def expectation(mdp: TokenMDP, gain: Array, f: Array, out: Array) -> None:
    """Write ``E_ref[gain·f]`` into out [T, S], 1 where nothing follows.

    gain: [S], f: [T, S], both on next contexts; out is another array than f.
    """
    if mdp.dense:
        kernels.blocks.tilted_sums(mdp.columns, gain[None], f, out)
    else:
        for t, terms in enumerate(gain * f):
            out[t] = mdp.rows.sums(mdp.rows.ref * terms[mdp.rows.nexts])
    kernels.scans.fill(out.ravel(), mdp.reach.absent, 1.0)


def mixture(weights: Array, fields: Array) -> Array:
    """Return ``Σ_k weights_k·fields_k`` [R, S] of fields [K, R, S], on one thread."""
    weights, mixed = np.array(weights, dtype=np.float64), np.empty(fields.shape[1:])
    if weights.shape != fields.shape[:1]:  # the kernel would read beyond its end
        raise ValueError(f"{weights.shape} weights for {len(fields)} fields")
    kernels.soups.mix(np.ascontiguousarray(fields), weights, mixed)
    return mixed


def largest(F: Array, mask: Mask) -> float:
    """Return the largest ``|F|`` at the marked places, 0 if none is marked."""
    return float(kernels.scans.largest(F.ravel(), mask.ravel()))


def farthest(F: Array, G: Array, mask: Mask) -> tuple[float, tuple[int, ...]]:
    """Return the largest ``|F − G|`` at the marked places (one at least), and its index."""
    most, place = kernels.scans.farthest(F.ravel(), G.ravel(), mask.ravel())
    return float(most), tuple(int(i) for i in np.unravel_index(place, F.shape))


def tightest(lhs: Array, rhs: Array, mask: Mask, floor: float) -> int:
    """Return the flat index of the least ``rhs − lhs`` at the marked places, −1 if none is left.

    lhs, rhs, mask: arrays of one shape. Places where neither side exceeds ``floor`` in size are
    skipped; a NaN slack counts as the least of all.
    """
    if not lhs.shape == rhs.shape == mask.shape:  # the kernel would read beyond an end
        raise ValueError(f"shapes {lhs.shape}, {rhs.shape}, {mask.shape} differ")
    return int(kernels.scans.tightest(lhs.ravel(), rhs.ravel(), mask.ravel(), floor))


def extrema(mdp: TokenMDP, F: Array) -> tuple[Array, Array]:
    """Return the least and largest ``F[t, s']`` over allowed tokens, each [T, S]."""
    if not mdp.dense:
        return sparse.ranges(mdp, F)
    return _by_block(mdp, F, kernels.rows.block_range, kernels.rows.row_range)


def _by_block(mdp: TokenMDP, F: Array, of_block: Any, of_rows: Any) -> tuple[Array, Array]:
    """Two facts [T, S] about the allowed values of F [T, S]: found once for each block.

    Only the rows that forbid a token are looked at one by one.
    """
    F = np.ascontiguousarray(F).view()
    F.setflags(write=False)  # as some are: the kernels are compiled for one kind of array only
    T, S = F.shape
    A, reach = mdp.vocab_size, mdp.reach
    shared, facts = np.empty((2, T, S // A)), np.empty((2, T, S))
    of_block(F, shared[0], shared[1])
    facts.reshape(2, T, A, S // A)[:] = shared[:, :, None]
    of_rows(mdp.ref, reach.partial, F, facts[0], facts[1])
    for table in facts:
        kernels.scans.fill(table.ravel(), reach.absent, 0.0)
    return facts[0], facts[1]


def inner_extent(mdp: TokenMDP, q: Array) -> tuple[Array, Array]:
    """Return ``max_a min(q − low, high − q)`` and ``high − low`` over allowed tokens, [T, S]."""
    if not mdp.dense:
        return sparse.extents(mdp, q)
    return _by_block(mdp, q, kernels.ratios.block_extent, kernels.ratios.row_extent)


def chance_beside_the_top(mdp: TokenMDP, q: Array, tie: float) -> Array:
    """Return what ref gives to all allowed tokens but the one of largest ``q`` [T, S], as [T, S].

    Added up without that token: where ref gives it all but 1e-20, the rest is 1e-20. Of those that
    are within ``tie`` of the largest, it is the rarest.
    """
    rows = mdp.rows
    beside = np.empty(q.shape)
    for t, values in enumerate(q):
        allowed = values[rows.nexts]
        top = rows.lightest(rows.ref, allowed >= rows.largest(allowed)[rows.owners] - tie)
        beside[t] = rows.sums(np.where(top, 0.0, rows.ref))
    kernels.scans.fill(beside.ravel(), mdp.reach.absent, 0.0)
    return beside


def least_difference(mdp: TokenMDP, weights: Array, second: Array) -> Minimum:
    """Return the hard minimum of ``E_π Σ_t Σ_k weights_k (r_w − r_k)(s')`` over all policies.

    weights: [K] >= 0; second: [T, S] on next contexts. The policy of Theorem 1 that minimises the
    weighted reward difference. Raises SolverError where it does not exist (until ``eos``).
    """
    # judged beside what the differences are made of: all of it may cancel, and what rounding
    # leaves must neither choose between policies nor close a cycle that earns for ever
    size = weights @ (np.abs(mdp.reward_w) + np.abs(mdp.rewards))
    cost = weights @ (mdp.reward_w - mdp.rewards)
    cost = np.where(np.abs(cost) > 4 * np.finfo(float).eps * size, cost, 0.0)
    shape = second.shape
    rounding = largest(np.broadcast_to(size, shape), mdp.reach.nexts)
    return hard_minimum(mdp, np.broadcast_to(cost, shape), second, rounding)


def hard_minimum(mdp: TokenMDP, first: Array, second: Array, size: float) -> Minimum:
    """Least expected total of ``first`` over all policies, and of ``second`` among the minimisers.

    Both [T, S] on next contexts; size: of the numbers that ``first`` was added up from. Totals that
    agree within the rounding of those are ties, broken towards the least ``second``.
    Raises SolverError where the minimum does not exist (until ``eos``).
    """
    first, second = np.ascontiguousarray(first), np.ascontiguousarray(second)
    tolerance = 32 * np.finfo(float).eps * size * mdp.steps
    find = until_eos.hard_minimum
    if mdp.horizon is not None:
        find = _hard_finite if mdp.dense else sparse.hard_minimum
    total, tied = find(mdp, first, second, tolerance)
    apart = find(mdp, first, second, 0.0)[1] if tolerance and second.any() else tied
    return Minimum(total, tied, apart - tied)


def _hard_finite(
    mdp: TokenMDP, first: Array, second: Array, tolerance: float
) -> tuple[float, float]:
    C = np.zeros((mdp.steps + 1, mdp.n_contexts))
    D = np.zeros_like(C)
    reach = mdp.reach
    rows = reach.allowed, reach.full, reach.whole, reach.states
    kernels.rows.hard_backward(*rows, first, second, tolerance, C, D)
    return float(C[0, mdp.start_context]), float(D[0, mdp.start_context])
