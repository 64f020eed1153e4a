"""The soup objective, its gradient and kinks, and the optimum against a dense grid."""

from __future__ import annotations

from dataclasses import replace

import cvxpy as cp
import numpy as np
import pytest
from conftest import random_mdp

from toymdp import TokenMDP, solve, soup_optimum
from toymdp.exact.policy import Policy
from toymdp.soup import ascent as ascent_module
from toymdp.soup import objective as objective_module
from toymdp.soup import optimum as optimum_module
from toymdp.soup.ascent import Ascent, ascend
from toymdp.soup.objective import SoupObjective
from toymdp.soup.starts import default_starts, grid_search, projection
from toymdp.soup.step import _by_clarabel, best_move

WORLDS = [{"T": 4}, {"T": 4, "eos": 2}, {"T": None, "eos": 2}]


def literal_objective(mdp: TokenMDP, sol, lam: np.ndarray) -> float:
    """(8) by enumeration of trajectories of the soup's own table: no kernel, no recursion."""
    logits = np.tensordot(lam / mdp.beta_prime, sol.Q, axes=1)
    policy = Policy(mdp, logits).table
    size = np.abs(lam).sum()
    A, S = mdp.vocab_size, mdp.n_contexts

    def walk(t, s):
        if t == mdp.horizon or mdp.ended[s]:
            return 0.0
        total = 0.0
        for a in range(A):
            p = policy[t, s, a]
            if p > 0:
                n = (s * A + a) % S
                kl = np.log(p / mdp.ref[s, a])
                total += p * (mdp.reward_w[n] - mdp.beta_prime / size * kl + walk(t + 1, n))
        return total

    return walk(0, mdp.start_context)


@pytest.mark.parametrize("beta_prime", [1.0, 2.5])
@pytest.mark.parametrize("world", WORLDS[:2])
def test_objective_equals_its_definition(world, beta_prime):
    mdp = random_mdp(0, K=3, forbid=0.2, beta=0.8, **world).replace(beta_prime=beta_prime)
    sol = solve(mdp)
    lam = np.array([0.3, -0.2, 0.1])
    u = mdp.beta * lam / beta_prime
    expected = literal_objective(mdp, sol, lam)
    assert SoupObjective(sol).value(u) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("seed", range(5))
def test_gradient_against_central_differences(world, seed):
    mdp = random_mdp(seed, K=3, beta=3.0, forbid=0.2, **world)
    objective = SoupObjective(solve(mdp))
    rng = np.random.default_rng(seed)
    u = rng.dirichlet(np.ones(3)) * rng.choice([-0.8, 0.8], size=3)
    point = objective.at(u)
    exact = point.slope + np.sign(u) * point.kink
    h = 1e-5
    differences = [
        (objective.value(u + h * e) - objective.value(u - h * e)) / (2 * h) for e in np.eye(3)
    ]
    np.testing.assert_allclose(exact, differences, rtol=1e-6, atol=1e-8)
    assert point.value == pytest.approx(objective.value(u), rel=1e-14)


def test_kinks_are_one_sided_derivatives():
    objective = SoupObjective(solve(random_mdp(1, K=2)))
    u = np.array([0.6, 0.0])
    point = objective.at(u)
    h = 1e-6
    for side in (1.0, -1.0):
        difference = (objective.value(u + np.array([0.0, side * h])) - point.value) / h
        assert difference == pytest.approx(side * point.slope[1] + point.kink, rel=1e-3, abs=1e-5)
    assert point.kink > 0


def test_derivative_at_zero():
    objective = SoupObjective(solve(random_mdp(2, K=2)))
    value, slope, fisher = objective.at_zero
    assert value == pytest.approx(objective.value(np.zeros(2)), rel=1e-13)
    for u in ([0.5, 0.5], [0.3, -0.7], [1.0, 0.0]):
        u = np.array(u)
        rate = (objective.value(1e-6 * u) - value) / 1e-6
        assert rate == pytest.approx(slope @ u - 0.5 * u @ fisher @ u, rel=1e-4)


def test_at_one_hot_the_soup_is_the_specialist():
    mdp = random_mdp(3)
    sol = solve(mdp)
    objective = SoupObjective(sol)
    for k in range(2):
        logits = sol.Q[k] / mdp.beta
        d = Policy(mdp, logits).occupancy
        kl = Policy(mdp, logits).divergence(Policy(mdp, np.zeros_like(logits)))
        expected = (d.nexts * mdp.reward_w).sum() - mdp.beta * (d.states * kl).sum()
        assert objective.value(np.eye(2)[k]) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("seed", range(12))
def test_optimum_against_dense_grid(seed):
    rng = np.random.default_rng(seed)
    mdp = random_mdp(
        seed, A=int(rng.integers(2, 5)), L=int(rng.integers(1, 3)), T=int(rng.integers(1, 5)),
        beta=float(rng.choice([0.1, 0.5, 1.0])), forbid=0.2, scale=2.0,
    )  # fmt: skip
    sol = solve(mdp)
    opt = soup_optimum(mdp, sol, grid=True)
    _, best = grid_search(SoupObjective(sol))
    assert best - 1e-12 * max(1.0, abs(best)) <= opt.J
    assert opt.status in ("stationary", "zero")
    assert opt.budget_used <= 1.0 + 1e-12
    assert opt.kkt <= 1e-7 * max(1.0, abs(sol.value_w))
    assert all(a.value_at_start <= opt.J for a in opt.starts)


def test_starts_include_vertices_and_user_weights():
    sol = solve(random_mdp(4, K=3))
    starts = default_starts(sol)
    assert {"one-hot 0", "one-hot 1", "one-hot 2", "user weights"} <= set(starts)
    np.testing.assert_array_equal(starts["one-hot 1"], [0, 1, 0])
    opt = soup_optimum(sol.mdp, sol)
    assert opt.start in {a.start for a in opt.starts}
    assert opt.spread >= 0
    assert opt.local_optima >= 1


def test_cancelling_rewards_have_optimum_zero():
    mdp = random_mdp(5, K=2)
    rewards = np.stack([mdp.rewards[0], -mdp.rewards[0]])
    still = mdp.replace(rewards=rewards, w=np.array([0.5, 0.5]))
    opt = soup_optimum(still)
    assert opt.status == "zero"
    assert not opt.lam.any()
    assert pytest.approx(0.0, abs=1e-12) == opt.J
    assert opt.budget_used == 0.0


def test_single_specialist_is_its_own_optimum():
    mdp = random_mdp(6, K=1)
    opt = soup_optimum(mdp)
    assert opt.lam == pytest.approx([1.0], abs=1e-9)
    assert abs(opt.gap) < 1e-12


def test_optimum_scales_with_beta_prime():
    mdp = random_mdp(7)
    first, second = soup_optimum(mdp), soup_optimum(mdp.replace(beta_prime=4.0))
    np.testing.assert_allclose(second.lam, 4.0 * first.lam, rtol=1e-9)
    np.testing.assert_allclose(second.mu, first.mu, rtol=1e-9)
    assert pytest.approx(first.J, rel=1e-13) == second.J


def test_many_specialists():
    mdp = random_mdp(8, A=4, K=32)
    opt = soup_optimum(mdp, draws=1)
    assert opt.status == "stationary"
    assert len(opt.lam) == 32
    assert np.abs(opt.mu).sum() * mdp.beta <= 1 + 1e-12


def test_until_eos_optimum():
    mdp = random_mdp(9, T=None, eos=2, beta=6.0)
    sol = solve(mdp)
    opt = soup_optimum(mdp, sol)
    assert opt.status == "stationary"
    assert opt.gap >= 0
    far = mdp.replace(horizon=300)
    assert SoupObjective(solve(far)).value(opt.mu * mdp.beta) == pytest.approx(opt.J, rel=1e-9)


def test_ascent_never_loses_ground():
    objective = SoupObjective(solve(random_mdp(10)))
    for seed in range(5):
        rng = np.random.default_rng(seed)
        u = rng.dirichlet([1, 1]) * rng.choice([-1, 1], size=2)
        found = ascend(objective, u)
        assert found.value >= found.value_at_start


def test_an_objective_that_never_improves_ends_the_ascent(monkeypatch):
    """Whatever J does, an ascent stops: here every trial is refused, and moves carry solver noise."""
    objective = SoupObjective(solve(random_mdp(12)))
    start, at = np.array([0.5, 0.3]), SoupObjective.at

    def lower(self, u):
        point = at(self, u)
        return point if np.array_equal(u, start) else replace(point, value=-1e9)

    monkeypatch.setattr(SoupObjective, "at", lower)
    noise = np.array([1e-8, -1e-8])
    monkeypatch.setattr(ascent_module, "best_move", lambda g, B, x, radius: noise)
    found = ascend(objective, start)
    assert found.steps <= ascent_module.MAX_STEPS
    assert found.u == tuple(start)


def stated_in_cvxpy(K: int) -> tuple[cp.Problem, cp.Variable, list[cp.Parameter]]:
    """The program of a step (DPP); its parameters are g, a root of B, the centre and the radius."""
    gradient, root = cp.Parameter(K), cp.Parameter((K, K))
    centre, radius = cp.Parameter(K, nonneg=True), cp.Parameter(nonneg=True)
    move = cp.Variable(K)
    model = gradient @ move - 0.5 * cp.sum_squares(root @ move)
    limits = [centre + move >= 0, cp.sum(centre + move) <= 1, cp.norm_inf(move) <= radius]
    problem = cp.Problem(cp.Maximize(model), limits)
    assert problem.is_dcp(dpp=True)
    return problem, move, [gradient, root, centre, radius]


@pytest.mark.parametrize("K", [1, 2, 3, 6])
def test_a_step_is_the_one_that_cvxpy_takes(K):
    """Linear solves on faces, and the cone data handed to Clarabel, solve the program as cvxpy states it.

    What belongs at a bound is there exactly, unless the trust region ends the step first.
    """
    problem, move, parameters = stated_in_cvxpy(K)
    rng = np.random.default_rng(K)
    at_bounds = 0
    for radius in (0.01, 0.5, 2.0, 2.0, 2.0):
        g, root = rng.normal(size=K), rng.normal(size=(K, K)) + np.eye(K)
        centre = rng.dirichlet(np.ones(K + 1))[:K]
        for parameter, value in zip(parameters, (g, root, centre, radius), strict=True):
            parameter.value = value
        problem.solve(solver="CLARABEL", warm_start=False)
        found = best_move(g, root.T @ root, centre, radius)
        for moved in (found, _by_clarabel(g, root.T @ root, centre, radius)):
            np.testing.assert_allclose(moved, move.value, atol=1e-6)
            assert g @ moved - 0.5 * np.sum((root @ moved) ** 2) == pytest.approx(
                problem.value, abs=1e-7
            )
        ahead = centre + found
        at_bounds += int((np.abs(ahead) < 1e-7).sum())
        assert np.all((ahead == 0) | (np.abs(ahead) > 1e-7))
        assert ahead.sum() <= 1 + 1e-14
    assert K < 3 or at_bounds > 0


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("seed", range(3))
def test_curvature_against_differences_of_the_gradient(world, seed, monkeypatch):
    """The exact Hessian inside an orthant, and by policies what the kernel writes."""
    mdp = random_mdp(seed, K=3, beta=3.0, forbid=0.2, **world)
    objective = SoupObjective(solve(mdp))
    rng = np.random.default_rng(seed)
    pattern = rng.choice([-1.0, 1.0], size=3)
    x = 0.8 * rng.dirichlet(np.ones(3))
    point = objective.at(pattern * x)
    exact = point.curvature(pattern)
    h = 1e-5
    differences = [
        objective.at(pattern * (x + h * e)).gradient(pattern)
        - objective.at(pattern * (x - h * e)).gradient(pattern)
        for e in np.eye(3)
    ]
    np.testing.assert_allclose(exact, np.stack(differences) / (2 * h), rtol=1e-5, atol=1e-8)
    again = objective.at(pattern * x)
    with monkeypatch.context() as patch:  # what the slope wrote is kept, where it is not large
        patch.delattr(SoupObjective, "_forward")
        np.testing.assert_array_equal(again.curvature(pattern), exact)
        patch.undo()
        patch.setattr(objective_module, "KEPT", 0)
        np.testing.assert_array_equal(objective.at(pattern * x).curvature(pattern), exact)
    monkeypatch.setattr(SoupObjective, "by_policy", True)
    again = objective.at(pattern * x).curvature(pattern)
    np.testing.assert_allclose(exact, again, rtol=1e-9, atol=1e-11 * np.abs(exact).max())


def test_curvature_where_a_row_may_have_lost_terms(monkeypatch):
    """Rows that forbid what is large beside them have no scale in common with their block."""
    mdp = TokenMDP(
        vocab_size=3, order=1, horizon=2, start=[0], beta=1.0, w=[0.5, 0.5],
        ref_weights=[[1, 1, 0], [3, 7, 0], [1, 1, 1]], rewards=[[0, 0.3, 3000], [0.2, 0, 2000]],
        features={"kind": "tabular", "per_step": True, "scale": 1.0},
    )  # fmt: skip
    sol, u = solve(mdp), np.array([0.6, 0.3])
    assert not Policy(mdp, np.tensordot(u, sol.Q, axes=1)).plain
    exact = SoupObjective(sol).at(u).second()
    monkeypatch.setattr(SoupObjective, "by_policy", True)
    again = SoupObjective(sol).at(u).second()
    for found, expected in zip(exact, again, strict=True):
        assert found.any()
        np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize(("K", "most"), [(2, 15), (8, 15), (32, 40)])
def test_an_ascent_needs_few_evaluations(K, most, monkeypatch):
    """Of J with its gradient, from starts that do not know of each other; and they are counted."""
    mdp = random_mdp(8, A=6, L=2, K=K)
    objective = SoupObjective(solve(mdp))
    starts = default_starts(objective.sol, draws=2)
    asked, at = [], SoupObjective.at
    monkeypatch.setattr(SoupObjective, "at", lambda self, u: asked.append(u) or at(self, u))
    for name in ("one-hot 0", "user weights", "projection", "draw 0"):
        asked.clear()
        found = ascend(objective, starts[name])
        assert found.evaluations == len(asked) <= most
        assert found.residual <= 1e-10 * objective.scale


def test_an_end_that_is_known_is_taken_where_a_step_leads_to_it():
    objective = SoupObjective(solve(random_mdp(8, A=4, K=4)))
    starts = default_starts(objective.sol)
    first = ascend(objective, starts["one-hot 0"])
    alone = ascend(objective, starts["user weights"])
    again = ascend(objective, starts["user weights"], "again", [first])
    assert again.u == first.u
    assert (again.start, again.value_at_start) == ("again", alone.value_at_start)
    assert again.evaluations < alone.evaluations
    # no end is taken that is unfinished, far from where the step leads, or lower than promised
    far = tuple(np.eye(4)[3])
    for end in (
        replace(first, residual=1e-3),
        replace(first, u=far),
        replace(first, value=first.value - 10.0),
    ):
        assert ascend(objective, starts["user weights"], "user weights", [end]).u == alone.u


@pytest.mark.parametrize("beta", [0.7, 8.0])
def test_projection_by_normal_equations(beta):
    """Weighted least squares of Q_w on the Q_k about their means under π_w, at the places it visits."""
    sol = solve(random_mdp(3, K=3, forbid=0.2, beta=beta))
    mdp = sol.mdp
    visits = Policy(mdp, sol.Q_w / mdp.beta).occupancy.nexts
    normal, right = np.zeros((3, 3)), np.zeros(3)
    for t in range(mdp.steps):
        for y in range(mdp.n_contexts // mdp.vocab_size):
            block = slice(3 * y, 3 * y + 3)
            p = visits[t, block]
            if p.sum() == 0:
                continue
            X, target = sol.Q[:, t, block], sol.Q_w[t, block]
            X = X - (X @ p)[:, None] / p.sum()
            target = target - target @ p / p.sum()
            normal += (X * p) @ X.T
            right += (X * p) @ target
    u = np.linalg.solve(normal, right)
    size = np.abs(u).sum()
    np.testing.assert_allclose(projection(sol), u / max(1.0, size), rtol=1e-8)
    assert np.abs(projection(sol) - mdp.w).max() > 1e-3


def test_of_ascents_that_tie_the_one_at_rest_is_best():
    """Values tie within 1e-14 of the size of J, whatever that size is."""

    def end(name: str, value: float, residual: float) -> Ascent:
        return Ascent(name, 0.0, value, (1.0, 0.0), 1, 1, residual)

    for scale in (1e-3, 1.0, 1e3):
        highest, tied = end("highest", scale, 1e-3), end("tied", scale * (1 - 5e-15), 1e-9)
        lower = end("lower", scale * (1 - 1e-13), 0.0)
        assert optimum_module._best([highest, lower, tied], scale) is tied


def test_grid_is_for_two():
    with pytest.raises(ValueError, match="K = 3"):
        grid_search(SoupObjective(solve(random_mdp(11, K=3))))
