"""What the signs in a claim's formula are: each page explains those that stand in its own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch

from bounds.claim import Claim


@dataclass(frozen=True)
class Symbol:
    """A sign, what it means, the LaTeX by which it is known, and the claims that mean it so."""

    sign: str
    says: str
    latex: str
    claims: str = "ss.*"


_E = "logit error Q_w/β − Σ λ_k Q_k/β', over allowed tokens, nats"
SYMBOLS = (
    Symbol(
        "V_w, V_k",
        "soft value at the start of the best policy for r_w = Σ w_k r_k, for r_k",
        r"\bV_[wk]",
    ),
    Symbol(
        "J(λ)",
        "objective (8): E_soup Σ r_w − (β'/|λ|₁) E_soup Σ KL(soup‖ref), sums over the steps; J(0)"
        " is what ref earns",
        r"\bJ\(",
    ),
    Symbol("λ*", "the λ of largest J among those with |λ|₁ ≤ β'/β", r"\\lambda\^\*"),
    Symbol("π~_λ", "the soup, ref·exp(Σ λ_k Q_k/β') normalised", r"\\tilde\\pi"),
    Symbol(
        "π̲",
        "of all policies the one for which E_π Σ_t Σ_k |λ_k|(r_w − r_k) is least; it is the same "
        "for every k",
        r"\\underline\\pi",
    ),
    Symbol(
        "E_π[Σ_t ‖ψ‖]",
        "expected sum of feature norms along an answer of π, from the start",
        r"\\sum_t\\\|\\psi\\\|\]",
    ),
    Symbol(
        "E_π‖ψ‖",
        "expected norm of ψ(s, a) over the next token a alone, a from π(·|s); in (9) and (10) s "
        "is the start",
        r"E_\{[^}]*\}+\\\|\\psi\\\|",
    ),
    Symbol("‖E_π ψ‖", "norm of the expected feature over the next token", r"\\\|E_\{[^|]*\\psi"),
    Symbol(
        "ν_{r_k}, ν_{r_w}, ν_r",
        "coefficients of a reward: r_k(s, a) = ψ(s, a)·ν_{r_k}; of several the shortest",
        r"\\nu_(?:r\b|\{r_)",
    ),
    Symbol(
        "ν_k, ν_w",
        "coefficients of a soft value: Q_k(s, a) = ψ(s, a)·ν_k at every step and context that the "
        "start leads to; of several the shortest (see: what a verdict does not say)",
        r"\\nu_[kw]",
    ),
    Symbol(
        "ν_ref(a)",
        "coefficients of the reference policy's logits: ref(a|s) ∝ exp(ψ(s)·ν_ref(a))",
        r"\\nu_\{ref\}",
    ),
    Symbol(
        "Δ_k",
        "log((m + M − 1)/(mM)), nats: m and M are the least and the largest π_k(a|s)/ref(a|s) "
        "over the allowed tokens a; in (10) s is the start",
        r"\\Delta_k",
    ),
    Symbol(
        "x",
        "the ratio π_k(a|s)/ref(a|s) over tokens a from ref(·|s), of mean 1; the paper writes "
        "exp(Q_k/β), from which it differs by a factor that cancels in E[1/x]·E[x]",
        r"1/x\]",
    ),
    Symbol(
        "M̲, M̄",
        "least and largest ratio π_k(a|s)/ref(a|s) over the allowed tokens a",
        r"line M|bar M",
    ),
    Symbol(
        "a",
        "an anchor: any number with |x − a| ≤ a, or at least the middle of M̲ and M̄",
        r"2a-1",
    ),
    Symbol("e", _E, r"\(e\)|\be = |\[e\]|\}e -"),
    Symbol(
        "b, v",
        f"with e the {_E}: its largest value less its mean under the soup, and its variance under "
        "the soup",
        r"b\^2",
    ),
    Symbol(
        "x, y",
        f"with e the {_E}: its mean under the soup less its least value, its largest value less "
        "that mean",
        r"x e\^y",
    ),
    Symbol("n", "norm of the coefficients of the logit error", r"\bn = "),
    Symbol("diam", "largest distance ‖ψ(s, a) − ψ(s, b)‖ between two allowed tokens", r"diam"),
    Symbol("span_a", "largest less least value over the allowed tokens a", r"span\}_a"),
    Symbol(
        "span(r)",
        "largest less least value over the reachable contexts",
        r"span\}\(", "ss.lemma1.first-order",
    ),
    Symbol(
        "D",
        "disagreement Σ w_k V_k − V_w ≥ 0, at the context that follows",
        r"\bD(?:_|\b)", "ss.thm1.*",
    ),
    Symbol("P_w, P_k", "laws of whole continuations under π_w, π_k", r"P_w\\\|P_k"),
    Symbol("δ", "largest span over tokens of a learnt Q̂_k less the true Q_k", r"\\delta/\\beta"),
    Symbol("X_k", "sum of r_w − r_k along an answer", r"\bX_k"),
    Symbol("X", "Σ λ_k Q_k/β' over the next token", r"e\^X|pX", "ss.proof.C*"),
    Symbol("U", "return under ref of what follows", r"\bU_"),
    Symbol(
        "Π_y",
        "ref as a matrix, for the last L − 1 tokens y: a row for each oldest token, a column for "
        "each next one",
        r"\\Pi_y",
    ),
    Symbol(
        "φ_ω",
        "random Fourier features of ψ at the frequency ω, which is Gaussian",
        r"phi_\\omega",
    ),
    Symbol("c", "the norm that every ψ has", r"Tcn"),
    Symbol(
        "c",
        "weights of log π_k/ref that add up to log π_w/ref but for a constant, in units of β'/β",
        r"\|c\|_1",
    ),
    Symbol("‖·‖", "Euclidean norm", r"\\\|\\nu|\\\|\\sum|\\\|\\psi", "ss.*"),
)  # fmt: skip


def explained(claim: Claim) -> Iterator[tuple[str, str]]:
    """The signs of the claim's formula with their meanings."""
    for symbol in SYMBOLS:
        if fnmatch(claim.id, symbol.claims) and re.search(symbol.latex, claim.statement):
            yield symbol.sign, symbol.says
