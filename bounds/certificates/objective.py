"""J, its slopes and its second derivatives over boxes of one orthant, in balls.

In the orthant of signs σ write ``u = βλ/β' = n·(σ_1 v_1, ..., σ_K v_K)`` with ``n = |u|₁ ∈ [0, 1]`` and
v on the simplex, ``v_K = 1 − Σ_{i<K} v_i``. With ``g = Σ σ_k v_k Q_k/β``, which is affine in v,

    J = E_π[Σ r_w] − β E_π Σ c,   π ∝ ref·e^{n g},   c = KL(π‖ref)/n ∈ [0, n·span(g)²/8]

(``KL = ∫_0^n x Var dx``; where n may be 0, that interval stands for c). J is smooth in (n, v) there.
With ``h_i = ∂g/∂v_i = (σ_i Q_i − σ_K Q_K)/β``, ``X = r_w + J_{t+1}`` and ``Y = X − βg`` on the next
contexts, each step adds to the mean of the derivatives that follow

    ∂_n    Cov(g, Y) + β c/n,  c/n ∈ [0, span(g)²/8]        ∂_i   n Cov(h_i, Y)
    ∂_n∂_n  κ(g, g, Y) + 2 Cov(g, ∂_n X) + β (Var g − 2c/n)/n
    ∂_n∂_i  Cov(h_i, Y) + n κ(g, h_i, Y) + Cov(g, ∂_i X) + n Cov(h_i, ∂_n X)
    ∂_i∂_j  n² κ(h_i, h_j, Y) + n Cov(h_i, ∂_j X) + n Cov(h_j, ∂_i X) − β n Cov(h_i, h_j)

κ(a, b, c) is the third central moment under π; ``∂_θ E_π f = Cov(∂_θ(n g), f) + E_π ∂_θ f``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from flint import arb, fmpq

from .values import ZERO, Logits, Matrix, Tilt, Values, clip, differences, total

Interval = tuple[fmpq, fmpq]


def ball(x: Interval) -> arb:
    """The interval as a ball."""
    return arb(x[0]).union(arb(x[1]))


@dataclass(frozen=True)
class Box:
    """Signs σ [K], the interval of n, and those of v_1..v_{K−1}."""

    signs: tuple[int, ...]
    sides: tuple[Interval, ...]  # n first

    @property
    def n(self) -> arb:
        """``|u|₁``."""
        return ball(self.sides[0])

    @property
    def v(self) -> list[arb]:
        """``|u_k|/|u|₁`` [K], the last by subtraction."""
        low = max(1 - sum((x[1] for x in self.sides[1:]), fmpq(0)), fmpq(0))
        high = 1 - sum((x[0] for x in self.sides[1:]), fmpq(0))
        return [*map(ball, self.sides[1:]), ball((low, high))]

    @property
    def u(self) -> list[arb]:
        """``u = βλ/β'`` [K]."""
        return [s * self.n * v for s, v in zip(self.signs, self.v, strict=True)]

    @property
    def centre(self) -> Box:
        """Its midpoint, a box of width 0."""
        return Box(self.signs, tuple(((a + b) / 2, (a + b) / 2) for a, b in self.sides))

    def with_side(self, i: int, side: Interval) -> Box:
        """The box with one side replaced."""
        return Box(self.signs, (*self.sides[:i], side, *self.sides[i + 1 :]))

    def halves(self, slope: list[arb]) -> list[Box]:
        """Both halves across one of the longer sides, that along which J may vary most.

        Halves outside the simplex are left out.
        """
        long = [i for i, (a, b) in enumerate(self.sides) if 16 * (b - a) >= self.width]
        vary = [arb(b - a) * d.abs_upper() for (a, b), d in zip(self.sides, slope, strict=True)]
        i = max(long, key=lambda j: float(vary[j]) if vary[j].is_finite() else math.inf)
        (a, b), parts = self.sides[i], []
        for side in ((a, (a + b) / 2), ((a + b) / 2, b)):
            half = self.with_side(i, side)
            if sum((x[0] for x in half.sides[1:]), fmpq(0)) <= 1:
                parts.append(half)
        return parts

    @property
    def width(self) -> fmpq:
        """Its longest side."""
        return max(b - a for a, b in self.sides)


@dataclass(frozen=True)
class Block:
    """Contexts [n] of one step that share their next contexts, and the fields there.

    last: differences of ``σ_K Q_K/β``. rest: of ``(σ_k Q_k − σ_K Q_K)/β`` for the other k.
    """

    contexts: list[int]
    nexts: list[int]
    last: Matrix
    rest: list[Matrix]

    def logits(self, v: list[arb]) -> Matrix:
        """Differences of ``g = Σ σ_k v_k Q_k/β``."""
        A = range(len(self.nexts))
        return [
            [self.last[a][b] + total([c * k[a][b] for c, k in zip(v, self.rest, strict=True)])
             for b in A] for a in A
        ]  # fmt: skip


@dataclass(frozen=True)
class Jet:
    """J over a box, its slopes [K] and second derivatives [K, K], empty where not asked for."""

    J: arb
    slope: list[arb]
    bend: list[list[arb]]


class Objective:
    """J and its gradient on boxes of one orthant, in reward units."""

    def __init__(self, values: Values, signs: tuple[int, ...]) -> None:
        self.values, self.K = values, len(signs)
        self.blocks: list[list[Block]] = []
        for t, states in enumerate(values.world.states):
            members: dict[tuple[int, ...], list[int]] = {}
            for s in states:
                members.setdefault(tuple(values.next[s]), []).append(s)
            self.blocks.append([self._block(t, contexts, signs) for contexts in members.values()])

    def _block(self, t: int, contexts: list[int], signs: tuple[int, ...]) -> Block:
        values = self.values
        q = [
            [sg * x for x in values.at(t, contexts[0], Q)]
            for sg, Q in zip(signs, values.Q, strict=False)
        ]
        last = q[-1]
        rest = [[x - y for x, y in zip(k, last, strict=True)] for k in q[:-1]]
        return Block(contexts, values.next[contexts[0]], differences(last), [
            differences(k) for k in rest
        ])  # fmt: skip

    def at(self, box: Box, order: int) -> Jet:
        """J and its derivatives up to ``order`` ≤ 2 by (n, v_1, ..., v_{K−1}) over the box.

        Second derivatives need n > 0.
        """
        values, n, beta = self.values, box.n, self.values.beta
        v = [ball(x) for x in box.sides[1:]]
        n_high, positive = arb(box.sides[0][1]), box.sides[0][0] > 0
        after: dict[tuple[int, int], Jet] = {}
        ended = Jet(ZERO, [ZERO] * self.K, [[ZERO] * self.K for _ in range(self.K)])
        for t in reversed(range(values.world.steps)):
            for block in self.blocks[t]:
                ahead = [after.get((t + 1, x), ended) for x in block.nexts]
                worth = [values.reward_w[x] + y.J for x, y in zip(block.nexts, ahead, strict=True)]
                g = block.logits(v)
                logits = Logits([[n * x for x in row] for row in g])
                widest = ZERO
                for x in (g[a][b] for a in range(len(g)) for b in range(a)):
                    widest = widest.max(x.abs_upper())
                most = widest * widest / 8
                Y = [[x - y for y in worth] for x in worth]
                Y = [
                    [x - beta * z for x, z in zip(*rows, strict=True)]
                    for rows in zip(Y, g, strict=True)
                ]
                step = Step(n, beta, [g, *block.rest], Y, ahead)
                for s in block.contexts:
                    policy = values.tilt_by(s, logits)
                    c = policy.divergence() / n if positive else arb.nan()
                    c = clip(c, ZERO, n_high * most)
                    J = policy.mean(worth) - beta * c
                    rate = clip(c / n, ZERO, most) if positive else ZERO.union(most)
                    slope = step.slope(policy, rate) if order > 0 else []
                    bend = step.bend(policy, rate) if order > 1 else []
                    after[t, s] = Jet(J, slope, bend)
        return after[0, values.world.start]


class Step:
    """One step's share of the derivatives, for the contexts of a block.

    fields: differences of g, h_1, ..., h_{K−1}; Y: of ``r_w + J_{t+1} − βg``; ahead: what follows
    each token.
    """

    def __init__(
        self, n: arb, beta: arb, fields: list[Matrix], Y: Matrix, ahead: list[Jet]
    ) -> None:
        self.n, self.beta, self.fields, self.Y, self.ahead = n, beta, fields, Y, ahead
        self.K = len(fields)
        self.scale = [arb(1), *[n] * (self.K - 1)]  # ∂(n g)/∂θ = scale·field

    @cached_property
    def with_Y(self) -> list[list[arb]]:
        """Products of the differences of each field and of Y."""
        return [pair_products(f, self.Y) for f in self.fields]

    @cached_property
    def with_slopes(self) -> list[list[list[arb]]]:
        """Of each field and of the slopes that follow along each side."""
        after = [differences([x.slope[i] for x in self.ahead]) for i in range(self.K)]
        return [[pair_products(f, x) for x in after] for f in self.fields]

    @cached_property
    def with_fields(self) -> list[list[list[arb]]]:
        """Of every two fields."""
        return [[pair_products(f, x) for x in self.fields] for f in self.fields]

    def slope(self, policy: Tilt, rate: arb) -> list[arb]:
        """First derivatives, rate in ``c/n``."""
        found = [c * policy.of_pairs(x) for c, x in zip(self.scale, self.with_Y, strict=True)]
        found[0] += self.beta * rate
        return [x + policy.mean([y.slope[i] for y in self.ahead]) for i, x in enumerate(found)]

    def bend(self, policy: Tilt, rate: arb) -> list[list[arb]]:
        """Second derivatives [K, K]."""
        n, beta, scale, K = self.n, self.beta, self.scale, self.K
        centred = [policy.centred(f) for f in self.fields]
        heavy = [p * y for p, y in zip(policy.pi, policy.centred(self.Y), strict=True)]
        found = [[ZERO] * K for _ in range(K)]
        for i in range(K):
            for j in range(i + 1):
                third = total(
                    [w * x * y for w, x, y in zip(heavy, centred[i], centred[j], strict=True)]
                )
                here = scale[i] * scale[j] * third
                here += scale[i] * policy.of_pairs(self.with_slopes[i][j])
                here += scale[j] * policy.of_pairs(self.with_slopes[j][i])
                if i == 0:
                    here += beta * (policy.of_pairs(self.with_fields[0][0]) - 2 * rate) / n
                elif j == 0:
                    here += policy.of_pairs(self.with_Y[i])
                else:
                    here -= beta * n * policy.of_pairs(self.with_fields[i][j])
                here += policy.mean([y.bend[i][j] for y in self.ahead])
                found[i][j] = found[j][i] = here
        return found


def pair_products(f: Matrix, g: Matrix) -> list[arb]:
    """``(f_a − f_b)(g_a − g_b)`` for every b < a."""
    return [f[a][b] * g[a][b] for a in range(len(f)) for b in range(a)]
