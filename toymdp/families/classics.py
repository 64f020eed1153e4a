"""Small named instances, each built from the reason why a printed statement fails."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..worlds.token_mdp import TokenMDP
from .traps import rare_trap, trap_loop


def lemma1_softmax() -> TokenMDP:
    """Lemma 1 fails though the paper's own parameterisation holds exactly.

    A = 3, L = 1, T = 2, ``ψ(x) = (1, x)``, ``ref(a|x) ∝ exp(x·a)``, ``r(a) = a``, β = 1. At the
    first step ``Q*(x) = x + h(x+1) − h(x)`` with ``h(u) = log(1 + e^u + e^{2u})``; its second
    difference ``h(3) − 3h(2) + 3h(1) − h(0)`` is about −0.2536, and a linear one has 0.
    """
    x = np.arange(3.0)
    return TokenMDP(
        name="lemma1-softmax", vocab_size=3, order=1, horizon=2, start=[0],
        ref_weights=np.exp(np.outer(x, x)), rewards=x[None], beta=1.0, w=np.ones(1),
        features={"kind": "dense", "values": np.stack([np.ones(3), x], axis=1)},
        start_feature=np.array([1.0, 0.0]),
    )  # fmt: skip


def rare_first_token(rarity: int = 16) -> TokenMDP:
    """(10) fails by a factor that grows without bound as the first good token gets rarer.

    A = 3, L = 2, T = 3, two specialists, equal user weights; one-hot features with a scale for
    each step, so that Lemma 1 and Assumption 1 are exact, and every token has positive weight, so
    that the softmax set-up holds too. All good play starts with token 1, of weight ``2^-rarity``
    under ref. After it:

    * token 2 leads to (1,2), where token 0 pays specialist 1 and token 1 pays specialist 2: each
      expects the full payment, the user half of it;
    * token 0 pays both specialists 3/4 of it at once.

    The soup adds what the specialists expect and takes token 2; the user's optimum takes token 0.
    By symmetry λ* has equal weights, so the first term of (10) is 0, and λ* ≥ 0, so is the second.
    The third sees the first step only, weighted by ref: it is of the order of 2^-rarity.
    """
    A, off = 3, 2.0**-200
    S = A * A

    def context(previous: int, last: int) -> int:
        return previous * A + last

    weights = np.full((S, A), off)
    weights[:, 2] = 1.0  # everywhere else play drifts to (·, 2) and earns nothing
    weights[context(2, 2)] = [off, off, 1.0]
    weights[context(0, 0)] = [1.0, 2.0**-rarity, off]
    weights[context(0, 1)] = [0.5, off, 0.5]
    weights[context(1, 2)] = [0.5, 0.5, off]

    rewards = np.zeros((2, S))
    rewards[:, context(0, 1)] = 64.0
    rewards[:, context(1, 0)] = 3.0
    rewards[0, context(2, 0)] = 4.0
    rewards[1, context(2, 1)] = 4.0
    # the features of the first step are 1; later steps may be long, for (10) does not see them
    scale = np.ones((3, S))
    scale[1:] = 1024.0
    scale[0, context(0, 0)] = 2.0**-rarity
    return TokenMDP(
        name="gap-rare-first-token", vocab_size=A, order=2, horizon=3, start=[0, 0],
        ref_weights=weights, rewards=rewards, beta=1.0, w=np.array([0.5, 0.5]),
        features={"kind": "tabular", "per_step": True, "scale": scale},
    )  # fmt: skip


def rare_token() -> TokenMDP:
    """(14) fails for λ < 0 at a single step: the soup flees to a token rare under ref and π_w.

    Two tokens, T = 1, K = 1. Token 1 has weight 2^-20 and reward −32; at λ = −β'/β the soup is
    ``∝ ref·e^{−r}`` and sits on it, while E_ref‖ψ‖ and E_{π_w}‖ψ‖ hardly see its feature.
    """
    return TokenMDP(
        name="kl-rare-token", vocab_size=2, order=1, horizon=1, start=[0],
        ref_weights=np.array([[1.0, 2.0**-20], [1.0, 1.0]]), rewards=np.array([[0.0, -32.0]]),
        beta=1.0, w=np.ones(1),
        features={"kind": "tabular", "per_step": True, "scale": np.array([[2.0**-20, 1.0]])},
    )  # fmt: skip


def one_bad_token() -> TokenMDP:
    """(14) as printed fails for λ < 0 though all features are unit one-hots: 16.6 against 14.1.

    32 tokens alike but one, of reward −20, T = 1, K = 1. At λ = −β'/β the soup sits on it. The means of
    ψ under π_w and under ref are about ``1/√32`` long, however long each feature is.
    """
    return _alike("one-bad-token", -20.0)


def one_good_token() -> TokenMDP:
    """C(s) as (15) has it fails with unit one-hots: ``log E_ref e^r = 16.5`` against ``40/√32``."""
    return _alike("one-good-token", 20.0)


def _alike(name: str, reward: float, A: int = 32) -> TokenMDP:
    """A equally likely tokens, unit one-hots, one step, one specialist: the first token pays."""
    return TokenMDP(
        name=name, vocab_size=A, order=1, horizon=1, start=[0], ref_weights=np.ones((A, A)),
        rewards=reward * np.eye(A)[:1], beta=1.0, w=np.ones(1),
        features={"kind": "tabular", "per_step": True, "scale": 1.0},
    )  # fmt: skip


def _small(name: str, **fields: Any) -> TokenMDP:
    """Two tokens of equal weight, L = 1, T = 1, β = 1, one specialist, one-hot features."""
    plain: dict[str, Any] = {
        "vocab_size": 2, "order": 1, "horizon": 1, "start": [0], "ref_weights": np.ones((2, 2)),
        "beta": 1.0, "w": np.ones(1),
        "features": {"kind": "tabular", "per_step": True, "scale": 1.0},
    }  # fmt: skip
    return TokenMDP(name=name, **{**plain, **fields})


def lemma1_dyadic() -> TokenMDP:
    """``lemma1_softmax`` with 2 for e: ``ref(a|x) ∝ 2^{x·a}`` is a softmax exactly.

    Lemma 1 fails for each step alone, and so does the proof's single exponential: the log of
    ``1 + 2^x + 4^x`` is not linear in ``ψ(x) = (1, x)``.
    """
    x = np.arange(3.0)
    return TokenMDP(
        name="lemma1-dyadic", vocab_size=3, order=1, horizon=2, start=[0],
        ref_weights=2.0 ** np.outer(x, x), rewards=x[None], beta=1.0, w=np.ones(1),
        features={"kind": "dense", "values": np.stack([np.ones(3), x], axis=1)},
        start_feature=np.array([1.0, 0.0]),
    )  # fmt: skip


def two_step_law() -> TokenMDP:
    """(13) fails at L = 2: the law of two tokens carries the log-normaliser of the second.

    ``ref(a|x1, x2) ∝ 2^{(x1+x2)·a}`` is a softmax of ``ψ = (1, x1 + x2)``. After (x1, x2) the
    tokens a, b have ``2^{(x1+x2)·a + (x2+a)·b}`` over ``1 + 2^u + 4^u`` with ``u = x2 + a``, whose
    log is not linear in x2.
    """
    both = np.add.outer(np.arange(3.0), np.arange(3.0)).ravel()
    return TokenMDP(
        name="law-two-steps", vocab_size=3, order=2, horizon=3, start=[0, 0],
        ref_weights=2.0 ** np.outer(both, np.arange(3.0)), rewards=np.zeros((1, 9)), beta=1.0,
        w=np.ones(1),
        features={"kind": "dense", "values": np.stack([np.ones(9), both], axis=1)},
    )  # fmt: skip


def free_last_action() -> TokenMDP:
    """(12) fails even at β = 1: ``V = log((1 + e)/2)`` is neither of the two Q it is made of."""
    return _small("unrolling-free-action", horizon=2, rewards=np.array([[0.0, 1.0]]))


def hot_logits() -> TokenMDP:
    """``logit_ref + Q_k`` is not π_k at β = 2: the logits of a reward of 1 differ by 1/2.

    Nor is §4's implicit mixture the soup at λ = β' = 2: it is clipped at the mean of its log-ratio.
    """
    return _small("logits-beta-two", beta=2.0, rewards=np.array([[0.0, 1.0]]))


def three_on_a_line() -> TokenMDP:
    """ref is the Gaussian kernel of no vectors: three tokens on a line have no common distance.

    ``ψ(s) = 1, 2, 4`` in one dimension and ``ref(a|s) ∝ 2^{ψ(s)·a}``: constants are not linear in
    ψ, so the tokens' vectors would be those of the softmax but for one shift.
    """
    psi = np.array([[1.0], [2.0], [4.0]])
    return TokenMDP(
        name="three-on-a-line", vocab_size=3, order=1, horizon=2, start=[0],
        ref_weights=2.0 ** (psi * np.arange(3.0)), rewards=psi.T, beta=1.0, w=np.ones(1),
        features={"kind": "dense", "values": psi},
    )  # fmt: skip


def long_fit() -> TokenMDP:
    """The basis spans π_w's logits, by a c of ``|c|₁ = 1.96``: no λ of the domain is long enough.

    Two tokens, two steps, features of one place each: two directions of logits, and two specialists
    that have both.
    """
    return TokenMDP(
        name="long-fit", vocab_size=2, order=1, horizon=2, start=[0],
        ref_weights=np.array([[1.0, 7.0], [8.0, 2.0]]), rewards=np.array([[7.0, 6.0], [11.0, 5.0]]),
        beta=1.0, w=np.array([0.5, 0.5]), features={"kind": "tabular", "per_step": True, "scale": 1.0},
    )  # fmt: skip


def signed_uniform() -> TokenMDP:
    """The best soup subtracts a specialist in a plain world: uniform ref, symmetric, r ≥ 0.

    Both like token 2 first; after token 1 tokens 1 and 2 pay one specialist each. With λ ≥ 0 no soup
    earns more than 4.662, at λ = (−.368, .632) it earns 4.98889.
    """
    rewards = np.zeros((2, 9))
    rewards[:, 2] = 7.0
    rewards[0, 4] = rewards[1, 5] = 10.0
    return TokenMDP(
        name="signed-uniform", vocab_size=3, order=2, horizon=2, start=[0, 0],
        ref_weights=np.ones((9, 3)), rewards=rewards, beta=1.0, w=np.array([0.5, 0.5]),
        features={"kind": "tabular", "per_step": True, "scale": 1.0},
    )  # fmt: skip


def redundant_tastes() -> TokenMDP:
    """Breaks nothing: the third taste is the mean of the first two, so no feedback tells some λ apart.

    ``(1/4, 1/4, 0)`` and ``(0, 0, 1/2)`` have one ``Σ λ_k r_k`` and one likelihood, and two soups: the third
    specialist knows that token 1 pays it half either way, each of the first two expects the whole.
    """
    rewards = np.zeros((3, 9))
    rewards[0, 3], rewards[1, 4] = 6.0, 6.0
    rewards[:2, 2] = 2.0
    rewards[2] = rewards[:2].mean(axis=0)
    return TokenMDP(
        name="redundant-tastes", vocab_size=3, order=2, horizon=2, start=[0, 0],
        ref_weights=np.ones((9, 3)), rewards=rewards, beta=1.0, w=np.array([0.5, 0.5, 0.0]),
        features={"kind": "tabular", "per_step": True, "scale": 1.0},
    )  # fmt: skip


def cold_soup() -> TokenMDP:
    """§4's explicit mixture is not the soup at β = 1, β' = 2, λ = 2: it doubles log π_k/ref."""
    return _small("cold-soup", beta_prime=2.0, rewards=np.array([[0.0, 1.0]]))


def two_tastes() -> TokenMDP:
    """A(s) fails at the matched weights: no one policy earns what each specialist gives away.

    Rewards (1, 0) and (0, 1), user and λ at (1/2, 1/2): the left side is 0, the right negative.
    """
    return _small("step-a-two-tastes", rewards=np.eye(2), w=np.array([0.5, 0.5]))


def all_negative() -> TokenMDP:
    """``Σ|λ_k|V_k/|λ|₁ ≥ (β/β')Σ λ_k V_k`` fails for a reward of −1 at half the budget."""
    return _small("nonneg-minus-one", rewards=np.array([[-1.0, -1.0]]))


def rare_good_token() -> TokenMDP:
    """The last step of C(s) fails at λ = β'/2: π_w sits on a token of weight 2^-20 under ref.

    ``E_ref‖ψ‖`` hardly sees it, and the other token's feature is as short.
    """
    return _small(
        "lipschitz-rare-token", ref_weights=np.array([[1.0, 2.0**-20], [1.0, 1.0]]),
        rewards=np.array([[0.0, 32.0]]),
        features={"kind": "tabular", "per_step": True, "scale": np.array([[2.0**-20, 1.0]])},
    )  # fmt: skip


def low_anchor() -> TokenMDP:
    """(17) fails at an anchor of half the largest ratio: ratios of about 0.9 and 1.9, a = 0.95."""
    return _small(
        "delta-low-anchor", ref_weights=np.array([[9.0, 1.0], [1.0, 1.0]]),
        rewards=np.array([[0.0, 0.75]]),
    )  # fmt: skip


# named instances that break no claim, but show something
EXAMPLES = (redundant_tastes,)
CLASSICS = {
    "ss.lemma1": lemma1_softmax,
    "ss.lemma1.per-step": lemma1_dyadic,
    "ss.proof.single-exponential": lemma1_dyadic,
    "ss.eq12": free_last_action,
    "ss.eq13.single-vector": two_step_law,
    "ss.gaussian": three_on_a_line,
    "ss.gaussian.given": three_on_a_line,
    "ss.eq7.logit": hot_logits,
    "ss.thm1.gap": rare_first_token,
    "ss.thm1.kl.any": rare_token,
    "ss.thm1.kl": rare_trap,
    "ss.thm1.kl.norm-of-mean": one_bad_token,
    "ss.proof.kl-step": rare_token,
    "ss.proof.kl-step.norm-of-mean": one_bad_token,
    "ss.proof.C.norm-of-mean": one_good_token,
    "ss.thm1.gap.constant-norm": trap_loop,
    "ss.eq8.simplex": signed_uniform,
    "ss.span.vanishes": long_fit,
    "ss.proof.A": two_tastes,
    "ss.proof.nonneg.without": all_negative,
    "ss.proof.C.lipschitz": rare_good_token,
    "ss.delta.anchor": low_anchor,
    "ss.sec4.explicit": cold_soup,
    "ss.sec4.implicit": hot_logits,
}
