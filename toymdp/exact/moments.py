"""Moments of fields and features under policies: means, variances, and how far means are apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..worlds.features import Array, Tabular
from .policy import Policy
from .scans import extrema


@dataclass(frozen=True, eq=False)
class Spread:
    """How a field f [T, S] on next contexts lies about its mean under a policy, each [T, S].

    below: mean less least. above: largest less mean. variance. unsure: what an error of 1 in each
    entry of f may move the means by, beyond a share of themselves: the chance of all tokens but the
    one of least f, which is 1 where it is not known which that is. Sums of terms of one sign: a
    token of chance 1e-200 keeps its digits.
    """

    below: Array
    above: Array
    variance: Array
    unsure: Array


def spread(policy: Policy, f: Array, tie: float) -> Spread:
    """The spread of f [T, S]; values within ``tie`` of the least may be the least."""
    mdp = policy.mdp
    (T, S), A = f.shape, mdp.vocab_size
    below, above, variance, unsure = np.empty((4, T, S))
    low, high = extrema(mdp, f)
    for t, law in enumerate(policy.table):
        values = np.broadcast_to(f[t].reshape(1, -1, A), (A, S // A, A)).reshape(S, A)
        up, down = values - low[t, :, None], high[t, :, None] - values
        below[t] = np.einsum("sa,sa->s", law, np.where(law > 0.0, up, 0.0))
        above[t] = np.einsum("sa,sa->s", law, np.where(law > 0.0, down, 0.0))
        off = np.where(law > 0.0, up - below[t, :, None], 0.0)
        variance[t] = np.einsum("sa,sa->s", law, off * off)
        near = (law > 0.0) & (up <= tie)
        least = np.where(near, law, np.inf).argmin(axis=1)
        unsure[t] = np.where(np.arange(A) == least[:, None], 0.0, law).sum(axis=1)
    return Spread(below, above, variance, unsure)


def feature_shift(p: Policy, q: Policy) -> Array:
    """Return ``‖E_p psi − E_q psi‖₂`` [T, S] of the features of one instance under two policies."""
    return _lengths(p, lambda t: np.asarray(p.table[t] - q.table[t]), absolute=False)


def norm_of_mean(policy: Policy, *, absolute: bool = False) -> Array:
    """Return ``‖E_π psi((s,·))‖₂`` [T, S]; absolute: of ``E_π |psi|``, coordinate by coordinate."""
    return _lengths(policy, lambda t: policy.table[t], absolute=absolute)


def _lengths(policy: Policy, weights: Callable[[int], Array], *, absolute: bool) -> Array:
    """``‖Σ_a weights_t[s, a]·psi‖₂`` [T, S]; of one-hots, whose directions are orthogonal, a sum of
    squares.
    """
    mdp, features = policy.mdp, policy.mdp.features
    T, S = policy.logits.shape
    A = mdp.vocab_size
    lengths = np.empty((T, S))
    for t in range(T):
        moved = weights(t)
        if isinstance(features, Tabular):
            scale = np.where(mdp.reach.nexts[t], features.scales(T, S)[t], 0.0).reshape(1, -1, A)
            lengths[t] = np.linalg.norm(moved.reshape(A, -1, A) * scale, axis=2).reshape(S)
            continue
        rows = features.values[t] if features.per_step else features.values
        rows = np.where(mdp.reach.nexts[t][:, None], rows, 0.0).reshape(S // A, A, -1)
        rows = np.abs(rows) if absolute else rows
        means = np.einsum("xya,yad->xyd", moved.reshape(A, S // A, A), rows)
        lengths[t] = np.linalg.norm(means, axis=2).reshape(S)
    return lengths
