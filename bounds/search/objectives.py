"""What is maximised: ``log lhs − log rhs`` of a claim, differentiable, features optimised out.

The claims of Theorem 1 hold features fixed but are made for every feature map, so for a given
reference and given rewards the search may take the one that makes the right side smallest:

- One-hot features with a scale for each (t, s'). A bound ``(Σ_a m_a c_a)·sqrt(Σ_{t,s'} e²/c²)`` at
  one state sees its own tokens' scales in the mean and every scale in the norm. Scales of other
  places go to infinity and leave ``(Σ m_a c_a)·sqrt(Σ e_a²/c_a²)``, a geometric program solved by
  ``c_a ∝ (e_a²/m_a)^{1/3}`` with value ``(Σ (m_a|e_a|)^{2/3})^{3/2}`` (set the derivative in log c_a
  to 0; it is convex there).
- Features of constant norm. ``‖psi‖·‖nu‖ ≥ sup|psi·nu| = sup|e|`` whatever they are; the rows
  ``(e/m, sqrt(1 − (e/m)²)·one-hot)`` with m just above ``sup|e|`` have norm 1 and are linearly
  independent, and ``nu = (m, 0, …)`` gives e: the bound is sup|e| to any accuracy.
- Features of norms in [1, R] (``search --natural``). Likewise ``‖nu‖ ≥ ν`` with ``ν = sup|e|/R``, and
  norms ``max(1, |e|/ν)`` allow it; the right side ``Σ_a m_a max(ν, |e_a|)`` grows with ν, so the least
  ν is best. R = 1 is the constant norm; R → ∞ leaves ``Σ_a m_a|e_a|``.

Claims at λ* are searched at *matched* weights λ = w on the full budget, where the first two terms of
(10) vanish. That λ = w is the optimum is a constraint: the lead of the best of many challengers,
``max_j J(λ_j) − J(w)``, as a share of the gap, is subtracted as a penalty.

Why the gap can exceed sup|e|, and by any factor. At λ = w on the full budget (β = β' = 1) let
``D_t(s) = Σ w_k V_k − V_w ≥ 0``, the convexity gap; then ``e_t = −D_{t+1}``, the soup is
``π_w e^{D'}`` normalised, and with ``G_t = −log Σ_a Π_k π_k^{w_k} ≥ 0``

    D_t = G_t − log E_soup e^{−D'},   KL(soup‖π_w) = E_soup D' + log E_soup e^{−D'}.

Let specialists agree (G = 0) but for a context of conflict that raises D by Δ and that the soup
enters with probability p a step. Each step adds ``−log(1 − p(1 − e^{−Δ})) ≈ p`` to D and
``pΔ + log(1 − p(1 − e^{−Δ})) ≈ p(Δ − 1)`` to the gap: after n of them the gap is about np(Δ − 1), sup|e|
about np + Δ. A common reward that is lost below full budget keeps λ* at w.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from .batch_solver import FORBIDDEN, Batch, Tensor, occupancy, soup_values
from .population import Population

SMALL = 1e-12
TINY = 1e-4  # nats: what a right side is worth looking at where rewards are of ordinary size


@dataclass(frozen=True)
class BatchFacts:
    """A soup of each instance and what the objectives read off it.

    lam: [B, K]. log_pi_ref, log_pi_w, log_pi: log-policies [B, T, S, A] of ref, π_w and the soup.
    e: ``Q_w − Σ λ_k Q_k`` [B, T, S] on next contexts, in units of β. J: [B].
    """

    batch: Batch
    lam: Tensor
    log_pi_ref: Tensor
    log_pi_w: Tensor
    log_pi: Tensor
    e: Tensor
    J: Tensor

    @property
    def gap(self) -> Tensor:
        """``V_w − J(λ)`` [B] at the start."""
        return self.batch.V[:, -1, 0, 0] - self.J

    @property
    def kl_from_w(self) -> Tensor:
        """``KL(π_w‖soup)`` [B, T, S], the left side of (9)."""
        return (self.log_pi_w.exp() * (self.log_pi_w - self.log_pi)).sum(dim=-1)

    @property
    def partition_drop(self) -> Tensor:
        """``log E_ref e^{Q_w} − log E_ref e^{Σ λ_k Q_k}`` [B, T, S], the left side of C(s)'s end."""
        G = self.batch.at_tokens(self.batch.Q[:, -1] - self.e)
        log_z = torch.logsumexp(self.batch.log_ref[:, None] + G, dim=-1)
        return self.batch.V[:, -1, :-1] - log_z


def batch_facts(batch: Batch, lam: Tensor) -> BatchFacts:
    """Policies, values and logit error of the soups lam [B, K], none of them 0."""
    G = batch.soup_logits(lam[:, None])[:, 0]
    Q_w = batch.Q[:, -1]
    ref = batch.log_ref[:, None].expand(-1, batch.sizes.T, -1, -1)
    J = soup_values(batch, lam[:, None])[:, 0]
    return BatchFacts(batch, lam, ref, batch.log_policy(Q_w), batch.log_policy(G), Q_w - G, J)


def best_scale(mass: Tensor, e: Tensor) -> Tensor:
    """``min_c (Σ m c)·sqrt(Σ e²/c²) = (Σ (m|e|)^{2/3})^{3/2}`` over the last axis.

    Worked: m = (1, 1), e = (1, 1) give 2^{3/2}, at c = (1, 1).
    """
    product = (mass * e.abs()).clamp_min(SMALL**3)
    return (product ** (2.0 / 3.0)).sum(dim=-1) ** 1.5


def largest(batch: Batch, table: Tensor) -> Tensor:
    """Largest |table| [B] over reachable next contexts."""
    return torch.where(batch.used, table.abs(), 0.0).flatten(1).amax(dim=1)


def log_ratio(lhs: Tensor, rhs: Tensor) -> Tensor:
    """``log lhs − log rhs``, floored where a side vanishes."""
    return lhs.clamp_min(SMALL).log() - rhs.clamp_min(SMALL).log()


def span_rate(f: BatchFacts) -> Tensor:
    """The right side of ss.thm1.gap.sharp [B]: ``E_soup Σ [span(e)²/8 + (1/|λ|₁ − 1) KL(soup‖ref)]``."""
    allowed = f.batch.log_ref[:, None] > 0.5 * FORBIDDEN
    e = f.batch.at_tokens(f.e)
    top = torch.where(allowed, e, -1e30).amax(dim=-1)
    low = torch.where(allowed, e, 1e30).amin(dim=-1)
    pi = f.log_pi.exp()
    kl = (pi * (f.log_pi - f.log_pi_ref)).sum(dim=-1)
    excess = 1.0 / f.lam.abs().sum(dim=-1) - 1.0
    rate = torch.where(f.batch.visited, (top - low) ** 2 / 8.0, 0.0) + excess[:, None, None] * kl
    return (occupancy(f.batch, pi) * rate).sum(dim=(1, 2))


@dataclass(frozen=True)
class Objective:
    """A claim as something to climb.

    lhs, rhs: [B, T, S] where ``everywhere`` (the worst reachable state counts), else [B].
    matched: the claim is about λ*, searched at λ = w; else λ is free in the domain.
    full: λ is free on the full budget alone.
    mass: whose feature norms the right side averages (of ref, user, soup): the one-hot features built
    for a found instance are the best for them. constant: features of constant norm instead. norm_ratio:
    largest norm over smallest that features of ``mass`` may have; None: any one-hots.
    """

    lhs: Callable[[BatchFacts], Tensor]
    rhs: Callable[[BatchFacts], Tensor]
    matched: bool = False
    everywhere: bool = False
    mass: tuple[str, ...] = ()
    constant: bool = False
    norm_ratio: float | None = None
    full: bool = False

    def soup(self, population: Population, batch: Batch, lam: Tensor) -> Tensor:
        """The soups [B, K] that are judged: those that stand for λ*, or lam itself, where it may lie."""
        if self.matched:
            return population.candidate(batch, lam)
        return lam / lam.abs().sum(dim=1, keepdim=True).clamp_min(SMALL) if self.full else lam

    def places(self, f: BatchFacts) -> Tensor:
        """Log-ratio [B, T, S] at every reachable state, or [B, 1, 1] where only one counts."""
        ratio = log_ratio(self.lhs(f), self.rhs(f))
        if not self.everywhere:
            return ratio[:, None, None]
        return torch.where(f.batch.visited, ratio, -1e9)


def _at_start(table: Tensor) -> Tensor:
    return table[:, 0, 0] if table.dim() == 3 else table


def _masses(f: BatchFacts, names: tuple[str, ...]) -> Tensor:
    policies = {"ref": f.log_pi_ref, "user": f.log_pi_w, "soup": f.log_pi}
    return torch.stack([policies[name].exp() for name in names]).sum(dim=0)


def _scaled(f: BatchFacts, names: tuple[str, ...]) -> Tensor:
    return best_scale(_masses(f, names), f.batch.at_tokens(f.e))


def _within(f: BatchFacts, names: tuple[str, ...], norm_ratio: float) -> Tensor:
    """The bound [B, T, S] at the best features of norms in [1, norm_ratio]."""
    floor = (_sup(f) / norm_ratio)[:, None, None, None]
    size = torch.maximum(f.batch.at_tokens(f.e).abs(), floor)
    return (_masses(f, names) * size).sum(dim=-1)


def _kl(f: BatchFacts) -> Tensor:
    return f.kl_from_w


def _gap(f: BatchFacts) -> Tensor:
    return f.gap


def _drop(f: BatchFacts) -> Tensor:
    return f.partition_drop


def _sup(f: BatchFacts) -> Tensor:
    return largest(f.batch, f.e)


def _conditional(f: BatchFacts) -> Tensor:
    """``min(2T, T·sup|e|/2)·sup|e|``: features of norm c have ``cn ≥ sup|e|``, and come close."""
    sup, T = _sup(f), f.batch.sizes.T
    return (0.5 * T * sup).clamp_max(2.0 * T) * sup


def _twice_sup(f: BatchFacts) -> Tensor:
    return 2.0 * _sup(f)[:, None, None].expand_as(f.kl_from_w)


def _one_hot(lhs: Callable[[BatchFacts], Tensor], *names: str, start: bool = False) -> Objective:
    """A bound whose features are one-hots of the best scale, at the start at λ = w or anywhere."""
    if start:
        return Objective(
            lambda f: _at_start(lhs(f)), lambda f: _at_start(_scaled(f, names)), True, False, names
        )
    return Objective(lhs, lambda f: _scaled(f, names), False, True, names)


OBJECTIVES: dict[str, Objective] = {
    "ss.thm1.kl": _one_hot(_kl, "user", "ref", start=True),
    "ss.thm1.kl.any": _one_hot(_kl, "user", "ref"),
    "ss.thm1.kl.repaired": _one_hot(_kl, "user", "soup"),
    "ss.thm1.kl.constant-norm": Objective(_kl, _twice_sup, everywhere=True, constant=True),
    "ss.thm1.gap": _one_hot(_gap, "ref", start=True),
    "ss.thm1.gap.constant-norm": Objective(_gap, _sup, matched=True, constant=True),
    "ss.thm1.gap.constant-norm.conditional": Objective(
        _gap, _conditional, constant=True, full=True
    ),
    "ss.thm1.gap.sharp": Objective(_gap, span_rate),
    "ss.proof.C.lipschitz": _one_hot(_drop, "ref"),
    "ss.proof.C.lipschitz.repaired": _one_hot(_drop, "user"),
}


def within(objective: Objective, norm_ratio: float) -> Objective:
    """The objective at features whose norms differ by no more than a factor.

    Its right side is at least TINY: a world in which both sides vanish ranks far below all others.
    """

    def rhs(f: BatchFacts) -> Tensor:
        if not objective.mass:
            return objective.rhs(f).clamp_min(TINY)
        values = _within(f, objective.mass, norm_ratio)
        return (values if objective.everywhere else _at_start(values)).clamp_min(TINY)

    return replace(objective, rhs=rhs, norm_ratio=norm_ratio)
