"""What a policy is worth: against enumeration, the identity of the optimum, and the soup's J."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conftest import random_mdp

from toymdp import SolverError, solve, soup_optimum
from toymdp.exact.evaluate import evaluate, share
from toymdp.exact.policy import Policy
from toymdp.exact.solution import other_road

WORLDS = [{"T": 4}, {"T": 4, "eos": 2, "forbid": 0.3}, {"T": None, "eos": 2}]


def slow_evaluation(policy: Policy, reward: np.ndarray, beta: float) -> tuple[float, float]:
    """Both totals by following every trajectory of a finite horizon."""
    mdp, table = policy.mdp, policy.table
    value = kl = 0.0
    open_paths = [(1.0, mdp.start_context)]
    for t in range(mdp.horizon):
        ahead = []
        for chance, s in open_paths:
            for a in np.flatnonzero(table[t, s]):
                p, after = table[t, s, a], (s * mdp.vocab_size + a) % mdp.n_contexts
                ratio = np.log(p / mdp.ref[s, a])
                value += chance * p * (reward[after] - beta * ratio)
                kl += chance * p * ratio
                if not mdp.ended[after]:
                    ahead.append((chance * p, after))
        open_paths = ahead
    return value, kl


@pytest.mark.parametrize("world", WORLDS[:2])
@pytest.mark.parametrize("beta", [0.0, 0.3, 2.0])
def test_against_every_trajectory(world, beta):
    mdp = random_mdp(3, **world)
    rng = np.random.default_rng(0)
    policy = Policy(mdp, rng.normal(size=(4, 9)))
    reward = rng.normal(size=9)  # none of the instance's own
    found = evaluate(policy, reward, beta)
    assert (found.value, found.kl) == pytest.approx(slow_evaluation(policy, reward, beta))


@pytest.mark.parametrize("world", WORLDS)
def test_the_optimum_and_ref_have_the_solution_s_values(world):
    mdp = random_mdp(5, beta=3.0, **world)
    sol = solve(mdp)
    assert evaluate(sol.bespoke, mdp.reward_w, mdp.beta).value == pytest.approx(sol.value_w)
    for policy, reward, value in zip(sol.specialists, mdp.rewards, sol.values, strict=True):
        assert evaluate(policy, reward, mdp.beta).value == pytest.approx(value)
    assert evaluate(sol.reference, mdp.reward_w, mdp.beta).kl == 0.0


def test_the_soup_at_its_own_temperature_is_worth_j():
    mdp = random_mdp(7)
    sol = solve(mdp)
    opt = soup_optimum(mdp, sol)
    soup = Policy(mdp, np.tensordot(opt.mu, sol.Q, axes=1))
    found = evaluate(soup, mdp.reward_w, 1.0 / np.abs(opt.mu).sum())
    assert found.value == pytest.approx(opt.J, rel=1e-12)


def test_tokens_a_policy_gives_up():
    mdp = random_mdp(4, L=1, T=3)
    logits = np.zeros((3, 3))
    logits[:, 1] = -np.inf
    policy = Policy(mdp, logits)
    found = evaluate(policy, mdp.reward_w, 0.5)
    assert (found.value, found.kl) == pytest.approx(slow_evaluation(policy, mdp.reward_w, 0.5))


def test_refusals():
    mdp = random_mdp(1, T=None, eos=0, A=2, L=1)
    never = Policy(mdp, np.array([[-60.0, 0.0]]))  # hardly ever ends
    with pytest.raises(SolverError, match="ends"):
        evaluate(never, mdp.reward_w, 1.0)
    with pytest.raises(ValueError, match="shape"):
        evaluate(never, np.zeros(5), 1.0)


def test_share_of_the_way():
    assert share(1.5, 1.0, 3.0) == 0.25
    assert share(0.0, 1.0, 3.0) == -0.5
    assert share(1.0, 1.0, 1.0) is None
    assert share(1.0, 1.0, 1.0 + 1e-15) is None
    assert share(1e-9, 0.0, 2e-9) == 0.5
    assert share(1e-9, 0.0, 2e-9, size=1e6) is None


def test_the_other_road_is_another_method():
    for world in WORLDS:
        sol = solve(random_mdp(2, beta=3.0, **world))
        second = other_road(sol)
        assert second.method != sol.method
        assert replace(second, method=sol.method).method == sol.method
        assert second.value_w == pytest.approx(sol.value_w, rel=1e-12)
