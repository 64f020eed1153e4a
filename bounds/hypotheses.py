"""The hypotheses of the papers' statements: each a check of its own, evaluated, never assumed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from toymdp import Solution
from toymdp.features import Dense

from .claim import EPS, Array, Subject
from .span import RANK_TOLERANCE, feature_span, value_fits

Outcome = tuple[bool | None, str]


@dataclass(frozen=True)
class Hypothesis:
    """A condition on an instance (and λ): id, what it says, and its test.

    The test returns True, False or None (rounding cannot tell) and a reason for the latter two.
    """

    id: str
    statement: str
    test: Callable[[Any, Array | None], Outcome]

    def evaluate(self, sol: Subject, lam: Array | None) -> Outcome:
        """Return the outcome, computed once for each solution and λ."""
        key = ("hypothesis", self.id, None if lam is None else lam.tobytes())
        if key not in sol.cache:
            sol.cache[key] = self.test(sol, lam)
        outcome: Outcome = sol.cache[key]
        return outcome


def softmax_reference(sol: Solution, lam: Array | None) -> Outcome:
    """``ref = softmax(psi(s)·nu_ref(a))`` at every reachable context (ss.asm0).

    Equivalent to: the log-weights, centred in each row, lie in the column space of psi(s). A
    forbidden token breaks it strictly. psi(s) at t ≥ 1 is the feature of the step before; a start
    context without a feature has one of its own, and constrains nothing.
    """
    mdp, span = sol.mdp, feature_span(sol)
    live = np.asarray(mdp.reach.any_state)
    tokens = np.ones(mdp.vocab_size, dtype=bool)
    if mdp.bos is not None:
        tokens[mdp.bos] = False
    full = np.asarray(mdp.reach.allowed[np.ix_(live, tokens)].all(axis=1))
    if not full.all():
        s = int(np.flatnonzero(live)[int(np.argmin(full))])
        return False, f"context {s} forbids a token, which no softmax does"
    logits = np.zeros((len(live), int(tokens.sum())))
    logits[live] = np.log(mdp.ref[np.ix_(live, tokens)])
    logits -= logits.mean(axis=1, keepdims=True)
    features = mdp.features
    if not isinstance(features, Dense):
        # one-hot rows: any table is linear in them, unless a context's coordinate is shared by
        # steps, and then its row of ref is the same anyway
        return True, ""
    if mdp.horizon is None:
        later, rows = live.copy(), features.values
        later[mdp.start_context] = span.used[0, mdp.start_context]
        Psi, G = rows[later], logits[later]
    elif features.per_step:
        at = np.argwhere(mdp.reach.states[1:])
        Psi, G = features.values[at[:, 0], at[:, 1]], logits[at[:, 1]]
    else:
        later = np.asarray(mdp.reach.states[1:].any(axis=0))
        met = bool(span.used[:, mdp.start_context].any())
        known = met and mdp.start_feature is None
        if known:
            later[mdp.start_context] = True
        Psi, G = features.values[later], logits[later]
    if mdp.start_feature is not None:
        Psi = np.vstack([Psi, mdp.start_feature])
        G = np.vstack([G, logits[mdp.start_context]])
    if len(Psi) == 0:
        return True, ""
    left, sigma, _ = np.linalg.svd(Psi, full_matrices=False)
    left = left[:, sigma > RANK_TOLERANCE * sigma[0]]
    residual = float(np.abs(G - left @ (left.T @ G)).max())
    size = float(np.abs(G).max())
    error = 64 * EPS * len(sigma) * (1.0 + size) * len(G) ** 0.5
    if residual <= error:
        return True, ""
    if residual <= 8 * error:
        return None, f"softmax residual {residual:.3g} is close to rounding {error:.3g}"
    return False, f"centred log ref leaves span psi(s) by {residual:.3g} nats"


def linear_rewards(sol: Solution, lam: Array | None) -> Outcome:
    """``r ∈ span psi`` on reachable triples, one vector for all steps (ss.asm1)."""
    fit = value_fits(sol)[0]
    return _all_exist(fit.exists(), fit.largest, "reward r", sol)


def linear_values(sol: Solution, lam: Array | None) -> Outcome:
    """Lemma 1's conclusion for Q_1..Q_K and Q_w: the nu that Theorem 1 names exist."""
    fit = value_fits(sol)[1]
    return _all_exist(fit.exists(), fit.largest, "Q", sol)


def _all_exist(exists: list[bool | None], largest: Array, what: str, sol: Solution) -> Outcome:
    names = [*(f"{what}_{k}" for k in range(sol.mdp.n_rewards)), f"{what}_w"]
    for name, verdict, residual in zip(names, exists, largest, strict=True):
        if verdict is False:
            return False, f"{name} is not linear in the features (residual {residual:.3g})"
    if None in exists:
        return None, f"{names[exists.index(None)]}: linearity is within rounding of failing"
    return True, ""


def decodable(sol: Solution, lam: Array | None) -> Outcome:
    """L-step decodability (ss.asm2): a token MDP's tables know the last L tokens only."""
    return True, ""


def independent_features(sol: Solution, lam: Array | None) -> Outcome:
    """Feature rows of the reachable (t, s') are linearly independent."""
    if feature_span(sol).independent:
        return True, ""
    return False, "feature rows of the reachable (t, s') are linearly dependent"


def in_domain(sol: Solution, lam: Array | None) -> Outcome:
    """``β|λ|₁ ≤ β'`` of (7), up to the rounding of the sum."""
    mdp = sol.mdp
    assert lam is not None
    assert mdp.beta_prime is not None
    used = mdp.beta * float(np.abs(lam).sum()) / mdp.beta_prime
    if used <= 1.0 + 8 * EPS * len(lam):
        return True, ""
    return False, f"β|λ|₁ = {used:.6g} β' is outside the domain"


def nonzero_weights(sol: Solution, lam: Array | None) -> Outcome:
    """``λ ≠ 0``, where ``|λ|₁`` divides."""
    assert lam is not None
    if lam.any():
        return True, ""
    return False, "λ = 0, and the statement divides by |λ|₁"


def nonnegative_rewards(sol: Solution, lam: Array | None) -> Outcome:
    """``r_k ≥ 0`` on reachable triples, assumed in Appendix A.2 only."""
    least = np.where(sol.mdp.reach.nexts.any(axis=0), sol.mdp.rewards, 0.0).min(axis=1)
    k = int(np.argmin(least))
    if least[k] >= 0:
        return True, ""
    return False, f"r_{k} falls to {least[k]:.4g} < 0 on a reachable context"


HYPOTHESES: dict[str, Hypothesis] = {
    h.id: h
    for h in (
        Hypothesis("ss.asm0", "ref is a softmax of psi(s)", softmax_reference),
        Hypothesis("ss.asm1", "rewards are linear in psi", linear_rewards),
        Hypothesis("ss.asm2", "L-step decodability", decodable),
        Hypothesis("q-linear", "Q_1..Q_K and Q_w are linear in psi", linear_values),
        Hypothesis("features-independent", "feature rows are independent", independent_features),
        Hypothesis("lambda-in-domain", "β|λ|₁ ≤ β'", in_domain),
        Hypothesis("lambda-nonzero", "λ ≠ 0", nonzero_weights),
        Hypothesis("rewards-nonnegative", "r_k ≥ 0", nonnegative_rewards),
    )
}
