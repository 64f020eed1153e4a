"""PAD-SF: PAD with weights that a scorer of the state gives, ``g(s) = softmax(Wψ(s))`` (Barreto 2018).

ψ(s) is a constant and the one-hot of the context, so that a gate can be the same everywhere.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..arrays import Array
from ..learning.feedback import Feedback
from ..learning.logistic import climb
from .collect import visits
from .method import Bases, Domain, Facts, Fitted

START_SIZE = 0.5  # of the random starts beside the zero one


def gates(x: Array, K: int, W: int, S: int) -> Array:
    """g [W, S, K] on the simplex from the scorer's parameters x [K·(1 + W·S)]."""
    table = x.reshape(1 + W * S, K)
    z = table[0] + table[1:]
    weights = np.exp(z - z.max(axis=1, keepdims=True))
    return np.asarray((weights / weights.sum(axis=1, keepdims=True)).reshape(W, S, K))


def gated(f: Array, g: Array, *, mixture: bool) -> Array:
    """Logits [W, T, S, A] of ``ref·exp(Σ g_k f_k)``, or of the mixture ``Σ g_k π_k``.

    f: [W, K, T, S, A] ``log π_k/ref`` in nats; g: [W, S, K].
    """
    if not mixture:
        return np.asarray(np.einsum("wsk,wktsa->wtsa", g, f, optimize=True))
    return np.asarray(np.log(np.einsum("wsk,wktsa->wtsa", g, np.exp(f), optimize=True)))


def fit(
    domain: Domain, bases: Bases, feedback: Feedback, seed: int, *,
    mixture: bool = False, restarts: int = 4,
) -> Fitted:  # fmt: skip
    """W by Bradley–Terry on ``β Σ_t Σ_k g_k(s_t) f_k``, its prior's width by cross-validation.

    The loss is not convex: from zero (equal weights) and ``restarts`` seeded starts; hyper "spread"
    is that of the loss over them.
    """
    f = np.stack(bases.log_ratios)
    W, K, _, S, _ = f.shape
    n = K * (1 + W * S)
    rng = np.random.default_rng([seed, 0x9AD5F])
    starts = np.vstack([np.zeros(n), START_SIZE * rng.normal(size=(restarts, n))])
    scores = scorer(domain, f, feedback, mixture=mixture)
    ended = climb(scores, feedback.targets, starts)
    g = gates(ended.best, K, W, S)
    hyper = {"ridge": ended.ridge, "starts": len(starts), "spread": ended.spread}
    facts = Facts(hyper=hyper, evaluations=K + 1)
    return Fitted(tuple(gated(f, g, mixture=mixture)), facts, scalable=not mixture)


def scorer(
    domain: Domain, f: Array, feedback: Feedback, *, mixture: bool
) -> Callable[[Array], tuple[Array, Callable[[Array], Array]]]:
    """The scores of all pairs as a function of the scorer's parameters, with its gradient."""
    W, K, _, S, _ = f.shape
    C = domain.beta * visits(domain, feedback)
    inner = np.exp(f) if mixture else f
    flat = inner.transpose(0, 3, 1, 2, 4)  # [W, S, K, T, A]

    def scores(x: Array) -> tuple[Array, Callable[[Array], Array]]:
        g = gates(x, K, W, S)
        v = np.matmul(g[:, :, None, :], flat.reshape(W, S, K, -1))[:, :, 0]
        tall = v.reshape(W, S, *flat.shape[3:])
        values = np.log(tall) if mixture else tall

        def back(by_scores: Array) -> Array:
            dv = (C.T @ by_scores).reshape(W, -1, S, flat.shape[4]).transpose(0, 2, 1, 3)
            dv = dv / tall if mixture else dv
            dg = np.matmul(flat.reshape(W, S, K, -1), dv.reshape(W, S, -1, 1))[..., 0]
            dz = (g * (dg - (g * dg).sum(axis=2, keepdims=True))).reshape(-1, K)
            return np.concatenate([dz.sum(axis=0), dz.ravel()])

        return C @ values.transpose(0, 2, 1, 3).ravel(), back

    return scores
