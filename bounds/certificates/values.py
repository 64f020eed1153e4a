"""Soft values, tilted policies and the soup's objective in balls.

A policy ``π ∝ ref·e^x`` depends on differences of x only, so every routine takes the matrix
``d[a][b] = x_a − x_b``: for a box of u the differences are much narrower than the logits. They
are still wide, and ``1/Σ`` of wide balls says nothing; but ``π_a = 1/Σ_b (ref_b/ref_a) e^{x_b − x_a}``
decreases in each difference, so its values at their two ends enclose it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from flint import arb, fmpq, fmpq_mat

from .instance import Instance, square

Matrix = list[list[arb]]
Field = dict[tuple[int, int], arb]  # on the reachable (t, s') or (t, s)
ZERO = arb(0)


def total(terms: list[arb]) -> arb:
    """Sum of balls."""
    return sum(terms, ZERO)


def clip(x: arb, low: arb, high: arb) -> arb:
    """Intersect x, which may be wide or not finite, with bounds known beforehand."""
    known = low.union(high)
    return x.intersection(known) if x.is_finite() else known


def differences(x: list[arb]) -> Matrix:
    """``d[a][b] = x_a − x_b``."""
    return [[a - b for b in x] for a in x]


def extremes(x: list[arb]) -> tuple[arb, arb]:
    """The least and the largest of some balls."""
    low = high = x[0]
    for other in x[1:]:
        low, high = low.min(other), high.max(other)
    return low, high


@dataclass(frozen=True)
class Logits:
    """``d[a][b] = x_a − x_b``, and the least and largest of their exponentials.

    One for all contexts with the same next contexts: exponentials are most of the work.
    """

    d: Matrix

    @cached_property
    def ends(self) -> tuple[Matrix, Matrix]:
        """``e^d`` at the lower and at the upper ends of d."""
        A = range(len(self.d))
        low, high = ([[arb(1) for _ in A] for _ in A] for _ in range(2))
        for a in A:
            for b in range(a):
                low[a][b], high[a][b] = self.d[a][b].lower().exp(), self.d[a][b].upper().exp()
                low[b][a], high[b][a] = 1 / high[a][b], 1 / low[a][b]
        return low, high


class Tilt:
    """``π ∝ ref·e^x`` at one state: p are ref's probabilities, odds[a][b] their ratios p_b/p_a."""

    def __init__(self, p: list[arb], odds: Matrix, x: Logits) -> None:
        self.p, self.d = p, x.d
        least, most = x.ends
        ends = []
        for a, row in enumerate(odds):
            low = 1 / total([o * most[b][a] for b, o in enumerate(row)])
            high = 1 / total([o * least[b][a] for b, o in enumerate(row)])
            ends.append((low, high))
        self.pi = [low.union(high) for low, high in ends]
        self.anchor = max(range(len(p)), key=lambda a: float(ends[a][0].mid()))
        low, high = ends[self.anchor]
        # log E_ref e^{x − x_anchor} = log(p/π) at the anchor
        self.log_z = p[self.anchor].log() - low.log().union(high.log())

    def mean(self, x: list[arb]) -> arb:
        """``E_π x``, around the anchor, between the least and the largest x."""
        c = self.anchor
        around_anchor = x[c] + total([self.pi[a] * (x[a] - x[c]) for a in range(len(x)) if a != c])
        low, high = extremes(x)
        return clip(around_anchor, low.lower(), high.upper())

    @cached_property
    def pairs(self) -> list[arb]:
        """``π_a π_b`` of every b < a: ``Cov_π(f, g) = Σ_{b<a} π_a π_b (f_a − f_b)(g_a − g_b)``."""
        return [self.pi[a] * self.pi[b] for a in range(len(self.pi)) for b in range(a)]

    def of_pairs(self, products: list[arb]) -> arb:
        """``Σ_{b<a} π_a π_b products_ab``: a covariance from its products of differences."""
        return total([x * y for x, y in zip(self.pairs, products, strict=True)])

    def centred(self, f: Matrix) -> list[arb]:
        """``f_a − E_π f`` of a field given by its differences."""
        return [total([p * x for p, x in zip(self.pi, row, strict=True)]) for row in f]

    def divergence(self, other: Tilt | None = None) -> arb:
        """``KL(self‖other)`` in nats, of ref where other is None."""
        c = self.anchor
        d = [self.d[a][c] - (other.d[a][c] if other else 0) for a in range(len(self.p))]
        drop = other.log_z_at(c) - self.log_z if other else -self.log_z
        return total([x * y for x, y in zip(self.pi, d, strict=True)]) + drop

    def log_z_at(self, c: int) -> arb:
        """``log E_ref e^{x − x_c}``."""
        return self.log_z + self.d[self.anchor][c]


class Values:
    """Q_k/β, Q_w/β (index K) on (t, s') and V/β on (t, s) at the working precision, in nats."""

    def __init__(self, world: Instance) -> None:
        self.world, self.beta = world, arb(world.beta)
        self.p = {s: [arb(x) for _, x in moves] for s, moves in world.moves.items()}
        self.odds = {s: [[b / a for b in p] for a in p] for s, p in self.p.items()}
        self.next = {s: [x for x, _ in moves] for s, moves in world.moves.items()}
        self.reward_w = {s: arb(world.rewards_w[s]) for _, s in world.used}
        solved = [self._solve(r) for r in (*world.rewards, world.rewards_w)]
        self.Q, self.V = tuple(Q for Q, _ in solved), tuple(V for _, V in solved)

    def _solve(self, reward: list[fmpq]) -> tuple[Field, Field]:
        """Backward induction (2)–(4): ``Q_t = r + V_{t+1}``, ``V_t = β log E_ref e^{Q_t/β}``."""
        world = self.world
        Q: Field = {}
        V: Field = {}
        for t in reversed(range(world.steps)):
            for s in world.states[t]:
                for x in self.next[s]:
                    Q[t, x] = arb(reward[x] / world.beta) + V.get((t + 1, x), ZERO)
                policy = self.tilt(s, [Q[t, x] for x in self.next[s]])
                V[t, s] = policy.log_z + Q[t, self.next[s][policy.anchor]]
        return Q, V

    def tilt(self, s: int, x: list[arb]) -> Tilt:
        """The policy ``∝ ref·e^x`` at context s."""
        return self.tilt_by(s, Logits(differences(x)))

    def tilt_by(self, s: int, logits: Logits) -> Tilt:
        """The same from differences that other contexts may share."""
        return Tilt(self.p[s], self.odds[s], logits)

    def at(self, t: int, s: int, field: Field) -> list[arb]:
        """A field on next contexts, over the tokens of (t, s)."""
        return [field[t, x] for x in self.next[s]]

    def mix(self, weights: list[arb], fields: tuple[Field, ...]) -> Field:
        """``Σ_k weights_k fields_k`` on the reachable (t, s')."""
        return {
            place: total([c * f[place] for c, f in zip(weights, fields, strict=False)])
            for place in self.world.used
        }

    def expectation(self, x: Field, payoff: Field) -> arb:
        """``E Σ_t payoff(t, s')`` from the start under ``π ∝ ref·e^x``."""
        ahead: Field = {}
        for t in reversed(range(self.world.steps)):
            for s in self.world.states[t]:
                worth = [payoff[t, y] + ahead.get((t + 1, y), ZERO) for y in self.next[s]]
                ahead[t, s] = self.tilt(s, self.at(t, s, x)).mean(worth)
        return ahead[0, self.world.start]

    @cached_property
    def norms(self) -> Field:
        """``‖ψ(t, s')‖₂``."""
        rows = self.world.psi.items()
        return {place: arb(square(row)).sqrt() for place, row in rows}

    @cached_property
    def _inverse(self) -> fmpq_mat | None:
        """``Ψᵀ(ΨΨᵀ)⁻¹`` for independent dense rows, exact; None where each row is one coordinate."""
        if all(len(row) == 1 for row in self.world.psi.values()):
            return None
        rows = self.world.rows(self.world.used)
        return rows.transpose() * (rows * rows.transpose()).inv()

    @cached_property
    def logit_nus(self) -> list[list[arb]]:
        """ν of every ``Q_k/β`` and, last, of ``Q_w/β``."""
        return [self.coordinates(Q) for Q in self.Q]

    @cached_property
    def rewards(self) -> tuple[Field, ...]:
        """r_k on the reachable (t, s'), K of them."""
        world = self.world
        return tuple({place: arb(r[place[1]]) for place in world.used} for r in world.rewards)

    @cached_property
    def reward_nus(self) -> list[list[arb]]:
        """ν of every r_k."""
        return [self.coordinates(r) for r in self.rewards]

    def coordinates(self, x: Field) -> list[arb]:
        """The (least-norm) ν with ``ψ·ν = x`` on the reachable rows, which are independent."""
        if self._inverse is None:
            return [x[p] / next(iter(self.world.psi[p].values())) for p in self.world.used]
        field = [x[p] for p in self.world.used]
        return [
            total([arb(c) * y for c, y in zip(row, field, strict=True)])
            for row in self._inverse.tolist()
        ]


def length(vector: list[arb]) -> arb:
    """Euclidean norm, from the least and largest size of each coordinate."""
    low = total([x.abs_lower() * x.abs_lower() for x in vector]).lower().max(ZERO)
    high = total([x.abs_upper() * x.abs_upper() for x in vector]).upper()
    return low.sqrt().union(high.sqrt())


def hard_minimum(values: Values, cost: Field, weight: Field) -> tuple[arb, arb]:
    """``min_π E_π Σ cost`` from the start, and ``E_π Σ weight`` of the policies that attain it.

    The second ball holds the totals of every policy that is a minimiser somewhere in the balls.
    """
    least: Field = {}
    path: Field = {}
    for t in reversed(range(values.world.steps)):
        for s in values.world.states[t]:
            costs = [cost[t, x] + least.get((t + 1, x), ZERO) for x in values.next[s]]
            paths = [weight[t, x] + path.get((t + 1, x), ZERO) for x in values.next[s]]
            least[t, s] = extremes(costs)[0]
            chosen = [x for c, x in zip(costs, paths, strict=True) if not c > least[t, s]]
            low, high = extremes(chosen)
            path[t, s] = low.union(high)
    return least[0, values.world.start], path[0, values.world.start]
