"""Section 4 of Spectral Souping: what its explicit and its implicit soup draw from.

Both are held against (7), ``π~_λ ∝ ref·exp(Σ λ_k Q_k/β')``; β and β' are kept apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from toymdp import TokenMDP
from toymdp.exact.policy import Policy
from toymdp.exact.sampling import printed_bound_offsets, rejection_sampler
from toymdp.exact.scans import extrema, farthest, largest, mixture

from ..facts.soup import Soup
from ..facts.token_mdp import Facts
from ..sides import EPS, Array, Sides


def rounding_of(facts: Facts, size: float) -> float:
    """Error of exponents or returns that are sums of that size."""
    return 32 * EPS * float(np.sqrt(facts.depth)) * (1.0 + size)


def raised_most(soup: Soup) -> tuple[int, int, int]:
    """``(t, s, i)``, the i-th allowed token of s: where the soup is farthest from ref (KL),
    and the token that it raises most.

    Equal laws can be looked at anywhere: here what is compared is seldom 0, or a ratio of 1.
    """
    mdp = soup.mdp
    kl = np.where(mdp.reach.states, soup.kl_ref, -1.0)
    t, s = (int(i) for i in np.unravel_index(int(np.argmax(kl)), kl.shape))
    return t, s, int(np.argmax(soup.logits[t, mdp.rows.at(s)[1]]))


def _to_soup(facts: Facts, soup: Soup, unit: float) -> Sides:
    """Largest ``KL(policy ‖ soup)`` over reachable states as an equality with 0.

    The policy's logits are ``Σ λ_k Q_k/unit``. Logits known to η each move a divergence by at most
    ``η(4 + 2 KL)``: its slopes are ``q − p`` and, weighted by p, how far ``log p/q`` is from its mean.
    """
    policy = Policy(facts.mdp, mixture(soup.lam / unit, facts.sol.Q))
    kl = policy.divergence(soup.policy, fine=False)
    most, (t, s) = farthest(kl, np.zeros_like(kl), facts.mdp.reach.states)
    logits = soup.size * facts.size_of_values * (1 / unit + 1 / soup.beta_prime)
    error = rounding_of(facts, logits) * (1.0 + most)
    return Sides(most, 0.0, 1.0, {}, {"t": t, "s": s}, error)


def explicit(facts: Facts, soup: Soup) -> Sides:
    """§4, explicit: ``(1 − Σλ_k) logit_ref + Σ λ_k logit_θk`` of adapters that hold the policies' logits.

    ``logit_θk = logit_ref + Q_k/β`` (that (7) leaves the β out is ss.eq7.logit's slip, and is not
    counted again), so it adds up to ``logit_ref + Σ λ_k Q_k/β``; (7) has ``Σ λ_k Q_k/β'``. The two agree
    for every λ iff β' = β, or no such sum differs between tokens.
    """
    return _to_soup(facts, soup, facts.mdp.beta)


def explicit_repaired(facts: Facts, soup: Soup) -> Sides:
    """The mixture with weights ``λ_k β/β'`` on ``log π_k`` is the soup of (7).

    It is ``log ref + Σ (λ_kβ/β')(Q_k − V_k)/β``, and V_k is the same for all tokens.
    lhs: ``log mixture/ref``, rhs: ``log π~_λ/ref`` (nats), of one token (one_law).
    """
    return one_law(soup, soup.mixed)


def one_law(soup: Soup, mixed: Policy, amplified: float = 1.0) -> Sides:
    """That a policy is the soup: ``log policy/ref`` against ``log π~_λ/ref`` of one token (nats).

    The token where they are farthest apart; where that is rounding, that which the soup raises most.
    amplified: by how much the policy's logits are rounded more than by a few operations.
    """
    facts, mdp, own = soup.facts, soup.mdp, soup.policy
    size = largest(mixed.logits, mdp.reach.nexts) + largest(own.logits, mdp.reach.nexts)
    error = rounding_of(facts, amplified * size)
    apart, shift = mixed.logits - own.logits, mixed.log_partition - own.log_partition
    low, high = extrema(mdp, apart)
    distance = np.maximum(high - shift, shift - low)
    t, s, i = raised_most(soup)
    if not distance.max() <= error:  # NaN too
        t, s = (int(i) for i in np.unravel_index(int(np.argmax(distance)), distance.shape))
        i = int(np.argmax(np.abs(apart[t, mdp.rows.at(s)[1]] - shift[t, s])))
    tokens, nexts, _ = mdp.rows.at(s)
    n, a = nexts[i], tokens[i]
    lhs, rhs = (p.logits[t, n] - p.log_partition[t, s] for p in (mixed, own))
    return Sides(lhs, rhs, 1.0, {}, {"t": t, "s": s, "a": a}, error)


def printed_offsets(facts: Facts) -> Array:
    """``KL(ref‖π_k) − V_k/β`` [K, T, S] in nats: of the printed log-ratio less its log-bound.

    Both are linear in the weights; ``KL(ref‖π_k) = (V_k − E_ref Q_k)/β``.
    """
    means = np.stack([facts.reference.mean(q) for q in facts.sol.Q])
    return printed_bound_offsets(facts.sol.V[:, :-1], means, facts.mdp.beta)


@dataclass(frozen=True, eq=False)
class Sampled:
    """What a rejection sampler draws, compared with a soup.

    apart: total variation between what is accepted and the soup. accepted: chance that a draw of
    ref is. Both [T, S]. error: of either, by rounding.
    """

    apart: Array
    accepted: Array
    error: float

    @classmethod
    def of(cls, facts: Facts, soup: Soup, ratio: Policy, shift: Array) -> Sampled:
        """Accept with probability ``min(1, exp(h + shift))``, h the logits of ``ratio``."""
        apart, accepted = rejection_sampler(soup.policy, ratio, shift)
        size = soup.size * facts.size_of_values * (facts.mdp.beta**-2 + 1 / soup.beta_prime)
        return cls(apart, accepted, rounding_of(facts, size))

    def farthest(self, mdp: TokenMDP) -> tuple[int, int]:
        """``(t, s)`` of the largest total variation."""
        _, (t, s) = farthest(self.apart, np.zeros_like(self.apart), mdp.reach.states)
        return t, s

    def terms(self, mdp: TokenMDP) -> dict[str, float]:
        """How many draws it takes."""
        least = self.accepted.min(where=mdp.reach.states, initial=1.0)
        return {
            "acceptance at start": float(self.accepted[0, mdp.start_context]),
            "least acceptance": float(least),
        }


def implicit(facts: Facts, soup: Soup) -> Sides:
    """§4, implicit: draw a ~ ref, u ~ U[0, M(s)], accept if ``u ≤ Π_k (π_k/ref)^{λ_k/β}``.

    With ``h = Σ (λ_k/β²) Q_k`` the ratio is ``exp(h − Σ (λ_k/β²) V_k)``. The printed bound,
    ``M = exp(−Σ λ_k KL(ref‖π_k)/β) = exp(E_ref h − Σ (λ_k/β²) V_k)``, is the ratio's geometric mean
    under ref. ``P(u ≤ ratio) = min(1, ratio/M)``, so the law is ``∝ ref·min(1, exp(h − E_ref h))``:
    tokens above the mean all get the same factor; and if M were a bound, h would still be the
    exponent of (7) only for β² = β'. lhs: largest total variation to the soup; rhs: 0.
    """
    beta = facts.mdp.beta
    log_ratio = mixture(soup.lam / beta, facts.exponents)
    shift = mixture(soup.lam / beta, facts.once(printed_offsets))
    drawn = Sampled.of(facts, soup, Policy(facts.mdp, log_ratio), shift)
    t, s = drawn.farthest(facts.mdp)
    where = {"t": t, "s": s}
    return Sides(drawn.apart[t, s], 0.0, 1.0, drawn.terms(facts.mdp), where, drawn.error)


def implicit_repaired(facts: Facts, soup: Soup) -> Sides:
    """Rejection sampling with weights ``λ_k β/β'`` and ``M = max_a ratio`` draws from the soup.

    ``Π_k (π_k/ref)^{λ_kβ/β'} = exp(Σ λ_k Q_k/β' − const)``, and with M an upper bound the chance of
    acceptance is ``ratio/M`` itself: the law is ``∝ ref·ratio``, accepted with ``E_ref ratio/M``.
    lhs: how often what is accepted is one of some tokens, rhs: how often the soup's token is, where
    the laws are farthest apart: the tokens drawn too often, so that rhs − lhs is minus the total
    variation. Where that is rounding: the token that the soup raises most.
    """
    mdp, ratio = facts.mdp, soup.mixed
    shift = -extrema(mdp, ratio.logits)[1]
    drawn = Sampled.of(facts, soup, ratio, shift)
    t, s, i = raised_most(soup)
    equal = drawn.apart.max() <= drawn.error
    if not equal:  # NaN too
        t, s = drawn.farthest(mdp)
    tokens, nexts, ref = mdp.rows.at(s)
    chance = np.exp(np.minimum(ratio.logits[t, nexts] + shift[t, s], 0.0))
    accepted = ref * chance / drawn.accepted[t, s]
    law = ref * np.exp(soup.logits[t, nexts] - soup.policy.log_partition[t, s])
    chosen = np.arange(len(ref)) == i if equal else accepted > law
    where = {"t": t, "s": s} | ({"a": int(tokens[i])} if equal else {})
    lhs, rhs = (float(x.sum(where=chosen)) for x in (accepted, law))
    return Sides(lhs, rhs, 1.0, drawn.terms(mdp), where, drawn.error)
