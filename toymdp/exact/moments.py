"""Moments of fields and features under policies: means, variances, and how far means are apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy  # whose parts are imported when they are first asked for

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
    mdp, rows = policy.mdp, policy.mdp.rows
    above, below, variance, unsure = np.empty((4, *f.shape))
    low, high = extrema(mdp, f)
    for t in range(len(f)):
        law = policy.law(t)
        values, reachable = f[t][rows.nexts], mdp.reach.states[t][rows.owners]
        above[t] = rows.sums(law * (high[t][rows.owners] - values))
        up = np.where(reachable, values - low[t][rows.owners], 0.0)
        below[t] = _log_sums(policy, t, law, up)
        off = np.where(reachable, up - np.exp(below[t])[rows.owners], 0.0)
        variance[t] = _log_sums(policy, t, law, off * off)
        others = reachable & ~rows.lightest(law, up <= tie)
        unsure[t] = _log_sums(policy, t, law, others.astype(np.float64))
    return Spread(above, below, variance, unsure)


def _log_sums(policy: Policy, t: int, law: Array, terms: Array) -> Array:
    """``log E_π terms`` [S] at step t of terms [E] ≥ 0; law: π at that step."""
    mdp, rows = policy.mdp, policy.mdp.rows
    sums = rows.sums(law * terms)
    with np.errstate(divide="ignore"):
        logs = np.log(sums)
    thin = mdp.reach.states[t] & (sums < THIN)
    entries = np.flatnonzero(thin[rows.owners] & (terms > 0.0)) if thin.any() else np.empty(0, int)
    if entries.size:
        owners, nexts = rows.owners[entries], rows.nexts[entries]
        each = np.log(rows.ref[entries]) + np.log(terms[entries])
        each += policy.logits[t][nexts] - policy.log_partition[t, owners]
        logs[owners] = -np.inf
        np.logaddexp.at(logs, owners, each)
    return np.asarray(logs)


def feature_shift(p: Policy, q: Policy) -> Array:
    """Return ``‖E_p ψ − E_q ψ‖₂`` [T, S] of the features of one instance under two policies."""
    return _lengths(p, lambda t: np.asarray(p.law(t) - q.law(t)), absolute=False)


def norm_of_mean(policy: Policy, *, absolute: bool = False) -> Array:
    """Return ``‖E_π ψ((s,·))‖₂`` [T, S]; absolute: of ``E_π |ψ|``, coordinate by coordinate."""
    return _lengths(policy, policy.law, absolute=absolute)


def _lengths(policy: Policy, weights: Callable[[int], Array], *, absolute: bool) -> Array:
    """``‖Σ weights_t·ψ‖₂`` [T, S], weights_t [E] on allowed tokens.

    Of one-hots, whose directions are orthogonal, a sum of squares.
    """
    mdp, features, rows = policy.mdp, policy.mdp.features, policy.mdp.rows
    T, S = policy.logits.shape
    lengths = np.empty((T, S))
    for t in range(T):
        used = mdp.reach.nexts[t]
        if isinstance(features, Tabular):
            scale = np.where(used, features.scales(T, S)[t], 0.0)[rows.nexts]
            lengths[t] = np.sqrt(rows.sums((weights(t) * scale) ** 2))
            continue
        psi = features.values[t] if features.per_step else features.values
        psi = np.where(used[:, None], np.abs(psi) if absolute else psi, 0.0)
        step = scipy.sparse.csr_matrix((weights(t), rows.nexts, rows.indptr), shape=(S, S))
        lengths[t] = np.linalg.norm(step @ psi, axis=1)
    return lengths
