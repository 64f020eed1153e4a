"""P-SOUPS: the parameters of low-rank specialists averaged, factor by factor (Jang 2023).

A specialist's logits are a matrix [rows, A]: one row for each world, step and block of contexts that
share their next contexts. A low-rank adapter holds it as ``B_k A_k``; averaging the factors apart is
not averaging the products, and depends on how the factors were initialised (ss.psoups.gauge).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy  # whose parts are imported when they are first asked for

from ..arrays import Array
from ..learning.factors import Factors, Merge
from ..learning.feedback import Feedback
from ..learning.logistic import Bounds, Climbed, climb
from .collect import visits
from .method import Bases, Domain, Facts, Fitted
from .pad import STRENGTHS

SWEEPS = 40  # of alternating least squares: the factors are at rest long before
RIDGE = 1e-10  # of its normal equations, relative to their size


def factorise(
    domain: Domain, bases: Bases, rank: int, seed: int, *, independent: bool = False
) -> Factors:
    """Rank-ρ specialists by alternating least squares from one initialisation, as LoRA is trained.

    Weighted by how often ref passes a row, over all prompts. independent: each specialist begins with
    an ``A`` of its own.
    """
    mdp, K = domain.mdp, bases.n
    A, T = mdp.vocab_size, mdp.steps
    rows = np.concatenate([Q.reshape(K, -1, A) for Q in bases.Q], axis=1) / domain.beta
    rows = rows - rows.mean(axis=2, keepdims=True)
    everywhere = np.ones(len(domain.world), dtype=bool)
    visited = []
    for w, world in enumerate(domain.worlds):
        d = domain.starts(w, everywhere)
        for _ in range(T):
            visited.append(d.reshape(A, -1).sum(axis=0))
            d = (d[:, None] * world.ref).reshape(A, -1, A).sum(axis=0).ravel()
    root = np.sqrt(np.concatenate(visited))[:, None]
    target = root * rows
    rng = np.random.default_rng([seed, 0xFAC7])
    start = rng.normal(size=(K if independent else 1, rank, A)) / np.sqrt(rank)
    right = np.broadcast_to(start, (K, rank, A))
    for _ in range(SWEEPS):
        left = _least_squares(right.transpose(0, 2, 1), target.transpose(0, 2, 1))
        left = left.transpose(0, 2, 1)
        right = _least_squares(left, target)
    return Factors(np.where(root > 0, left / np.where(root > 0, root, 1.0), 0.0), right)


def _least_squares(X: Array, Y: Array) -> Array:
    """``argmin ‖X C − Y‖`` [K, ρ, m] of batches X [K, n, ρ], Y [K, n, m]; the shortest of several."""
    return np.asarray(np.linalg.pinv(X, rcond=RIDGE) @ Y)


def to_logits(domain: Domain, rows: Array) -> tuple[Array, ...]:
    """[W] of logits [T, S] from the matrix [rows, A]."""
    return tuple(rows.reshape(len(domain.worlds), domain.mdp.steps, -1))


def fit(
    domain: Domain, bases: Bases, feedback: Feedback, seed: int, *,
    rank: int = 2, merge: Merge = "factors", independent: bool = False,
) -> Fitted:  # fmt: skip
    """Weights on the simplex, and a scale in PAD's range, by the pairs under the merged policy.

    merge "equal" averages with w = 1/K, as the authors' code does, and learns the scale alone.
    """
    factors = factorise(domain, bases, rank, seed, independent=independent)
    w, scale, ended = weights_by_pairs(domain, factors, feedback, merge)
    hyper = {"rank": rank, "scale": scale, "ridge": ended.ridge}
    logits = to_logits(domain, scale * factors.merged(w, merge))
    return Fitted(logits, Facts(scale * w, hyper=hyper))


def weights_by_pairs(
    domain: Domain, factors: Factors, feedback: Feedback, merge: Merge
) -> tuple[Array, float, Climbed]:
    """w [K], the scale, and the climb: the likelihood of the pairs under ``β log π/ref`` of the merge."""
    K, mdp = len(factors.B), domain.mdp
    W, T, S, A = len(domain.worlds), mdp.steps, mdp.n_contexts, mdp.vocab_size
    C = domain.beta * visits(domain, feedback)
    # the states that the pairs pass: nothing else has a part in their likelihood
    passed = np.unique(C.indices // A)
    C = C[:, (passed[:, None] * A + np.arange(A)).ravel()]
    back_to = C.T.tocsr()
    world, t, s = np.unravel_index(passed, (W, T, S))
    row = (world * T + t) * (S // A) + s % (S // A)
    n_rows, R = factors.B.shape[1], len(passed)
    gather = scipy.sparse.csr_array((np.ones(R), (row, np.arange(R))), shape=(n_rows, R))
    ref = np.stack([m.ref for m in domain.worlds])[world, s]
    live = ref > 0

    def scores(x: Array) -> tuple[Array, Callable[[Array], Array]]:
        w = np.full(K, 1.0 / K) if merge == "equal" else _softmax(x[:-1])
        plain = factors.merged(w, merge)
        on = x[-1] * plain[row]
        on = np.where(live, on - np.where(live, on, -np.inf).max(axis=-1, keepdims=True), 0.0)
        weights = ref * np.exp(on)
        mass = weights.sum(axis=-1, keepdims=True)
        tables, ratio = weights / mass, on - np.log(mass)

        def back(by_scores: Array) -> Array:
            g = (back_to @ by_scores).reshape(R, A)
            slope = gather @ (g - g.sum(axis=-1, keepdims=True) * tables)
            by_scale = float((slope * plain).sum())
            if merge == "equal":
                return np.append(np.zeros(K), by_scale)
            by_w = factors.gradient(w, merge, x[-1] * slope)
            return np.append(w * (by_w - w @ by_w), by_scale)

        return C @ ratio.ravel(), back

    limits: Bounds = [(None, None)] * K + [(STRENGTHS[0], STRENGTHS[-1])]
    start = np.append(np.zeros(K), 1.0)[None]
    ended = climb(scores, feedback.targets, start, free=1, bounds=limits)
    w = np.full(K, 1.0 / K) if merge == "equal" else _softmax(ended.best[:-1])
    return w, float(ended.best[-1]), ended


def _softmax(x: Array) -> Array:
    weights = np.exp(x - x.max())
    return np.asarray(weights / weights.sum())
