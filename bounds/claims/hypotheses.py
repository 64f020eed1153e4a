"""The hypotheses of the papers' statements: each a check of its own, evaluated, never assumed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from toymdp import Solution, SolverError, TokenMDP
from toymdp.worlds.features import Dense, IntArray

from ..claim import EPS, Array, Mask, Subject
from ..facts.linear_fit import RANK_TOLERANCE, feature_span, span_of, value_fits
from ..facts.soup import size_of_returns, size_of_values, soup, specialist_values

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
            try:
                sol.cache[key] = self.test(sol, lam)
            except SolverError as failure:
                sol.cache[key] = None, str(failure)
        outcome: Outcome = sol.cache[key]
        return outcome


Rows = tuple[Array, Array, IntArray]


@lru_cache(maxsize=2)
def reference_rows(mdp: TokenMDP) -> Rows:
    """Features psi(s), ``log ref`` [n, A'] and indices [n] of reachable contexts, read-only.

    psi(s) at t ≥ 1 is the feature of the step before; the start has ``start_feature``, or that of
    its last L tokens if it is met again, or one of its own (then it is no row here).
    """
    if mdp.horizon is None:
        later = mdp.reach.nexts & mdp.reach.states
    else:
        later = np.vstack([mdp.reach.states[1:], np.zeros_like(mdp.reach.states[:1])])
    rows, logits, s = rows_at(mdp, later)
    if mdp.start_feature is not None:
        rows, s = np.vstack([rows, mdp.start_feature]), np.append(s, mdp.start_context)
        logits = np.vstack([logits, _log_reference(mdp)[mdp.start_context]])
    for table in (rows, logits, s):
        table.setflags(write=False)
    return rows, logits, s


def rows_at(mdp: TokenMDP, at: Mask) -> Rows:
    """The same at the marked next contexts [T, S].

    Dense features come as [n, d]; one-hots, which are n distinct unit vectors, as their scales [n].
    bos is not a token here, and contexts that forbid another one have -inf.
    """
    span, features = span_of(mdp), mdp.features
    t, s = np.nonzero(at if span.per_step else at.any(axis=0, keepdims=True))
    if isinstance(features, Dense):
        rows = features.values[t, s] if features.per_step else features.values[s]
    else:
        rows = span.norms[t, s]
    return np.asarray(rows), _log_reference(mdp)[s], s


def _log_reference(mdp: TokenMDP) -> Array:
    """``log ref`` [S, A'] of all tokens but bos."""
    tokens = np.arange(mdp.vocab_size) != (-1 if mdp.bos is None else mdp.bos)
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(mdp.ref if tokens.all() else mdp.ref[:, tokens]))


def softmax_reference(sol: Solution, lam: Array | None) -> Outcome:
    """``ref = softmax(psi(s)·nu_ref(a))`` at every reachable context (ss.asm0).

    Equivalent to: the log-weights, centred in each row, lie in the column space of psi(s). A
    forbidden token breaks it strictly.
    """
    mdp = sol.mdp
    forbids = mdp.reach.any_state & ~_full_rows(sol)
    if forbids.any():
        return False, f"context {int(np.argmax(forbids))} forbids a token, which no softmax does"
    if not isinstance(mdp.features, Dense):
        # one-hot rows: any table is linear in them, and steps that share a row share ref
        return True, ""
    Psi, logits, _ = reference_rows(mdp)
    if len(Psi) == 0:
        return True, ""
    G = logits - logits.mean(axis=1, keepdims=True)
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


def _full_rows(sol: Solution) -> Mask:
    """[S] contexts that allow every token but bos."""
    mdp = sol.mdp
    tokens = np.arange(mdp.vocab_size) != (-1 if mdp.bos is None else mdp.bos)
    return np.asarray(mdp.reach.allowed[:, tokens].all(axis=1))


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


def nonnegative_values(sol: Solution, lam: Array | None) -> Outcome:
    """``V_k ≥ 0`` at the start context, which Appendix A.2 derives from ``r_k ≥ 0``."""
    k = int(np.argmin(sol.values))
    if sol.values[k] >= 0:
        return True, ""
    if abs(sol.values[k]) <= 64 * EPS * sol.depth * size_of_values(sol):
        return None, f"V_{k} at the start is 0 within rounding"
    return False, f"V_{k} = {sol.values[k]:.4g} < 0 at the start"


def beats_one_hot(sol: Solution, lam: Array | None) -> Outcome:
    """``J(λ) ≥ V_w^{π_k}`` for every k, true of λ* (App. A.2 (ii)) and of few other λ."""
    assert lam is not None
    best = float(specialist_values(sol).max())
    slack = soup(sol, lam).value - best
    error = 64 * EPS * sol.depth * size_of_returns(sol)
    if slack >= -error:  # a one-hot λ ties with itself
        return True, ""
    return False, f"J(λ) falls short of a specialist's value by {-slack:.4g}"


def constant_norm(sol: Solution, lam: Array | None) -> Outcome:
    """``‖psi((s,a))‖`` is one number on all reachable triples."""
    norms = np.asarray(feature_span(sol).norms)[sol.mdp.reach.nexts]
    low, high = float(norms.min()), float(norms.max())
    if high - low <= 4 * EPS * high:
        return True, ""
    return False, f"feature norms run from {low:.4g} to {high:.4g}"


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
        Hypothesis("values-nonnegative", "V_k ≥ 0 at the start", nonnegative_values),
        Hypothesis("beats-one-hot", "J(λ) ≥ every V_w^{π_k}", beats_one_hot),
        Hypothesis("features-constant-norm", "‖psi‖ is constant", constant_norm),
    )
}
