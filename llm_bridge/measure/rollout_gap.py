"""The gap between a soup and the bespoke policy over whole answers, from rollouts and logits alone.

``V_w − J(λ) = E_{π~_λ} Σ_t [β KL(π~_λ‖π_w) + (β'/|λ|₁ − β) KL(π~_λ‖ref)]`` (ss.thm1.gap.identity).
At each visited state the divergences are computed exactly from the logits that the drawing has at hand,
so an answer's sum is an unbiased estimate; no reward model enters. It speaks of the reward for which the
bespoke adapter is optimal, over answers of at most the given number of tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import t as student

from bounds import formulas
from bounds.runs.progress import OnProgress, silent
from toymdp import InstanceError
from toymdp.arrays import Array

from ..backend import torch
from ..bank import REF, Bank
from ..decoding import generate
from .measures import measure
from .soups import SoupSettings, mix

Tensor = Any
ASSUMED = ("the bespoke adapter is the optimal policy of r_w",)


@dataclass(frozen=True)
class GapEstimate:
    """A gap in reward units with its confidence interval.

    rollouts: number of answers; sharp: the same mean with ``β span²/8`` for the first term
    (ss.thm1.gap.sharp), an upper bound in expectation. to_w, to_ref: the identity's two terms.
    cut: share of answers that reached the token limit. groups: independent units of the interval.
    """

    gap: float
    low: float
    high: float
    sharp: float
    to_w: float
    to_ref: float
    rollouts: int
    groups: int
    cut: float
    level: float


@dataclass
class Watched:
    """A soup as a rule for the next token, which sums up what the gap needs while answers are drawn.

    weights: [K] of the specialists among the rows; the first row is ref, the last the bespoke policy.
    ends: tokens after which an answer is over. totals: [B, 3], ``Σ_t`` of KL(π~‖π_w), KL(π~‖ref) and
    span²/8 at the states that each answer went through.
    """

    weights: Tensor
    ends: Tensor
    precision: Any
    going: Tensor = None
    totals: Tensor = None

    def __call__(self, z: Tensor, ids: Tensor) -> Tensor:
        """Mixed logits [B, A] from raw logits [K+2, B, A]."""
        mixed = mix(z[:-1], self.weights[None])[0]
        if self.going is None:
            self.going = torch.ones(len(ids), dtype=torch.bool, device=ids.device)
            self.totals = torch.zeros((len(ids), 3), dtype=torch.float64, device=ids.device)
        else:
            self.going &= ~torch.isin(ids[:, -1], self.ends)
        rows = torch.stack([z[0], mixed, z[-1]])[:, self.going]
        if rows.shape[1]:  # ref, the soup for a specialist, π_w; and the soup again, for its span
            rows = rows.to(self.precision)
            of = measure(rows, rows.new_ones((1, 1)), bespoke=True, precision=self.precision)
            each = of.kl[1, 2], of.kl[1, 0], formulas.hoeffding(of.span[0])
            self.totals[self.going] += torch.stack(each, dim=1).double()
        return mixed


def drawn_and_measured(
    bank: Bank, prompts: Sequence[Sequence[int]], weights: Array, *, tokens: int, seed: int,
    precision: Any = torch.float32,
) -> tuple[list[list[int]], Array]:  # fmt: skip
    """One answer of the soup with weights [K] to each prompt, and ``Watched.totals`` [N, 3], nats.

    Specialists without weight are no rows. Raises InstanceError without a bespoke policy.
    """
    if bank.bespoke is None:
        raise InstanceError.of("bespoke", None, "the gap needs π_w", "give --bespoke FOLDER")
    heavy = np.flatnonzero(weights)
    rows = [REF, *(bank.names[k] for k in heavy), bank.bespoke]
    ends = torch.tensor(bank.ends, dtype=torch.long, device=bank.device)
    watched = Watched(torch.as_tensor(weights[heavy], dtype=torch.float64), ends, precision)
    drawn = generate(bank, prompts, watched, tokens=tokens, seed=seed, policies=rows)
    return drawn, np.asarray(watched.totals.cpu())


def rollout_gap(
    bank: Bank,
    prompts: Sequence[Sequence[int]],
    lam: Array,
    *,
    beta: float,
    beta_prime: float,
    rollouts: int,
    tokens: int,
    seed: int,
    level: float = 0.95,
    precision: Any = torch.float32,
    batch: int = 64,
    on_progress: OnProgress = silent,
) -> GapEstimate:
    """Estimate the gap of the soup at λ [K] with ``rollouts`` answers to each prompt.

    The interval is Student's, over answers for one prompt and over the prompts' means for several
    (answers to one prompt are not independent draws of the prompt).
    Raises InstanceError if fewer than two independent units would carry it.
    """
    groups = rollouts if len(prompts) == 1 else len(prompts)
    if groups < 2:
        raise InstanceError.of("rollouts", groups, "an interval needs two or more", "draw more")
    jobs = [i for i in range(len(prompts)) for _ in range(rollouts)]
    jobs.sort(key=lambda i: len(prompts[i]))
    soup = SoupSettings(("soup",), lam[None], beta, beta_prime)
    weights = np.asarray(soup.weights[0])
    rates, cut = np.zeros((len(jobs), 3)), 0
    for n, start in enumerate(range(0, len(jobs), batch)):
        part = jobs[start : start + batch]
        heads = [list(prompts[i]) for i in part]
        drawn, totals = drawn_and_measured(
            bank, heads, weights, tokens=tokens, seed=seed * 1_000_003 + n, precision=precision
        )
        cut += sum(len(a) == tokens and a[-1] not in bank.ends for a in drawn)
        to_w, to_ref, sharp = totals.T
        both = formulas.gap_rate(to_w, to_ref, beta, soup.temperature(0))
        each = np.stack([beta * to_w, both - beta * to_w, beta * sharp], axis=1)
        rates[start : start + len(part)] = each
        on_progress("drawing answers", start + len(part), len(jobs))
    if len(prompts) == 1:
        units = rates
    else:
        owner = np.array(jobs)
        units = np.stack([rates[owner == i].mean(axis=0) for i in range(len(prompts))])
    gaps = units[:, 0] + units[:, 1]
    mean = float(gaps.mean())
    error = float(gaps.std(ddof=1) / np.sqrt(len(gaps)))
    reach = float(student.ppf(0.5 + level / 2, len(gaps) - 1)) * error
    to_w, to_ref, sharp = units.mean(axis=0)
    return GapEstimate(
        gap=mean, low=mean - reach, high=mean + reach, sharp=float(sharp + to_ref),
        to_w=float(to_w), to_ref=float(to_ref), rollouts=len(jobs), groups=len(gaps),
        cut=cut / len(jobs), level=level,
    )  # fmt: skip
