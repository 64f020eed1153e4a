"""ss.lemma1.per-step is false: lemma1-per-step breaks it. Run me with any Python 3.9 or later; I import nothing else.

I hold one instance, every number of it exactly, and prove with integers alone that it meets the
hypotheses of the claim and that the left side is larger than the right one. I print an enclosure of
each side: the true number lies between its ends. Exit code 0: proved.

A token MDP: a context is the last L tokens, written as a number in base A (the newest last);
ref[s][a] is proportional to weights[s][a]; token a leads from s to (s·A + a) mod A^L, and the reward
r_k is that of the new context. After T tokens it is over.
"""

from __future__ import annotations

import math
import sys
from fractions import Fraction

CLAIM = "ss.lemma1.per-step"
A, L, T, START = 3, 1, 2, 0
BETA = Fraction(1)
WEIGHTS = [[1, 1, 1], [1, 2, 4], [1, 4, 16]]
REWARDS = [[0, 1, 2]]
W = [1]
PSI = {
    (0, 0): {0: 1}, (0, 1): {0: 1, 1: 1}, (0, 2): {0: 1, 1: 2}, (1, 0): {0: 1}, (1, 1): {0: 1, 1: 1},
    (1, 2): {0: 1, 1: 2},
}  # by (t, new context): its coordinates
EXPECTED = 0.04735247762973627, 0.0  # left and right side as first found
BITS = 107  # numbers are multiples of 2^-BITS, rounded outward

# -- intervals -------------------------------------------------------------------------------------

ONE = 1 << BITS


class Iv:
    """All numbers from lo/2^BITS to hi/2^BITS."""

    def __init__(self, lo: int, hi: int) -> None:
        if lo > hi:
            raise ArithmeticError("an interval with its ends the wrong way round")
        self.lo, self.hi = lo, hi

    def __add__(self, o: Iv) -> Iv:
        return Iv(self.lo + o.lo, self.hi + o.hi)

    def __sub__(self, o: Iv) -> Iv:
        return Iv(self.lo - o.hi, self.hi - o.lo)

    def __mul__(self, o: Iv) -> Iv:
        ends = (self.lo * o.lo, self.lo * o.hi, self.hi * o.lo, self.hi * o.hi)
        return Iv(min(ends) >> BITS, -(-max(ends) >> BITS))

    def __truediv__(self, o: Iv) -> Iv:
        if o.lo <= 0 <= o.hi:
            raise ArithmeticError("division by an interval that holds 0")
        return self * Iv((ONE * ONE) // o.hi, -((-ONE * ONE) // o.lo))

    def meet(self, o: Iv) -> Iv:
        """What both enclosures of one number leave."""
        return Iv(max(self.lo, o.lo), min(self.hi, o.hi))

    def __str__(self) -> str:
        low, high = (Fraction(x, ONE) for x in (self.lo, self.hi))
        return f"[{math.floor(low * 10**9) / 10**9:.9f}, {math.ceil(high * 10**9) / 10**9:.9f}]"


def exact(x: Fraction | int) -> Iv:
    n = Fraction(x) * ONE
    return Iv(math.floor(n), math.ceil(n))


ZERO, UNIT = exact(0), exact(1)


def hull(a: Iv, b: Iv) -> Iv:
    return Iv(min(a.lo, b.lo), max(a.hi, b.hi))


def total(terms: list[Iv]) -> Iv:
    return Iv(sum(x.lo for x in terms), sum(x.hi for x in terms))


def _exp(x: int) -> Iv:
    """e^(x/2^BITS): Taylor at x/2^m, |x/2^m| ≤ 2^-8, then m squarings."""
    m = max(0, abs(x).bit_length() - BITS + 8)
    r = Iv(x >> m, -(-x >> m))
    term, out, n = UNIT, UNIT, 1
    while n * 8 < BITS + 16:
        term = term * r / exact(n)
        out, n = out + term, n + 1
    out = out + Iv(-2, 2)  # what is left is at most twice the next term: < 2^-(8n)
    for _ in range(m):
        out = out * out
    return Iv(max(out.lo, 0), out.hi)


def exp(x: Iv) -> Iv:
    return Iv(_exp(x.lo).lo, _exp(x.hi).hi)


def _log(x: int) -> Iv:
    """log(x/2^BITS): x = 2^e·y with y in [1, 2), log y = 2 artanh((y − 1)/(y + 1))."""
    e = x.bit_length() - 1 - BITS
    y = Iv(x << -e, x << -e) if e <= 0 else Iv(x >> e, -(-x >> e))
    return _artanh2(y) + exact(e) * LOG2


def _artanh2(y: Iv) -> Iv:
    z = (y - UNIT) / (y + UNIT)
    power, out, n = z, z, 1
    while n * 3 < BITS + 8:  # z² ≤ 1/9 < 2^-3: the tail is below 2^-(3n)
        power, n = power * z * z, n + 1
        out = out + power / exact(2 * n - 1)
    return out + out + Iv(-8, 8)


LOG2 = _artanh2(exact(2))


def log(x: Iv) -> Iv:
    if x.lo <= 0:
        raise ArithmeticError("the logarithm of what may be 0")
    return Iv(_log(x.lo).lo, _log(x.hi).hi)


def sqrt(x: Iv) -> Iv:
    return Iv(math.isqrt(max(x.lo, 0) << BITS), math.isqrt(x.hi << BITS) + 1)


# -- the instance ----------------------------------------------------------------------------------

if min(map(min, WEIGHTS)) < 0 or min(W) < 0 or abs(sum(W) - 1) > 1e-9 or BETA <= 0:
    sys.exit("NOT PROVED: a weight below 0, preferences that do not add up to 1, or a β that is not > 0")
S, K = A**L, len(W)
REF = [[Fraction(x) / sum(map(Fraction, row)) for x in row] for row in WEIGHTS]
R = [[Fraction(x) for x in row] for row in REWARDS]  # r_k by new context
W = [Fraction(w) / sum(map(Fraction, W)) for w in W]
R.append([sum((w * r[n] for w, r in zip(W, R)), Fraction(0)) for n in range(S)])  # the user's
NEXT = {s: [(s * A + a) % S for a in range(A) if REF[s][a] > 0] for s in range(S)}
P = {s: [exact(p) for p in REF[s] if p > 0] for s in range(S)}
ODDS = {s: [[exact(b / a) for b in REF[s] if b > 0] for a in REF[s] if a > 0] for s in range(S)}
STATES = [[START]]  # reachable contexts by step
for _ in range(T - 1):
    STATES.append(sorted({n for s in STATES[-1] for n in NEXT[s]}))
PLACES = [(t, n) for t in range(T) for n in sorted({n for s in STATES[t] for n in NEXT[s]})]


WIDTH = 1 + max(i for row in PSI.values() for i in row)
ROWS = [[Fraction(PSI[p].get(i, 0)) for i in range(WIDTH)] for p in PLACES]
SQUARED = {p: sum((x * x for x in row), Fraction(0)) for p, row in zip(PLACES, ROWS)}
NORM = {p: sqrt(exact(x)) for p, x in SQUARED.items()}


# -- exact values: Q_t = r + V_{t+1}, V_t = β log E_ref e^{Q_t/β}, all in nats (over β) ------------

def differences(x: list[Iv]) -> list[list[Iv]]:
    return [[a - b for b in x] for a in x]


class Tilt:
    """π proportional to ref·e^x at context s; d[a][b] = x_a − x_b."""

    def __init__(self, s: int, d: list[list[Iv]]) -> None:
        n, self.p, self.d, self.pi = len(d), P[s], d, []
        e = [[UNIT] * n for _ in range(n)]
        for a in range(n):
            for b in range(a):
                e[a][b] = exp(d[a][b])
                e[b][a] = UNIT / e[a][b]
        for a in range(n):  # 1/Σ_b (p_b/p_a) e^{x_b − x_a}, which falls in each difference
            self.pi.append(UNIT / total([ODDS[s][a][b] * e[b][a] for b in range(n)]))
        self.top = max(range(n), key=lambda a: self.pi[a].lo)  # where the enclosure is best
        self.log_z = log(self.p[self.top]) - log(self.pi[self.top])  # of E_ref e^{x − x_top}

    def mean(self, x: list[Iv]) -> Iv:
        c = self.top
        near = x[c] + total([p * (y - x[c]) for i, (p, y) in enumerate(zip(self.pi, x)) if i != c])
        return near.meet(Iv(min(y.lo for y in x), max(y.hi for y in x)))

    def covariance(self, f: list[list[Iv]], g: list[list[Iv]]) -> Iv:
        pairs = [(a, b) for a in range(len(f)) for b in range(a)]
        return total([self.pi[a] * self.pi[b] * (f[a][b] * g[a][b]) for a, b in pairs])

    def divergence(self, other: Tilt | None = None) -> Iv:
        """KL(self‖other), of ref where there is no other."""
        c, n = self.top, len(self.p)
        if other is None:
            return total([self.pi[a] * self.d[a][c] for a in range(n)]) - self.log_z
        drop = total([self.pi[a] * (self.d[a][c] - other.d[a][c]) for a in range(n)])
        return drop + other.log_z + other.d[other.top][c] - self.log_z


def at(field: dict, t: int, s: int) -> list[Iv]:
    return [field[t, n] for n in NEXT[s]]


def solve(reward: list[Fraction]) -> tuple[dict, dict]:
    Q, V = {}, {}
    for t in reversed(range(T)):
        for s in STATES[t]:
            for n in NEXT[s]:
                Q[t, n] = exact(reward[n] / BETA) + V.get((t + 1, n), ZERO)
            tilt = Tilt(s, differences(at(Q, t, s)))
            V[t, s] = tilt.log_z + Q[t, NEXT[s][tilt.top]]
    return Q, V


SOLVED = [solve(r) for r in R]
QS, VS = [q for q, _ in SOLVED], [v for _, v in SOLVED]  # the last is the user's, r_w


def eliminate(matrix: list[list[Fraction]], columns: int) -> tuple[list[list[Fraction]], list[int]]:
    """Gauss–Jordan on the first columns, exactly; the matrix and the pivots."""
    m, pivots, r = [list(row) for row in matrix], [], 0
    for c in range(columns):
        found = next((i for i in range(r, len(m)) if m[i][c] != 0), None)
        if found is None:
            continue
        m[r], m[found] = m[found], m[r]
        m[r] = [x / m[r][c] for x in m[r]]
        for i in range(len(m)):
            if i != r and m[i][c] != 0:
                m[i] = [x - m[i][c] * y for x, y in zip(m[i], m[r])]
        pivots.append(c)
        r += 1
    return m, pivots


def residuals(places: list[tuple[int, int]]) -> list[list[Fraction]]:
    """Every y with yᵀΨ = 0 such that y·Q is what the best fit of Q at those places leaves at one."""
    rows, m = [ROWS[PLACES.index(p)] for p in places], len(places)
    both = [row + [Fraction(int(i == j)) for j in range(m)] for i, row in enumerate(rows)]
    done, pivots = eliminate(both, len(rows[0]))
    null = [row[-m:] for row in done[len(pivots) :]]
    gram = [[sum((x * y for x, y in zip(p, q)), Fraction(0)) for q in null] + p for p in null]
    solved = [row[len(null) :] for row in eliminate(gram, len(null))[0]]
    found = [[sum((p[i] * x[j] for p, x in zip(null, solved)), Fraction(0)) for j in range(m)]
             for i in range(m)]  # fmt: skip
    for y in found:  # exactly: a nu cannot help
        if any(sum((c * row[d] for c, row in zip(y, rows)), Fraction(0)) for d in range(len(rows[0]))):
            raise ArithmeticError("y is not orthogonal to the features")
    return found


def main() -> int:
    """Assumption 1, exactly; then the largest residual of any Q*."""
    for k, r in enumerate(R):
        table = [row + [r[n]] for row, (_, n) in zip(ROWS, PLACES)]
        done, pivots = eliminate(table, len(ROWS[0]))
        if any(row[-1] for row in done[len(pivots) :]):
            raise ArithmeticError(f"Assumption 1: reward {k + 1} is not linear in psi")
    print("Assumption 1 holds exactly, for every reward and for the user's")
    worst, scale = ZERO, exact(BETA)
    for steps in [[t] for t in range(T)]:
        places = [p for p in PLACES if p[0] in steps]
        for y in residuals(places):
            for Q in QS:
                left = total([exact(c) * Q[p] for c, p in zip(y, places) if c]) * scale
                left = left if left.lo >= 0 else ZERO - left
                worst = left if left.lo > worst.lo else worst
    if worst.lo <= 0:
        raise ArithmeticError("every Q* may be linear in psi")
    print("left: what the least-squares nu leaves of Q* at its worst place; right: what the claim says, 0")
    return verdict(worst, ZERO)


def verdict(left: Iv, right: Iv) -> int:
    """Print both enclosures; all the numbers of this file went into them."""
    print(f"left side in  {left}")
    print(f"right side in {right}")
    for x, side in zip(EXPECTED, (left, right)):
        if not side.lo - ONE // 10**6 <= Fraction(x) * ONE <= side.hi + ONE // 10**6:
            raise ArithmeticError(f"{x} was expected: a number of this file was changed")
    print(f"PROVED: {CLAIM} is false")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (ArithmeticError, ValueError, IndexError, TypeError, StopIteration) as reason:
        print(f"NOT PROVED: {reason}")
        sys.exit(1)
