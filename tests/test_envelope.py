"""The envelope of a piece: above the soup at every state, tight to third order, safe in rounding.

Roads: U by the objective's own kernel, J in 40 digits by a recursion of its own (mpmath),
derivatives by SoupObjective and by differences, maxima by enumeration.
"""

from __future__ import annotations

import itertools

import mpmath as mp
import numpy as np
import pytest
from bound_worlds import world
from conftest import random_mdp, soup_values_of

from toymdp import TokenMDP, solve
from toymdp.kernels.boxes import bezier_points, quadratic_maximum, tilted_maximum
from toymdp.kernels.envelopes import envelope, envelopes
from toymdp.soup import rounding as radii
from toymdp.soup.bound import branch_and_bound, halve, orthants
from toymdp.soup.objective import SoupObjective


def simplex(rng, K: int, size: float) -> np.ndarray:
    """A simplex of about that size in one orthant, corners on a dyadic grid."""
    base = orthants(K)[rng.integers(2**K)]
    if size >= 1.0:
        return base
    shapes = rng.dirichlet(np.ones(K + 1), size=K + 1)
    middle = rng.dirichlet(np.ones(K + 1))
    corners = ((1 - size) * middle + size * shapes) @ base
    if rng.random() < 0.3:  # with 0 among its corners
        corners[0] = 0.0
    return np.round(corners * 2.0**44) / 2.0**44


def run_envelope(sol, corners):
    """P, top and the centre of one simplex."""
    mdp, tab = sol.mdp, radii.BoundInputs.of(sol)
    K = mdp.n_rewards
    centre, offset = np.empty(K), np.empty((K + 1, K))
    P = np.empty((mdp.steps + 1, mdp.n_contexts, 1 + K + K * (K + 1) // 2))
    top = np.empty(P.shape[:2])
    envelope(
        mdp.ref, mdp.reach.states, tab.q, tab.reward, mdp.beta, tab.cap, corners, tab.near, tab.eps,
        tab.kappa, centre, offset, P, top,
    )  # fmt: skip
    return P, top, centre


def hessian(P, K):
    """H [..., K, K] of coefficients [..., 1+K+K(K+1)/2]."""
    H = np.zeros((*P.shape[:-1], K, K))
    pairs = [(i, j) for i in range(K) for j in range(i, K)]
    for at, (i, j) in enumerate(pairs):
        H[..., i, j] = H[..., j, i] = P[..., 1 + K + at]
    return H


def polynomial(P, d):
    """``u + g·d + ½ dᵀHd``: coefficients [..., n] at d [K], or [n] at d [N, K]."""
    K = d.shape[-1]
    bend = np.einsum("...ij,...i,...j->...", hessian(P, K), d, d)
    return P[..., 0] + np.einsum("...k,...k->...", P[..., 1 : 1 + K], d) + 0.5 * bend


def soup_tables(sol, nu):
    """U [T+1, S] of the soup at ν by the objective's own kernel."""
    mdp, mu = sol.mdp, nu / sol.mdp.beta
    size = np.abs(mu).sum()
    eta = 1 / size if size > 0 else 0.0
    return soup_values_of(mdp.ref, mdp.reach.states, sol.Q, mu, mdp.reward_w, eta)


def assert_dominated(sol, seed: int) -> None:
    """P and top of simplices of many sizes are above U at every state, at corners and inside."""
    rng = np.random.default_rng(seed)
    K = sol.mdp.n_rewards
    for size in (1.0, 0.3, 0.03, 1e-3, 1e-6):
        corners = simplex(rng, K, size)
        P, top, centre = run_envelope(sol, corners)
        for weights in [*np.eye(K + 1), *rng.dirichlet(np.full(K + 1, 0.5), size=6)]:
            nu = weights @ corners
            U = soup_tables(sol, nu)
            room = 1e-13 * max(1.0, np.abs(U).max())
            assert (polynomial(P, nu - centre) + room >= U).all()
            assert (top + room >= U).all()


@pytest.mark.parametrize("part", range(4))
def test_envelope_dominates_every_state(part):
    for seed in range(part, 120, 4):
        assert_dominated(solve(world(seed)), seed)


@pytest.mark.parametrize("K", [1, 2, 3])
def test_envelope_is_of_third_order(K):
    """At the centre: value, gradient and Hessian of J; the excess falls with the cube."""
    sol = solve(random_mdp(3, A=4, T=5, K=K, beta=0.7, forbid=0.2))
    objective, s0 = SoupObjective(sol), sol.mdp.start_context
    rng = np.random.default_rng(K)
    shape = rng.normal(size=(K + 1, K))
    c = 0.6 * rng.dirichlet(np.ones(K)) * rng.choice([-1, 1], size=K)
    excess = []
    for h in (1e-2, 5e-3, 2.5e-3):
        corners = np.round((c + h * (shape - shape.mean(axis=0))) * 2.0**40) / 2.0**40
        P, _, centre = run_envelope(sol, corners)
        excess.append(P[0, s0, 0] - objective.value(centre))
    assert min(excess) > 0
    assert 6.0 < excess[0] / excess[1] < 10.0
    assert 6.0 < excess[1] / excess[2] < 10.0
    tiny = np.round((c + 1e-5 * shape) * 2.0**46) / 2.0**46
    P, _, centre = run_envelope(sol, tiny)
    point = objective.at(centre)
    gradient = point.slope + np.sign(centre) * point.kink
    np.testing.assert_allclose(P[0, s0, 1 : 1 + K], gradient, rtol=1e-6, atol=1e-8)
    step = 1e-5
    H = np.empty((K, K))
    for k in range(K):
        up, down = (
            objective.at(centre + step * np.eye(K)[k]),
            objective.at(centre - step * np.eye(K)[k]),
        )
        H[k] = (up.slope - down.slope + np.sign(centre) * (up.kink - down.kink)) / (2 * step)
    np.testing.assert_allclose(hessian(P[0, s0], K), H, rtol=1e-4, atol=1e-5)


def exact(mdp: TokenMDP, nus: list[np.ndarray]):
    """V_w, Q [K] tables and J at each ν, in 40 digits, from the instance's numbers alone."""
    A, S, T, K = mdp.vocab_size, mdp.n_contexts, mdp.horizon, mdp.n_rewards
    weight = [[mp.mpf(float(x)) for x in row] for row in mdp.ref_weights]
    total = [mp.fsum(row) for row in weight]
    ref = [
        [x / n if n > 0 else mp.mpf(0) for x in row] for row, n in zip(weight, total, strict=True)
    ]
    r = [[mp.mpf(float(x)) for x in row] for row in mdp.rewards]
    w = [mp.mpf(float(x)) for x in mdp.w]
    r_w = [mp.fsum(w[k] * r[k][s] for k in range(K)) for s in range(S)]
    beta = mp.mpf(mdp.beta)

    def soft(reward):
        V = [[mp.mpf(0)] * S for _ in range(T + 1)]
        for t in range(T - 1, -1, -1):
            for s in range(S):
                if mdp.reach.states[t, s]:
                    heads = [((s * A) % S + a) for a in range(A)]
                    V[t][s] = beta * mp.log(mp.fsum(
                        ref[s][a] * mp.exp((reward[n] + V[t + 1][n]) / beta)
                        for a, n in enumerate(heads) if ref[s][a] > 0
                    ))  # fmt: skip
        return V

    V = [soft(reward) for reward in r]
    Q = [[[r[k][n] + V[k][t + 1][n] for n in range(S)] for t in range(T)] for k in range(K)]
    values = []
    for nu in nus:
        U = [mp.mpf(0)] * S
        v = [mp.mpf(float(x)) for x in nu]
        eta = beta / mp.fsum(abs(x) for x in v)
        for t in range(T - 1, -1, -1):
            new = [mp.mpf(0)] * S
            for s in range(S):
                if not mdp.reach.states[t, s]:
                    continue
                first = (s * A) % S
                allowed = [a for a in range(A) if ref[s][a] > 0]
                G = {
                    a: mp.fsum(v[k] * Q[k][t][first + a] for k in range(K)) / beta for a in allowed
                }
                Z = mp.fsum(ref[s][a] * mp.exp(G[a]) for a in allowed)
                p = {a: ref[s][a] * mp.exp(G[a]) / Z for a in allowed}
                kl = mp.fsum(p[a] * (G[a] - mp.log(Z)) for a in allowed)
                gain = mp.fsum(p[a] * (r_w[first + a] + U[first + a]) for a in allowed)
                new[s] = gain - eta * kl
            U = new
        values.append(U[mdp.start_context])
    return soft(r_w), Q, values


@pytest.mark.parametrize("seed", range(6))
def test_rounding_is_enclosed(seed):
    """Against 40 digits: tables within their radii, tiny pieces above J by next to nothing."""
    beta = [0.02, 0.3, 1.0, 5.0, 0.1, 1.0][seed]
    mdp = random_mdp(seed, A=3, L=2, T=5, K=2, beta=beta, forbid=0.2, eos=2 if seed % 2 else None)
    sol = solve(mdp)
    tab = radii.BoundInputs.of(sol)
    sizes = [1.0, 0.2, 1e-4, 1e-9, 1e-12]
    nus = [size * np.array([0.3, -0.7]) for size in sizes] + [np.array([1.0, 0.0])]
    with mp.workdps(40):
        V_w, Q, values = exact(mdp, nus)
        for t in range(mdp.steps):
            for s in np.flatnonzero(mdp.reach.states[t]):
                assert tab.cap[t, s] >= V_w[t][s]
            for n in np.flatnonzero(mdp.reach.nexts[t]):
                for k in range(2):
                    error = abs(mp.mpf(float(sol.Q[k, t, n])) - Q[k][t][n])
                    assert 2 * error / mdp.beta <= tab.eps
        found = branch_and_bound(sol, -np.inf, tolerance=1e-4, seconds=20, threads=1)
        scale = SoupObjective(sol).scale
        for nu, value in zip(nus, values, strict=True):
            assert value <= found.value
            span = 1e-7 * np.abs(nu).sum()
            corners = nu + span * np.array([[0.6, -0.3], [-0.3, 0.6], [-0.3, -0.3]])
            corners = np.round(corners * 2.0**50) / 2.0**50
            corners = np.array([[1.0, -1.0]]) * np.maximum(np.array([[1.0, -1.0]]) * corners, 0.0)
            if np.abs(nu).sum() < 1e-10:  # finer than the grid of corners
                continue
            P, _, centre = run_envelope(sol, corners)
            at = polynomial(P[0, mdp.start_context], nu - centre)
            assert value <= mp.mpf(float(at))
            assert at - float(value) <= 3e-5 * scale  # near 0 the rounding of KL/|ν|₁ dominates
            if np.abs(nu).sum() > 1e-2:
                assert at - float(value) <= 1e-9 * scale


@pytest.mark.parametrize("seed", range(20))
def test_tilted_maximum_against_enumeration(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 8))
    p = rng.dirichlet(np.full(n, 0.4))
    f = 10.0 ** rng.uniform(-2, 3) * rng.normal(size=n)
    up, down = np.exp(rng.uniform(0, 8, n)), np.exp(-rng.uniform(0, 8, n))
    weights = np.array([p * np.where(c, up, down) for c in itertools.product([0, 1], repeat=n)])
    best = float((weights @ f / weights.sum(axis=1)).max())
    found = tilted_maximum(n, p, up, down, f, 1e-13)
    assert best <= found <= best + 1e-6 * np.abs(f).max()


def test_rounding_is_measured_by_the_largest_logit_of_either_sign():
    """All Q below 0: a radius from the largest Q itself would be far too small."""
    mdp = random_mdp(2, K=2, T=3)
    below = mdp.replace(rewards=mdp.rewards - mdp.rewards.max() - 5.0)
    sol = solve(below)
    largest = np.abs(sol.Q[:, mdp.reach.nexts]).max() / mdp.beta
    assert sol.Q[:, mdp.reach.nexts].max() < 0
    found = radii.BoundInputs.of(sol)
    assert found.near == pytest.approx(radii.NEAR_ZERO / largest, rel=1e-12, abs=0)
    assert found.eps > radii.UNIT * (8 * 2 + 64) * largest


def test_tilted_maximum_where_newton_stops_short():
    """Of many tokens and wide tilts the last two need more steps than are taken: the rest is paid for."""
    for seed in (*range(20), 115, 144):
        rng, n = np.random.default_rng(seed), 80
        spread = rng.uniform(0, 30)
        p = rng.dirichlet(np.full(n, 0.4)) * np.exp(-spread * rng.random(n))
        p /= p.sum()
        f = np.sort(10.0 ** rng.uniform(-6, 3, n)) * 10.0 ** rng.uniform(-9, 0)
        up, down = np.exp(rng.uniform(0, 20, n)), np.exp(-rng.uniform(0, 20, n))
        weights = np.where(f >= f[:, None], up, down) * p  # the best tilt is up above some value
        best = float((weights @ f / weights.sum(axis=1)).max())
        assert tilted_maximum(n, p, up, down, f, 1e-13) >= best * (1 - 1e-12)


@pytest.mark.parametrize("K", [1, 2, 3])
def test_quadratic_maximum_against_points(K):
    rng = np.random.default_rng(K)
    for _ in range(60):
        corners = rng.normal(size=(K + 1, K))
        coefficients = rng.normal(size=1 + K + K * (K + 1) // 2)
        best = np.empty(K)
        found = quadratic_maximum(coefficients, K, corners, 1e-4, best)
        d = rng.dirichlet(np.full(K + 1, 0.4), size=4000) @ corners
        values = polynomial(coefficients, d)
        at_best = polynomial(coefficients, best)
        assert values.max() <= found + 1e-12
        assert found <= at_best + 1.1e-4
        points = np.empty((K + 1, K + 1))
        bezier_points(coefficients, K, corners, points)
        at_corners = polynomial(coefficients, corners)
        np.testing.assert_allclose(np.diag(points), at_corners, rtol=1e-10, atol=1e-12)


def test_kernel_takes_batches():
    """One call for many simplices equals many calls."""
    sol = solve(random_mdp(4, K=2))
    mdp, tab = sol.mdp, radii.BoundInputs.of(sol)
    pieces = np.stack([h for o in orthants(2) for h in halve(o, np.eye(2))])

    def run(batch):
        bounds, points = np.empty(len(batch)), np.empty((len(batch), 2))
        envelopes(
            mdp.ref, mdp.reach.states, tab.q, tab.reward, mdp.beta, tab.cap, mdp.start_context,
            batch, tab.near, tab.eps, tab.kappa, 1e-6, bounds, points,
        )  # fmt: skip
        return bounds

    np.testing.assert_array_equal(run(pieces), [run(piece[None])[0] for piece in pieces])


@pytest.mark.parametrize("broken", ["reward", "cap", "q"])
def test_a_broken_bound_is_caught(broken, monkeypatch):
    """The check above fails when a table of the kernel is a little too small."""
    inner = radii.BoundInputs.of

    def smaller(sol):
        tab = inner(sol)
        by = {"reward": -1e-3, "cap": -1e-3, "q": 0.0}
        fields = {
            name: getattr(tab, name) for name in ("q", "reward", "cap", "near", "eps", "kappa")
        }
        fields[broken] = 0.999 * tab.q if broken == "q" else fields[broken] + by[broken]
        return radii.BoundInputs(**fields)

    monkeypatch.setattr(radii.BoundInputs, "of", staticmethod(smaller))
    mdp = random_mdp(6, K=1) if broken == "cap" else random_mdp(6, A=4, T=6, beta=0.3)
    sol = solve(mdp)

    def everywhere():
        for seed in range(8):
            assert_dominated(sol, seed)

    with pytest.raises(AssertionError):
        everywhere()
