"""Base with history: ref interpolated with the n-grams of what the user preferred.

EXACT's Base has the user's earlier pairs in its prompt; a Markov reference takes from them what
n-gram models take from text.
"""

from __future__ import annotations

import numpy as np

from ..arrays import Array
from ..learning.feedback import Feedback
from ..learning.logistic import FOLDS, loss
from .collect import going, sides, visits
from .method import Bases, Domain, Facts, Fitted

WEIGHTS = tuple(np.round(np.arange(0.0, 0.95, 0.1), 1).tolist())


def counted(domain: Domain, pairs: Feedback, *, rejected: bool) -> Array:
    """Laws [S, A] of the next token in the preferred answers, 0 in rows that they do not pass.

    rejected: counts of the rejected answers are taken off first, and what falls below 0 left out.
    """
    A, S = domain.mdp.vocab_size, domain.mdp.n_contexts
    counts = np.zeros((2, S, A))
    for sign, nexts, s in sides(domain, pairs):
        good, on = sign * pairs.labels[:, None] > 0, going(domain, s)
        np.add.at(counts[0], (s, nexts % A), np.where(good, on, 0.0))
        np.add.at(counts[1], (s, nexts % A), np.where(good, 0.0, on))
    kept = np.maximum(counts[0] - (counts[1] if rejected else 0.0), 0.0)
    total = kept.sum(axis=1, keepdims=True)
    return np.asarray(kept / np.where(total > 0, total, 1.0))


def interpolated(domain: Domain, law: Array, weight: float) -> tuple[Array, ...]:
    """[W] of the logits [T, S, A] of ``(1 − weight) ref + weight·law``; ref where there is no law."""
    logits = []
    for mdp in domain.worlds:
        seen = np.where(mdp.ref > 0, law, 0.0)
        total = seen.sum(axis=1, keepdims=True)
        seen = np.where(total > 0, seen / np.where(total > 0, total, 1.0), mdp.ref)
        live = mdp.ref > 0
        mixed = (1.0 - weight) * mdp.ref + weight * seen
        ratio = np.log(np.where(live, mixed, 1.0)) - np.log(np.where(live, mdp.ref, 1.0))
        logits.append(np.broadcast_to(ratio, (mdp.steps, *ratio.shape)))
    return tuple(logits)


def fit(
    domain: Domain, bases: Bases, feedback: Feedback, seed: int, *, rejected: bool = False
) -> Fitted:
    """The weight by the cross-validated likelihood of the pairs, counts by those of other folds."""
    C = domain.beta * visits(domain, feedback)
    fold = np.arange(len(feedback)) % min(FOLDS, len(feedback))
    held_out = np.zeros(len(WEIGHTS))
    for f in range(fold.max() + 1):
        law = counted(domain, _rows(feedback, fold != f), rejected=rejected)
        rest = np.flatnonzero(fold == f)
        for i, weight in enumerate(WEIGHTS):
            ratio = np.stack(interpolated(domain, law, weight)).ravel()
            held_out[i] -= loss(C[rest] @ ratio, feedback.targets[rest])
    weight = WEIGHTS[int(np.argmax(held_out))]
    law = counted(domain, feedback, rejected=rejected)
    facts = Facts(hyper={"weight": weight})
    return Fitted(interpolated(domain, law, weight), facts, scalable=False)


def _rows(feedback: Feedback, which: Array) -> Feedback:
    rows = {k: getattr(feedback, k)[which] for k in ("first", "second", "labels", "prompt")}
    return Feedback(**rows, user=feedback.user, mode=feedback.mode)
