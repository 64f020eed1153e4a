"""Spectral souping, implicit: tokens of ref, accepted or rejected (§4)."""

from __future__ import annotations

import numpy as np

from ..arrays import Array, IntArray
from ..exact.sampling import printed_bound_offsets
from ..exact.tables import on_triples
from ..learning.feedback import Feedback
from ..worlds.token_mdp import TokenMDP
from .explicit import Mean, into_budget, weights_of
from .method import Bases, Domain, Facts, Fitted


def _learnt(
    domain: Domain, bases: Bases, feedback: Feedback, mean: Mean, budget: bool
) -> tuple[Array, dict[str, float]]:
    _, chosen = weights_of(domain, bases, feedback, mean)
    hyper = {"ridge": chosen.ridge, "s": chosen.precision**-0.5}
    return into_budget(chosen.mean) if budget else chosen.mean, hyper


def accepted(mdp: TokenMDP, log_chance: Array) -> tuple[Array, Array]:
    """What is kept of draws from ref, a token at a time: its law [T, S, A] and the chance [T, S].

    log_chance: [T, S, A] logarithm of the chance that a token is accepted, ≤ 0 where ref allows it.
    """
    kept = mdp.ref * np.exp(np.minimum(log_chance, 0.0))
    rate = kept.sum(axis=-1)
    return kept / np.where(rate > 0, rate, 1.0)[..., None], rate


def repaired_log_chance(mdp: TokenMDP, ratio: Array) -> Array:
    """``log (ratio/M)`` [T, S, A] with ``M = max_a ratio`` over allowed tokens; ratio in logs, nats."""
    live = mdp.ref > 0
    most = np.where(live, ratio, -np.inf).max(axis=-1, keepdims=True)
    return np.where(live, ratio - np.where(np.isfinite(most), most, 0.0), 0.0)


def fit(
    domain: Domain, bases: Bases, feedback: Feedback, seed: int, *,
    mean: Mean = "m=0", budget: bool = False,
) -> Fitted:  # fmt: skip
    """Rejection under a true bound: the law of the explicit soup, and what it costs to draw from.

    acceptance "token": mean over the train prompts and the soup's own states; "answer": of whole
    answers of ref under ``M = max_y π(y)/ref(y)``, over the train prompts.
    """
    lam, hyper = _learnt(domain, bases, feedback, mean, budget)
    logits, token, answer = [], 0.0, 0.0
    for w, (mdp, G) in enumerate(zip(domain.worlds, bases.mixed(lam), strict=True)):
        chance = repaired_log_chance(mdp, on_triples(G, mdp.vocab_size))
        law, rate = accepted(mdp, chance)
        logits.append(chance)
        starts = domain.starts(w)
        token += _mean_over_states(law, rate, starts)
        answer += float(starts @ _whole_answers(mdp, law))
    rates = {"token": token / domain.mdp.steps, "answer": answer}
    facts = Facts(lam, True, hyper, rates, evaluations=bases.n + 1)
    return Fitted(tuple(logits), facts)


def printed(
    domain: Domain, bases: Bases, feedback: Feedback, seed: int, *,
    mean: Mean = "m=0", budget: bool = False,
) -> Fitted:  # fmt: skip
    """§4 as printed: the law ``ref·min(1, e^{h − E_ref h})``, ``h = Σ λ_k Q_k/β²`` (ss.sec4.implicit).

    M is the geometric mean of the ratio, no upper bound, and λ_k/β stands on ``log π_k/ref``.
    """
    lam, hyper = _learnt(domain, bases, feedback, mean, budget)
    logits, token = [], 0.0
    for w, mdp in enumerate(domain.worlds):
        ratio = np.tensordot(lam / domain.beta, bases.Q[w] / domain.beta, axes=1)
        shift = np.tensordot(lam / domain.beta, _offsets(mdp, bases, w), axes=1)
        exponent = on_triples(ratio, mdp.vocab_size) + shift[..., None]
        chance = np.where(mdp.ref > 0, np.minimum(exponent, 0.0), 0.0)
        law, rate = accepted(mdp, chance)
        token += _mean_over_states(law, rate, domain.starts(w))
        logits.append(chance)
    facts = Facts(lam, False, hyper, {"token": token / domain.mdp.steps}, evaluations=bases.n + 1)
    return Fitted(tuple(logits), facts, scalable=False)


def _offsets(mdp: TokenMDP, bases: Bases, w: int) -> Array:
    means = np.einsum("sa,ktsa->kts", mdp.ref, on_triples(bases.Q[w], mdp.vocab_size))
    return printed_bound_offsets(bases.V[w], means, mdp.beta)


def _mean_over_states(law: Array, f: Array, starts: Array) -> float:
    """``E Σ_t f(t, s_t)`` of f [T, S] under a table, from weighted starts [S]."""
    S, A = law.shape[1:]
    d, total = starts, 0.0
    for t in range(len(law)):
        total += float(d @ f[t])
        d = (d[:, None] * law[t]).reshape(A, S // A, A).sum(axis=0).ravel()
    return total


def _whole_answers(mdp: TokenMDP, law: Array) -> Array:
    """[S]: ``min_y ref(y)/π(y)`` from each start: the chance that an answer of ref is accepted."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(law > 0, np.log(law) - np.log(mdp.ref), -np.inf)
    most = np.zeros(mdp.n_contexts)
    for t in range(len(law) - 1, -1, -1):
        ahead = (ratio[t] + on_triples(most, mdp.vocab_size)).max(axis=-1)
        most = np.where(np.isfinite(ahead), ahead, 0.0)
    return np.asarray(np.exp(-most))


def draw(
    mdp: TokenMDP, log_chance: Array, t: int, s: int, n: int, seed: int
) -> tuple[IntArray, int]:
    """n tokens by the sampler itself at state (t, s), and how many draws of ref they took."""
    rng = np.random.default_rng(seed)
    kept: list[int] = []
    trials = 0
    while len(kept) < n:
        tokens = rng.choice(mdp.vocab_size, size=n, p=mdp.ref[s])
        ok = np.log(rng.random(n)) <= log_chance[t, s, tokens]
        ends = np.flatnonzero(ok)[: n - len(kept)]
        trials += n if len(ends) + len(kept) < n else int(ends[-1]) + 1
        kept += tokens[ends].tolist()
    return np.array(kept), trials
