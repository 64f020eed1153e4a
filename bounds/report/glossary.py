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
    Term(
        "k, t, s", "counting",
        "rewards are Q_1 … Q_K in reasons, hypotheses and figures, as in the papers; in files, and where "
        "a place is given (k = 0, t = 0, s = 0), all counts begin at 0",
    ),
    Term(
        "psi, nu, lambda, lam", "spellings",
        "how ψ, ν and λ are written in code, and wherever an encoding has no Greek letters",
    ),
    Term(
        "λ = draw 3, one-hot 0, w", "names of λ",
        "a claim about every λ is tried on λ* (the best), the user's weights (β'/β)w, each "
        "specialist alone (one-hot, counted from 0) and signed draws (draw); “given”: by --lambda",
    ),
    Term(
        "starts, spread, won by", "how λ* was found",
        "climbs, how far their best values of J lie apart, and the start that the best came "
        "from: grid, user weights, zero (λ = 0), a one-hot",
    ),
    Term(
        "KKT residual", "optimality",
        "how far λ* is from meeting the first-order conditions of a maximum of J within the "
        "budget; “stationary”: it meets them, “zero”: λ* = 0 is best, “inaccurate”: it does not",
    ),
    Term(
        "A(s), B(s), C(s), X_k", "parts of the proof of (10)",
        "A(s): one policy is worst for all Σ_t (r_w − r_k) = X_k at once; B(s): a negative weight "
        "costs at most Δ_k; C(s): log-partitions of the soup and of π_w, compared by features",
    ),
    Term(
        "T c n", "size of (10)'s logit error",
        "steps × feature norm c × n = ‖ν_w/β − Σ λ_k ν_k/β'‖: up to 2, with full budget, (10) is true",
    ),
    Term("identity", "ladder: ss.thm1.gap.identity", "the gap as E_soup Σ_t β KL(soup‖π_w) + X"),
    Term(
        "X", "rest of the budget",
        "(β'/|λ|₁ − β) E_soup Σ KL(soup‖ref) ≥ 0: 0 where the budget is used up",
    ),
    Term(
        "Bennett", "ladder: ss.thm1.gap.bennett",
        "the most that KL(soup‖π_w) can be for mean, variance and maximum of e (“two-point cumulant”), + X",
    ),
    Term("chord", "ladder: ss.thm1.gap.chord", "the same for mean, least and largest e, + X"),
    Term("span", "ladder: ss.thm1.gap.sharp", "β E_soup Σ_t (max e − min e)²/8 + X"),
    Term(
        "mean shift", "ladder: ss.thm1.gap.mean-shift",
        "β E_soup Σ_t (E_π_w e − E_soup e) + X; “feature shift” (ss.thm1.gap.mean-shift-features) "
        "by the distance of the mean features",
    ),
    Term(
        "features", "ladder: ss.thm1.gap.sharp-features",
        "span through the diameter of the features, or their mean norms, whichever is less, + X",
    ),
    Term(
        "minimal repair", "ladder: ss.thm1.gap.minimal",
        "(10) with the two broken steps of its proof mended and nothing else",
    ),
    Term(
        "printed (10)", "ladder: ss.thm1.gap",
        "“any features ≥”: no invertible change of features takes it below; “best one-hot scale”: "
        "its value at the best lengths of one-hot features (a geometric program)",
    ),
    Term(
        "saved by", "remedy of a step",
        "the hypothesis under which the step is a theorem: features-independent (one-hots of "
        "each step are), features-constant-norm (all ‖ψ‖ equal), rewards-nonnegative",
    ),
)  # fmt: skip
