"""P-SOUPS: what the average of low-rank factors is a function of, and what it is not.

Specialist k's logits over ref are a matrix ``X_k = B_kA_k`` [rows, A], one row for each step and each
block of next contexts, ``Q_k/β`` less its mean. An adapter holds B_k and A_k; ``B_kG_k, G_k⁻¹A_k`` are the
same specialist for every invertible G_k.
"""

from __future__ import annotations

import numpy as np

from toymdp.exact.policy import Policy
from toymdp.exact.scans import farthest
from toymdp.learning.factors import Factors, Merge

from ..claim import Claim
from ..facts.linear_fit import RANK_TOLERANCE
from ..facts.soup import Soup
from ..facts.token_mdp import Facts
from ..sides import EPS, Array, Sides
from .section4_soups import one_law, rounding_of

SEED = 0x50
TURN = 0.35  # size of the entries of G_k − 1


def by_singular_values(facts: Facts) -> tuple[Factors, float, float]:
    """``B_k`` [K, rows, A] and ``A_k`` [K, A, A], each with one root of the singular values.

    A singular vector's sign is that which makes its first entry of at least half its largest positive.
    Then, by how much rounding may turn singular vectors: the largest value over the least distance of
    two neighbours, infinite where two are one and the vectors any of a plane. Last, in nats, what
    roots of small singular values leave open in an average.
    """
    mdp = facts.mdp
    A = mdp.ref.shape[1]  # which says so where there is no table
    X = np.where(mdp.reach.nexts, facts.exponents, 0.0).reshape(mdp.n_rewards, -1, A)
    count = np.maximum(mdp.reach.nexts.reshape(-1, A).sum(axis=1), 1)
    mean = X.sum(axis=2) / count
    X = np.where(mdp.reach.nexts.reshape(-1, A), X - mean[:, :, None], 0.0)
    rows = X.shape[1]
    X = np.pad(X, ((0, 0), (0, max(0, A - rows)), (0, 0)))
    left, sigma, right = np.linalg.svd(X, full_matrices=False)
    small = sigma <= RANK_TOLERANCE * sigma.max(axis=1, keepdims=True)
    # a root of what rounding leaves of a value, or of one taken for 0, beside the root of the largest
    least = np.maximum(sigma[small].max(initial=0.0), 64 * EPS * sigma.max())
    doubt = float(np.sqrt(least * sigma.max()))
    sigma[small] = 0.0  # a root would show rounding
    large = np.abs(right) >= 0.5 * np.abs(right).max(axis=2, keepdims=True)
    first = np.take_along_axis(right, large.argmax(axis=2)[:, :, None], axis=2)
    signs = np.where(first < 0, -1.0, 1.0)
    root = np.sqrt(sigma)
    kept = sigma > 0
    apart = np.where(
        kept, sigma - np.append(sigma[:, 1:], np.zeros((len(sigma), 1)), axis=1), np.inf
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        turn = np.where(kept.any(axis=1), sigma[:, 0] / apart.min(axis=1), 1.0)
    left = left[:, :rows] * np.swapaxes(signs, 1, 2) * root[:, None]
    return Factors(left, right * signs * root[:, :, None]), float(turn.max()), doubt


def changes_of_basis(facts: Facts, rank: int) -> Array:
    """``G_k`` [K, ρ, ρ], seeded."""
    draws = np.random.default_rng(SEED).uniform(-TURN, TURN, size=(facts.mdp.n_rewards, rank, rank))
    return np.asarray(np.eye(rank) + draws)


def _turned(facts: Facts) -> tuple[Factors, float]:
    """The factors after a change of basis, and by how much it may amplify rounding."""
    plain, _, _ = facts.once(by_singular_values)
    G = changes_of_basis(facts, plain.A.shape[1])
    turned = np.linalg.solve(G, plain.A).astype(np.float64)
    return Factors(plain.B @ G, turned), float(np.linalg.cond(G).max())


def _merged(facts: Facts, factors: Factors, merge: Merge) -> Policy:
    """The policy of the average with the user's weights."""
    rows = factors.merged(facts.mdp.w, merge)
    return Policy(facts.mdp, np.ascontiguousarray(rows.reshape(facts.sol.Q_w.shape)))


def gauge(facts: Facts) -> Sides:
    """P-SOUPS' policy, logits ``(Σ w_k B_k)(Σ w_k A_k)``, is a function of the specialists' policies.

    False: ``B_k → B_kG_k, A_k → G_k⁻¹A_k`` changes the average and no specialist. Factors by singular
    values, full rank; G_k seeded. lhs: largest KL at a reachable state between the policies before
    and after; rhs: 0. Terms: what the user gets of the products averaged, and of both.
    """
    plain, turn, doubt = facts.once(by_singular_values)
    turned, condition = facts.once(_turned)
    before, after = (_merged(facts, factors, "factors") for factors in (plain, turned))
    kl = before.divergence(after, fine=False)
    most, (t, s) = farthest(kl, np.zeros_like(kl), facts.mdp.reach.states)
    size = condition * facts.size_of_values / facts.mdp.beta
    beta = facts.mdp.beta
    exact = _merged(facts, plain, "delta")
    named = {"V, products averaged": exact, "V, factors averaged": before, "V, after G": after}
    terms = {name: facts.regularised_value(policy, beta) for name, policy in named.items()}
    # nats, in either policy: KL moves by less than four times this
    off = 2.0 * condition * doubt + rounding_of(facts, size) * turn
    error = float(rounding_of(facts, size) + 4.0 * off * (np.sqrt(2.0 * most) + off))
    return Sides(most, 0.0, 1.0, terms, {"t": t, "s": s}, error)


def delta(facts: Facts) -> Sides:
    """The products averaged, logits ``Σ w_k B_kA_k``, are the soup at λ = (β'/β)w, in any basis.

    Proof: ``B_kG_kG_k⁻¹A_k = X_k``, and X_k is Q_k/β up to a constant of each row. With one factor
    shared by all, ``(Σ w_k B_k)A = Σ w_k B_kA``: then averaging the factors is this.

    Judged after a change of basis. lhs: ``log policy/ref``, rhs: ``log π~_λ/ref`` (nats), at the token where
    they are farthest apart; where that is rounding, at the one that the soup raises most.
    """
    turned, condition = facts.once(_turned)
    soup = Soup(facts, facts.mdp.beta_prime / facts.mdp.beta * facts.mdp.w)
    return one_law(soup, _merged(facts, turned, "delta"), condition)


TABLE = (
    Claim(
        "ss.psoups.gauge", "Jang 2023",
        r"(\textstyle\sum_kw_kB_kG_k)(\sum_kw_kG_k^{-1}A_k) \simeq (\sum_kw_kB_k)(\sum_kw_kA_k)",
        "refuted", "equality", "instance", gauge,
        "a change of basis inside an adapter changes the average of factors and no specialist",
        true_when="one factor is shared by all specialists, or the products B_kA_k are averaged",
        true_by=("ss.psoups.delta",),
        title="averaging adapters' factors apart",
    ),
    Claim(
        "ss.psoups.delta", "ours",
        r"\pi_{ref}\,e^{\sum_kw_kB_kA_k} \propto \tilde\pi_\lambda,\ \lambda = \tfrac{\beta'}{\beta}w",
        "proved", "equality", "instance", delta, "the product knows no basis",
        title="averaging adapters' products",
    ),
)  # fmt: skip
