"""What a fitted policy is worth to a user, prompt by prompt, by two roads; and what its losses are."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import scipy  # whose parts are imported when they are first asked for

from ..arrays import Array
from ..exact.tables import divergences, log_ratio, on_triples, tilt, worth
from ..learning.feedback import Feedback
from .collect import differences, label, visits
from .method import AnswerLaw, Bases, Domain, Fitted, NotApplicable
from .rlhf import optimal_for

STRETCH = (1e-3, 1e3)  # within which a policy's logits are scaled to match a divergence


@dataclass(frozen=True, eq=False)
class Value:
    """Worth of a policy for one user, each [P], from each prompt.

    value: by backward evaluation; other: ``V_u − β E Σ KL(π‖π_u)``, reward units. kl: to π_u, kl_ref:
    to ref, nats. error: largest difference of the two roads.
    """

    value: Array
    other: Array
    kl: Array
    kl_ref: Array

    @property
    def error(self) -> float:
        """How far the two roads are apart, reward units."""
        return float(np.abs(self.value - self.other).max())


def value_of(domain: Domain, fitted: Fitted, user: int) -> Value:
    """Evaluate a fitted policy under a user's reward."""
    if fitted.laws is not None:
        return _of_laws(domain, fitted.laws, user)
    return of_tables(fitted.place(domain), fitted.tables(domain), user)


def of_tables(domain: Domain, tables: tuple[Array, ...], user: int) -> Value:
    """Evaluate tables [W] of [T, S, A] under a user's reward."""
    each = zip(domain.worlds, tables, domain.best(user), strict=True)
    by_world = [worth(mdp, table, best) for mdp, table, best in each]
    places = list(zip(domain.world.tolist(), domain.start.tolist(), strict=True))
    rows = [
        [getattr(by_world[w], name)[s] for w, s in places]
        for name in ("value", "other", "kl", "kl_ref")
    ]
    return Value(*(np.array(row) for row in rows))


def _of_laws(domain: Domain, laws: tuple[AnswerLaw, ...], user: int) -> Value:
    """Laws over answers: the divergences are those of whole answers."""
    rows = []
    for p, law in enumerate(laws):
        w, s = domain.world[p], domain.start[p]
        best, beta = domain.best(user)[w], domain.beta
        used = law.law > 0
        earned = best.reward[law.answers].sum(axis=1)
        gain = np.log(law.law, where=used, out=np.zeros_like(law.law)) - law.log_ref
        kl_ref = float(law.law[used] @ gain[used])
        before = np.hstack([np.full((len(law.answers), 1), s), law.answers[:, :-1]])
        t = np.arange(law.answers.shape[1])
        to_best = (best.Q[t, law.answers] - best.V[t, before]).sum(axis=1) / beta
        kl = float(law.law[used] @ (gain - to_best)[used])
        rows.append((law.law @ earned - beta * kl_ref, best.V[0, s] - beta * kl, kl, kl_ref))
    return Value(*(np.array(column) for column in zip(*rows, strict=True)))


def matched(domain: Domain, fitted: Fitted, user: int) -> tuple[Array, ...]:
    """Tables of the policy at the strength at which its mean divergence from ref is that of π_u.

    The mean is over all prompts. Raises NotApplicable for a method without a strength, and where no
    strength from 1/1000 to 1000 reaches that divergence.
    """
    if fitted.logits is None or not fitted.scalable:
        raise NotApplicable("the method has no strength to change")
    domain, A = fitted.place(domain), domain.mdp.vocab_size
    refs = np.stack([mdp.ref for mdp in domain.worlds])
    own = np.stack([G if G.ndim == 3 else on_triples(G, A) for G in fitted.logits])

    def divergence(logits: Array) -> float:
        return float(divergences(refs, logits)[domain.world, domain.start].mean())

    target = divergence(np.stack([best.logits for best in domain.best(user)]))

    def excess(log_c: float) -> float:
        return divergence(np.exp(log_c) * own) - target

    low, high = np.log(STRETCH)
    if not excess(low) < 0 < excess(high):
        raise NotApplicable(f"no strength has the divergence of π_u from ref, {target:.3g} nats")
    log_c = scipy.optimize.brentq(excess, low, high, xtol=1e-6)
    return _tables(domain, tuple(np.exp(log_c) * own))


def _tables(domain: Domain, logits: tuple[Array, ...]) -> tuple[Array, ...]:
    return tuple(tilt(mdp, G) for mdp, G in zip(domain.worlds, logits, strict=True))


def accuracy(domain: Domain, fitted: Fitted, pairs: Feedback, *, raw: bool = False) -> float:
    """Share of pairs whose answer of larger true return the policy prefers, by ``Σ log π/ref``.

    pairs: labelled by rank. raw: by ``Σ log π``, as EXACT's Table 2 scores. Ties, two answers that the
    policy gives up among them, count ½. A method with scores of its own is judged by these.
    """
    if fitted.scores is not None:
        return _right(
            differences(domain, np.stack(fitted.scores)[:, None], pairs)[:, 0], pairs.labels
        )
    domain, tables = fitted.place(domain), fitted.tables(domain)
    rows = []
    for mdp, table in zip(domain.worlds, tables, strict=True):
        base = np.log(np.where(mdp.ref > 0, mdp.ref, 1.0)) if raw else 0.0
        rows.append(log_ratio(mdp, table) + base)
    ratio = np.stack(rows)
    # an answer that is given up is worse than any other: a finite number lets two of them tie
    scores = visits(domain, pairs) @ np.maximum(ratio, -1e6).ravel()
    return _right(scores, pairs.labels)


def _right(scores: Array, labels: Array) -> float:
    """Share of pairs whose score has the sign of the label; rounding apart is a tie, and counts ½."""
    signs = np.sign(np.where(np.abs(scores) < 1e-9, 0.0, scores))
    return float(0.5 + 0.5 * (signs * labels).mean())


@dataclass(frozen=True)
class Losses:
    """Where ``V_u − V^π`` of a soup goes, reward units, over chosen prompts; they add up to it.

    span: V_u less the value of the optimum for r∞, what unlimited pairs make of the bases. estimation:
    that less the optimum for r̂ = Σ λ̂_k r_k. souping: that less the soup of exact specialists at λ̂.
    specialists: that less the policy itself. The last three may be negative.
    """

    span: float
    estimation: float
    souping: float
    specialists: float


def losses(
    domain: Domain, exact: Bases, fitted: Fitted, limit: Array, user: int, which: Array
) -> Losses:
    """The four losses of a soup. limit: λ∞ [K]; exact: the exact specialists; which: [P] prompts.

    Raises NotApplicable where the policy is not a soup at a learnt λ.
    """
    lam = fitted.facts.lam
    if lam is None or not fitted.facts.soup:
        raise NotApplicable("the losses are those of a soup at a learnt λ")

    def mean(logits: tuple[Array, ...]) -> float:
        return float(of_tables(domain, _tables(domain, logits), user).value[which].mean())

    def optimal(weights: Array) -> float:
        rewards = np.stack([weights @ mdp.rewards for mdp in domain.worlds])
        return mean(optimal_for(domain, rewards))

    values = (
        mean(tuple(best.logits for best in domain.best(user))), optimal(limit), optimal(lam),
        mean(exact.mixed(lam)), mean(fitted.logits or ()),
    )  # fmt: skip
    return Losses(*(float(a - b) for a, b in pairwise(values)))


def held_out(domain: Domain, pairs: Feedback, user: int) -> Feedback:
    """The pairs with the labels of a user who ranks by true return."""
    return label(domain, pairs, user, "rank", 0)
