"""The words and symbols of tables, report, README and docs: one table for all of them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Term:
    """One row: the sign or word, what it is called, what it means (with its unit where it has one)."""

    sign: str
    name: str
    says: str


GLOSSARY: tuple[Term, ...] = (
    Term("A, L, T, K", "sizes", "tokens; last tokens that decide; steps of an answer; rewards"),
    Term("s, a", "context, token", "the last L tokens, S = A^L of them; the token that follows"),
    Term(
        "ref", "reference policy",
        "what proposes tokens before anything is learnt; 0 forbids a token",
    ),
    Term(
        "r_k, w", "rewards, user",
        "K rewards on the next context, and the weights in which a user wants them: r_w = Σ "
        "w_k r_k",
    ),
    Term(
        "β, β'", "temperatures",
        "reward units per nat: what a nat of divergence from ref costs; β' is the soup's, and "
        "λ matters only as μ = λ/β'",
    ),
    Term(
        "V*, Q*", "soft values",
        "the most that can be earned from here, less β times the divergence from ref",
    ),
    Term(
        "π_k, π_w", "specialist, bespoke policy",
        "the best policy for r_k alone, and for r_w: π ∝ ref·exp(Q*/β)",
    ),
    Term(
        "π~_λ, λ", "soup, its weights",
        "ref·exp(Σ λ_k Q_k/β') normalised: specialists mixed with weights λ, which may be "
        "negative",
    ),
    Term("|λ|₁", "size, budget", "(7) admits |λ|₁ ≤ β'/β; “budget used” is β|λ|₁/β'"),
    Term(
        "J(λ), λ*", "objective (8), best soup",
        "J(λ) = E_soup Σ r_w − (β'/|λ|₁)·E_soup Σ KL(soup‖ref), sums over the steps of an "
        "answer: what the soup earns for the user, less its divergence from ref, which costs "
        "β'/|λ|₁ ≥ β a nat; J(0) is what ref earns; λ* maximises J",
    ),
    Term(
        "gap", "sub-optimality",
        "V*_w(start) − J(λ) ≥ 0, reward units: what souping loses against bespoke RLHF",
    ),
    Term(
        "ψ, ν", "features, coefficients",
        "Lemma 1 says Q*(s,a) = ψ(s,a)·ν; ν_k, ν_w are the least-norm coefficients of Q_k, "
        "Q_w, and ν_{r_k} those of the reward r_k",
    ),
    Term(
        "Lemma 1", "linearity",
        "if rewards are linear in ψ and ref is a softmax of ψ, so is Q*: false in general",
    ),
    Term(
        "(9)", "Theorem 1, KL bound",
        "KL(π_w‖π~_λ*) ≤ (E_π_w‖ψ‖ + E_ref‖ψ‖)·‖ν_w/β − Σ λ*_k ν_k/β'‖: mean feature norms of "
        "the first token times the size of the logit error",
    ),
    Term(
        "(10)", "Theorem 1, gap bound",
        "gap(λ*) ≤ E_π̲[Σ‖ψ‖]·‖Σ ν_{r_k}(w_k − |λ*_k|/|λ*|₁)‖ + (β²/β') Σ Δ_k max(0, −λ*_k) + "
        "E_ref‖ψ‖·‖ν_w − (β/β') Σ λ*_k ν_k‖: reward term, penalty, logit term; π̲ is the policy "
        "for which E Σ_t Σ_k |λ*_k|(r_w − r_k) is least",
    ),
    Term(
        "e", "logit error",
        "Q_w/β − Σ λ_k Q_k/β' over tokens, nats; 0 up to a constant where the soup is π_w",
    ),
    Term(
        "Δ_k, D₂", "penalty (18), Rényi divergence",
        "what a negative weight of specialist k costs, nats: Δ_k = log((m + M − 1)/(mM)), m and "
        "M the least and largest π_k/ref over the allowed tokens of a context; the most that "
        "D₂(ref‖π_k) = log E_ref[ref/π_k] can be for such ratios, whose mean is 1",
    ),
    Term("KL(p‖q)", "divergence", "E_p log p/q, nats"),
    Term("instance", "a world", "one file of one format: everything that the numbers depend on"),
    Term(
        "claim", "numbered statement",
        "two sides, = or ≤, and the hypotheses under which they are compared",
    ),
    Term(
        "status", "of a claim",
        "a fact of mathematics: proved, refuted (some instance breaks it), open; hypothesis "
        "and set-up are conditions",
    ),
    Term(
        "verdict", "on an instance",
        "holds, violated, not-applicable (a hypothesis is false), undecided (inside the error "
        "radius, or not computable)",
    ),
    Term(
        "lhs, rhs", "sides",
        "left and right side; slack = rhs − lhs, ratio = lhs/rhs: 1 is tight, above 1 "
        "violated",
    ),
    Term("Δ 1e-13", "distance of an equality", "|lhs − rhs|: of a true one, rounding"),
    Term(
        "error", "error radius",
        "how far rounding may have moved the slack, by a second solution that shares no "
        "recursion",
    ),
    Term(
        "evidence", "of λ*",
        "multistart: the best of many climbs; grid; certified: proved by branch and bound",
    ),
    Term(
        "witness", "counterexample",
        "an instance that meets every hypothesis of a claim and breaks it",
    ),
    Term(
        "certificate", "proof of a witness",
        "both sides enclosed in ball arithmetic by code that shares nothing with the solvers",
    ),
)  # fmt: skip
