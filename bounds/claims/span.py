"""What the basis spans: when a soup can be the user's policy, and what feedback cannot tell apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy  # whose parts are imported when they are first asked for

from ..claim import Claim, Hypothesis, Outcome
from ..facts.linear_fit import RANK_TOLERANCE
from ..facts.soup import Soup
from ..facts.token_mdp import Facts
from ..sides import EPS, Array, NotApplicable, Sides, Undecidable
from .hypotheses import LINEAR_VALUES
from .section4 import PAIRED, answers, returns_by_policy, size_of_answers
from .section4_soups import rounding_of

SEED = 0x5B
SUPPORT = 1e-9  # weights that the linear program leaves below this are 0


@dataclass(frozen=True, eq=False)
class LogitFit:
    """``log π_w/ref`` as a combination of the specialists', all up to a constant of the state.

    least: the fitting c [K] of least ``|c|₁``, in units of β'/β, and the radius of that sum. missed:
    largest residual (nats), and its radius. full: a fitting c with ``|c|₁ = 1``, if there is one.
    """

    least: Array
    size_error: float
    missed: float
    missed_error: float
    full: Array | None

    @property
    def size(self) -> float:
        """``|c|₁``."""
        return float(np.abs(self.least).sum())


def centred_logits(facts: Facts) -> Array:
    """``Q_1/β .. Q_K/β, Q_w/β`` [K+1, n] at the allowed tokens of the reachable states, less their mean."""
    mdp, rows = facts.mdp, facts.mdp.rows
    live, count = mdp.reach.states[:, rows.owners], np.maximum(rows.counts, 1)
    fields = []
    for q in (*facts.exponents, facts.sol.Q_w / mdp.beta):
        values = q[:, rows.nexts]
        fields.append((values - (rows.sums(values) / count)[:, rows.owners])[live])
    return np.array(fields)


def logit_fit(facts: Facts) -> LogitFit:
    """Least squares, then the shortest c in the 1-norm. Raises Undecidable if the program fails."""
    *basis, target = centred_logits(facts)
    M = np.array(basis).T
    K = M.shape[1]
    _, sigma, V = np.linalg.svd(M, full_matrices=False)
    rank = int((sigma > RANK_TOLERANCE * sigma[0]).sum()) if sigma.max(initial=0.0) > 0 else 0
    c = np.linalg.lstsq(M, target, rcond=RANK_TOLERANCE)[0]
    if rank < K:
        c = _shortest(V[:rank], c)
    missed = float(np.abs(M @ c - target).max(initial=0.0))
    size = 64 * EPS * (1 + K) * (1.0 + float(np.abs(c).sum()))
    turned = size * float(sigma[0] / sigma[rank - 1]) if rank else size
    full = _full(c, np.eye(K) - V[:rank].T @ V[:rank], turned)
    return LogitFit(c, turned, missed, size * facts.size_of_divergences, full)


def _shortest(kept: Array, c: Array) -> Array:
    """The c' with ``kept·c' = kept·c`` of least ``|c'|₁``: a vertex, solved for on its support."""
    K = len(c)
    found = scipy.optimize.linprog(
        np.ones(2 * K), A_eq=np.hstack([kept, -kept]), b_eq=kept @ c, bounds=(0, None)
    )
    if found.status != 0:
        raise Undecidable(f"the least |c|₁ was not found ({found.message})")
    vertex = found.x[:K] - found.x[K:]
    support = np.abs(vertex) > SUPPORT
    vertex[~support] = 0.0
    vertex[support] = np.linalg.lstsq(kept[:, support], kept @ c)[0]
    return np.asarray(vertex)


def _full(c: Array, null: Array, error: float) -> Array | None:
    """A fitting c with ``|c|₁ = 1``, along a direction that no logit shows; None where there is none."""
    size = float(np.abs(c).sum())
    if abs(size - 1.0) <= error:
        return c
    along = null @ np.random.default_rng(SEED).normal(size=len(c))
    length = float(np.abs(along).sum())
    if size > 1.0 or length <= SUPPORT:
        return None
    along /= length
    root = scipy.optimize.brentq(lambda x: float(np.abs(c + x * along).sum()) - 1.0, 0.0, 2.0)
    return np.asarray(c + root * along)


def logits_span(facts: Facts) -> Outcome:
    """``log π_w/ref`` is a combination of the ``log π_k/ref``, up to a constant of each state."""
    fit = facts.once(logit_fit)
    if fit.missed <= fit.missed_error:
        return True, ""
    if fit.missed <= 8 * fit.missed_error:
        return None, "whether the basis spans log π_w/ref is within rounding"
    return False, f"log π_w/ref leaves the span of the basis by {fit.missed:.3g} nats"


def least_within(facts: Facts) -> Outcome:
    """The least ``|c|₁`` of a fit is within the budget, 1 in units of β'/β."""
    fit = facts.once(logit_fit)
    if fit.size <= 1.0 + fit.size_error:
        return True, ""
    if fit.size <= 1.0 + 8 * fit.size_error:
        return None, "whether the least |c|₁ is within the budget is within rounding"
    return False, f"the least |c|₁ is {fit.size:.6g}, more than the budget of 1"


LOGITS_SPAN = Hypothesis("logits-span", "the basis spans log π_w/ref", logits_span)
LEAST_WITHIN = Hypothesis("least-fit-in-domain", "some fitting c has |c|₁ ≤ 1", least_within)


def vanishes(facts: Facts, soup: Soup) -> Sides:
    """§3: where the basis spans the logits the policy error is 0: ``KL(π_w‖π~_λ*) = 0`` at the start.

    False: (7) bounds |λ|₁, and a fitting c may be longer than that (ss.span.vanishes.repaired).
    """
    return Sides(
        float(soup.kl_from_w[facts.start]), 0.0, facts.size_of_divergences,
        {"least |c|₁": facts.once(logit_fit).size}, {"t": 0, "s": facts.mdp.start_context},
    )  # fmt: skip


def vanishes_repaired(facts: Facts) -> Sides:
    """Where the basis spans the logits, some λ of the domain has ``KL(π_w‖π~_λ) = 0`` iff the least |c|₁ ≤ 1.

    c in units of β'/β. Proof: the soup at λ is π_w iff ``e = Q_w/β − Σ λ_k Q_k/β'`` is constant in a at
    every reachable state, that is iff ``c = (β/β')λ`` fits; the domain is ``|c|₁ ≤ 1``. Then
    ``gap(λ*) = 0`` iff some fitting c has ``|c|₁ = 1``, or π_w = ref: by ss.thm1.gap.identity a gap of 0
    asks for KL 0 and for ``(1/|c|₁ − 1) KL(π_w‖ref) = 0``. The term shows that gap where there is one.

    lhs: largest ``KL(π_w‖π~_λ)`` at the fit of least |c|₁; rhs: 0.
    """
    fit = facts.once(logit_fit)
    full = facts.mdp.beta_prime / facts.mdp.beta
    soup = Soup(facts, full * fit.least)
    kl = np.where(facts.mdp.reach.states, soup.kl_from_w, 0.0)
    t, s = (int(i) for i in np.unravel_index(int(np.argmax(kl)), kl.shape))
    terms = {"least |c|₁": fit.size}
    if fit.full is not None:
        terms["gap at |c|₁ = 1"] = Soup(facts, full * fit.full).gap
    return Sides(float(kl[t, s]), 0.0, facts.size_of_divergences, terms, {"t": t, "s": s})


# -- what feedback cannot tell apart -----------------------------------------------------------------


def null_direction(facts: Facts) -> Array:
    """z [K], ``|z|₁ = 1``, with ``Σ z_k r_k = 0`` on the reachable contexts: a seeded draw, projected.

    Raises NotApplicable if there is none.
    """
    mdp = facts.mdp
    R = mdp.rewards[:, mdp.reach.nexts.any(axis=0)]
    left, sigma, _ = np.linalg.svd(R, full_matrices=False)
    left = left[:, sigma > RANK_TOLERANCE * sigma.max(initial=0.0)]
    z = np.random.default_rng(SEED).normal(size=len(R))
    for _ in range(2):  # what is left of long vectors that cancel is not yet orthogonal
        z -= left @ (left.T @ z)
    length = float(np.abs(z).sum())
    if length <= SUPPORT:
        raise NotApplicable("the rewards are linearly independent")
    return np.asarray(z / length)


def rewards_dependent(facts: Facts) -> Outcome:
    """K exceeds the rank of ``(r_1, .., r_K)`` on the reachable contexts."""
    mdp = facts.mdp
    R = mdp.rewards[:, mdp.reach.nexts.any(axis=0)]
    sigma = np.linalg.svd(R, compute_uv=False)
    if len(sigma) < len(R) or sigma[-1] <= 64 * EPS * len(R) * sigma[0]:
        return True, ""
    if sigma[-1] <= RANK_TOLERANCE * sigma[0]:
        return None, "whether the rewards are linearly dependent is within rounding"
    return False, "the rewards are linearly independent"


REWARDS_DEPENDENT = Hypothesis(
    "rewards-dependent", "r_1, .., r_K are linearly dependent", rewards_dependent
)


def null_space(facts: Facts) -> Sides:
    """With K > rank of (r_1, .., r_K) all λ with one ``Σ λ_k r_k`` have one likelihood.

    Proof. A pair's chance depends on λ through ``Σ λ_k (R_k(w) − R_k(l))`` alone, and by
    ss.sec4.return these differences are those of ``Σ_t Σ λ_k r_k``. Their soups add up Q_k, which are
    not linear in r_k: from the second step on they can differ, and so can what the user gets of them at
    β, which are the terms. So no feedback of this kind chooses λ*.

    Judged at ``λ = (β'/β)(w + z)/2`` and ``(β'/β)w/2``, ``Σ z_k r_k = 0``, on the pairs of
    ss.sec4.bt: lhs, rhs: the losses of w + z and of w, halved, for a user w.
    """
    returned = facts.once(returns_by_policy)
    i, j = np.triu_indices(min(PAIRED, returned.shape[1]), 1)
    X = (returned[:, i] - returned[:, j]).T
    if len(X) == 0:
        raise NotApplicable("only one answer was drawn from ref")
    total = facts.once(answers).total(facts.mdp.reward_w[None])
    chance = scipy.special.expit(total[i] - total[j])
    w, z = facts.mdp.w, null_direction(facts)

    def loss(lam: Array) -> float:
        margins = X @ lam
        return float(np.mean(chance * np.logaddexp(0.0, -margins)
                             + (1.0 - chance) * np.logaddexp(0.0, margins)))  # fmt: skip

    full = facts.mdp.beta_prime / facts.mdp.beta
    terms = {
        f"V of the soup at {name}": facts.regularised_value(
            Soup(facts, 0.5 * full * lam).policy, facts.mdp.beta
        )
        for name, lam in (("w/2", w), ("(w + z)/2", w + z))
    }
    error = 4.0 * rounding_of(facts, facts.once(size_of_answers))
    return Sides(loss(0.5 * (w + z)), loss(0.5 * w), 1.0, terms, error=error)


TABLE = (
    Claim(
        "ss.span.vanishes", "SS §3",
        r"\nu_w \in \mathrm{span}(\nu_1,\ldots,\nu_K) \Rightarrow KL(\pi_w\|\tilde\pi_{\lambda^*}) = 0",
        "refuted", "equality", "optimum", vanishes,
        "(7) bounds |λ|₁, and the fit may need more",
        hypotheses=(LINEAR_VALUES, LOGITS_SPAN), zero=True,
        true_when="some fitting c has |c|₁ = 1, in units of β'/β",
        true_by=("ss.span.vanishes.repaired",),
        title="rewards in the span: the soup is the bespoke policy",
    ),
    Claim(
        "ss.span.vanishes.repaired", "ours",
        r"\min_c|c|_1 \le 1 \Rightarrow \min_{\beta|\lambda|_1\le\beta'}KL(\pi_w\|\tilde\pi_\lambda) = 0,"
        r"\ \log\tfrac{\pi_w}{\pi_{ref}} \simeq \textstyle\sum_k c_k\log\tfrac{\pi_k}{\pi_{ref}}",
        "proved", "equality", "instance", vanishes_repaired,
        "the soup at λ is π_w exactly where (β/β')λ fits",
        hypotheses=(LOGITS_SPAN, LEAST_WITHIN),
        title="rewards in the span, mended",
    ),
    Claim(
        "ss.null-space", "ours",
        r"\textstyle\sum_k z_kr_k = 0 \Rightarrow L_{BT}(\lambda + z) = L_{BT}(\lambda)",
        "proved", "equality", "instance", null_space,
        "a pair shows Σ λ_k r_k alone: feedback cannot choose λ*",
        hypotheses=(REWARDS_DEPENDENT,),
        title="feedback cannot tell soups apart",
    ),
)  # fmt: skip
