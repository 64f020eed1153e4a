"""Best of n answers of ref by a reward learnt for the user: no Markov policy, so answers are enumerated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..arrays import Array, IntArray
from ..learning.feedback import Feedback
from ..learning.logistic import FOLDS, cross_validated, loss
from .collect import context_counts
from .method import AnswerLaw, Bases, Domain, Facts, Fitted, NotApplicable

MOST = 1_000_000
NUMBERS = (1, 2, 4, 8, 16, 32)
TIE = 1e-9  # scores this close, relative to the largest, are one score: sums in another order


@dataclass(frozen=True, eq=False)
class Enumerated:
    """All answers to a prompt that ref allows: next contexts [n, T] and the log of ref's mass [n]."""

    answers: IntArray
    log_ref: Array


def enumerated(domain: Domain, p: int) -> Enumerated:
    """Every answer to prompt p. Raises NotApplicable beyond 10⁶, or where answers end at eos."""
    mdp = domain.worlds[domain.world[p]]
    if mdp.eos is not None or mdp.vocab_size**mdp.steps > MOST:
        raise NotApplicable(f"answers are enumerated up to {MOST:,}, without eos")
    A, S = mdp.vocab_size, mdp.n_contexts
    paths, last = np.empty((1, 0), dtype=np.int64), np.array([domain.start[p]])
    log_mass = np.zeros(1)
    with np.errstate(divide="ignore"):
        log_ref = np.log(mdp.ref)
    for _ in range(mdp.steps):
        nexts = (last[:, None] * A + np.arange(A)) % S
        log_mass = (log_mass[:, None] + log_ref[last]).ravel()
        paths = np.hstack([np.repeat(paths, A, axis=0), nexts.reshape(-1, 1)])
        keep = np.isfinite(log_mass)
        paths, log_mass = paths[keep], log_mass[keep]
        last = paths[:, -1]
    return Enumerated(paths, log_mass)


def best_of(known: Enumerated, scores: Array, n: int) -> Array:
    """The law [m] of the answer of largest score among n draws: ``c_iⁿ − c_{i−1}ⁿ``, ties shared."""
    size = float(np.abs(scores).max()) or 1.0
    _, group = np.unique(np.round(scores / (TIE * size)), return_inverse=True)
    mass = np.exp(known.log_ref)
    by_group = np.bincount(group, weights=mass)
    below = np.minimum(np.cumsum(by_group) / by_group.sum(), 1.0)
    gain = np.diff(below**n, prepend=0.0)
    law = mass * (gain / by_group)[group]
    return np.asarray(law / law.sum())


def log_gain(known: Enumerated, scores: Array, at: Array, n: int) -> Array:
    """``log π_n/ref`` [m] of answers of scores ``at``: their group's gain over its mass."""
    law = best_of(known, scores, n)
    order = np.argsort(scores, kind="stable")
    with np.errstate(divide="ignore"):
        gain = np.log(law[order]) - known.log_ref[order]
    place = np.clip(np.searchsorted(scores[order], at), 0, len(order) - 1)
    return np.asarray(gain[place])


def fit(domain: Domain, bases: Bases, feedback: Feedback, seed: int) -> Fitted:
    """A ridge-logistic reward on next contexts; n by the cross-validated likelihood of the pairs."""
    W = len(domain.worlds)
    counts = context_counts(domain, feedback)
    prompts = sorted(set(feedback.prompt.tolist()))
    known = {p: enumerated(domain, p) for p in prompts}
    zero, fold = np.zeros(counts.shape[1]), np.arange(len(feedback)) % min(FOLDS, len(feedback))
    held_out = np.zeros(len(NUMBERS))
    for f in range(fold.max() + 1):
        rest = fold == f
        reward = cross_validated(counts[~rest], feedback.targets[~rest], zero).mean.reshape(W, -1)
        for p in prompts:
            rows = np.flatnonzero(rest & (feedback.prompt == p))
            table = reward[domain.world[p]]
            scores = table[known[p].answers].sum(axis=1)
            both = [table[part[rows]].sum(axis=1) for part in (feedback.first, feedback.second)]
            for i, n in enumerate(NUMBERS):
                first, second = (log_gain(known[p], scores, at, n) for at in both)
                # an answer that n draws never return is as unlikely as a number can say
                z = domain.beta * (np.maximum(first, -700.0) - np.maximum(second, -700.0))
                held_out[i] -= loss(z, feedback.targets[rows])
    n = NUMBERS[int(np.argmax(held_out))]
    chosen = cross_validated(counts, feedback.targets, zero)
    reward = chosen.mean.reshape(W, -1)
    laws = []
    for p in range(len(domain.world)):
        every = known[p] if p in known else enumerated(domain, p)
        scores = reward[domain.world[p]][every.answers].sum(axis=1)
        laws.append(AnswerLaw(every.answers, every.log_ref, best_of(every, scores, n)))
    facts = Facts(hyper={"ridge": chosen.ridge, "n": n}, evaluations=n)
    return Fitted(None, facts, tuple(laws), scalable=False, scores=tuple(reward))
