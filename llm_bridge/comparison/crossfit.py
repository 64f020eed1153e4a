"""λ fitted on one half of a user's pairs and judged on the other, for the soup and for its rivals.

Halves are of prompts, so that no prompt is fitted and judged. A policy orders a pair as people did where
``log π/ref`` of the winner is larger; ties count half, and the reference, whose log-ratio is 0, is right
half the time by definition. Standard errors are over prompts, whose pairs are not independent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bounds.runs.progress import OnProgress, silent
from toymdp import InstanceError
from toymdp.arrays import Array, IntArray

from ..answers import tokenised
from ..bank import Bank
from ..methods.weights import deltas_of, fit_batch, into_domain, prior
from ..preferences import Pair
from .policies import SOUP, margins, reference, rivals, soup_margins

PRIOR = 100.0  # variance of λ's prior: wide, since λ has units of 1
LEAST = 8  # pairs below which halves say nothing


@dataclass(frozen=True, eq=False)
class Judged:
    """How often a policy orders held-out pairs as people did. hits: [N] of 0, ½, 1 by pair."""

    hits: Array
    groups: IntArray

    @property
    def share(self) -> float:
        """Share of the pairs."""
        return float(self.hits.mean())

    @property
    def error(self) -> float:
        """Its standard error, over prompts."""
        return clustered(self.hits, self.groups)

    def over(self, other: Judged) -> tuple[float, float]:
        """By how much it is better than another on the same pairs, and the standard error of that."""
        apart = self.hits - other.hits
        return float(apart.mean()), clustered(apart, self.groups)


def clustered(values: Array, groups: IntArray) -> float:
    """Standard error of a mean whose terms are dependent within groups."""
    centred = values - values.mean()
    sums = np.bincount(groups, weights=centred)
    n = int(groups.max()) + 1
    return float(np.sqrt((sums**2).sum() * n / max(n - 1, 1)) / len(values))


@dataclass(frozen=True, eq=False)
class CrossFit:
    """λ on all pairs with standard errors, λ of each half, and every policy judged on held-out pairs.

    lam: [K]; error: [K]; halves: [2, K]; shrunk: whether λ was scaled into the budget. judged: by name, the
    soup first. without: the soup without one specialist, by its name. left_out: rivals that these adapters
    do not allow, and why. correlation: [K, K] of the specialists' margins over pairs.
    """

    lam: Array
    error: Array
    halves: Array
    shrunk: bool
    judged: dict[str, Judged]
    without: dict[str, Judged]
    left_out: dict[str, str] = field(default_factory=dict)
    correlation: Array | None = None


def halves_of(pairs: Sequence[Pair], seed: int) -> tuple[IntArray, IntArray]:
    """Which half [N] each pair is in, and its prompt's number [N]. Raises InstanceError for one prompt."""
    numbers: dict[Any, int] = {}
    groups = np.array([numbers.setdefault(p.prompt, len(numbers)) for p in pairs])
    if len(pairs) < LEAST or len(numbers) < 2:
        raise InstanceError.of(
            "pairs", f"{len(pairs)} of {len(numbers)} prompts", f"halves need {LEAST} pairs of 2 prompts",
            "give more",
        )  # fmt: skip
    order = np.random.default_rng([seed, 29]).permutation(len(numbers))
    half = np.zeros(len(numbers), dtype=np.int64)
    half[order[len(numbers) // 2 :]] = 1
    return half[groups], groups


def fitted(deltas: Array) -> tuple[Array, Array]:
    """λ [K] by section 4's loss and the standard errors of its posterior (Laplace)."""
    K = deltas.shape[1]
    posterior = fit_batch(deltas, np.ones(len(deltas)), *prior(K, PRIOR))
    return posterior.mean, np.sqrt(np.diag(posterior.covariance))


def _hits(apart: Array) -> Array:
    return np.asarray(np.sign(apart) * 0.5 + 0.5)


def cross_fit(
    bank: Bank, pairs: Sequence[Pair], beta: float, beta_prime: float, seed: int = 0,
    on_progress: OnProgress = silent,
) -> CrossFit:  # fmt: skip
    """Fit λ on each half, judge everything on the other. Raises InstanceError for too few pairs."""
    half, groups = halves_of(pairs, seed)
    answers = [tokenised(bank, p.prompt, t) for p in pairs for t, _ in p.texts]
    deltas = deltas_of(bank, pairs, beta)
    ref = reference(bank, answers)
    K, every = len(bank.names), rivals(bank)
    lam, error = fitted(deltas)
    kept, shrunk = into_domain(lam, beta, beta_prime)
    total = 2 * (len(every) + 1 + (K if K > 1 else 0))
    done = 0

    def weights_of(columns: Sequence[int], n: int) -> Array:
        """The soup's weights [K] from the other half's pairs and some of the specialists."""
        found, _ = fitted(deltas[half != n][:, columns])
        inside, _ = into_domain(found, beta, beta_prime)
        weights = np.zeros(K)
        weights[list(columns)] = inside * beta / beta_prime
        return weights

    hits: dict[str, Array] = {}
    without: dict[str, Array] = {}
    left_out: dict[str, str] = {}
    halves = np.zeros((2, K))
    for n in (0, 1):
        chosen = np.flatnonzero(half == n)
        some = [answers[i] for pair in chosen for i in (2 * pair, 2 * pair + 1)]
        base = ref[np.stack([2 * chosen, 2 * chosen + 1], axis=1).ravel()]
        weights = weights_of(range(K), n)
        halves[n] = weights * beta_prime / beta
        cases: list[tuple[dict[str, Array], str, Any]] = [
            (hits, SOUP, lambda w=weights, s=some, b=base: soup_margins(bank, s, w, b)),
            *(
                (hits, r.name, lambda r=r, w=weights, s=some, b=base: margins(bank, s, r, w, b))
                for r in every
            ),
        ]
        if K > 1:
            for k, name in enumerate(bank.names):
                w = weights_of([j for j in range(K) if j != k], n)
                cases.append(
                    (without, name, lambda w=w, s=some, b=base: soup_margins(bank, s, w, b))
                )
        for store, name, margin in cases:
            try:
                store.setdefault(name, np.full(len(pairs), np.nan))[chosen] = _hits(margin())
            except InstanceError as refusal:
                left_out[name] = str(refusal)
            done += 1
            on_progress("comparing policies", done, total)
    judged = {name: Judged(found, groups) for name, found in hits.items() if name not in left_out}
    apart = np.atleast_2d(np.corrcoef(deltas.T)) if np.ptp(deltas, axis=0).all() else None
    return CrossFit(
        kept, error, halves, shrunk, judged,
        {name: Judged(found, groups) for name, found in without.items()}, left_out, apart,
    )  # fmt: skip
