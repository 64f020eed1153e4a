"""(19) of Appendix C: its value by mpmath, where it is convex and where not, and what sabotage does."""

from __future__ import annotations

from dataclasses import replace

import mpmath
import numpy as np
import pytest

from bounds import CLAIMS, check
from bounds.claims.appendix_c_convex import chords, mean_loss, objective
from bounds.facts.preference_pairs import PairFacts
from toymdp.worlds.preference_pairs import CLASSICS, FAMILIES

PRINTED, REPAIRED = CLAIMS["ss.appC.convex"], CLAIMS["ss.appC.convex.repaired"]


@pytest.mark.parametrize("mean", [-60.0, -3.0, 0.0, 0.4, 25.0])
@pytest.mark.parametrize("deviation", [1e-3, 0.5, 3.0, 40.0, 1e4])
def test_mean_loss_by_quadrature_at_thirty_digits(mean, deviation):
    with mpmath.workdps(30):

        def integrand(g):
            z = mean + deviation * g
            return mpmath.log(1 + mpmath.exp(-z)) * mpmath.npdf(g)

        edges = {-12, 12, *(x for x in (-mean / deviation, -(mean + 40) / deviation,
                                        -(mean - 40) / deviation) if abs(x) < 12)}  # fmt: skip
        expected = mpmath.quad(integrand, sorted(edges | {float(i) for i in range(-11, 12)}))
    assert mean_loss(mean, deviation) == pytest.approx(float(expected), rel=1e-12, abs=1e-14)


def test_the_classic_has_the_numbers_of_the_catalogue():
    found = {c.claim: c for c in check(CLASSICS["wide-and-sure"](), "ss.appC.convex*")}
    printed = found[PRINTED.id]
    assert printed.verdict == "violated"
    assert printed.lhs == pytest.approx(9.973, abs=5e-4)
    assert printed.rhs == pytest.approx(9.300, abs=5e-4 + 5e-4)
    assert found[REPAIRED.id].verdict == "holds"


def test_the_divergence_is_that_of_two_normal_laws():
    facts = PairFacts.of(FAMILIES["narrow-prior"](3))
    bare = replace(facts, deltas=np.zeros((0, len(facts.mean))))
    (m, L), _ = list(chords(facts))[4]
    S, P = L @ L.T, np.linalg.inv(facts.prior)
    K, off = len(m), m - facts.mean
    expected = 0.5 * (np.trace(P @ S) - K + off @ P @ off
                      + np.log(np.linalg.det(facts.prior) / np.linalg.det(S)))  # fmt: skip
    assert objective(bare, m, L) == pytest.approx(expected, rel=1e-11)
    assert objective(facts, m, L) > objective(bare, m, L)


def test_convex_in_the_factor_everywhere_and_in_the_covariance_not():
    broken = 0
    for family in FAMILIES.values():
        for seed in range(12):
            printed, repaired = check(family(seed), "ss.appC.convex*")
            assert repaired.verdict == "holds", (family, seed)
            broken += printed.verdict == "violated"
    assert broken >= 2


def test_a_loss_that_bends_the_other_way_is_seen(monkeypatch):
    module = "bounds.claims.appendix_c_convex.mean_loss"
    monkeypatch.setattr(module, lambda mean, deviation: -0.5 * deviation**2)
    (found,) = check(CLASSICS["wide-and-sure"](), REPAIRED.id)
    assert found.verdict == "violated"
