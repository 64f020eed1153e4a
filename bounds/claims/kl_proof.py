"""The two steps of the proof of (9) and (14), each a claim that can be judged alone.

``KL(π_w‖π~_λ) = E_{π_w}[e] + (log E_ref e^X − log E_ref e^Y)`` with ``Y = Q_w/β``, ``X = Σ λ_k Q_k/β'``,
``e = Y − X``: the proof bounds the two apart, by the features' means under π_w and under ref.
"""

from __future__ import annotations

from toymdp.exact.moments import norm_of_mean

from ..claim import Claim
from ..facts.soup import Soup
from ..facts.token_mdp import Facts
from ..sides import Array, Sides, worst
from .hypotheses import LINEAR_REWARDS, LINEAR_VALUES, SOFTMAX_REFERENCE
from .kl import reference_mean_norm


def _kl_step(facts: Facts, soup: Soup, norms: Array) -> Sides:
    """The other sign, in nats: ``log E_ref e^X − log E_ref e^Y ≤ norms·n``, X the soup's logits."""
    beta_prime = soup.beta_prime
    lhs, error = -soup.partition_drop / facts.mdp.beta, norms * soup.logit_norm_error / beta_prime
    rhs = norms * soup.logit_norm / beta_prime
    return worst(lhs, rhs, facts.judged, facts.size_of_divergences, ("t", "s"), error)


def kl_mean_step(facts: Facts, soup: Soup) -> Sides:
    """First step of (14): ``E_{π_w}[Q_w/β − Σ λ_k Q_k/β'] ≤ ‖E_{π_w} ψ‖·n``.

    ``n = ‖ν_w/β − Σ λ_k ν_k/β'‖``. Proof: the left side is ``(E_{π_w} ψ)·(ν_w/β − Σ λ_k ν_k/β')``;
    Cauchy–Schwarz.
    """
    norms = norm_of_mean(facts.bespoke)
    lhs, rhs = facts.bespoke.mean(soup.logit_error), norms * soup.logit_norm / soup.beta_prime
    error = norms * soup.logit_norm_error / soup.beta_prime
    return worst(lhs, rhs, facts.judged, facts.size_of_divergences, ("t", "s"), error)


def kl_step(facts: Facts, soup: Soup) -> Sides:
    """Second step of (14), with the sign that (9) needs and C(s) does not.

    ``log E_ref e^{Σ λ_k Q_k/β'} − log E_ref e^{Q_w/β} ≤ E_ref‖ψ‖·‖ν_w/β − Σ λ_k ν_k/β'‖``, every λ.
    ``KL(π_w‖π~_λ)`` is ss.proof.kl-mean's left side plus this one's: wherever (9) fails, this fails.
    False where the soup sits on a token that is rare under ref (``kl-rare-token``).
    """
    return _kl_step(facts, soup, facts.reference_norm)


def kl_step_norm_of_mean(facts: Facts, soup: Soup) -> Sides:
    """The same with ``‖E_ref |ψ|‖``, as (14) is printed: false even where ‖ψ‖ is constant."""
    return _kl_step(facts, soup, facts.once(reference_mean_norm))


def kl_step_repaired(facts: Facts, soup: Soup) -> Sides:
    """The same with ``‖E_{π~_λ} ψ‖``, at every reachable state and every λ.

    Proof: ``log E_ref e^X − log E_ref e^Y ≤ E_{tilt by X}[X − Y]`` by convexity; the tilt by the soup's
    logits is the soup. Then Cauchy–Schwarz on the mean, which is no longer than ``E_{π~_λ}‖ψ‖``.
    """
    return _kl_step(facts, soup, norm_of_mean(soup.policy))


_N = r"\|\nu_w/\beta - \textstyle\sum_k\lambda_k\nu_k/\beta'\|"
_E = r",\ e = Q_w/\beta - \textstyle\sum_k\lambda_kQ_k/\beta'"
_DROP = r"\log E_{ref}e^{\sum_k\lambda_kQ_k/\beta'} - \log E_{ref}e^{Q_w/\beta} \le "

TABLE = (
    Claim(
        "ss.proof.kl-mean", "SS (14)", r"E_{\pi_w}[e] \le \|E_{\pi_w}\psi\|\," + _N + _E,
        "proved", "inequality", "every", kl_mean_step, "Cauchy–Schwarz",
        hypotheses=(LINEAR_VALUES,), reported=(SOFTMAX_REFERENCE,), zero=True,
        title="proof of (14): the mean logit error",
    ),
    Claim(
        "ss.proof.kl-step", "SS (14)", _DROP + r"E_{ref}\|\psi\|\," + _N,
        "refuted", "inequality", "every", kl_step,
        "log E exp is Lipschitz in the sup norm, not in L¹(ref)",
        hypotheses=(LINEAR_REWARDS, LINEAR_VALUES), reported=(SOFTMAX_REFERENCE,), zero=True,
        true_when="E_{π~}‖ψ‖ ≤ E_ref‖ψ‖ at the state, as where ‖ψ‖ is constant",
        true_by=("ss.proof.kl-step.repaired",),
        title="proof of (14): the normalisers",
    ),
    Claim(
        "ss.proof.kl-step.norm-of-mean", "SS (14)", _DROP + r"\|E_{ref}|\psi|\,\|\," + _N,
        "refuted", "inequality", "every", kl_step_norm_of_mean,
        "a mean of many directions is short; even where ‖ψ‖ is constant",
        hypotheses=(LINEAR_REWARDS, LINEAR_VALUES), reported=(SOFTMAX_REFERENCE,), zero=True,
        true_when="‖E_{π~} ψ‖ ≤ ‖E_ref |ψ|‖ at the state",
        true_by=("ss.proof.kl-step.repaired",),
        title="proof of (14): the normalisers, by norms of means",
    ),
    Claim(
        "ss.proof.kl-step.repaired", "ours", _DROP + r"\|E_{\tilde\pi_\lambda}\psi\|\," + _N,
        "proved", "inequality", "every", kl_step_repaired,
        "convexity: the tilt by the soup's logits is the soup",
        hypotheses=(LINEAR_VALUES,), reported=(SOFTMAX_REFERENCE,), zero=True,
        title="proof of (14): the normalisers, mended",
    ),
)  # fmt: skip
