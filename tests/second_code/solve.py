"""Soft values, policies and what they earn, by loops; the hard minimum; one soup."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from itertools import product

from .instance import Number, Place, World, mp, number, total
from .linear import LeastSquares, solve_system

Field = dict[Place, Number]
Law = dict[int, Number]  # probability of each next context: they tell the tokens apart
TIE = mp.mpf(10) ** -40


class Unbounded(Exception):  # noqa: N818
    """A cycle lowers the total for ever."""


def soft_values(world: World, reward) -> tuple[Field, Field]:
    """Q on (t, s') and V on (t, s) by (2)–(4)."""
    beta = world.beta
    gain = {n: number(reward[n]) for _, n in world.used()}
    Q: Field = {}
    V: Field = {}
    if world.horizon is None:
        states = world.states[0]
        at = {s: i for i, s in enumerate(states)}
        matrix = [[mp.mpf(int(i == j)) for j in at.values()] for i in at.values()]
        right = [[mp.mpf(0)] for _ in states]
        for s in states:
            for _, n, p in world.moves[s]:
                weight = p * mp.exp(gain[n] / beta)
                if n in world.ended:
                    right[at[s]][0] += weight
                else:
                    matrix[at[s]][at[n]] -= weight
        for s, (z,) in zip(states, solve_system(matrix, right), strict=True):
            V[0, s] = beta * mp.log(z)
        for n in world.nexts[0]:
            Q[0, n] = gain[n] + V.get((0, n), mp.mpf(0))
        return Q, V
    for t in reversed(range(world.steps)):
        for n in world.nexts[t]:
            Q[t, n] = gain[n] + V.get((t + 1, n), mp.mpf(0))
        for s in world.states[t]:
            V[t, s] = beta * mp.log(total(p * mp.exp(Q[t, n] / beta) for _, n, p in world.moves[s]))
    return Q, V


def earned(world: World, policy: dict[Place, Law], gain) -> Field:
    """``E_π Σ gain(t, s, s')`` from each (t, s) on."""
    now = {
        (t, s): total(x * gain(t, s, n) for n, x in policy[t, s].items()) for t, s in world.places()
    }
    U: Field = {}
    if world.horizon is None:
        states = world.states[0]
        matrix = [
            [mp.mpf(int(s == n)) - policy[0, s].get(n, mp.mpf(0)) for n in states] for s in states
        ]
        column = solve_system(matrix, [[now[0, s]] for s in states])
        return {(0, s): u for s, (u,) in zip(states, column, strict=True)}
    for t in reversed(range(world.steps)):
        for s in world.states[t]:
            ahead = (x * U.get((t + 1, n), mp.mpf(0)) for n, x in policy[t, s].items())
            U[t, s] = now[t, s] + total(ahead)
    return U


def hard_minimum(world: World, cost, longest: bool = False) -> tuple[Number, Number]:
    """Least ``E_π Σ cost(s')`` from the start, and the least ``E_π Σ‖psi‖`` of those who attain it.

    longest: the largest such total instead (finite horizon).

    cost: exact rationals by next context. Until ``eos`` every deterministic policy is tried; those
    that never end have no finite total and are left out. Raises Unbounded where no least exists.
    """
    norms = {place: world.norm(place) for place in world.used()}
    if world.horizon is None:
        states = world.states[0]
        _refuse_falling_cycles(world, cost)
        best = None
        for chosen in product(*([n for _, n, _ in world.moves[s]] for s in states)):
            policy = {(0, s): {n: mp.mpf(1)} for s, n in zip(states, chosen, strict=True)}
            try:
                first = earned(world, policy, lambda t, s, n: number(cost[n]))[0, world.start]
                second = earned(world, policy, lambda t, s, n: norms[t, n])[0, world.start]
            except ZeroDivisionError:
                continue
            if (
                best is None
                or first < best[0] - TIE
                or (first < best[0] + TIE and second < best[1])
            ):
                best = first, second
        assert best is not None
        return best
    least: dict[Place, tuple] = {}
    for t in reversed(range(world.steps)):
        for s in world.states[t]:
            options = []
            for _, n, _ in world.moves[s]:
                ahead = least.get((t + 1, n), (0, mp.mpf(0)))
                options.append((cost[n] + ahead[0], norms[t, n] + ahead[1]))
            first = min(c for c, _ in options)  # rationals: ties are exact
            tied = [d for c, d in options if c == first]
            least[t, s] = first, max(tied) if longest else min(tied)
    first, second = least[0, world.start]
    return number(first), second


def _refuse_falling_cycles(world: World, cost) -> None:
    """Least totals of paths of ever more steps: if they still fall after n steps, a cycle does it."""
    states = world.states[0]
    least = dict.fromkeys(states, 0)
    for _ in range(len(states) + 1):
        before = dict(least)
        for s in states:
            ahead = (cost[n] + before[n] for _, n, _ in world.moves[s] if n not in world.ended)
            least[s] = min([before[s], *ahead])
    if least != before:
        raise Unbounded


class Truth:
    """Q_k, V_k (k = K for the user) of a world, or tables that are given in their place."""

    def __init__(self, world: World, Q=None, V=None) -> None:
        """Q, V: given tables [K+1][steps][S] and [K+1][steps+1][S] of floats."""
        self.world = world
        solved = [soft_values(world, reward) for reward in world.rewards]
        self.Q, self.V = [q for q, _ in solved], [v for _, v in solved]
        if Q is not None:
            self.Q = [{(t, n): mp.mpf(float(q[t][n])) for t, n in world.used()} for q in Q]
        if V is not None:
            self.V = [{(t, s): mp.mpf(float(v[t][s])) for t, s in world.places()} for v in V]

    @cached_property
    def moved(self) -> Truth:
        """The truth of the same world at 4β'."""
        return Truth(replace(self.world, beta_prime=4 * self.world.beta_prime))

    def tilt(self, place: Place, G: Field) -> Law:
        """``ref·e^G`` at one state, normalised."""
        t, s = place
        weights = {n: p * mp.exp(G[t, n]) for _, n, p in self.world.moves[s]}
        whole = total(weights.values())
        return {n: x / whole for n, x in weights.items()}

    def policy(self, G: Field) -> dict[Place, Law]:
        return {place: self.tilt(place, G) for place in self.world.places()}

    def log_mean(self, place: Place, G: Field) -> Number:
        """``log E_ref e^G``."""
        t, s = place
        return mp.log(total(p * mp.exp(G[t, n]) for _, n, p in self.world.moves[s]))

    @cached_property
    def ref(self) -> dict[Place, Law]:
        return {(t, s): {n: p for _, n, p in self.world.moves[s]} for t, s in self.world.places()}

    @cached_property
    def bases(self) -> list[dict[Place, Law]]:
        """π_1 .. π_K, π_w."""
        beta = self.world.beta
        return [self.policy({place: q / beta for place, q in Q.items()}) for Q in self.Q]

    @cached_property
    def span(self) -> LeastSquares:
        return LeastSquares([self.world.psi[place] for place in self.world.used()])

    @cached_property
    def value_nu(self) -> list[list[Number]]:
        """Coefficients of Q_1 .. Q_K, Q_w."""
        return [self.span.nu([Q[place] for place in self.world.used()]) for Q in self.Q]

    @cached_property
    def reward_nu(self) -> list[list[Number]]:
        """Coefficients of r_1 .. r_K, r_w."""
        used = self.world.used()
        return [self.span.nu([number(r[n]) for _, n in used]) for r in self.world.rewards]

    def mean_norm(self, law: Law, t: int) -> Number:
        """``E‖psi((s,·))‖`` under one law."""
        return total(x * self.world.norm((t, n)) for n, x in law.items())

    @cached_property
    def start(self) -> Place:
        return 0, self.world.start

    @cached_property
    def paths(self) -> list[Number]:
        """``E_{π_k} Σ‖psi‖`` from the start."""
        norm = self.world.norm
        return [
            earned(self.world, p, lambda t, s, n: norm((t, n)))[self.start] for p in self.bases[:-1]
        ]


def divergence(p: Law, q: Law) -> Number:
    """``KL(p‖q)``."""
    return total(x * mp.log(x / q[n]) for n, x in p.items())


class Mix:
    """The soup of one λ, floats or numbers of 60 digits, on a truth."""

    def __init__(self, truth: Truth, lam) -> None:
        self.truth, self.world = truth, truth.world
        self.lam = [mp.mpf(x) for x in lam]
        self.size = total(abs(x) for x in self.lam)
        self.logits = self.combined([x / self.world.beta_prime for x in self.lam])
        self.policy = truth.policy(self.logits)

    def combined(self, weights: list[Number]) -> Field:
        """``Σ_k weights_k Q_k``."""
        Q = self.truth.Q
        return {
            place: total(c * Q[k][place] for k, c in enumerate(weights))
            for place in self.world.used()
        }

    def price(self) -> Number:
        """``β'/|λ|₁``; at λ = 0 the soup is ref, whose divergence is 0 at any price."""
        return self.world.beta_prime / self.size if self.size else mp.mpf(0)

    @cached_property
    def gap(self) -> Number:
        return self.truth.V[-1][self.truth.start] - self.value

    @cached_property
    def value(self) -> Number:
        """J(λ): the reward of the user less the price of leaving ref, action by action."""
        world, ref = self.world, self.truth.ref
        r = world.rewards[-1]
        price = self.price()
        return earned(
            world,
            self.policy,
            lambda t, s, n: number(r[n]) - price * mp.log(self.policy[t, s][n] / ref[t, s][n]),
        )[self.truth.start]

    def expected(self, rate: Field) -> Number:
        """``E_soup Σ_t rate(t, s_t)``."""
        return earned(self.world, self.policy, lambda t, s, n: rate[t, s])[self.truth.start]

    @cached_property
    def logit_length(self) -> Number:
        """``‖(β'/β)nu_w − Σ λ_k nu_k‖``."""
        world, nu = self.world, self.truth.value_nu
        ratio = world.beta_prime / world.beta
        return mp.sqrt(total(
            (ratio * nu[-1][i] - total(c * nu[k][i] for k, c in enumerate(self.lam))) ** 2
            for i in range(len(nu[-1]))
        ))  # fmt: skip
