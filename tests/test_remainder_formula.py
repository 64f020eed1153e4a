"""What the envelope's remainder adds up, by plain loops and exponentials of 40 digits."""

from __future__ import annotations

from types import SimpleNamespace

import mpmath
import numpy as np
import pytest

from toymdp.kernels.boxes import TINY
from toymdp.kernels.envelopes import remainder

K, N = 2, 4
PAIRS = [(j, k) for j in range(K) for k in range(j, K)]
mp = mpmath.mp.clone()
mp.dps = 40


def inputs(size: float, seed: int) -> SimpleNamespace:
    """Random arguments with ``|x|`` up to ``size``; the first token has no mass to speak of."""
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(N))
    p[0] = 1e-300
    lo, hi = -size * rng.uniform(0.3, 1.0, N), size * rng.uniform(0.3, 1.0, N)
    return SimpleNamespace(
        tokens=np.array([3, 0, 2, 1]), ahead=rng.normal(size=(N, 1 + K + len(PAIRS))),
        sigma=np.array([1.0, -1.0]), p=p, ratio=rng.normal(size=N), lo=lo, hi=hi, up=np.exp(hi),
        n=0.7, e0=1.3, xi=0.4, offset=size * rng.normal(size=(K + 1, K)),
        reach=size * rng.uniform(0.5, 1.0, K), a0=rng.normal(size=N), a1=rng.normal(size=(N, K)),
        out=rng.normal(size=1 + K + len(PAIRS)), cov=rng.uniform(0.5, 1.0, size=len(PAIRS)),
        scale=3.0,
    )  # fmt: skip


def form(entries, left, right):
    """``leftᵀ M right`` of an upper triangle."""
    total = mp.mpf(0)
    for x, (j, k) in zip(entries, PAIRS, strict=True):
        both = left[j] * right[k] + (left[k] * right[j] if j != k else 0)
        total += mp.mpf(float(x)) * mp.mpf(float(both))
    return total


def expected(x: SimpleNamespace, eps: float, kappa: float):
    """The sum of absolute values that the kernel's docstring names."""
    bend = mp.mpf(x.xi) * (1 + x.xi * (1 + mp.mpf(x.xi)))
    e_max = x.e0 * (1 + bend)
    rest = z = mass = tilt = lost = mp.mpf(0)
    for i in range(N):
        p, ratio = mp.mpf(float(x.p[i])), abs(mp.mpf(float(x.ratio[i])))
        X = mp.mpf(float(max(x.hi[i], -x.lo[i])))
        first = mp.exp(X) - 1
        second = first - X
        above, below = second - X**2 / 2, 1 - X + X**2 / 2 - mp.exp(-X)
        linear = max(
            abs(sum(float(x.offset[v, k] * x.a1[i, k]) for k in range(K))) for v in range(K + 1)
        )
        bent = []
        for at, (j, k) in enumerate(PAIRS):
            gap = float(x.ahead[x.tokens[i], 1 + K + at] - x.out[1 + K + at])
            gap -= 2 * x.e0 / x.n**2 * float(x.ratio[i]) * float(x.sigma[j] * x.sigma[k])
            bent.append(abs(gap))
        a0 = float(x.a0[i])
        rest += p * (
            (a0 * above if a0 > 0 else -a0 * below)
            + second * linear + first * form(bent, x.reach, x.reach) / 2
            + (1 + first) * x.e0 * mp.mpf(x.xi) ** 3 * ratio + e_max * X**3 / 3
        )  # fmt: skip
        z += p * second
        mass += p * (1 + first)
        tilt += p * (1 + first) * (X + ratio)
        if p <= TINY:
            lost += p * (1 + first) * (1 + X + ratio)
    spread = max(form(x.cov, x.offset[v], x.offset[v]) for v in range(K + 1))
    rest += x.e0 * bend * spread / 2 + e_max * z**2 / 2
    rounding = 4 * (kappa + eps) * (mass * x.scale + e_max * tilt)
    rounding += e_max * kappa * mass / 4 + 4 * lost * (x.scale + e_max)
    return (rest + rounding) * (1 + mp.mpf(kappa))


@pytest.mark.parametrize(("eps", "kappa"), [(0.0, 0.0), (1e-3, 0.0), (0.0, 1e-3)])
@pytest.mark.parametrize("size", [1e-4, 0.015, 0.03, 0.5, 3.0])
def test_the_remainder_is_what_it_says(size, eps, kappa):
    """Never below, and above by no more than the last term of its series."""
    for seed in range(5):
        x = inputs(size, seed)
        room = np.empty(len(PAIRS))
        found = remainder(
            N, x.tokens, x.ahead, x.sigma, x.p, x.ratio, x.lo, x.hi, x.up, x.n, x.e0, x.xi,
            x.offset, x.reach, x.a0, x.a1, x.out, x.cov, room, x.scale, eps, kappa,
        )  # fmt: skip
        true = expected(x, eps, kappa)
        assert found > true * (1 - mp.mpf(10) ** -13)
        assert found < true * (1 + mp.mpf(10) ** -7)


def test_what_underflows_is_paid_for():
    """Where all masses are next to nothing, the digits that they have lost are most of the sum."""
    x = inputs(3.0, 0)
    x.p, x.cov = np.full(N, 1e-297), np.zeros(len(PAIRS))
    found = remainder(
        N, x.tokens, x.ahead, x.sigma, x.p, x.ratio, x.lo, x.hi, x.up, x.n, x.e0, x.xi,
        x.offset, x.reach, x.a0, x.a1, x.out, x.cov, np.empty(len(PAIRS)), x.scale, 0.0, 0.0,
    )  # fmt: skip
    assert found == pytest.approx(float(expected(x, 0.0, 0.0)), rel=1e-9, abs=0)
    x.p[:] = 1e-190  # these have lost nothing
    usual = float(expected(x, 0.0, 0.0)) / 1e-190
    assert found / 1e-297 > 1.2 * usual


def test_both_ways_to_take_the_exponential_are_tried():
    assert max(inputs(0.015, 0).hi) < 0.02 < max(inputs(0.03, 0).hi)
