"""One formula, every array library: NumPy, the strict standard, torch; and worked numbers."""

from __future__ import annotations

import math

import array_api_strict
import mpmath
import numpy as np
import pytest

from bounds import formulas


def libraries():
    yield "numpy", np.asarray
    yield "strict", array_api_strict.asarray
    torch = pytest.importorskip("torch")  # without the llm extra the other two still run
    yield "torch", lambda x: torch.tensor(x, dtype=torch.float64)


@pytest.fixture(params=["numpy", "strict", "torch"])
def array(request):
    return dict(libraries())[request.param]


def floats(x):
    return np.asarray([float(v) for v in x])


def test_delta_worked_number_and_extremes(array):
    upper = array([math.log(1.5), 0.0, 1e-9, 2.0, 500.0])
    lower = array([math.log(0.5), 0.0, -1e-9, -10_000.0, -300.0])
    found = floats(formulas.delta(upper, lower))
    assert found[0] == pytest.approx(math.log(4 / 3), rel=1e-14)
    assert found[1] == 0.0
    assert found[2] == pytest.approx(1e-18, rel=1e-6)
    # M̲ = e^-10000: Δ = log((M̄ − 1)/M̄) + 10000
    assert found[3] == pytest.approx(10_000 + math.log(-math.expm1(-2.0)), rel=1e-14)
    assert found[4] == pytest.approx(300.0, rel=1e-12)


def exact_delta(log_upper: float, log_lower: float) -> mpmath.mpf:
    """(18) as it is written, at 500 digits."""
    with mpmath.workdps(500):
        high, low = mpmath.exp(mpmath.mpf(log_upper)), mpmath.exp(mpmath.mpf(log_lower))
        return mpmath.log(high + low - 1) - mpmath.log(high * low)


@pytest.mark.parametrize("log_upper", [1e-20, 1e-9, 0.3, 4.0, 300.0])
@pytest.mark.parametrize("log_lower", [-1e-6, -0.3, -0.7, -5.0, -45.0, -600.0])
def test_delta_loses_no_digits(array, log_upper, log_lower):
    """Near M̲ = 1 and far from it: to the last digits of the larger of Δ and ``−log M̲``."""
    (found,) = floats(formulas.delta(array([log_upper]), array([log_lower])))
    true = exact_delta(log_upper, log_lower)
    assert true > 0
    assert abs(found - float(true)) < 1e-14 * max(float(true), -log_lower)


@pytest.mark.parametrize("above", [1e-3, 1.0, 30.0, 599.9, 900.0, 5000.0])
@pytest.mark.parametrize(
    "log_below", [-5001.0, -4990.0, -720.0, -690.0, -40.0, -1.0, 2.0, 5.0, 720.0]
)
def test_two_point_laws_whose_point_is_rarer_than_doubles(array, above, log_below):
    """x = e^-5000 underflows and ``x e^y`` does not: what (y e^-x + x e^y)/(x + y) is in 4,000 digits."""
    with mpmath.workdps(4000):
        x, y = mpmath.exp(log_below), mpmath.mpf(above)
        true = mpmath.log((y * mpmath.exp(-x) + x * mpmath.exp(y)) / (x + y))
        size = max(float(true), 0.0) * (1 + abs(log_below) + above)
        size += float(x) if x < 40 else 0.0  # beyond, x is no part of what is added up
    (found,) = floats(formulas.chord(array([log_below]), array([above])))
    assert abs(found - float(true)) <= 1e-14 * size + 1e-300
    # of variance v = x·y the two-point law of Bennett is the same
    variance = array([log_below + math.log(above)])
    (same,) = floats(formulas.bennett(array([above]), variance))
    assert abs(same - float(true)) <= 1e-14 * size + 1e-300


def test_two_point_laws_without_a_spread(array):
    none = array([-math.inf, -math.inf])
    assert floats(formulas.chord(none, array([0.0, 2.0]))).tolist() == [0.0, 0.0]
    assert floats(formulas.bennett(array([0.0, 2.0]), none)).tolist() == [0.0, 0.0]


def test_delta_where_both_bounds_underflow(array):
    """M̄ is 1 and M̲ is 0 to rounding: their sum less 1 counts as 1e-300."""
    (found,) = floats(formulas.delta(array([0.0]), array([-800.0])))
    assert found == pytest.approx(800.0 + math.log(1e-300), rel=1e-14)


def test_anchored_delta_by_its_definition(array):
    anchors, lower = [1.0, 0.8, 30.0], [math.log(0.9), -0.5, -20.0]
    doubles = [math.log(2 * a) for a in anchors]
    found = floats(formulas.anchored_delta(array(doubles), array(lower)))
    for value, a, m in zip(found, anchors, np.exp(lower), strict=True):
        assert value == pytest.approx(math.log((2 * a - 1) / (m * (2 * a - m))), rel=1e-12)
    assert found[0] == pytest.approx(math.log(1 / 0.99), rel=1e-12)
    # 2a next to 1 keeps its digits: log 2a is what is given
    (close,) = floats(formulas.anchored_delta(array([1e-40]), array([-3.0])))
    assert close == pytest.approx(math.log(1e-40) + 3.0 - math.log1p(-math.exp(-3.0)), rel=1e-12)
    # a = 1/2 leaves nothing of 2a − 1: it counts as 1e-300
    (least,) = floats(formulas.anchored_delta(array([0.0]), array([-3.0])))
    assert least == pytest.approx(math.log(1e-300) + 3.0 - math.log1p(-math.exp(-3.0)), rel=1e-12)


def test_penalty_counts_negative_weights_only(array):
    delta, lam = array([1.0, 2.0, 4.0]), array([0.5, -0.25, -0.125])
    found = formulas.negative_weight_penalty(delta, lam, 2.0, 8.0)
    assert float(found) == pytest.approx(4 / 8 * (2 * 0.25 + 4 * 0.125))


def test_small_formulas(array):
    assert float(formulas.hoeffding(array(4.0))) == 2.0
    assert float(formulas.renyi(array(0.5), array(0.25))) == 0.75
    assert float(formulas.kl_bound(array(1.0), array(1.0), array(0.5), 2.0)) == 0.5
    assert float(formulas.gap_bound(array(1.0), array(2.0), array(3.0))) == 6.0
    rate = formulas.gap_rate(array([1.0, 2.0]), array([3.0, 0.0]), 0.5, 2.0)
    assert floats(rate).tolist() == [5.0, 1.0]
    limit = formulas.gap_rate(array([3.0]), array([0.0]), 0.5, math.inf)
    assert floats(limit).tolist() == [1.5]


def test_budget_and_temperature_of_a_soup(array):
    lams = array([[0.5, -0.25], [0.0, 0.0]])
    assert floats(formulas.budget_used(lams, 2.0, 3.0)).tolist() == [0.5, 0.0]
    assert floats(formulas.soup_temperature(array([0.75, 0.0]), 3.0)).tolist() == [4.0, math.inf]
