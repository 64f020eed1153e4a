"""PAD-SF: PAD with weights that a scorer of the state gives, ``g(s) = softmax(Wψ(s))`` (Barreto 2018).

ψ(s) is a constant and the one-hot of the context, so that a gate can be the same everywhere.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..arrays import Array, IntArray
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
    is that of the loss over them. Contexts that no pair passes keep the constant's weights, where the
    prior has them.
    """
    f = np.stack(bases.log_ratios)
    W, K, _, S, _ = f.shape
    scores, passed = scorer(domain, f, feedback, mixture=mixture)
    n = K * (1 + len(passed))
    rng = np.random.default_rng([seed, 0x9AD5F])
    starts = np.vstack([np.zeros(n), START_SIZE * rng.normal(size=(restarts, n))])
    ended = climb(scores, feedback.targets, starts)
    whole = np.zeros((1 + W * S, K))
    whole[np.append(0, 1 + passed)] = ended.best.reshape(-1, K)
    g = gates(whole.ravel(), K, W, S)
    hyper = {"ridge": ended.ridge, "starts": len(starts), "spread": ended.spread}
    facts = Facts(hyper=hyper, evaluations=K + 1)
    return Fitted(tuple(gated(f, g, mixture=mixture)), facts, scalable=not mixture)


def scorer(
    domain: Domain, f: Array, feedback: Feedback, *, mixture: bool
) -> tuple[Callable[[Array], tuple[Array, Callable[[Array], Array]]], IntArray]:
    """The scores of all pairs as a function of the scorer's parameters, with its gradient.

    Also the contexts [R] (world by world) that the pairs pass: the parameters are [1 + R, K], the
    constant's and theirs. Nothing else of f is looked at.
    """
    W, K, T, S, A = f.shape
    C = domain.beta * visits(domain, feedback)
    steps = np.unique(C.indices)
    w, t, s, a = np.unravel_index(steps, (W, T, S, A))
    order = np.argsort(w * S + s, kind="stable")  # steps of one context stand together
    w, t, s, a = (x[order] for x in (w, t, s, a))
    C = C[:, steps[order]]
    back_to = C.T.tocsr()
    passed, first, at = np.unique(w * S + s, return_index=True, return_inverse=True)
    inner = f[w, :, t, s, a]  # [M, K]
    inner = np.exp(inner) if mixture else np.ascontiguousarray(inner)

    def scores(x: Array) -> tuple[Array, Callable[[Array], Array]]:
        table = x.reshape(1 + len(passed), K)
        z = table[0] + table[1:]
        g = np.exp(z - z.max(axis=1, keepdims=True))
        g /= g.sum(axis=1, keepdims=True)
        v = np.einsum("mk,mk->m", g[at], inner)

        def back(by_scores: Array) -> Array:
            dv = back_to @ by_scores
            dv = dv / v if mixture else dv
            dg = np.add.reduceat(dv[:, None] * inner, first, axis=0)
            dz = g * (dg - (g * dg).sum(axis=1, keepdims=True))
            return np.concatenate([dz.sum(axis=0), dz.ravel()])

        return C @ (np.log(v) if mixture else v), back

    return scores, passed
