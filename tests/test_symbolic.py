"""The algebra behind the proved rows, exactly: each identity, and that no near miss passes for it.

Every test carries its mutations: a changed sign, exponent or index under which the same check must
fail. ``None`` is the statement itself.
"""

from __future__ import annotations

import itertools
from fractions import Fraction

import pytest
import sympy as sp

mutations = pytest.mark.parametrize


def positive(names: str):
    return sp.symbols(names, positive=True)


def flat_logs(expr):
    """Every logarithm split over the factors of its argument."""
    split = expr.replace(sp.log, lambda x: sp.log(sp.factor(sp.together(x))))
    return sp.expand_log(split, force=True)


def vanishes(expr) -> bool:
    """Whether the expression is identically 0 in its (positive) symbols.

    Zero is shown by algebra with the logarithms as unknowns; non-zero by its value at a rational
    point. What neither settles raises: an unproved zero must not pass for a difference.
    """
    split = flat_logs(sp.sympify(expr))
    unknown = {x: sp.Dummy() for x in split.atoms(sp.log)}
    if sp.cancel(sp.together(split.xreplace(unknown))) == 0:
        return True
    symbols = sorted(split.free_symbols, key=lambda s: s.name)
    primes = [Fraction(1, sp.prime(i + 2)) for i in range(len(symbols))]
    point = {
        s: sp.Rational(f.numerator, f.denominator) for s, f in zip(symbols, primes, strict=True)
    }
    value = sp.N(split.subs(point), 30)
    assert abs(value) > sp.Float("1e-12"), f"not simplified, and numerically {value}"
    return False


def vector(name: str, n: int):
    """Return n positive symbols."""
    return positive(" ".join(f"{name}{i}" for i in range(n)))


def law(name: str, n: int):
    """Probabilities of n outcomes: the last is one minus the rest."""
    first = vector(name, n - 1) if n > 2 else (positive(f"{name}0"),)
    return (*first, 1 - sum(first))


def mean(p, x):
    return sum(a * b for a, b in zip(p, x, strict=True))


def kl(p, q):
    return sum(a * sp.log(a / b) for a, b in zip(p, q, strict=True))


def test_vanishes_tells_zero_from_small():
    x, y = positive("x y")
    assert vanishes(sp.log(x * y + y) - sp.log(y) - sp.log(1 + x))
    assert not vanishes(sp.log(x * y + y) - sp.log(x) - sp.log(1 + x))
    assert not vanishes(sp.Rational(1, 10**9) * x)
    # zero, but not by algebra in the logarithms: refused rather than called a difference
    with pytest.raises(AssertionError, match="not simplified"):
        vanishes(sp.sqrt(3 + 2 * sp.sqrt(2)) - 1 - sp.sqrt(2))


# -- (a) the chord of 1/x and Δ_k, (17), (18) ------------------------------------------------------


def chord(x, m, M):
    return (m + M - x) / (m * M)


@mutations("mutation", [None, "sign", "exponent", "end"])
def test_chord_lies_above_one_over_x(mutation):
    x, m, M = positive("x m M")
    line = (m + M + x) / (m * M) if mutation == "sign" else chord(x, m, M)
    curve = 1 / x**2 if mutation == "exponent" else 1 / x
    other = (x - m) * (M - x) / (x * m * (m if mutation == "end" else M))
    assert vanishes(line - curve - other) is (mutation is None)


def test_chord_difference_has_a_sign_on_the_interval():
    m, below, above = positive("m u v")  # x = m + u, M = m + u + v
    x, M = m + below, m + below + above
    assert sp.factor(chord(x, m, M) - 1 / x).is_positive
    outside = sp.factor(chord(M + below, m, M) - 1 / (M + below))
    assert outside.is_negative


def delta(m, M, sign=-1):
    return (M + m + sign) / (m * M)


@mutations("mutation", [None, "sign"])
def test_delta_is_at_least_zero_and_monotone(mutation):
    """With m = 1/(1+u) ≤ 1 ≤ M = 1 + v its exponential is at least 1, up in M and down in m."""
    m, M, u, v = positive("m M u v")
    ends = {m: 1 / (1 + u), M: 1 + v}
    sign = 1 if mutation else -1
    value = sp.factor((delta(m, M, sign) - 1).subs(ends))
    upward = sp.factor(sp.diff(delta(m, M, sign), M).subs(ends))
    downward = sp.factor(sp.diff(delta(m, M, sign), m).subs(ends))
    signs = (value.is_positive, upward.is_positive, downward.is_negative)
    assert all(signs) is (mutation is None)
    if mutation is None:
        assert vanishes(delta(m, M) - 1 - (M - 1) * (1 - m) / (m * M))
        assert vanishes(sp.diff(delta(m, M), M) - (1 - m) / (m * M**2))
        assert vanishes(sp.diff(delta(m, M), m) + (M - 1) / (m**2 * M))


@mutations("mutation", [None, "mean", "exponent"])
def test_two_valued_ratios_attain_delta(mutation):
    m, M = positive("m M")
    p = ((2 if mutation == "mean" else 1) - m) / (M - m)  # P(x = M), from E x = 1
    power = 2 if mutation == "exponent" else 1
    assert vanishes(p / M**power + (1 - p) / m**power - delta(m, M)) is (mutation is None)


@mutations("mutation", [None, "sign", "mean"])
def test_delta_exceeds_the_renyi_divergence_by_a_sum_of_non_negative_terms(mutation):
    """e^Δ − E[1/x] = E[(x−m)(M−x)/(x m M)] for three values of mean 1; e^{D₂} is E[1/x]."""
    m, M, *x = positive("m M x0 x1 x2")
    # the law on three values that has mean 1, one probability free
    free = sp.Symbol("p0", positive=True)
    target = 2 if mutation == "mean" else 1
    second = (target - x[2] - free * (x[0] - x[2])) / (x[1] - x[2])
    p = (free, second, 1 - free - second)
    rest = sum(q * (y - m) * (M - y) / (y * m * M) for q, y in zip(p, x, strict=True))
    sign = -1 if mutation == "sign" else 1
    gap = delta(m, M) - mean(p, [1 / y for y in x])
    assert vanishes(gap - sign * rest) is (mutation is None)


def anchored(a, m):
    """The bound of (17) for an anchor a: the chord between m and 2a − m."""
    return (2 * a - 1) / (m * (2 * a - m))


def test_anchor_counterexample_in_exact_rationals():
    m, M, a = Fraction(9, 10), Fraction(19, 10), Fraction(1)
    assert max(abs(x - a) for x in (m, M)) <= a
    assert m <= a <= M
    p = (1 - m) / (M - m)
    assert p * M + (1 - p) * m == 1
    actual, bound = p / M + (1 - p) / m, anchored(a, m)
    assert (actual, bound) == (Fraction(20, 19), Fraction(100, 99))
    assert actual > bound
    middle = (m + M) / 2
    assert anchored(middle, m) == actual  # at the middle the two-valued law attains it


@mutations("mutation", [None, "below the middle"])
def test_anchor_above_the_middle_is_a_bound(mutation):
    """With a = (m+M)/2 + c, c ≥ 0, it exceeds e^Δ, hence E[1/x]; below the middle it does not."""
    u, v, c = positive("u v c")
    m, M = 1 / (1 + u), 1 + v
    if mutation is None:
        assert sp.factor(anchored((m + M) / 2 + c, m) - delta(m, M)).is_positive
        assert vanishes(anchored((m + M) / 2, m) - delta(m, M))
    else:
        # its chord ends at 1 + v/2, short of M
        lower = (m + M) / 2 - v / 4
        assert sp.factor(anchored(lower, m) - delta(m, M)).is_negative


# -- (b) the power step ----------------------------------------------------------------------------


def sign_of_coefficients(polynomial, symbols):
    """The common sign of a polynomial's coefficients, or 0 if they differ."""
    signs = {sp.sign(c) for c in sp.Poly(sp.expand(polynomial), *symbols).coeffs()}
    return signs.pop() if len(signs) == 1 else 0


@mutations(
    ("top", "bottom"), [(2, 1), (3, 1), (4, 1), (3, 2), (4, 3), (5, 2), (1, 2), (2, 3), (3, 4)]
)
def test_power_step_on_two_point_laws(top, bottom):
    """``(E x)^p ≤ E x^p`` for p = top/bottom ≥ 1, the other way round for p < 1.

    With x, y = a^bottom, b^bottom and both sides to the power ``bottom`` it is a polynomial in a, b
    and the law k : l; it is (a−b)² times one whose coefficients, at b = a + d, share a sign.
    """
    a, d, k, n = positive("a d k l")
    b = a + d
    left = ((k * a**bottom + n * b**bottom) / (k + n)) ** top
    right = ((k * a**top + n * b**top) / (k + n)) ** bottom
    power = max(top, bottom)
    difference = sp.cancel((right - left) * (k + n) ** power / (k * n * d**2))
    expected = 1 if top >= bottom else -1
    assert sign_of_coefficients(difference, (a, d, k, n)) == expected


@mutations("exponent", [2, sp.Rational(3, 2), 1, sp.Rational(1, 2)])
def test_power_is_convex_from_one_on(exponent):
    x = positive("x")
    bend = sp.simplify(sp.diff(x**exponent, x, 2))
    assert bool(bend.is_nonnegative) is bool(exponent >= 1)


# -- (c) performance difference and gap, SS section 3 ----------------------------------------------


def at_primes(expr, known=()):
    """The value at a point of rationals without structure, ``known`` giving some symbols first."""
    for symbol, value in known:
        expr = expr.subs(symbol, value)
    symbols = sorted(expr.free_symbols, key=lambda s: s.name)
    return sp.N(expr.subs({s: sp.Rational(1, sp.prime(i + 2)) for i, s in enumerate(symbols)}), 30)


@mutations("T", [1, 2, 3])
@mutations("mutation", [None, "sign", "direction", "missing reward", "temperature"])
def test_gap_identity_on_a_tree(T, mutation):
    """``V_w − E_π Σ[r_w − η KL(π‖ref)] = E_π Σ[β KL(π‖π_w) + (η−β) KL(π‖ref)]``, any policy π.

    Tables are symbols at each of 2^T − 1 histories: ref, π, gain = exp(r_w/β), z = exp(V_w/β). The
    identity holds whatever z is; ``z = E_ref[gain·z']`` only makes π_w a law, and V_w the value.
    """
    beta, eta = positive("beta eta")
    nodes = [h for t in range(T) for h in itertools.product((0, 1), repeat=t)]
    names = {
        h: "".join(map(str, h)) for t in range(T + 1) for h in itertools.product((0, 1), repeat=t)
    }
    ref, policy = ({h: law(f"{x}{names[h]}_", 2) for h in nodes} for x in "fp")
    gain = {h: positive(f"g{name}") for h, name in names.items()}
    z = {h: positive(f"z{name}") if len(h) < T else sp.Integer(1) for h, name in names.items()}
    bespoke = {h: [ref[h][a] * gain[*h, a] * z[*h, a] / z[h] for a in (0, 1)] for h in nodes}
    recursion = [(z[h], mean(ref[h], [gain[*h, a] * z[*h, a] for a in (0, 1)])) for h in nodes]
    for h, (_, following) in zip(nodes, recursion, strict=True):
        assert sp.expand(sum(bespoke[h]) * z[h] - following) == 0  # π_w sums to 1

    spent, rate = 0, 0
    for h in nodes:
        reached = sp.prod([policy[h[:i]][a] for i, a in enumerate(h)])
        reward = mean(policy[h], [beta * sp.log(gain[*h, a]) for a in (0, 1)])
        if mutation == "missing reward" and len(h) == T - 1:
            reward = 0
        spent += reached * (reward - eta * kl(policy[h], ref[h]))
        pair = (bespoke[h], policy[h]) if mutation == "direction" else (policy[h], bespoke[h])
        weight = eta + beta if mutation == "sign" else eta - beta
        factor = eta if mutation == "temperature" else beta
        rate += reached * (factor * kl(*pair) + weight * kl(policy[h], ref[h]))
    difference = beta * sp.log(z[()]) - spent - rate
    if mutation is None:
        assert sp.expand(sp.expand_log(difference, force=True)) == 0
    else:
        assert abs(at_primes(difference, recursion)) > 1e-6


# -- (d) Bregman divergence and Hoeffding's lemma --------------------------------------------------


def tilted(n=3):
    """Tilt parameter, weights p, statistics f, tilted weights p e^{θf}, and their log-partition."""
    theta = sp.Symbol("theta", real=True)
    p, f = vector("p", n), sp.symbols(f"f0:{n}", real=True)
    weights = [a * sp.exp(theta * b) for a, b in zip(p, f, strict=True)]
    return theta, p, f, weights, sp.log(sum(weights))


@mutations("mutation", [None, "moment", "order"])
def test_log_partition_has_a_variance_for_curvature(mutation):
    theta, _, f, weights, A = tilted()
    q = [w / sum(weights) for w in weights]
    square = mean(q, [b**2 for b in f])
    variance = square if mutation == "moment" else square - mean(q, f) ** 2
    curvature = sp.diff(A, theta, 1 if mutation == "order" else 2)
    point = {theta: 0}
    assert vanishes((curvature - variance).subs(point)) is (mutation is None)
    if mutation is None:  # and at every tilt, where the exponentials are unknowns of their own
        tilt = {sp.exp(theta * b): sp.Dummy(positive=True) for b in f}
        assert sp.cancel(sp.together((curvature - variance).subs(tilt))) == 0


@mutations("mutation", [None, "sign", "factor"])
def test_divergence_of_a_tilt_is_a_bregman_divergence(mutation):
    """KL(p_θ‖p_0) = θA′(θ) − A(θ) + A(0) with slope θA″(θ): at most the integral of θ·span²/4."""
    theta, p, f, weights, A = tilted()
    q = [w / sum(weights) for w in weights]
    direct = sum(
        a * (theta * b - A + sp.log(sum(p))) for a, b in zip(q, f, strict=True)
    )  # log(q_i/p_i), p normalised
    sign = -1 if mutation == "sign" else 1
    bregman = theta * sp.diff(A, theta) - sign * A + sign * sp.log(sum(p))
    tilt = {sp.exp(theta * b): sp.Dummy(f"x{i}", positive=True) for i, b in enumerate(f)}
    slope = sp.diff(bregman, theta) - theta * sp.diff(A, theta, 2) * (
        2 if mutation == "factor" else 1
    )
    same = vanishes_in(direct - bregman, tilt) and vanishes_in(slope, tilt)
    assert same is (mutation is None)
    span = positive("d")
    assert sp.integrate(theta * span**2 / 4, (theta, 0, 1)) == span**2 / 8


def vanishes_in(expr, substitution) -> bool:
    """Zero as a rational function once some subexpressions are unknowns of their own."""
    flat = sp.expand(expr).subs(substitution)
    unknown = {x: sp.Dummy() for x in flat.atoms(sp.log)}
    return sp.cancel(sp.together(flat.xreplace(unknown))) == 0


@mutations("mutation", [None, "factor", "sign"])
def test_popoviciu(mutation):
    """span²/4 − Var is a square plus a mean of non-negative products; two points: one square."""
    p, (x, y, z), (m, M) = law("p", 3), sp.symbols("x y z", real=True), sp.symbols("m M", real=True)
    values = (x, y, z)
    centre = mean(p, values)
    variance = mean(p, [v**2 for v in values]) - centre**2
    share = 2 if mutation == "factor" else 4
    sign = -1 if mutation == "sign" else 1
    inner = mean(p, [(M - v) * (v - m) for v in values])
    rest = ((M + m) / 2 - centre) ** 2 + sign * inner
    assert vanishes((M - m) ** 2 / share - variance - rest) is (mutation is None)
    q = positive("q")
    two = q * x**2 + (1 - q) * y**2 - (q * x + (1 - q) * y) ** 2
    assert vanishes((x - y) ** 2 / 4 - two - (x - y) ** 2 * (1 - 2 * q) ** 2 / 4)


# -- (e) Appendix C --------------------------------------------------------------------------------


@mutations("mutation", [None, "complement", "square"])
def test_second_order_expansion_of_the_loss(mutation):
    """−log σ(z) has slope −(1−σ) and curvature σ(1−σ)."""
    z = sp.Symbol("z", real=True)
    e = positive("e")
    sigma = 1 / (1 + sp.exp(-z))
    loss = -sp.log(sigma)
    slope = -(sigma if mutation == "complement" else 1 - sigma)
    curvature = sigma * (1 - sigma) ** (2 if mutation == "square" else 1)
    first = sp.diff(loss, z) - slope
    second = sp.diff(loss, z, 2) - curvature
    same = all(sp.cancel(sp.together(d.subs(sp.exp(-z), e))) == 0 for d in (first, second))
    assert same is (mutation is None)


@mutations("K", [1, 2])
@mutations("mutation", [None, "old covariance", "sign", "chance", "rank-one sign"])
def test_appendix_c_minimises_the_expanded_objective(K, mutation):
    """(21), (22) with S = S_n are where (20) is stationary, its loss expanded about λ̄_{n−1}.

    Under q = N(λ̄ + d, S), less constants: ``−(1−σ)Δᵀd + ½h[(Δᵀd)² + ΔᵀSΔ] + ½[dᵀPd + tr(PS) −
    log det S]``, h = σ(1−σ). S is free here and ``P = S_n⁻¹ − hΔΔᵀ``, which is (21) read backwards.
    """
    sigma = positive("sigma")
    h = sigma * (1 - sigma)
    D = sp.Matrix(sp.symbols(f"D0:{K}", real=True))
    d = sp.Matrix(sp.symbols(f"d0:{K}", real=True))
    S, P = (
        sp.Matrix(K, K, lambda i, j, x=x: sp.Symbol(f"{x}{min(i, j)}{max(i, j)}", real=True))
        for x in "SP"
    )
    along = (D.T * d)[0]
    loss = -(1 - sigma) * along + h / 2 * (along**2 + (D.T * S * D)[0])
    objective = loss + ((d.T * P * d)[0] + (P * S).trace() - sp.log(S.det())) / 2
    # ∂/∂S of a symmetric matrix meets its off-diagonal entry twice; both vanish together
    slopes = [sp.diff(objective, x) for x in sorted({*S, *d}, key=str)]
    before = S.inv() + (1 if mutation == "rank-one sign" else -1) * h * D * D.T
    covariance = before.inv() if mutation == "old covariance" else S
    chance = sigma if mutation == "chance" else 1 - sigma
    step = (-1 if mutation == "sign" else 1) * chance * covariance * D
    at = {**dict(zip(d, step, strict=True)), **dict(zip(P, before, strict=True))}
    found = [x.subs(at, simultaneous=True) for x in slopes]
    if mutation is None:
        assert all(sp.cancel(sp.together(x)) == 0 for x in found)
        hessian = sp.hessian(objective, list(d))  # convex in the mean: it is the next precision
        assert (hessian - P - h * D * D.T).applyfunc(sp.expand).is_zero_matrix
    else:
        assert max(abs(at_primes(x)) for x in found) > 1e-6


@mutations("mutation", [None, "sign", "denominator"])
def test_sherman_morrison(mutation):
    h = positive("h")
    D = sp.Matrix(sp.symbols("D0:2", real=True))
    a, b, c = sp.symbols("a b c", real=True)
    S0 = sp.Matrix([[a, b], [b, c]])
    sign = 1 if mutation == "sign" else -1
    one = -1 if mutation == "denominator" else 1
    S = S0 + sign * h * S0 * D * D.T * S0 / (one + h * (D.T * S0 * D)[0])
    product = S * (S0.inv() + h * D * D.T)
    same = all(sp.cancel(sp.together(x)) == 0 for x in product - sp.eye(2))
    assert same is (mutation is None)


# -- (f) EX, Proposition A.1 -----------------------------------------------------------------------


@mutations("mutation", [None, "exponent", "sign", "no base"])
def test_closed_form_of_the_regularised_optimum(mutation):
    """KKT for three outcomes, r_i = β log x_i; the objective is concave, so they suffice."""
    beta = positive("beta")
    base, x = law("b", 3), vector("x", 3)
    power = {"exponent": 2, "sign": -1}.get(mutation, 1)
    weight = [(1 if mutation == "no base" else b) * y**power for b, y in zip(base, x, strict=True)]
    policy = [v / sum(weight) for v in weight]
    pi = vector("pi", 3)
    objective = sum(
        beta * q * (sp.log(y) - sp.log(q / b)) for q, b, y in zip(pi, base, x, strict=True)
    )
    at = dict(zip(pi, policy, strict=True))
    slopes = [sp.diff(objective, q).subs(at) for q in pi]
    stationary = all(vanishes(slopes[0] - s) for s in slopes[1:])
    assert vanishes(sum(policy) - 1)
    assert stationary is (mutation is None)
    hessian = sp.hessian(objective, pi)
    assert hessian == sp.diag(*[-beta / q for q in pi])
    if mutation is None:
        Z = sum(weight)
        assert vanishes(objective.subs(at) - beta * sp.log(Z))
        # every other law falls short by β KL to it
        other = dict(zip(pi, law("c", 3), strict=True))
        short = beta * kl(law("c", 3), policy)
        assert vanishes(beta * sp.log(Z) - objective.subs(other) - short)


# -- (g) EX (17) -----------------------------------------------------------------------------------


@mutations("topics", [2, 3])
@mutations("m", [1, 2, 3])
@mutations("mutation", [None, "as printed", "unscaled", "raw centres"])
def test_pooled_mean_of_random_topics(topics, m, mutation):
    """E‖μ̂ − μ̄‖² of m iid draws by summing over all their topics, two coordinates."""
    p = law("p", topics)
    centres = [sp.symbols(f"u{c} v{c}", real=True) for c in range(topics)]
    traces = vector("s", topics)  # tr Σ_c
    overall = [mean(p, [centre[i] for centre in centres]) for i in (0, 1)]
    exact = 0
    for drawn in itertools.product(range(topics), repeat=m):
        chance = sp.prod([p[c] for c in drawn])
        away = sum((sum(centres[c][i] for c in drawn) / m - overall[i]) ** 2 for i in (0, 1))
        noise = sum(traces[c] for c in drawn) / sp.Integer(m) ** 2
        exact += chance * (away + noise)
    within = mean(p, traces)
    shift = [0, 0] if mutation == "raw centres" else overall
    between = mean(p, [sum((x[i] - shift[i]) ** 2 for i in (0, 1)) for x in centres])
    if mutation == "as printed":
        between = 0
    claimed = within / m + between / (1 if mutation == "unscaled" else m)
    right = mutation is None or (mutation == "unscaled" and m == 1)
    assert (sp.expand(exact - claimed) == 0) is right


@mutations("mutation", [None, "between"])
def test_pooled_mean_of_fixed_topic_counts(mutation):
    """With n_c = p_c m fixed the printed (17) is right: nothing varies between topics."""
    n, s, u = vector("n", 3), vector("s", 3), sp.symbols("u0:3", real=True)
    m = sum(n)
    p = [c / m for c in n]
    exact = sum((c / m) ** 2 * (t / c) for c, t in zip(n, s, strict=True))
    claimed = mean(p, s) / m
    if mutation == "between":
        claimed += mean(p, [(x - mean(p, u)) ** 2 for x in u]) / m
    assert vanishes(exact - claimed) is (mutation is None)


# -- (h) Lemma 1's smallest witness ----------------------------------------------------------------


@mutations("tokens", [3, 2, 1])
def test_lemma1_witness_is_not_zero(tokens):
    """exp of the second difference of Q* is a rational function of e; e is no root of its excess.

    With one token, where ``log E exp`` is linear, the same computation gives exactly 1.
    """
    e = positive("e")

    def partition(u):
        return sum(e ** (u * a) for a in range(tokens))

    def desirability(x):  # exp V(x) = Σ_a ref(a|x) e^a with ref ∝ e^{xa}
        return sum(e ** (x * a) * e**a for a in range(tokens)) / partition(x)

    ratio = sp.Mul(*[(e**x * desirability(x)) ** c for x, c in ((0, 1), (1, -2), (2, 1))])
    by_h = partition(3) * partition(1) ** 3 / (partition(2) ** 3 * partition(0))
    assert sp.cancel(ratio - by_h) == 0
    numerator, denominator = sp.fraction(sp.cancel(by_h))
    excess = sp.Poly(sp.expand(numerator - denominator), e)
    assert excess.is_zero is (tokens == 1)
    if tokens == 3:
        # integer coefficients and not the zero polynomial: e, being transcendental, is no root
        assert all(c.is_Integer for c in excess.coeffs())
        value = sp.N(sp.log(by_h.subs(e, sp.E)), 30)
        assert sp.Abs(value - sp.Float("-0.2536", 30)) < sp.Float("5e-5", 30)
        h = [sp.log(1 + sp.E**u + sp.E ** (2 * u)) for u in range(4)]
        assert sp.Abs(sp.N(h[3] - 3 * h[2] + 3 * h[1] - h[0], 30) - value) < sp.Float("1e-28", 30)
        changed = sp.N(h[3] - 3 * h[2] + 3 * h[1] + h[0], 30)
        assert sp.Abs(changed - value) > 1


# -- (i) desirability ------------------------------------------------------------------------------


def desirabilities(A, mutation):
    """exp(V_t(x1,y)/β) for y = 0 from the Bellman equation in the values themselves, L = 2."""
    beta = positive("beta")
    rows = [law(f"f{x}_", A) for x in range(A)]
    reward = sp.symbols(f"r0:{A}", real=True)
    ahead = sp.symbols(f"V0:{A}", real=True)  # V_{t+1}(y, a)
    own = sp.symbols(f"o0:{A}", real=True)
    found = []
    for x in range(A):
        Q = [
            reward[a] + ahead[a] + (own[x] * a if mutation == "older token" else 0)
            for a in range(A)
        ]
        V = beta * sp.log(mean(rows[x], [sp.exp(q / beta) for q in Q]))
        found.append(sp.exp((2 if mutation == "exponent" else 1) * V / beta))
    factor = [sp.exp((r + v) / beta) for r, v in zip(reward, ahead, strict=True)]
    return rows, found, factor


@mutations("mutation", [None, "exponent", "older token"])
def test_desirability_factorises(mutation):
    """exp(V(x1,y)/β) = Σ_a Π_y[x1,a] g_y(a), and g_y knows nothing of x1."""
    rows, found, factor = desirabilities(2, mutation)
    same = [
        sp.simplify(sp.expand(z - mean(row, factor))) == 0
        for row, z in zip(rows, found, strict=True)
    ]
    assert all(same) is (mutation is None)
    assert not any(g.free_symbols & set().union(*(p.free_symbols for p in rows[0])) for g in factor)


@mutations("mutation", [None, "exponent", "older token"])
def test_desirability_inherits_the_rank_of_the_block(mutation):
    """A row that mixes the two others gives the same mixture of desirabilities."""
    rows, found, _ = desirabilities(3, mutation)
    c = positive("c")
    mixture = [c * a + (1 - c) * b for a, b in zip(rows[0], rows[1], strict=True)]
    third = found[2].subs(dict(zip(rows[2][:2], mixture[:2], strict=True)), simultaneous=True)
    difference = third - c * found[0] - (1 - c) * found[1]
    exponentials = {x: sp.Dummy(positive=True) for x in sp.expand(difference).atoms(sp.exp)}
    rational = sp.cancel(sp.together(sp.expand(difference).xreplace(exponentials)))
    assert (rational == 0) is (mutation is None)


# -- (j), (k) divergences --------------------------------------------------------------------------


@mutations("mutation", [None, "sign", "mean"])
def test_jeffreys(mutation):
    """KL(p‖q) + KL(q‖p) = (E_p − E_q) log p/q, and only f counts where p ∝ q e^f."""
    q, x = law("q", 3), vector("x", 3)  # x = e^f
    Z = mean(q, x)
    p = [a * b / Z for a, b in zip(q, x, strict=True)]
    sign = 1 if mutation == "sign" else -1
    other = p if mutation == "mean" else q
    ratio = [sp.log(a / b) for a, b in zip(p, q, strict=True)]
    f = [sp.log(y) for y in x]
    both = kl(p, q) + kl(q, p)
    assert vanishes(both - (mean(p, ratio) + sign * mean(other, ratio))) is (mutation is None)
    assert vanishes(both - (mean(p, f) + sign * mean(other, f))) is (mutation is None)


@mutations("mutation", [None, "sign", "direction", "order"])
def test_negative_exponent_costs_a_renyi_divergence(mutation):
    """−log E e^q = log E e^{−q} − D₂(ref‖π), D₂ = log Σ ref²/π with π ∝ ref e^q."""
    ref, x = law("f", 3), vector("x", 3)  # x = e^q
    Z = mean(ref, x)
    pi = [a * y / Z for a, y in zip(ref, x, strict=True)]
    top, bottom = (pi, ref) if mutation == "direction" else (ref, pi)
    power = 3 if mutation == "order" else 2
    terms = [a**power / b ** (power - 1) for a, b in zip(top, bottom, strict=True)]
    renyi = sp.log(sum(terms)) / (power - 1)
    inverse = mean(ref, [1 / y for y in x])
    sign = 1 if mutation == "sign" else -1
    # the exponential of both sides: rational, where logarithms of sums need not match in form
    left, right = 1 / Z, inverse * sp.exp(sign * renyi)
    assert vanishes(left - sp.simplify(right)) is (mutation is None)
