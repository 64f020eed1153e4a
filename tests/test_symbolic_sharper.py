"""The algebra behind the sharper rows, with a near miss beside each identity (see test_symbolic)."""

from __future__ import annotations

import pytest
import sympy as sp
from test_symbolic import kl, law, mean, positive, vanishes, vector


@pytest.mark.parametrize("mutation", [None, "variance", "touch"])
def test_bennett_s_parabola_has_the_two_point_mean(mutation):
    """Through e^y at b, touching it at −c = −v/b: its mean is that of the law on −c and b."""
    b, c, top, bottom = positive("b c X Y")  # X = e^b, Y = e^-c as free numbers
    v = b * c * (2 if mutation == "variance" else 1)
    steep = bottom * (2 if mutation == "touch" else 1)
    bend = (top - bottom - steep * (b + c)) / (b + c) ** 2
    # E(y + c) = c and E(y + c)² = v + c², for mean 0
    parabola = bottom + steep * c + bend * (v + c**2)
    two_points = (b * bottom + c * top) / (b + c)
    same = vanishes(parabola - two_points)
    # whatever its slope at −c, a parabola through both points has that mean; the touch makes it a bound
    assert same is (mutation != "variance")


def test_bennett_s_parabola_lies_above_the_exponential():
    """(e^z − 1 − z)/z² is ∫ (1 − s) e^{sz} ds, which grows with z: so it lies above up to b."""
    z, s = sp.symbols("z s", real=True, nonzero=True)
    integral = sp.integrate((1 - s) * sp.exp(s * z), (s, 0, 1), conds="none")
    assert sp.simplify(integral - (sp.exp(z) - 1 - z) / z**2) == 0
    slope = sp.diff((1 - s) * sp.exp(s * z), z)
    inside = positive("q")
    assert sp.simplify(slope.subs(s, 1 / (1 + inside))).is_positive  # every 0 < s < 1


@pytest.mark.parametrize("mutation", [None, "weights"])
def test_bennett_is_the_two_point_law_of_its_variance(mutation):
    b, v, top, bottom = positive("b v X Y")
    printed = b**2 / (b**2 + v) * bottom + v / (b**2 + v) * top
    c = v / b
    ours = ((c if mutation else b) * bottom + (b if mutation else c) * top) / (b + c)
    assert vanishes(printed - ours) is (mutation is None)


@pytest.mark.parametrize("mutation", [None, "sign"])
def test_no_law_between_two_ends_has_more_variance_than_theirs(mutation):
    """E(Y + x)(y − Y) = xy − E Y² for mean 0, and the left side is a mean of what is ≥ 0."""
    x, y = positive("x y")
    first, second, p, q = sp.symbols("u v p q")
    third = -(p * first + q * second) / (1 - p - q)
    probabilities, values = (p, q, 1 - p - q), (first, second, third)
    left = mean(probabilities, [(value + x) * (y - value) for value in values])
    sign = 1 if mutation else -1
    assert vanishes(left - (x * y + sign * mean(probabilities, [z**2 for z in values]))) is (
        mutation is None
    )


@pytest.mark.parametrize("mutation", [None, "direction"])
def test_divergence_is_the_centred_cumulant(mutation):
    """KL(p‖q) = log E_p e^{e − m} for q ∝ p e^e; Jeffreys' sum is E_q e − E_p e."""
    p, weight = law("p", 3), vector("E", 3)  # e = log E
    total = mean(p, weight)
    q = [a * b / total for a, b in zip(p, weight, strict=True)]
    e = [sp.log(x) for x in weight]
    one, other = (kl(q, p), kl(p, q)) if mutation else (kl(p, q), kl(q, p))
    assert vanishes(one - (sp.log(total) - mean(p, e))) is (mutation is None)
    assert vanishes(one + other - (mean(q, e) - mean(p, e)))


@pytest.mark.parametrize("mutation", [None, "reversed"])
def test_disagreement_of_two_specialists(mutation):
    """(V_1 + V_2)/2 − V_w = β (KL(P_w‖P_1) + KL(P_w‖P_2))/2, with r_w their mean."""
    ref, first, second, beta = law("p", 3), vector("a", 3), vector("b", 3), positive("beta")
    # rewards over β are logarithms of squares, so that the user's is one of a product
    each = [[x**2 for x in first], [x**2 for x in second]]
    user = [x * y for x, y in zip(first, second, strict=True)]
    sums = [mean(ref, g) for g in (*each, user)]
    laws = [
        [p * x / z for p, x in zip(ref, g, strict=True)]
        for g, z in zip((*each, user), sums, strict=True)
    ]
    lhs = beta * ((sp.log(sums[0]) + sp.log(sums[1])) / 2 - sp.log(sums[2]))
    rhs = sum(kl(x, laws[2]) if mutation else kl(laws[2], x) for x in laws[:2]) / 2
    assert vanishes(lhs - beta * rhs) is (mutation is None)


@pytest.mark.parametrize("mutation", [None, "power"])
def test_fourth_order(mutation):
    """KL ≤ (j span)²/(8β²), D its mean times β, a step's cost span(D)²/(8β)."""
    j, sigma, beta = positive("j sigma beta")
    disagreement = beta * (j * sigma) ** 2 / (8 * beta**2)
    step = disagreement**2 / (8 * beta)
    power = 2 if mutation else 4
    assert vanishes(step - (j * sigma) ** power / (512 * beta**3)) is (mutation is None)


@pytest.mark.parametrize("mutation", [None, "hoeffding"])
def test_constant_norm_in_units_of_the_last_term(mutation):
    """T steps of 2cn (Jeffreys) or (2cn)²/8 (Hoeffding), in units of c β n, the last term of (10)."""
    steps, c, n, beta = positive("T c n beta")
    last = c * beta * n
    assert vanishes(beta * steps * 2 * c * n - 2 * steps * last)
    share = 4 if mutation else 8
    assert vanishes(beta * steps * (2 * c * n) ** 2 / share - steps * c * n / 2 * last) is (
        mutation is None
    )


@pytest.mark.parametrize("mutation", [None, "budget"])
def test_matched_weights_leave_the_disagreement(mutation):
    """Q_w/β − Σ λ_k Q_k/β' = −D_{t+1}/β at λ = (β'/β)w, as r_w = Σ w_k r_k."""
    r1, r2, v1, v2, user, w = sp.symbols("r1 r2 v1 v2 vw w")
    beta, prime = positive("beta betaprime")
    scale = 1 if mutation else prime / beta
    Q1, Q2, Q = r1 + v1, r2 + v2, w * r1 + (1 - w) * r2 + user
    error = Q / beta - scale * (w * Q1 + (1 - w) * Q2) / prime
    ahead = w * v1 + (1 - w) * v2 - user
    assert vanishes(error + ahead / beta) is (mutation is None)
