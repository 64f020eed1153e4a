"""Best of n answers of ref by a reward learnt for the user: no Markov policy, so answers are enumerated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..arrays import Array, IntArray
from ..cached import cached_property
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


@dataclass(frozen=True, eq=False)
class Ranking:
    """Answers ordered by score: the law of the best of n is a function of the mass below.

    group: [m] of each answer, by increasing score, ties together; mass: [G]; below: [G], the
    cumulative mass c_i, which ends at 1.
    """

    ref: Array
    group: IntArray
    mass: Array
    below: Array
    least: Array

    @classmethod
    def of(cls, known: Enumerated, scores: Array) -> Ranking:
        """The ranking by scores [m]; those within rounding of each other are one."""
        size = float(np.abs(scores).max()) or 1.0
        rounded = np.round(scores / (TIE * size)) * (TIE * size)
        least, group = np.unique(rounded, return_inverse=True)
        ref = np.exp(known.log_ref)
        mass = np.asarray(np.bincount(group, weights=ref), dtype=np.float64)
        below = np.minimum(np.cumsum(mass) / mass.sum(), 1.0)
        return cls(ref, group, mass, below, least)

    def law(self, n: int) -> Array:
        """[m]: ``c_iⁿ − c_{i−1}ⁿ`` of an answer's group, shared as ref has it."""
        law = self.ref * (np.diff(self.below**n, prepend=0.0) / self.mass)[self.group]
        return np.asarray(law / law.sum())

    def log_gain(self, at: Array, n: int) -> Array:
        """``log π_n/ref`` of answers of scores ``at``, of which each is one of the ranking's."""
        place = np.clip(np.searchsorted(self.least, at - 0.5 * self._gap), 0, len(self.mass) - 1)
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(np.diff(self.below**n, prepend=0.0) / self.mass)[place])

    @cached_property
    def _gap(self) -> float:
        """The least distance of two scores: half of it tells a score from its neighbour."""
        return float(np.diff(self.least).min()) if len(self.least) > 1 else 1.0


def fit(domain: Domain, bases: Bases, feedback: Feedback, seed: int) -> Fitted:
    """A ridge-logistic reward on next contexts; n by the cross-validated likelihood of the pairs."""
    if feedback.mode == "binary":
        raise NotApplicable("the number of draws is chosen by pairs of answers")
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
            ranking = Ranking.of(known[p], table[known[p].answers].sum(axis=1))
            both = [table[part[rows]].sum(axis=1) for part in (feedback.first, feedback.second)]
            for i, n in enumerate(NUMBERS):
                first, second = (ranking.log_gain(at, n) for at in both)
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
        laws.append(AnswerLaw(every.answers, every.log_ref, Ranking.of(every, scores).law(n)))
    facts = Facts(hyper={"ridge": chosen.ridge, "n": n}, evaluations=n)
    return Fitted(None, facts, tuple(laws), scalable=False, scores=tuple(reward))
