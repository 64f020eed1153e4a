"""Values until ``eos`` close to where none exist, and ranges in which norms and values have digits."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from command_line import run
from conftest import random_mdp

from bounds import CLAIMS, Facts, check
from toymdp import InstanceError, TokenMDP, solve, soup_optimum


def one_loop(reward: float, chance: float = 0.5) -> TokenMDP:
    """Token 0 pays and goes on, token 1 ends: ``z = c·e^r z + (1 − c)``, critical at ``r = −log c``."""
    return TokenMDP(
        vocab_size=2, order=1, horizon=None, eos=1, start=[0],
        ref_weights=[[chance, 1.0 - chance], [1.0, 1.0]], rewards=[[reward, 0.0]], beta=1.0, w=[1.0],
        features={"kind": "tabular", "per_step": False, "scale": 1.0},
    )  # fmt: skip


def near_critical(seed: int, away: float) -> TokenMDP:
    """A random world whose desirability system is ``away`` from having spectral radius 1."""
    rng = np.random.default_rng(seed)
    A, K = int(rng.integers(2, 5)), int(rng.integers(1, 4))
    weights, pays = rng.dirichlet(np.ones(A), size=A), rng.exponential(size=(K, A))

    def world(factor: float) -> TokenMDP:
        return TokenMDP(
            vocab_size=A, order=1, horizon=None, eos=A - 1, start=[0], ref_weights=weights,
            rewards=factor * pays, beta=1.0, w=np.full(K, 1.0 / K),
            features={"kind": "tabular", "per_step": False, "scale": 1.0},
        )  # fmt: skip

    def radius(factor: float) -> float:
        gains = np.exp(factor * np.vstack([pays, pays.mean(axis=0)]))
        return max(
            np.abs(np.linalg.eigvals(weights[: A - 1, : A - 1] * gain[: A - 1])).max()
            for gain in gains
        )

    low, high = 0.0, 50.0
    for _ in range(200):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if radius(middle) < 1.0 - away else (low, middle)
    return world(low)


def exact_value(mdp: TokenMDP, reward) -> float:
    """``V`` at the start with 60 digits, from the weights as they are given."""
    with mpmath.workdps(60):
        A, eos = mdp.vocab_size, mdp.eos
        rows = [[mpmath.mpf(float(w)) for w in row] for row in mdp.ref_weights]
        M, b = mpmath.zeros(A, A), mpmath.zeros(A, 1)
        for s in range(A):
            for a in range(A):
                if s == eos:
                    continue
                weight = rows[s][a] / sum(rows[s]) * mpmath.exp(mpmath.mpf(float(reward[a])))
                if a == eos:
                    b[s] += weight
                else:
                    M[s, a] += weight
        z = mpmath.lu_solve(mpmath.eye(A) - M, b)
        return float(mpmath.log(z[mdp.start_context]))


@pytest.mark.parametrize("away", [1e-3, 1e-5, 1e-8, 1e-11])
@pytest.mark.parametrize("seed", range(4))
def test_no_proved_claim_is_violated_close_to_criticality(seed, away):
    for found in check(near_critical(seed, away)):
        assert (found.status, found.verdict) != ("proved", "violated"), found


@pytest.mark.parametrize("away", [1e-3, 1e-6, 1e-9])
@pytest.mark.parametrize("seed", range(6))
def test_the_scale_of_values_contains_their_error(seed, away):
    """Against 60 digits: what rounding may do, by the conditioning, is at least what it did."""
    mdp = near_critical(seed, away)
    sol = solve(mdp)
    allowed = 32 * np.finfo(float).eps * Facts(sol).size_of_values
    exact = [exact_value(mdp, reward) for reward in (*mdp.rewards, mdp.reward_w)]
    assert np.abs(np.array([*sol.values, sol.value_w]) - exact).max() <= allowed
    assert allowed < 1.0  # and it is no alibi


def test_a_critical_loop_is_told_apart():
    """``z = 1/2·e^r z + 1/2`` with e^r just below 2: the value is right to what its radius says."""
    mdp = one_loop(0.693137180509945)
    verdicts = {c.claim: c for c in check(mdp, "ss.eq2-4,ss.eq8.*")}
    assert "violated" not in {c.verdict for c in verdicts.values()}
    assert verdicts["ss.eq2-4"].error > abs(verdicts["ss.eq2-4"].slack)
    calm = {c.claim: c for c in check(one_loop(-0.5), "ss.eq2-4")}
    assert calm["ss.eq2-4"].verdict == "holds"
    assert calm["ss.eq2-4"].error < 1e-12


def test_with_a_horizon_the_scale_is_that_of_one_step():
    facts = Facts(solve(random_mdp(3)))
    assert facts.steps == 1.0
    assert facts.value_error(facts.bespoke, 3.0) == 0.0


@pytest.mark.parametrize("scale", [1e-308, 1e-60, 1e60, 1e308])
def test_feature_scales_beyond_what_norms_hold_are_refused(scale):
    one_hot = {"kind": "tabular", "per_step": True, "scale": scale}
    with pytest.raises(InstanceError, match=r"features\.scale = .*must be from 1e-50 to 1e\+50"):
        random_mdp(0).replace(features=one_hot)
    values = np.ones((9, 2))
    values[4, 1] = scale
    values[4, 0] = 0.0
    with pytest.raises(InstanceError, match=r"features\.values\[4\].*from 1e-50 to 1e\+50"):
        random_mdp(0).replace(features={"kind": "dense", "values": values})


@pytest.mark.parametrize("scale", [1e-50, 1e-30, 1e30, 1e50])
def test_feature_scales_at_the_ends_keep_every_verdict(scale):
    """Statements about products of norms know no unit of the features."""
    mdp = random_mdp(1)
    mdp = mdp.replace(rewards=np.abs(mdp.rewards))
    claims = "ss.thm1.*,ss.lemma1*,ss.betaprime,ss.delta*,ss.proof.[ABCn]*"
    plain = {c.claim: c.verdict for c in check(mdp, claims)}
    scaled = mdp.replace(features={"kind": "tabular", "per_step": True, "scale": scale})
    for found in check(scaled):
        assert found.verdict == plain.get(found.claim, found.verdict), found
        assert (CLAIMS[found.claim].status, found.verdict) != ("proved", "violated")


def test_values_that_rounding_hides_are_called_inaccurate(tmp_path):
    """At β = 1e17 the sum 1 + r/β is 1: nothing of the rewards is left, and the table says so."""
    mdp = random_mdp(2).replace(beta=1e17, beta_prime=1e17)
    assert solve(mdp).status == "inaccurate"
    assert solve(random_mdp(2).replace(beta=1e5)).status == "solved"
    path = tmp_path / "cold.json"
    mdp.save(path)
    assert "inaccurate: these values are wrong" in run("solve", path).stdout


def test_a_status_says_what_is_known():
    """Stationary, not optimal: that nothing is better elsewhere is the evidence's to say."""
    opt = soup_optimum(random_mdp(4, K=3))
    assert (opt.status, opt.evidence) == ("stationary", "multistart")
    ends = [a.value for a in opt.starts if a.residual <= 1e-7 * 10]
    assert 1 <= opt.local_optima <= len(ends)
