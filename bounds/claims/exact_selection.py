"""EXACT, sections 3 to 5.1: the tilted optimum, the margin objective, and greedy selection.

F is the set function (12); ``Δ(L|S) = F(S ∪ L) − F(S)``; sets are bit masks.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy  # whose parts are imported when they are first asked for

from toymdp.worlds.attribute_set import FORMAT

from ..claim import Claim, Hypothesis, SidesFunction, Status
from ..facts.attribute_set import AttributeFacts
from ..facts.set_functions import ratio_of, rounding
from ..sides import EPS, Array, Kind, NotApplicable, Sides, Undecidable
from .hypotheses_small_worlds import (
    ATTRIBUTES_TILT,
    F_MONOTONE,
    F_NORMALISED,
    F_WEAKLY_SUBMODULAR,
    PAIRS_SEVERAL,
)

NEWTON_STEPS = 1000
SHRINK = 0.9  # a damped step may take at most this share of any probability


# -- the tilted optimum ----------------------------------------------------------------------


def tilted_optimum(base: Array, reward: Array, beta: float) -> tuple[Array, Array]:
    """(21), (22): ``log π_r`` [P, Y] and ``log Z`` [P] for a base policy and a reward [P, Y]."""
    with np.errstate(divide="ignore"):
        logits = np.log(base) + reward / beta
    log_z = np.asarray(scipy.special.logsumexp(logits, axis=1))
    return np.asarray(logits - log_z[:, None]), log_z


def newton_optimum(base: Array, reward: Array, beta: float) -> Array:
    """The maximiser [Y] of (20) for one prompt, by Newton's method on the simplex itself.

    On the support of base the Hessian is ``−β diag(1/p)``, so the constrained step is
    ``p(g − p·g)/β`` with gradient ``g = r − β log(p/base)`` up to a constant; damped while it
    would leave the simplex. It does not use the closed form.

    Raises Undecidable if it has not converged.
    """
    live = base > 0
    start, r = base[live], reward[live]
    p = start.copy()
    for _ in range(NEWTON_STEPS):
        if not (p / start).min() > 0.0:
            raise Undecidable("a probability of the optimum is below any double")
        gradient = r / beta - np.log(p / start)
        step = gradient - p @ gradient
        largest_drop = float(-step.min())
        p = p * (1.0 + min(1.0, SHRINK / largest_drop if largest_drop > 0 else 1.0) * step)
        p /= p.sum()
        if float(np.abs(step).max()) <= 64 * EPS * (1.0 + float(np.abs(gradient).max())):
            optimum = np.zeros_like(base)
            optimum[live] = p
            return optimum
    raise Undecidable(f"Newton's method is not at rest after {NEWTON_STEPS} steps")


def closed_form(facts: AttributeFacts) -> Sides:
    """Proposition A.1 with (5), (6): ``π_r ∝ base·exp(r/β)`` is the unique maximiser of (20).

    Proof. For every p, ``β log Z − [E_p r − β KL(p‖base)] = β KL(p‖π_r)``, which is 0 at π_r only.
    (5) is the logarithm of (21); in (6) the term ``β log Z(x)`` cancels.

    lhs from the closed form, rhs from a numerical maximiser: the optimal value ``β log Z``, every
    probability, the reward of (5) and the preference chances of (6), whichever differ most.
    """
    base, reward, beta = facts.base, facts.read("reward"), facts.instance.beta
    logs, log_z = tilted_optimum(base, reward, beta)
    live = base > 0
    compared: list[Sides] = []
    for x in range(len(base)):
        support = live[x]
        p = newton_optimum(base[x], reward[x], beta)[support]
        b, r = base[x][support], reward[x][support]
        gains = np.log(p / b)
        size = float(np.abs(r).max()) + beta * (1.0 + float(np.abs(np.log(b)).max()))
        value = float(p @ r - beta * (p @ gains))
        compared.append(Sides(beta * float(log_z[x]), value, size, where={"x": x}))
        compared += _each(np.exp(logs[x][support]), p, 1.0, x)
        compared += _each(beta * gains + beta * log_z[x], r, size, x)
        difference = beta * (gains[:, None] - gains[None, :])
        compared += _each(_chance(difference), _chance(r[:, None] - r[None, :]), 1.0 + size, x)
    return max(compared, key=lambda sides: abs(sides.slack) / sides.scale)


def _chance(difference: Array) -> Array:
    return np.asarray(1.0 / (1.0 + np.exp(-difference)))


def _each(lhs: Array, rhs: Array, size: float, x: int) -> list[Sides]:
    pairs = zip(lhs.ravel(), rhs.ravel(), strict=True)
    return [
        Sides(float(u), float(v), size, where={"x": x, "y": y}) for y, (u, v) in enumerate(pairs)
    ]


# -- the margin as objective ------------------------------------------------------------------


def log_likelihoods(margins: Array, beta: float) -> Array:
    """``log p*(y_w ≻ y_l)`` of (10) for margins of any shape: ``log σ(β·margin)``."""
    return np.asarray(-np.logaddexp(0.0, -beta * margins))


def one_pair(facts: AttributeFacts) -> Sides:
    """(10), (11): for one pair, the attribute set of largest margin has the largest likelihood.

    Proof. The likelihood is ``σ(β·margin(A) − const)`` and σ is increasing. The printed ∝ is not
    proportionality: it means the same order. lhs: log-likelihood at the best margin, rhs: the
    best log-likelihood over all 2**n sets; the pair where they are most apart.
    """
    margins = facts.margins
    likelihoods = log_likelihoods(margins, facts.instance.beta)
    chosen = likelihoods[np.arange(len(margins)), margins.argmax(axis=1)]
    best = likelihoods.max(axis=1)
    n = int(np.argmax(best - chosen))
    return Sides(float(chosen[n]), float(best[n]), 1.0, where={"pair": n})


def several_pairs(facts: AttributeFacts) -> Sides:
    """(10)–(13) for a data set: the maximiser of the mean margin F maximises the likelihood.

    False: ``Σ log σ(z_n)`` is concave and bounded above, the mean of z_n is neither; one pair
    of large margin outweighs the others. Margins (10, −1) and (2, 2) at k = 1: F says 4.5 > 2, the mean
    log-likelihood −0.657 < −0.127. lhs: mean log-likelihood at a maximiser of F over |A| ≤ k
    (the best of them, where several tie), rhs: the largest over |A| ≤ k.
    """
    small = _sizes(facts) <= facts.instance.budget
    F = np.where(small, facts.F, -np.inf)
    likelihoods = log_likelihoods(facts.margins, facts.instance.beta).mean(axis=0)
    tied = F.max() - rounding(facts) <= F
    lhs, rhs = float(likelihoods[tied].max()), float(likelihoods[small].max())
    return Sides(lhs, rhs, 1.0 + abs(rhs), {"F at its maximiser": float(F.max())})


# -- greedy selection -------------------------------------------------------------------------


@dataclass(frozen=True)
class Greedy:
    """Values F(S_k) that greedy selection may end with: least and largest over ties."""

    least: float
    largest: float


def _sizes(facts: AttributeFacts) -> Array:
    return np.array([mask.bit_count() for mask in range(len(facts.F))], dtype=np.float64)


def greedy(F: Array, k: int, tie: float, *, filtered: bool) -> Greedy:
    """(30) from the empty set; ``filtered`` adds B.1.2's rule: only gains above 0 are taken.

    (30) leaves the choice among ties open; every choice within ``tie`` is followed.
    """
    n = len(F).bit_length() - 1
    ends: set[int] = set()
    sets = {0}
    for _ in range(k):
        grown: set[int] = set()
        for S in sets:
            gains = {a: F[S | 1 << a] - F[S] for a in range(n) if not S >> a & 1}
            top = max(gains.values())
            if filtered and top <= tie:
                ends.add(S)
            if not filtered or top > -tie:
                grown |= {S | 1 << a for a, gain in gains.items() if gain >= top - tie}
        sets = grown
    values = [float(F[S]) for S in sets | ends]
    return Greedy(min(values), max(values))


def guarantee(gamma: float) -> float:
    """The factor of (14)."""
    return float(-np.expm1(-gamma))


def _greedy_sides(facts: AttributeFacts, *, filtered: bool) -> Sides:
    gamma, k = facts.once(ratio_of), facts.instance.budget
    if gamma is None:
        raise NotApplicable("F is constant: γ is the infimum of nothing, and 0 ≥ 0")
    optimum = float(facts.F[_sizes(facts) <= k].max())
    if optimum <= rounding(facts):
        raise NotApplicable(f"no set of at most {k} attributes beats the empty one: 0 ≥ 0")
    ends = greedy(facts.F, k, rounding(facts), filtered=filtered)
    # the theorem speaks of every run of greedy; a refutation must not depend on a tie
    reached = ends.largest if filtered else ends.least
    terms = {"gamma": gamma, "F(S*)": optimum, "F(S_k)": reached}
    return Sides(guarantee(gamma) * optimum, reached, facts.size, terms)


def theorem(facts: AttributeFacts) -> Sides:
    """(14): ``F(S_k) ≥ (1 − e^{−γ}) F(S*)`` for F normalised, monotone, with ratio γ.

    Proof, for L = S* minus S_t: ``k max_a Δ(a|S_t) ≥ Σ_L Δ(a|S_t) ≥ γ Δ(L|S_t)
    ≥ γ (F(S*) − F(S_t))``; the first step uses gains ≥ 0 and |L| ≤ k, the last that F is monotone.
    The shortfall shrinks by 1 − γ/k in each of k steps, and ``(1 − γ/k)^k ≤ e^{−γ}``. γ ≤ 1, as
    single attributes have ratio 1. rhs is the least F(S_k) over ties.
    """
    return _greedy_sides(facts, filtered=False)


def theorem_filtered(facts: AttributeFacts) -> Sides:
    """B.1.2: (14) for greedy that takes positive gains only, F normalised with γ > 0, any shape.

    False: the filter keeps the chosen sequence from falling, but (33) needs F(S_t ∪ S*) ≥ F(S*),
    that is, that what was chosen does not spoil the optimum. ``filter-synergy``: γ = 0.18, a is
    best alone, b and c together 10: 1 < 1.647. Nor is synergy needed: ``filter-submodular`` is
    exactly submodular, γ = 1, and 1.0625 < 1.2642; there Σ_L Δ(a|S) ≥ γΔ(L|S) also holds where
    Δ(L|S) < 0, so that no other reading of (29) saves it. rhs is the largest F(S_k) over ties.
    """
    return _greedy_sides(facts, filtered=True)


# -- the table --------------------------------------------------------------------------------


def _claim(
    id: str, source: str, statement: str, status: Status, kind: Kind, sides: SidesFunction, reason: str,
    gates: Iterable[Hypothesis], **more: Any,
) -> Claim:  # fmt: skip
    return Claim(
        id, source, statement, status, kind, "instance", sides, reason, tuple(gates), world=FORMAT,
        **more,
    )  # fmt: skip


_GREEDY = r"F(S_k) \ge (1 - e^{-\gamma})\,F(S^*)"

TABLE: tuple[Claim, ...] = (
    _claim(
        "ex.propA1", "EX Prop. A.1, (5), (6)",
        r"\arg\max_\pi E_\pi r - \beta KL(\pi\|\pi_{base}) = \pi_{base}\,e^{r/\beta}/Z",
        "proved", "equality", closed_form, "the shortfall of any policy is β KL(π‖π_r)",
        [ATTRIBUTES_TILT],
        title="the tilted policy is optimal",
    ),
    _claim(
        "ex.eq10", "EX (10), (11)",
        r"\arg\max_A p^*(y_w \succ y_l \mid x, A) = \arg\max_A \log\pi^A(y_w|x) - \log\pi^A(y_l|x)",
        "proved", "equality", one_pair, "the logistic function is increasing",
        [ATTRIBUTES_TILT],
        title="attributes for one pair: margins will do",
    ),
    _claim(
        "ex.eq10.averaged", "EX (10)–(13)",
        r"\arg\max_{|A| \le k} F(A) = \arg\max_{|A| \le k} E_D \log p^*(y_w \succ y_l \mid x, A)",
        "refuted", "equality", several_pairs, "a mean of margins is not a mean of their log σ",
        [ATTRIBUTES_TILT, PAIRS_SEVERAL],
        true_when="there is one pair", true_by=("ex.eq10",),
        title="attributes for many pairs: margins will do",
    ),
    _claim(
        "ex.thm5.1", "EX Thm 5.1, (14)", _GREEDY,
        "proved", "inequality", theorem, "each step closes a share γ/k of the shortfall",
        [F_NORMALISED, F_MONOTONE, F_WEAKLY_SUBMODULAR],
        title="greedy selection's guarantee",
    ),
    _claim(
        "ex.thm5.1.filter", "EX App. B.1.2", _GREEDY + r"\text{ with the filter } \Delta(a|S) > 0",
        "refuted", "inequality", theorem_filtered,
        "the filter keeps F(S_t) from falling, not F(S_t ∪ S*) from falling below F(S*)",
        [F_NORMALISED, F_WEAKLY_SUBMODULAR],
        true_when="F is monotone: then the filter changes nothing", true_by=("ex.thm5.1",),
        title="greedy selection's guarantee with the filter",
    ),
)  # fmt: skip
