"""J and its gradient by the soup's own kernels, against the road of policies, which shares no kernel."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import random_mdp

from toymdp import solve
from toymdp.exact.policy import Policy
from toymdp.soup.objective import SoupObjective

# A, L: fewer blocks than a vector holds, some over, more than a chunk
SHAPES = [(2, 2), (5, 3), (3, 5), (17, 2)]


def by_policies(objective: SoupObjective, u: np.ndarray) -> tuple[float, np.ndarray, float]:
    """Value, slope and kink from tables of the policy, [T, S, A], added up over states."""
    sol, mdp = objective.sol, objective.sol.mdp
    mu = u / mdp.beta
    eta = 1 / np.abs(mu).sum()
    G = np.tensordot(mu, sol.Q, axes=1)
    policy = Policy(mdp, G)
    kl = policy.divergence(sol.reference)
    U = policy.value(mdp.reward_w, -eta * kl)
    A, S = mdp.vocab_size, mdp.n_contexts
    nexts = (np.arange(S)[:, None] * A + np.arange(A)) % S
    H = (mdp.reward_w + U[1:] - eta * G)[:, nexts]
    table, d = policy.table, policy.occupancy.states
    means = (table * H).sum(axis=2, keepdims=True)
    field = d[..., None] * table * (H - means)
    slope = np.array([(field * q[:, nexts]).sum() for q in sol.Q]) / mdp.beta
    return U[0, mdp.start_context], slope, eta**2 * (d * kl).sum() / mdp.beta


@pytest.mark.parametrize(("A", "L"), SHAPES)
@pytest.mark.parametrize("forbid", [0.0, 0.4])
@pytest.mark.parametrize(
    "scale", [1.0, 1e-5, 300.0]
)  # 1e-5: divergences that cancel; 300: rows lost
def test_value_slope_and_kink_are_those_of_the_policy(A, L, forbid, scale):
    mdp = random_mdp(A, A=A, L=L, T=2 * L, K=3, forbid=forbid, scale=scale, beta=0.7)
    objective = SoupObjective(solve(mdp))
    for u in ([0.5, -0.25, 0.0], [0.2, 0.3, 0.4], [1e-6, 0.0, 2e-6]):
        u = np.array(u)
        point = objective.at(u)
        value, slope, kink = by_policies(objective, u)
        room = 1e-13 * objective.scale
        assert abs(point.value - value) < room
        assert point.value == objective.value(u)
        # beside what it is the covariance of
        most = np.abs(slope).max() + kink
        np.testing.assert_allclose(point.slope, slope, rtol=1e-9, atol=room / 10 + 1e-9 * most)
        assert point.kink == pytest.approx(kink, rel=1e-7, abs=room / 10)
        assert abs(point.slope).max() > 0


def test_until_eos_too():
    objective = SoupObjective(solve(random_mdp(4, A=4, L=2, T=None, K=3, eos=1, scale=0.1)))
    u = np.array([0.5, -0.2, 0.1])
    point = objective.at(u)
    value, slope, kink = by_policies(objective, u)
    assert point.value == pytest.approx(value, rel=1e-13)
    np.testing.assert_allclose(point.slope, slope, rtol=1e-11)
    assert point.kink == pytest.approx(kink, rel=1e-11)
