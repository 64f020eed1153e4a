"""Section 4's two losses minimised together, on one step: their minimiser enclosed by bisection."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from flint import arb, ctx, fmpq

from .statements import Point, Sides
from .values import Values, total

Ends = tuple[fmpq, fmpq]


def _falls_to_zero(slope: Callable[[fmpq], arb], low: fmpq, high: fmpq) -> Ends:
    """Ends around the zero of a falling function, whose signs at both are proved.

    Halved until rounding hides a sign, or the ends are a unit of the working precision apart.
    """
    while high - low > fmpq(1, 2 ** (ctx.prec // 2)):
        middle = (low + high) / 2
        value = slope(middle)
        if value > 0:
            low = middle
        elif value < 0:
            high = middle
        else:
            break
    return low, high


def _sigma(x: arb) -> arb:
    return 1 / (1 + (-x).exp())


def _stationary(r: fmpq, v: fmpq, beta: fmpq) -> Ends:
    """Q where ``σ(Q) − σ(r) + (e^{(Q−V)/β} − 1)/β`` is 0: it rises in Q, and the zero is between V and r."""
    at_r = _sigma(arb(r))

    def fall(q: fmpq) -> arb:
        return at_r - _sigma(arb(q)) - (arb((q - v) / beta).exp() - 1) / arb(beta)

    return (r, r) if r == v else _falls_to_zero(fall, min(r, v), max(r, v))


def composite(values: Values, point: Point | None) -> Iterator[Sides]:
    """``L_Binary + L_Gumbel``, least over Q and V together, has Q = r; an answer is the first token.

    Both are convex, so the minimiser is where the slopes vanish: Q(a) of V as above, and
    ``E e^{(Q−V)/β} = 1``, which falls in V, since Q(a) moves with V but less. Q(a) then lies between
    its values at the two ends of V. lhs: Q(a); rhs: r(a). Some token is pulled up unless r is constant.
    """
    world, beta = values.world, values.world.beta
    moves = world.moves[world.start]
    for k, rewards in enumerate(world.rewards):
        r = [rewards[x] for x, _ in moves]

        def excess(v: fmpq, r: list[fmpq] = r) -> arb:
            ends = [_stationary(x, v, beta) for x in r]
            balls = [
                arb((low - v) / beta).exp().union(arb((high - v) / beta).exp())
                for low, high in ends
            ]
            return total([arb(p) * e for (_, p), e in zip(moves, balls, strict=True)]) - 1

        low, high = _falls_to_zero(excess, min(r), max(r))
        for a, x in enumerate(r):
            Q = arb(_stationary(x, low, beta)[0]).union(arb(_stationary(x, high, beta)[1]))
            yield Sides(Q, arb(x), {"k": k, "token": a})
