"""The posterior of all answers at once: against cvxpy, the chain of one answer, and itself."""

from __future__ import annotations

import cvxpy as cp
import numpy as np
import pytest

from bounds.facts.preference_pairs import PairFacts, batch_posterior
from toymdp.worlds.preference_pairs import FAMILIES, PreferencePairs, newton_cycle, one_answer

CASES = [make(seed) for make in FAMILIES.values() for seed in range(12)]


@pytest.mark.parametrize("pairs", CASES, ids=lambda pairs: pairs.name)
def test_mean_is_the_minimiser_that_cvxpy_finds(pairs):
    sub = PairFacts.of(pairs)
    mean, covariance = batch_posterior(sub)
    root = np.linalg.cholesky(np.linalg.inv(sub.prior)).T
    lam = cp.Variable(len(mean))
    loss = cp.sum(cp.logistic(-sub.deltas @ lam)) + 0.5 * cp.sum_squares(root @ (lam - sub.mean))
    cp.Problem(cp.Minimize(loss)).solve(solver=cp.CLARABEL)
    size = 1 + np.abs(mean).max()
    assert np.abs(lam.value - mean).max() <= 1e-4 * size
    lam.value = mean
    least = loss.value
    # the Hessian by second differences of the loss itself
    step = 1e-3 * np.sqrt(np.diag(covariance)).min()
    basis = step * np.eye(len(mean))

    def at(shift):
        lam.value = mean + shift
        return float(loss.value)

    hessian = np.array([
        [(at(a + b) - at(a - b) - at(b - a) + at(-a - b)) / (4 * step**2) for b in basis]
        for a in basis
    ])  # fmt: skip
    scale = np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)))
    assert np.abs((hessian - np.linalg.inv(covariance)) * scale).max() <= 1e-3
    assert all(at(shift) >= least for shift in (*basis, *-basis))


@pytest.mark.parametrize("make", [one_answer, newton_cycle])
def test_one_answer_is_the_maximum_of_the_chain(make):
    sub = PairFacts.of(make())
    (link,) = sub.chain
    mean, _ = batch_posterior(sub)
    assert mean == pytest.approx(link.mean + link.pull * link.direction, rel=1e-10)


def test_covariance_after_one_answer_is_the_chains_next():
    pairs = next(p for p in CASES if len(p.differences) > 1)
    head = PreferencePairs.from_fields(
        {**pairs.fields(), "differences": pairs.differences[:1], "labels": pairs.labels[:1]}
    )
    assert batch_posterior(PairFacts.of(head))[1] == pytest.approx(
        PairFacts.of(pairs).chain[1].covariance
    )


def test_order_does_not_matter():
    pairs = max(CASES, key=lambda p: len(p.differences))
    fields = pairs.fields()
    fields |= {key: fields[key][::-1].copy() for key in ("differences", "labels")}
    turned = batch_posterior(PairFacts.of(PreferencePairs.from_fields(fields)))
    for found, expected in zip(turned, batch_posterior(PairFacts.of(pairs)), strict=True):
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-12)
