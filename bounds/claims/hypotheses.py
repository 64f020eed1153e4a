"""The hypotheses of Spectral Souping's statements: each a check, evaluated, never assumed."""

from __future__ import annotations

import numpy as np

from toymdp import TokenMDP
from toymdp.worlds.features import Dense, IntArray

from ..claim import Hypothesis, Outcome
from ..facts.linear_fit import RANK_TOLERANCE, Fit
from ..facts.soup import Soup
from ..facts.token_mdp import Facts, InstanceFacts
from ..sides import EPS, Array, Mask

FULL = 1e-12  # share of the budget by which a full one may be missed

Rows = tuple[Array, IntArray]


def reference_rows(instance: InstanceFacts) -> tuple[Array, Array, IntArray]:
    """Features ψ(s), ``log ref`` [n, A'] and indices [n] of reachable contexts, read-only.

    ψ(s) at t ≥ 1 is the feature of the step before; the start has ``start_feature``, or that of
    its last L tokens if it is met again, or one of its own (then it is no row here).
    """
    mdp = instance.mdp
    if mdp.horizon is None:
        later = mdp.reach.nexts & mdp.reach.states
    else:
        later = np.vstack([mdp.reach.states[1:], np.zeros_like(mdp.reach.states[:1])])
    rows, s = rows_at(instance, later)
    if mdp.start_feature is not None:
        rows, s = np.vstack([rows, mdp.start_feature]), np.append(s, mdp.start_context)
    logits = _log_reference(mdp, s)
    for table in (rows, logits, s):
        table.setflags(write=False)
    return rows, logits, s


def rows_at(instance: InstanceFacts, at: Mask) -> Rows:
    """Features and indices [n] of the marked next contexts [T, S].

    Dense features come as [n, d]; one-hots, which are n distinct unit vectors, as their scales [n].
    """
    features = instance.mdp.features
    t, s = np.nonzero(at if features.per_step else at.any(axis=0, keepdims=True))
    if isinstance(features, Dense):
        rows = features.values[t, s] if features.per_step else features.values[s]
    else:
        rows = instance.features.norms[t, s]
    return np.asarray(rows), s


def forward_rows(instance: InstanceFacts) -> Rows:
    """The same at the next contexts that have L more steps before the horizon, and do not end."""
    mdp = instance.mdp
    room = (np.arange(mdp.steps) <= mdp.steps - 1 - mdp.order) | (mdp.horizon is None)
    return rows_at(instance, mdp.reach.nexts & ~mdp.ended & room[:, None])


def _log_reference(mdp: TokenMDP, s: IntArray) -> Array:
    """``log ref`` [n, A'] of all tokens but bos, after the contexts s [n]; −∞ where it is forbidden."""
    tokens = np.arange(mdp.vocab_size) != (-1 if mdp.bos is None else mdp.bos)
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(mdp.rows.table(s, mdp.vocab_size)[:, tokens]))


def softmax_reference(facts: Facts) -> Outcome:
    """``ref = softmax(ψ(s)·ν_ref(a))`` at every reachable context (ss.asm0).

    Equivalent to: the log-weights, centred in each row, lie in the column space of ψ(s). A
    forbidden token breaks it strictly.
    """
    mdp = facts.mdp
    forbids = mdp.reach.any_state & ~_full_rows(facts)
    if forbids.any():
        return False, f"context {int(np.argmax(forbids))} forbids a token, which no softmax does"
    if not isinstance(mdp.features, Dense):
        # one-hot rows: any table is linear in them, and steps that share a row share ref
        return True, ""
    Psi, logits, _ = facts.instance.once(reference_rows)
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
    return False, f"centred log ref leaves span ψ(s) by {residual:.3g} nats"


def _full_rows(facts: Facts) -> Mask:
    """[S] contexts that allow every token but bos."""
    mdp = facts.mdp
    return np.asarray(mdp.reach.counts >= mdp.vocab_size - (mdp.bos is not None))


def linear_rewards(facts: Facts) -> Outcome:
    """``r ∈ span ψ`` on reachable triples, one vector for all steps (ss.asm1)."""
    fit = facts.reward_fit
    return _all_exist(fit, "reward r")


def linear_values(facts: Facts) -> Outcome:
    """Lemma 1's conclusion for Q_1..Q_K and Q_w: the ν that Theorem 1 names exist."""
    fit = facts.value_fit
    exists, why = _all_exist(fit, "Q")
    if exists is False and isinstance(facts.mdp.features, Dense):
        why += "; one-hot features of each step hold every Q: tabular, per_step true"
    return exists, why


def _all_exist(fit: Fit, what: str) -> Outcome:
    exists = fit.exists()
    names = [*(f"{what}_{k}" for k in range(1, len(exists))), f"{what}_w"]
    for name, verdict, residual in zip(names, exists, fit.largest, strict=True):
        if verdict is False:
            return False, f"{name} is not linear in the features (residual {residual:.3g})"
    if None in exists:
        return None, f"{names[exists.index(None)]}: linearity is within rounding of failing"
    return True, ""


def decodable(facts: Facts) -> Outcome:
    """L-step decodability (ss.asm2): a token MDP's tables know the last L tokens only."""
    return True, ""


def independent_features(facts: Facts) -> Outcome:
    """Feature rows of the reachable (t, s') are linearly independent."""
    if facts.features.independent:
        return True, ""
    return False, "feature rows of the reachable (t, s') are linearly dependent"


def every_reward(facts: Facts) -> Outcome:
    """Every function of the reachable (t, s') is linear in psi: Assumption 1 read as it stands."""
    if facts.features.independent:
        return True, ""
    return False, "some function of the reachable (t, s') is not linear in the features"


def distinct_features(facts: Facts) -> Outcome:
    """No two different contexts with L steps to come share their ψ; compared exactly."""
    rows, contexts = facts.instance.once(forward_rows)
    if rows.ndim == 1:  # one-hots
        return True, ""
    _, first, row = np.unique(rows + 0.0, axis=0, return_index=True, return_inverse=True)
    other = contexts[first][row.ravel()]
    if (other == contexts).all():
        return True, ""
    i = int(np.argmax(other != contexts))
    return False, f"contexts {other[i]} and {contexts[i]} have the same feature"


def in_domain(soup: Soup) -> Outcome:
    """``β|λ|₁ ≤ β'`` of (7), up to the rounding of the sum."""
    used = soup.budget_used
    if used <= 1.0 + 8 * EPS * len(soup.lam):
        return True, ""
    return False, f"β|λ|₁ = {used:.6g} β' is outside the domain"


def full_budget(soup: Soup) -> Outcome:
    """``β|λ|₁ = β'``, but for the rounding of a λ that is scaled to it."""
    used = soup.budget_used
    if abs(used - 1.0) <= FULL:
        return True, ""
    return False, f"β|λ|₁ = {used:.6g} β' is not the full budget"


def nonzero_weights(soup: Soup) -> Outcome:
    """``λ ≠ 0``, where ``|λ|₁`` divides."""
    if soup.lam.any():
        return True, ""
    return False, "λ = 0, and the statement divides by |λ|₁"


def nonnegative_rewards(facts: Facts) -> Outcome:
    """``r_k ≥ 0`` on reachable triples, assumed in Appendix A.2 only."""
    least = np.where(facts.mdp.reach.nexts.any(axis=0), facts.mdp.rewards, 0.0).min(axis=1)
    k = int(np.argmin(least))
    if least[k] >= 0:
        return True, ""
    return False, f"r_{k + 1} falls to {least[k]:.4g} < 0 on a reachable context"


def nonnegative_values(facts: Facts) -> Outcome:
    """``V_k ≥ 0`` at the start context, which Appendix A.2 derives from ``r_k ≥ 0``."""
    k = int(np.argmin(facts.sol.values))
    if facts.sol.values[k] >= 0:
        return True, ""
    if abs(facts.sol.values[k]) <= 64 * EPS * facts.depth * facts.size_of_values:
        return None, f"V_{k} at the start is 0 within rounding"
    return False, f"V_{k} = {facts.sol.values[k]:.4g} < 0 at the start"


def beats_one_hot(soup: Soup) -> Outcome:
    """``J(λ) ≥ V_w^{π_k}`` for every k, true of λ* (App. A.2 (ii)) and of few other λ."""
    facts = soup.facts
    slack = soup.value - float(facts.specialist_values.max())
    error = 64 * EPS * facts.depth * facts.size_of_returns + soup.value_error
    if slack >= -error:  # a one-hot λ ties with itself
        return True, ""
    return False, f"J(λ) falls short of a specialist's value by {-slack:.4g}"


def constant_norm(facts: Facts) -> Outcome:
    """``‖ψ((s,a))‖`` is one number on all reachable triples."""
    norms = np.asarray(facts.features.norms)[facts.mdp.reach.nexts]
    low, high = float(norms.min()), float(norms.max())
    if high - low <= 4 * EPS * high:
        return True, ""
    return False, f"feature norms run from {low:.4g} to {high:.4g}"


SOFTMAX_REFERENCE = Hypothesis("ss.asm0", "ref is a softmax of ψ(s)", softmax_reference)
LINEAR_REWARDS = Hypothesis("ss.asm1", "rewards are linear in ψ", linear_rewards)
DECODABLE = Hypothesis("ss.asm2", "L-step decodability", decodable)
LINEAR_VALUES = Hypothesis("q-linear", "Q_1..Q_K and Q_w are linear in ψ", linear_values)
INDEPENDENT_FEATURES = Hypothesis(
    "features-independent", "feature rows are independent", independent_features
)
EVERY_REWARD = Hypothesis(
    "every-reward-linear", "every function of the reachable (t, s') is linear in ψ", every_reward
)
DISTINCT_FEATURES = Hypothesis(
    "features-distinct", "different contexts have different features", distinct_features
)
IN_DOMAIN = Hypothesis("lambda-in-domain", "β|λ|₁ ≤ β'", in_domain, "lambda")
FULL_BUDGET = Hypothesis("lambda-full-budget", "β|λ|₁ = β'", full_budget, "lambda")
NONZERO_LAMBDA = Hypothesis("lambda-nonzero", "λ ≠ 0", nonzero_weights, "lambda")
NONNEGATIVE_REWARDS = Hypothesis("rewards-nonnegative", "r_k ≥ 0", nonnegative_rewards)
NONNEGATIVE_VALUES = Hypothesis("values-nonnegative", "V_k ≥ 0 at the start", nonnegative_values)
BEATS_ONE_HOT = Hypothesis("beats-one-hot", "J(λ) ≥ every V_w^{π_k}", beats_one_hot, "lambda")
CONSTANT_NORM = Hypothesis("features-constant-norm", "‖ψ‖ is constant", constant_norm)
