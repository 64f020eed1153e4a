"""``ψ((s, a))``: the reference's state after the token, and whether log-ratios are linear in it.

After-states cost a forward pass each, so they are taken for the top tokens of a state; the rest of
the vocabulary is bounded by the largest norm that the final RMSNorm can give.

Derivation of the fit. Lemma 1 says ``Q_k(s, a) = ψ((s,a))·ν_k``, and ``log π_k/ref = (Q_k − V_k)/β``
differs from ``Q_k/β`` by a constant of each state. Centred within each state (over the tokens taken)
the log-ratio is then exactly linear in the centred ψ, with one ν for all states. If the least
squares residual is not zero there is no such ν, whatever V_k is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bounds import formulas
from toymdp.arrays import Array, IntArray

from ..backend import torch
from ..bank import REF, Bank, pad
from ..forward import logits_of, states_of
from .measures import log_ratios
from .reached import Reached
from .soups import mix

Tensor = Any


@dataclass(frozen=True, eq=False)
class AfterStates:
    """After-states of the top tokens at N states.

    tokens: [N, m] ids. psi: [N, m, d]. live: [N, m], whether ref allows the token. log_probs:
    [P+M, N, m] of every policy and soup. ratios: [P−1, N, m] ``log π/ref``.
    """

    tokens: Array
    psi: Array
    live: Array
    log_probs: Array
    ratios: Array

    @property
    def norms(self) -> Array:
        """``‖ψ((s,a))‖₂`` [N, m]."""
        return np.asarray(np.linalg.norm(self.psi, axis=2))

    def mean_norm(self, log_probs: Array, bound: float) -> Array:
        """Upper bound on ``E_π‖ψ((s,·))‖`` [N]: top tokens exactly, the rest at ``bound``."""
        p = np.where(self.live, np.exp(log_probs), 0.0)
        rest = np.clip(1.0 - p.sum(axis=1), 0.0, None)
        rest = np.where(rest > 1e-9, rest, 0.0)  # nothing is left but rounding
        return np.asarray((p * self.norms).sum(axis=1) + rest * bound)


@torch.no_grad()
def after_states(
    bank: Bank, reached: Reached, top: int, weights: Tensor, *, precision: Any
) -> AfterStates:
    """Take the ``top`` likeliest tokens under ref at each state and the reference's state after each.

    weights: [M, K] of soups. m = min(top, A).
    """
    m, K = min(top, bank.vocab_size), len(bank.names)
    stores: list[list[Tensor]] = [[], [], [], []]
    prefixes = reached.prefixes
    # a state at a time: logits of all policies, never [states, A, K]
    for n in range(len(prefixes)):
        z = bank.logits(reached.hidden[:, n : n + 1]).to(precision)
        d, live = log_ratios(z)
        z = torch.cat([z, mix(z[: K + 1], weights.to(z.device))])
        log_z = torch.logsumexp(torch.where(live, z, -torch.inf), dim=2)
        tokens = torch.where(live, z[0], -torch.inf)[0].topk(m).indices
        ratio = d[:, 0, tokens] - (log_z[1 : len(d) + 1] - log_z[:1])
        log_p = z[:, 0, tokens] - log_z
        for store, value in zip(stores, (tokens, live[0, tokens], log_p, ratio), strict=True):
            store.append(value.cpu())
    taken, allowed, logs, ratios = (torch.stack(store).numpy() for store in stores)
    psi = np.concatenate([
        _states_after(bank, prefixes[i : i + 8], taken[i : i + 8]) for i in range(0, len(taken), 8)
    ])  # fmt: skip
    ratios = np.where(allowed, np.moveaxis(ratios, 1, 0), 0.0)
    return AfterStates(taken, psi, allowed, np.moveaxis(logs, 1, 0), ratios)


def _states_after(bank: Bank, prefixes: Sequence[Sequence[int]], tokens: Array) -> Array:
    rows = [[*p, int(a)] for p, top in zip(prefixes, tokens, strict=True) for a in top]
    ids, mask = pad(rows, bank.device)
    bank.check_length(int(ids.shape[1]))
    with bank.using(REF) as base:
        last = states_of(base, ids, mask)[torch.arange(len(rows)), mask.sum(dim=1) - 1]
    return np.asarray(last.double().cpu()).reshape(*tokens.shape, -1)


@torch.no_grad()
def norm_bound(bank: Bank) -> float | None:
    """Largest ``‖ψ‖`` the final RMSNorm can give, ``√d·max|gain|``; None without such a norm.

    RMSNorm divides by the root mean square, so what its gain multiplies has norm at most √d. The gain
    is ``weight`` in one architecture and ``1 + weight`` in the next: the norm itself says which, on a
    vector of equal entries so large that its ε is nothing beside them.
    """
    norm = getattr(bank.base.get_decoder(), "norm", None)
    if norm is None or "RMSNorm" not in type(norm).__name__:
        return None
    like = next(norm.parameters(), None)
    if like is None:
        return math.sqrt(bank.width)
    gain = norm(torch.full((1, bank.width), 1e3, dtype=like.dtype, device=like.device))
    # some units in the last place more: norms are applied in float32 at best
    unit = 1.0 + 4 * max(torch.finfo(kind).eps for kind in (like.dtype, torch.float32))
    return float(gain.abs().max()) * unit * math.sqrt(bank.width)


@dataclass(frozen=True)
class LinearFit:
    """Centred log-ratios on centred psi: ν [P−1, d], least norm, and how well they fit.

    held_out: [P−1], R² on states that the fit has not seen (one half fitted, the other judged).
    residual: [P−1], largest |residual| of the fit on all states, nats; size: [P−1], largest |field|.
    rows, rank: equations and the rank of ψ in them.

    Where the rank is the number of equations a fit leaves no residual, whatever the field: ``enough`` and
    ``half_enough`` say whether there are more, so that residual and R² mean anything. half: rows and rank
    of the half that R² is fitted on.
    """

    nu: Array
    held_out: Array
    residual: Array
    size: Array
    rows: int
    rank: int
    half: tuple[int, int]

    @property
    def enough(self) -> bool:
        """Whether all states together are more equations than unknowns that they determine."""
        return self.rank < self.rows

    @property
    def half_enough(self) -> bool:
        """Whether those of the half that R² is fitted on are."""
        return self.half[1] < self.half[0]


def centred(values: Array, live: Array) -> Array:
    """Subtract the mean over the live tokens of each state; values [..., N, m] or [N, m, d]."""
    wide = live[..., None] if values.shape[:2] == live.shape and values.ndim == 3 else live
    axis = 1 if wide.ndim == 3 else -1
    count = np.maximum(wide.sum(axis=axis, keepdims=True), 1)
    mean = np.where(wide, values, 0.0).sum(axis=axis, keepdims=True) / count
    return np.asarray(np.where(wide, values - mean, 0.0))


def fit_linear(states: AfterStates, seed: int = 0) -> LinearFit:
    """Fit every policy's log-ratio; needs at least four states."""
    N = len(states.live)
    psi = centred(states.psi, states.live)
    # policies one by one: a [P, N, m] stack could be mistaken for [N, m, d]
    fields = np.stack([centred(r, states.live) for r in states.ratios])
    order = np.random.default_rng(seed).permutation(N)
    seen, unseen = order[: N // 2], order[N // 2 :]

    def solve(chosen: IntArray) -> tuple[Array, int]:
        rows = psi[chosen].reshape(-1, psi.shape[2])
        target = fields[:, chosen].reshape(len(fields), -1)
        nu, _, rank, _ = np.linalg.lstsq(rows, target.T, rcond=1e-10)
        return np.asarray(nu.T), int(rank)

    first, half_rank = solve(seen)
    missed = fields[:, unseen] - np.einsum("pd,nmd->pnm", first, psi[unseen])
    total = (fields[:, unseen] ** 2).sum(axis=(1, 2))
    held_out = 1.0 - (missed**2).sum(axis=(1, 2)) / np.where(total > 0, total, 1.0)
    nu, rank = solve(np.arange(N))
    residual = np.abs(fields - np.einsum("pd,nmd->pnm", nu, psi)).max(axis=(1, 2))
    size = np.abs(fields).max(axis=(1, 2))
    equations = states.live.sum(axis=1) - 1  # a state's constant takes one
    half = int(equations[seen].sum()), half_rank
    return LinearFit(nu, held_out, residual, size, int(equations.sum()), rank, half)


def logit_norm(nu: Array, lam: Array, beta: float, beta_prime: float) -> float:
    """``‖(β'/β)ν_w − Σ λ_k ν_k‖₂`` of (9); ν [K+1, d] in reward units, the bespoke's last."""
    return float(np.linalg.norm(beta_prime / beta * nu[-1] - lam @ nu[:-1]))


def kl_bounds(
    states: AfterStates, bound: float, error: float, beta_prime: float, soup: int
) -> tuple[Array, Array]:
    """Right sides of (9) as printed (E_ref) and repaired (E_soup) at N states, [N] each, in nats.

    error: ``logit_norm``. bound: see mean_norm. soup: which of the M soups.
    """
    K1 = len(states.ratios)  # K specialists and the bespoke policy, whose row this is
    means = [states.mean_norm(states.log_probs[row], bound) for row in (K1, 0, K1 + 1 + soup)]
    printed = formulas.kl_bound(means[0], means[1], np.float64(error), beta_prime)
    repaired = formulas.kl_bound(means[0], means[2], np.float64(error), beta_prime)
    return np.asarray(printed), np.asarray(repaired)


@torch.no_grad()
def decodability(
    bank: Bank, prefixes: Sequence[Sequence[int]], lengths: Sequence[int]
) -> dict[int, float]:
    """Mean ``KL(ref(·|prefix) ‖ ref(·|last L tokens))`` in nats for each L (Assumption 2's defect).

    The first token of a prefix (the start token) stays in front of the last L.
    """

    def log_probs(rows: Sequence[Sequence[int]]) -> Tensor:
        ids, mask = pad(rows, bank.device)
        with bank.using(REF) as base:
            last = states_of(base, ids, mask)[torch.arange(len(rows)), mask.sum(dim=1) - 1]
            return torch.log_softmax(logits_of(base, last).double(), dim=1)

    totals = dict.fromkeys(lengths, 0.0)
    for start in range(0, len(prefixes), 16):
        part = prefixes[start : start + 16]
        full = log_probs(part)
        for L in lengths:
            cut = log_probs([p if len(p) <= L + 1 else [p[0], *p[len(p) - L :]] for p in part])
            totals[L] += float((full.exp() * (full - cut)).sum())
    return {L: total / len(prefixes) for L, total in totals.items()}
