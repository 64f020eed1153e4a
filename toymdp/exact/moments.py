"""Moments of fields and features under policies: means, variances, and how far means are apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..worlds.features import Array, Tabular
from .policy import Policy
from .scans import extrema

THIN = 1e-100  # sums below this may have lost what underflows: they are added up in logarithms


@dataclass(frozen=True, eq=False)
class Spread:
    """How a field f [T, S] on next contexts lies about its mean under a policy, each [T, S].

    above: largest less mean. log_below: of mean less least. log_variance. log_unsure: of what an
    error of 1 in each entry of f may move the means by, beyond a share of themselves: the chance of
    all tokens but the one of least f, which is 1 where it is not known which that is. Sums of terms
    of one sign, so that a token of chance e^-5000 counts: f may make e^5000 of it. −inf is for 0.
    """

    above: Array
    log_below: Array
    log_variance: Array
    log_unsure: Array


def spread(policy: Policy, f: Array, tie: float) -> Spread:
    """The spread of f [T, S]; values within ``tie`` of the least may be the least."""
    mdp = policy.mdp
    (T, S), A = f.shape, mdp.vocab_size
    allowed = mdp.reach.allowed
    above, below, variance, unsure = np.empty((4, T, S))
    low, high = extrema(mdp, f)
    for t, law in enumerate(policy.table):
        values = np.broadcast_to(f[t].reshape(1, -1, A), (A, S // A, A)).reshape(S, A)
        up, down = values - low[t, :, None], high[t, :, None] - values
        above[t] = np.einsum("sa,sa->s", law, np.where(allowed, down, 0.0))
        up = np.where(allowed, up, 0.0)
        below[t] = _log_sums(policy, t, up)
        off = up - np.exp(below[t])[:, None]
        variance[t] = _log_sums(policy, t, np.where(allowed, off * off, 0.0))
        near = allowed & (up <= tie)
        least = np.where(near, law, np.inf).argmin(axis=1)
        others = allowed & (np.arange(A) != least[:, None])
        unsure[t] = _log_sums(policy, t, others.astype(np.float64))
    return Spread(above, below, variance, unsure)


def _log_sums(policy: Policy, t: int, terms: Array) -> Array:
    """``log E_π terms`` [S] at step t of terms [S, A] ≥ 0, which are 0 where no token is allowed."""
    mdp = policy.mdp
    S, A = terms.shape
    sums = np.einsum("sa,sa->s", policy.table[t], terms)
    with np.errstate(divide="ignore"):
        logs = np.log(sums)
    thin = np.flatnonzero(mdp.reach.states[t] & (sums < THIN) & terms.any(axis=1))
    if thin.size:
        nexts = (thin % (S // A))[:, None] * A + np.arange(A)
        some = terms[thin] > 0.0
        each = np.log(mdp.ref[thin], where=some, out=np.full(some.shape, -np.inf))
        each += np.log(terms[thin], where=some, out=np.zeros(some.shape))
        each += policy.logits[t][nexts] - policy.log_partition[t, thin, None]
        logs[thin] = np.logaddexp.reduce(each, axis=1)
    return np.asarray(logs)


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
