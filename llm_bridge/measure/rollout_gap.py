"""The gap between a soup and the bespoke policy over whole answers, from rollouts and logits alone.

``V_w − J(λ) = E_{π~_λ} Σ_t [β KL(π~_λ‖π_w) + (β'/|λ|₁ − β) KL(π~_λ‖ref)]`` (ss.thm1.gap.identity).
At each visited state the divergences are computed exactly from logits, so an answer's sum is an
unbiased estimate; no reward model enters. It speaks of the reward for which the bespoke adapter is
optimal, over answers of at most the given number of tokens.
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

from ..answers import Answer
from ..backend import torch
from ..bank import Bank
from ..decoding import generate
from .soups import LogitMixture, SoupSettings, soup_weights
from .stream import stream

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


def rollout_rates(
    bank: Bank,
    answers: Sequence[Answer],
    lam: Array,
    beta: float,
    beta_prime: float,
    precision: Any,
) -> Array:
    """For each answer ``Σ_t`` of (β KL to π_w, (β'/|λ|₁−β) KL to ref, β span²/8): [N, 3]."""
    if bank.bespoke is None:
        raise InstanceError.of("bespoke", None, "the gap needs π_w", "give --bespoke FOLDER")
    soup = SoupSettings(("soup",), lam[None], beta, beta_prime)
    K = len(bank.names)
    total = torch.zeros((len(answers), 3), dtype=torch.float64)
    for chunk in stream(bank, answers, soup.weights, precision=precision):
        kl = chunk.measures.kl.double().cpu()
        to_w, to_ref = kl[K + 2, K + 1], kl[K + 2, 0]
        both = formulas.gap_rate(to_w, to_ref, beta, soup.temperature(0))
        sharp = beta * formulas.hoeffding(chunk.measures.span[0].double().cpu())
        rates = torch.stack([beta * to_w, both - beta * to_w, sharp], dim=1)
        total.index_add_(0, chunk.row.cpu(), rates)
    return np.asarray(total)


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
    mixture = LogitMixture(soup_weights(torch.as_tensor(lam), beta, beta_prime))
    rates, cut = np.zeros((len(jobs), 3)), 0
    for n, start in enumerate(range(0, len(jobs), batch)):
        part = jobs[start : start + batch]
        heads = [list(prompts[i]) for i in part]
        drawn = generate(bank, heads, mixture, tokens=tokens, seed=seed * 1_000_003 + n)
        cut += sum(len(a) == tokens and a[-1] not in bank.ends for a in drawn)
        answers = [Answer((*h, *a), len(h)) for h, a in zip(heads, drawn, strict=True)]
        rates[start : start + len(part)] = rollout_rates(
            bank, answers, lam, beta, beta_prime, precision
        )
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
