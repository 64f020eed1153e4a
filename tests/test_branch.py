"""Branch and bound: the bound holds everywhere looked at and is as tight as it says."""

from __future__ import annotations

import numpy as np
import pytest
from bound_worlds import ball_points, opposite, world
from conftest import random_mdp

from toymdp import InstanceError, TokenMDP, solve, soup_optimum
from toymdp.soup import bound as branch
from toymdp.soup import optimum
from toymdp.soup.bound import branch_and_bound, halve, orthants
from toymdp.soup.objective import SoupObjective
from toymdp.soup.starts import grid_search


def start_value(sol) -> float:
    """A poor J to start from: the search has to find the optimum by itself."""
    return SoupObjective(sol).value(np.zeros(len(sol.Q)))


def check_bound(mdp: TokenMDP, tolerance: float, seed: int = 0):
    """The bound is above J everywhere looked at, and as near the best J as it says."""
    sol = solve(mdp)
    objective = SoupObjective(sol)
    found = branch_and_bound(sol, start_value(sol), tolerance=tolerance, seconds=20.0, threads=1)
    rng = np.random.default_rng(seed)
    nus = np.vstack([ball_points(rng, mdp.n_rewards, 600), np.eye(mdp.n_rewards)])
    highest = float(objective.values(nus).max())
    assert highest <= found.value
    assert found.J <= found.value <= sol.value_w + 1e-9 * max(1.0, objective.scale)
    assert found.reached
    assert found.stopped == "tolerance"
    assert highest <= found.J + found.allowed
    return sol, objective, found


@pytest.mark.parametrize("part", range(8))
def test_bound_on_random_worlds(part):
    for seed in range(part, 240, 8):
        mdp = world(seed)
        check_bound(mdp, 1e-2 if mdp.n_rewards == 3 else 1e-3, seed)


@pytest.mark.parametrize("seed", range(6))
def test_bound_against_refined_grid(seed):
    mdp = opposite(seed, 2, noise=0.3) if seed % 2 else random_mdp(seed, A=4, beta=0.2)
    sol, _, found = check_bound(mdp, 1e-5)
    _, best = grid_search(SoupObjective(sol))
    assert best <= found.value
    assert best - found.allowed <= found.J


@pytest.mark.parametrize("seed", range(4))
def test_nearly_opposite_rewards_of_three(seed):
    sol, _, found = check_bound(opposite(seed, 3, noise=[0.05, 0.3][seed % 2], A=4, T=5), 1e-3)
    assert found.value >= soup_optimum(sol.mdp, sol).J


@pytest.mark.parametrize("K", [1, 2, 3, 4])
def test_pieces_cover_the_ball(K):
    def volume(c):
        return abs(np.linalg.det(c[1:] - c[0]))

    rng = np.random.default_rng(K)
    shape = rng.normal(size=(K, K))
    pieces = list(orthants(K))
    total = sum(map(volume, pieces))
    assert total == pytest.approx(2.0**K)
    for _ in range(6):
        pieces = [half for piece in pieces for half in halve(piece, shape @ shape.T)]
    assert sum(map(volume, pieces)) == pytest.approx(total, rel=1e-12)
    signs = [np.sign(p.sum(axis=0)) for p in pieces]
    assert all((s * p >= 0).all() for s, p in zip(signs, pieces, strict=True))
    finest = pieces[0] / 2.0**52
    assert halve(finest, np.eye(K)) == []


def test_a_low_value_is_improved():
    """Given the value of a bad soup, the search finds the optimum and says that it did."""
    sol = solve(opposite(1, 3, noise=0.3, A=4, T=5))
    opt = soup_optimum(sol.mdp, sol)
    found = branch_and_bound(sol, opt.J - 1.0, tolerance=1e-3, threads=1)
    assert found.ascents
    assert opt.J - found.allowed <= found.J


def test_optimum_uses_what_the_search_found(monkeypatch):
    """If every start is poor, λ* comes from branch and bound."""
    mdp = opposite(1, 3, noise=0.3, A=4, T=5)
    best = soup_optimum(mdp, tolerance=1e-3, threads=1)
    assert best.evidence == "certified"
    assert best.upper_bound is not None
    assert best.J <= best.upper_bound <= best.J + best.bound.allowed
    lone = {"poor": np.array([0.0, 0.0, -1.0])}
    monkeypatch.setattr(optimum, "default_starts", lambda *_: lone)
    poor = soup_optimum(mdp)
    again = soup_optimum(mdp, tolerance=1e-3, threads=1)
    assert poor.upper_bound is None
    assert best.J - best.bound.allowed <= again.J
    if best.J - best.bound.allowed > poor.J:
        assert again.start == "branch and bound"


def test_time_and_interrupts_keep_the_bound():
    sol = solve(random_mdp(0, A=5, T=6, K=3, beta=0.2))
    J = start_value(sol)
    best = soup_optimum(sol.mdp, sol).J
    short = branch_and_bound(sol, J, tolerance=1e-9, seconds=1e-6, threads=1)
    assert short.stopped == "time"
    assert not short.reached
    assert short.value >= best
    seen = []

    def stop(now):
        seen.append(now)
        if len(seen) == 3:
            raise KeyboardInterrupt

    held = branch_and_bound(sol, J, tolerance=1e-9, threads=2, report=stop)
    assert held.stopped == "interrupt"
    assert best <= held.value <= short.value
    assert seen[0].pieces < seen[2].pieces


def test_an_interrupt_in_the_middle_of_a_batch_loses_no_piece(monkeypatch):
    sol = solve(random_mdp(0, A=5, T=6, K=3, beta=0.2))
    best = soup_optimum(sol.mdp, sol).J
    inner, calls = branch._Search._bounds, []

    def interrupted(self, *args):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return inner(self, *args)

    monkeypatch.setattr(branch._Search, "_bounds", interrupted)
    held = branch_and_bound(sol, start_value(sol), tolerance=1e-9, threads=1)
    assert held.stopped == "interrupt"
    assert held.value >= best


def test_pieces_that_cannot_be_halved_keep_their_bound(monkeypatch):
    """With corners on a coarse grid the search ends early, and says so; no piece is forgotten."""
    sol = solve(random_mdp(0, A=5, T=6, K=2, beta=0.2))
    monkeypatch.setattr(branch, "FINEST", 4.0)
    found = branch_and_bound(sol, start_value(sol), tolerance=1e-9, threads=1)
    assert found.stopped == "resolution"
    assert not found.reached
    assert found.value >= soup_optimum(sol.mdp, sol).J


def test_many_specialists_get_the_identity():
    sol = solve(random_mdp(2, K=8))
    found = branch_and_bound(sol, start_value(sol), tolerance=1e-3)
    assert found.method == "identity"
    assert found.pieces == 0
    assert found.value == pytest.approx(sol.value_w, abs=1e-9)
    assert found.value >= sol.value_w


@pytest.mark.parametrize("K", [4, 5])
def test_more_than_three(K):
    check_bound(random_mdp(1, A=3, T=3, K=K), 2e-2)


def test_bad_input():
    sol = solve(random_mdp(0))
    for bad in (0.0, -1.0, np.inf, np.nan):
        with pytest.raises(InstanceError, match="must be positive"):
            branch_and_bound(sol, 0.0, tolerance=bad)
    with pytest.raises(InstanceError, match="seconds"):
        branch_and_bound(sol, 0.0, tolerance=1e-3, seconds=0.0)
    endless = random_mdp(9, T=None, eos=2, beta=6.0)
    opt = soup_optimum(endless, tolerance=1e-3)
    assert opt.upper_bound is None
    assert "finite horizon" in opt.no_bound
    with pytest.raises(InstanceError, match="finite horizon"):
        branch_and_bound(solve(endless), 0.0, tolerance=1e-3)
    weights = np.array(random_mdp(0).ref_weights)
    weights[0, 0] = 1e-300
    faint = random_mdp(0).replace(ref_weights=weights)
    assert "no accurate logarithm" in soup_optimum(faint, tolerance=1e-3).no_bound
