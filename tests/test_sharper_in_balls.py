"""The sharper rows on ten instances in ball arithmetic: proved there, and around what doubles find."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import random_mdp
from flint import arb, ctx, fmpq

from bounds import check
from bounds.certificates.instance import load
from bounds.certificates.statements import Point, logit_length, soup_tilt, states, user_tilt
from bounds.certificates.values import ZERO, Tilt, Values, extremes, length, total
from bounds.records.witness import Witness
from toymdp import TokenMDP, solve

Place = tuple[int, int]
VISIBLE = 1e-6  # a slack that the balls must confirm
GAPS = {
    "ss.thm1.gap.bennett": "bennett", "ss.thm1.gap.chord": "chord",
    "ss.thm1.gap.mean-shift": "mean shift", "ss.thm1.gap.mean-shift-features": "features",
    "ss.thm1.gap.sharp": "span",
}  # fmt: skip


@pytest.fixture(autouse=True)
def digits(monkeypatch):
    monkeypatch.setattr(ctx, "prec", 128)


def world(seed: int) -> TokenMDP:
    """Ten small worlds with unit one-hots: forbidden tokens, two tokens, one specialist, β apart."""
    A, L, T, K = [(3, 1, 3, 2), (2, 2, 3, 2), (3, 1, 4, 3), (4, 1, 2, 2), (3, 2, 2, 1)][seed % 5]
    beta = (0.5, 1.0, 3.0)[seed % 3]
    forbid = 0.3 if seed % 2 else 0.0
    mdp = random_mdp(seed + 40, A=A, L=L, T=T, K=K, beta=beta, forbid=forbid, scale=2.0)
    w = ([1.0], [0.375, 0.625], [0.25, 0.25, 0.5])[K - 1]  # binary: λ = (β'/β)w is matched exactly
    return mdp.replace(w=w, beta_prime=beta)


class Balls:
    """One λ on one instance: policies, the logit error e, where the soup goes, its gap in nats."""

    def __init__(self, mdp: TokenMDP, lam: list[float], folder: Path) -> None:
        path = folder / "witness.json"
        Witness("w", mdp, "ss.proof.A", tuple(lam), 0, {"lhs": 1.0, "rhs": 0.0}).save(path)
        witness = load(path)
        assert witness.lam is not None
        self.values = values = Values(witness.instance)
        self.u = Point.exact(witness.instance, witness.lam).u
        self.p = {x: soup_tilt(values, *x, self.u) for x in states(values)}
        self.q = {x: user_tilt(values, *x, values.world.K) for x in states(values)}
        self.e = {x: self.error(*x) for x in states(values)}
        self.visits = self.forward()
        self.size = total([abs(x) for x in self.u])
        away = self.expected({x: tilt.divergence() for x, tilt in self.p.items()})
        earned = self.expected({
            (t, s): tilt.mean([values.reward_w[n] / values.beta for n in values.next[s]])
            for (t, s), tilt in self.p.items()
        })  # fmt: skip
        self.extra = (1 / self.size - 1) * away
        self.gap = values.V[-1][0, values.world.start] - earned + away / self.size

    def error(self, t: int, s: int) -> list[arb]:
        *each, user = (self.values.at(t, s, Q) for Q in self.values.Q)
        mixed = [total([c * x for c, x in zip(self.u, k, strict=True)])
                 for k in zip(*each, strict=True)]  # fmt: skip
        return [w - x for w, x in zip(user, mixed, strict=True)]

    def forward(self) -> dict[Place, arb]:
        """Chance of each (t, s) under the soup."""
        values, seen = self.values, {(0, self.values.world.start): arb(1)}
        for t, s in states(values):
            for n, chance in zip(values.next[s], self.p[t, s].pi, strict=True):
                seen[t + 1, n] = seen.get((t + 1, n), ZERO) + seen[t, s] * chance
        return seen

    def expected(self, rate: dict[Place, arb]) -> arb:
        """``E_soup Σ_t rate``."""
        return total([self.visits[x] * y for x, y in rate.items()])

    def rates(self, x: Place) -> dict[str, arb]:
        """Each row's bound on ``KL(soup‖π_w)`` at a state."""
        e, p, q = self.e[x], self.p[x], self.q[x]
        low, high = extremes(e)
        m = mean(p, e)
        v = total([c * (y - m) * (y - m) for c, y in zip(p.pi, e, strict=True)])
        shift = self.shift(x) * logit_length(self.values, self.u)
        return {
            "bennett": two_points(v / (high - m), high - m), "chord": two_points(m - low, high - m),
            "mean shift": mean(q, e) - m, "features": shift, "span": (high - low) * (high - low) / 8,
        }  # fmt: skip

    def shift(self, x: Place) -> arb:
        """``‖E_{π_w}psi − E_soup psi‖``: of one-hots of length 1."""
        return length([a - b for a, b in zip(self.q[x].pi, self.p[x].pi, strict=True)])


def mean(tilt: Tilt, x: list[arb]) -> arb:
    return total([p * y for p, y in zip(tilt.pi, x, strict=True)])


def two_points(x: arb, y: arb) -> arb:
    """``log (y e^{−x} + x e^y)/(x + y)``."""
    return ((y * (-x).exp() + x * y.exp()) / (x + y)).log()


def confirmed(less: arb, more: arb, claim: str) -> None:
    """Nothing in the balls speaks against less ≤ more, and a slack that can be seen is proved."""
    assert not less > more, claim
    if float((more - less).mid()) > VISIBLE * (1 + float(abs(more).mid())):
        assert more > less, claim


def holds(x: arb, value: float) -> bool:
    return bool((x + arb(0, 1e-9 * (1 + abs(value)))).overlaps(arb(value)))


@pytest.mark.parametrize("seed", range(10))
def test_bounds_through_the_divergence(seed, tmp_path):
    mdp = world(seed)
    sol, K = solve(mdp), mdp.n_rewards
    for lam in ([0.9 / K] * K, [(-1.0) ** k / K for k in range(K)]):
        balls = Balls(mdp, lam, tmp_path)
        rates = {x: balls.rates(x) for x in balls.p if len(balls.e[x]) > 1}
        for claim, name in GAPS.items():
            bound = balls.expected({x: y[name] for x, y in rates.items()}) + balls.extra
            confirmed(balls.gap, bound, claim)
            (found,) = check(sol, claim, lam=lam)
            assert holds(balls.values.beta * balls.gap, found.lhs), claim
            assert holds(balls.values.beta * bound, found.rhs), claim
        for x in rates:
            user = balls.q[x].divergence(balls.p[x])
            confirmed(user, balls.shift(x) * logit_length(balls.values, balls.u), "kl.mean-shift")
        if abs(sum(map(abs, lam)) - 1.0) < 1e-12:  # ‖psi‖ = 1 and the full budget
            n, steps = logit_length(balls.values, balls.u), mdp.horizon
            confirmed(
                balls.gap, (2 * steps * n).min(steps * n * n / 2), "constant-norm.conditional"
            )


@pytest.mark.parametrize("seed", range(10))
def test_bounds_by_disagreement(seed, tmp_path):
    mdp = world(seed)
    sol = solve(mdp)
    balls = Balls(mdp, (mdp.w * mdp.beta_prime / mdp.beta).tolist(), tmp_path)
    values, w = balls.values, [arb(x) for x in balls.values.world.w]
    K, steps = values.world.K, values.world.steps
    D = {
        x: total([c * V[x] for c, V in zip(w, values.V, strict=False)]) - values.V[-1][x]
        for x in values.V[-1]
    }
    cost: dict[Place, arb] = {}
    for t, s in reversed(list(states(values))):
        kls = [balls.q[t, s].divergence(user_tilt(values, t, s, k)) for k in range(K)]
        ahead = [cost.get((t + 1, n), ZERO) for n in values.next[s]]
        cost[t, s] = total([c * x for c, x in zip(w, kls, strict=True)]) + mean(
            balls.q[t, s], ahead
        )
        assert cost[t, s].overlaps(D[t, s])
        assert float(cost[t, s].rad()) < 1e-20
        later = [D.get((t + 1, n), ZERO) for n in values.next[s]]
        confirmed(
            balls.q[t, s].divergence(balls.p[t, s]),
            mean(balls.p[t, s], later) - mean(balls.q[t, s], later), "kl.matched",
        )  # fmt: skip
    spans = {}
    for t, s in states(values):
        low, high = extremes([D.get((t + 1, n), ZERO) for n in values.next[s]])
        spans[t, s] = (high - low) * (high - low) / 8
    state_wise = balls.expected(spans)
    confirmed(balls.gap, state_wise, "apriori.state-wise")
    places = {n for _, n in values.world.used}
    squares = ZERO
    for c, r in zip(w, values.world.rewards, strict=True):
        off = [(r[n] - values.world.rewards_w[n]) / values.world.beta for n in places]
        squares += c * arb((max(off) - min(off)) ** 2)
    apriori = total([arb(fmpq(j**4, 512)) for j in range(steps)]) * squares * squares
    confirmed(balls.gap, apriori, "apriori")
    (found,) = check(sol, "ss.thm1.gap.apriori.state-wise")
    assert holds(values.beta * state_wise, found.rhs)
    assert holds(values.beta * balls.gap, found.lhs)
    (found,) = check(sol, "ss.thm1.gap.apriori")
    assert holds(values.beta * apriori, found.rhs)


@pytest.mark.parametrize("seed", range(10))
def test_first_order_of_lemma_1(seed, tmp_path):
    """``0 ≤ V_{t+1} − U_{t+1} ≤ (T − t − 1)² span(r)²/8`` in nats, U what ref earns."""
    balls = Balls(world(seed), [0.5] * world(seed).n_rewards, tmp_path)
    values = balls.values
    for r, V in zip([*values.world.rewards, values.world.rewards_w], values.V, strict=True):
        nats = {n: r[n] / values.world.beta for _, n in values.world.used}
        span = max(nats.values()) - min(nats.values())
        U: dict[Place, arb] = {}
        for t, s in reversed(list(states(values))):
            gains = [arb(nats[n]) + U.get((t + 1, n), ZERO) for n in values.next[s]]
            U[t, s] = total([p * x for p, x in zip(values.p[s], gains, strict=True)])
            confirmed(U[t, s], V[t, s], "first-order.lower")
            confirmed(
                V[t, s] - U[t, s], arb((values.world.steps - t) ** 2 * span**2 / 8), "first-order"
            )


def test_a_bound_that_is_too_small_is_noticed(tmp_path):
    balls = Balls(world(0), [0.45, 0.45], tmp_path)
    rates = {x: balls.rates(x) for x in balls.p}
    bound = balls.expected({x: y["bennett"] for x, y in rates.items()}) + balls.extra
    with pytest.raises(AssertionError):
        confirmed(balls.gap * arb(1.01), bound * arb(0.9), "bennett")
    assert np.isfinite(float(bound))
