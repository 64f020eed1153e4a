"""λ fitted on one half of a user's pairs and judged on the other, for the soup and for its rivals.

Halves are of prompts, so that no prompt is fitted and judged. A policy orders a pair as people did where
``log π/ref`` of the winner is larger; ties count half, and the reference, whose log-ratio is 0, is right
half the time by definition. Standard errors are over prompts, whose pairs are not independent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bounds.runs.progress import OnProgress, silent
from toymdp import InstanceError
from toymdp.arrays import Array, IntArray

from ..answers import States, tokenised
from ..bank import Bank
from ..methods.weights import PRIOR, fit_batch, into_domain, log_probs_of, pair_rows, prior
from ..preferences import Pair
from .finished import Finished
from .policies import SOUP, Rival, margins, rivals, soup_margins

OWN = "Σ λ_k log π_k/ref"  # the reward that λ is fitted for
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

    lam: [K]; error: [K]; halves: [2, K]; shrunk: whether λ was scaled into the budget, its errors with it
    (the scale is taken as known: λ/error is that of the fit). judged: by name, the
    soup's own reward first. without: that reward without one specialist, by its name. left_out: rivals
    that these adapters do not allow, and why. correlation: [K, K] of the specialists' margins over pairs.
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
    finished: Finished | None = None, on_progress: OnProgress = silent,
    log_probs: Callable[[], Array] | None = None, states: States | None = None,
) -> CrossFit:  # fmt: skip
    """Fit λ on each half, judge everything on the other. Raises InstanceError for too few pairs.

    finished: where margins are kept, so that a killed run does not compute them again. log_probs: gives
    ``log_probs_of`` the pairs, where they are known, and states those of their answers from then on.
    """
    half, groups = halves_of(pairs, seed)
    finished = finished or Finished(None, "")
    answers = [tokenised(bank, p.prompt, t) for p in pairs for t, _ in p.texts]
    N, K, every = len(pairs), len(bank.names), rivals(bank)
    known = log_probs or (lambda: log_probs_of(bank, pairs))
    logs = finished.once("log probs", lambda: known().ravel()).reshape(-1, 2 * N)
    deltas, ref = pair_rows(logs, K, beta), logs[0]
    lam, error = fitted(deltas)
    kept, shrunk = into_domain(lam, beta, beta_prime)
    if shrunk:
        error = error * (np.abs(kept).sum() / np.abs(lam).sum())
    halves = np.zeros((2, K))
    names = (OWN, SOUP, *(rival.name for rival in every))
    hits = {name: np.zeros(N) for name in names}
    without = {name: np.zeros(N) for name in bank.names if K > 1}
    left_out: dict[str, str] = {}
    for n in (0, 1):
        chosen = np.flatnonzero(half == n)
        places = np.stack([2 * chosen, 2 * chosen + 1], axis=1).ravel()
        some, base = [answers[i] for i in places], ref[places]
        seen = deltas[half != n]
        halves[n], _ = into_domain(fitted(seen)[0], beta, beta_prime)
        weights = halves[n] * beta / beta_prime
        hits[OWN][chosen] = _hits(deltas[chosen] @ halves[n])
        for k, name in enumerate(bank.names):
            if K > 1:
                others = [j for j in range(K) if j != k]
                without[name][chosen] = _hits(
                    deltas[chosen][:, others] @ fitted(seen[:, others])[0]
                )
        for number, rival in enumerate((None, *every)):
            name = SOUP if rival is None else rival.name
            on_progress("comparing policies", n * (len(every) + 1) + number, 2 * (len(every) + 1))
            if name in bank.policies:
                own = (logs[bank.policies.index(name)] - ref)[places]
                hits[name][chosen] = _hits(own[::2] - own[1::2])
                continue

            def margin(rival: Rival | None = rival) -> Array:
                if rival is None:
                    return soup_margins(bank, some, weights, base, states)  # noqa: B023  # called before the next n
                return margins(bank, some, rival, weights, base)  # noqa: B023

            try:
                hits[name][chosen] = _hits(finished.once(f"half {n} {name}", margin))
            except InstanceError as refusal:
                left_out[name] = str(refusal)
    on_progress("comparing policies", 2 * (len(every) + 1), 2 * (len(every) + 1))
    apart = np.atleast_2d(np.corrcoef(deltas.T)) if np.ptp(deltas, axis=0).all() else None
    return CrossFit(
        kept, error, halves, shrunk,
        {name: Judged(found, groups) for name, found in hits.items() if name not in left_out},
        {name: Judged(found, groups) for name, found in without.items()}, left_out, apart,
    )  # fmt: skip
