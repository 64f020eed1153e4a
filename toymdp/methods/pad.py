"""PAD: ref tilted by the user's token reward ``Σ w_k log π_k/ref``, the weights being known."""

from __future__ import annotations

import numpy as np

from ..arrays import Array
from ..exact.tables import on_triples
from ..learning.feedback import Feedback
from ..learning.logistic import loss, minimise_on_simplex
from .collect import returns
from .method import Bases, Domain, Facts, Fitted

STRENGTHS: tuple[float, ...] = tuple(np.round(np.arange(0.1, 1.55, 0.1), 1).tolist())
SHORT = 1e-6  # weight of |w|² that picks the shortest of equally near mixtures
TOP = 10  # tokens of ref that the released code looks at


def nearest_weights(domain: Domain, user: int) -> Array:
    """w [K] on the simplex whose ``Σ w_k r_k`` is nearest to the user's reward, up to a constant.

    Least squares over next contexts of all worlds, each reward less its mean (no answer shows a
    constant); of equally near mixtures the shortest.
    """
    K = domain.mdp.n_rewards
    rewards = np.concatenate(
        [m.rewards - m.rewards.mean(axis=1)[:, None] for m in domain.worlds], 1
    )
    wanted = domain.users[user] - domain.users[user].mean(axis=1)[:, None]
    size = float((rewards**2).sum()) / K or 1.0
    gram = (rewards @ rewards.T) / size + SHORT * np.eye(K)
    aim = rewards @ wanted.ravel() / size

    def both(w: Array) -> tuple[float, Array]:
        return float(0.5 * w @ gram @ w - aim @ w), gram @ w - aim

    return minimise_on_simplex(both, np.full(K, 1.0 / K))


def strength(scores: Array, targets: Array) -> float:
    """α of the grid under which scores [N] (reward units) explain the pairs best.

    α is fitted to nothing else, so that its held-out likelihood is its likelihood.
    """
    return min(STRENGTHS, key=lambda alpha: loss(alpha * scores, targets))


def _scored(domain: Domain, bases: Bases, feedback: Feedback) -> tuple[Array, float]:
    w = bases.once(nearest_weights, domain, feedback.user)
    return w, strength(returns(domain, bases, feedback) @ w, feedback.targets)


def fit(domain: Domain, bases: Bases, feedback: Feedback, seed: int) -> Fitted:
    """``ref·exp(α Σ w_k f_k)``; at α = 1 the soup at (β'/β)w."""
    w, alpha = _scored(domain, bases, feedback)
    facts = Facts(alpha * w, hyper={"alpha": alpha}, evaluations=bases.n + 1)
    return Fitted(bases.mixed(alpha * w), facts)


def greedy(domain: Domain, bases: Bases, feedback: Feedback, seed: int) -> Fitted:
    """The argmax of the same over ref's ten likeliest tokens, as the released code decodes.

    Deterministic: of equal scores the first token.
    """
    w, alpha = _scored(domain, bases, feedback)
    logits = tuple(
        argmax_logits(mdp.ref, on_triples(G, mdp.vocab_size))
        for mdp, G in zip(domain.worlds, bases.mixed(alpha * w), strict=True)
    )
    facts = Facts(alpha * w, hyper={"alpha": alpha, "top": TOP}, evaluations=bases.n + 1)
    return Fitted(logits, facts, scalable=False)


def argmax_logits(ref: Array, G: Array) -> Array:
    """[T, S, A]: 0 at the argmax of ``log ref + G`` over ref's likeliest tokens, −∞ elsewhere."""
    with np.errstate(divide="ignore"):
        scores = np.log(ref) + G
    A = ref.shape[1]
    if A > TOP:
        least = np.sort(ref, axis=1)[:, -TOP, None]
        scores = np.where(ref >= least, scores, -np.inf)
    chosen = scores.argmax(axis=-1)[..., None] == np.arange(A)
    return np.where(chosen, 0.0, -np.inf)
