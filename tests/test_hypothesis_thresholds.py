"""Every hypothesis on both sides of its threshold, close by; and the λ that claims are tried at."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import random_mdp
from judging import facts_of, sides_of
from second_code.solve import Mix
from second_code.theorem import one_hot
from second_code.worlds import WORLDS
from test_second_code import solved

from bounds import CLAIMS, Facts, NotApplicable, Soup
from bounds.claims.catalogue import hypotheses
from bounds.claims.kl import constant_norm_states
from bounds.facts.soup import standard_lambdas
from toymdp import TokenMDP, solve
from toymdp.families import generate

NEAR = 1e-6  # how far from the threshold


def outcome(name: str, mdp: TokenMDP, lam=None) -> bool | None:
    facts = Facts(solve(mdp))
    soup = None if lam is None else Soup(facts, np.asarray(lam, dtype=float))
    return hypotheses()[name].evaluate(facts, soup)[0]


def world(name: str, **changes) -> TokenMDP:
    return TokenMDP(**{**WORLDS[name](), **changes})


@pytest.mark.parametrize("name", ["wide-dense", "one-hot-forbidding"])
def test_the_domain_ends_at_full_budget(name):
    """β|λ|₁ = β', whatever the signs, and not β|Σλ| or a multiple of it."""
    mdp = world(name)
    signs = np.array([1.0, -1.0, 1.0])[: mdp.n_rewards]
    full = mdp.beta_prime / mdp.beta * signs * np.array([0.5, 0.25, 0.25])[: mdp.n_rewards]
    full *= mdp.beta_prime / (mdp.beta * np.abs(full).sum())
    assert outcome("lambda-in-domain", mdp, full) is True
    assert outcome("lambda-in-domain", mdp, (1 - 1e-9) * full) is True
    assert outcome("lambda-in-domain", mdp, (1 + 1e-9) * full) is False
    assert outcome("lambda-full-budget", mdp, full) is True
    for share in (1 - 1e-9, 1 + 1e-9):
        assert outcome("lambda-full-budget", mdp, share * full) is False


def test_any_weight_but_zero_is_nonzero():
    mdp = world("wide-dense")
    assert outcome("lambda-nonzero", mdp, [0.0, 0.0]) is False
    assert outcome("lambda-nonzero", mdp, [0.0, -1e-300]) is True


def test_the_least_reachable_reward_decides():
    mdp = world("binary-ended")
    (unreached,) = np.flatnonzero(~mdp.reach.nexts.any(axis=0))[:1]
    reached = int(np.flatnonzero(mdp.reach.nexts.any(axis=0))[-1])
    for least, where, expected in (
        (0.0, reached, True), (-1e-12, reached, False), (-1.0, unreached, True),
    ):  # fmt: skip
        rewards = mdp.rewards.copy()
        rewards[1, where] = least
        assert outcome("rewards-nonnegative", mdp.replace(rewards=rewards)) is expected


def test_every_value_at_the_start_decides():
    """A shift of r_1 by c moves V_1 by cT: the threshold itself is known."""
    mdp = world("wide-dense")
    for k in range(2):
        for off in (NEAR, -NEAR):
            rewards = mdp.rewards.copy()
            rewards[k] -= (solve(mdp).values[k] - off) / mdp.horizon
            moved = mdp.replace(rewards=rewards)
            assert solve(moved).values[k] == pytest.approx(off, rel=1e-6)
            assert outcome("values-nonnegative", moved) is (off > 0)


@pytest.mark.parametrize("name", ["wide-dense", "one-hot-forbidding", "binary-ended"])
def test_a_soup_must_beat_the_best_specialist(name):
    """Around the best one-hot weight J crosses the best specialist's value: the signs agree."""
    case = solved(name)
    full = case.mdp.beta_prime / case.mdp.beta
    pairs = [
        one_hot(case.truth, Mix(case.truth, full * e), None) for e in np.eye(case.mdp.n_rewards)
    ]
    best = pairs[0].where["k"]
    seen = set()
    for k, e in enumerate(np.eye(case.mdp.n_rewards)):
        assert outcome("beats-one-hot", case.mdp, full * e) is (k == best)
    for j in range(case.mdp.n_rewards):
        for off in (NEAR, -NEAR):
            lam = full * np.eye(case.mdp.n_rewards)[best]
            lam[j] += off * full
            pair = one_hot(case.truth, Mix(case.truth, lam), None)
            assert abs(pair.rhs - pair.lhs) < 1e-4
            assert outcome("beats-one-hot", case.mdp, lam) is bool(pair.rhs >= pair.lhs)
            seen.add(bool(pair.rhs >= pair.lhs))
    assert seen == {True, False}


@pytest.mark.parametrize("off", [0.0, 1e-9, -1e-9, 0.3])
def test_one_norm_is_one_number(off):
    """Whole instance and single states; what cannot be reached does not count."""
    mdp = world("wide-dense")
    scale = np.full((3, 9), 0.7)
    scale[0, ~mdp.reach.nexts[0]] = 9.0
    scale[2, 4] *= 1 + off
    mdp = mdp.replace(features={"kind": "tabular", "per_step": True, "scale": scale})
    assert outcome("features-constant-norm", mdp) is (off == 0.0)
    # the claim about single states leaves out those that lead to (2, 4), and they alone
    facts = facts_of(solve(mdp))
    leading = [s for s in range(9) if s % 3 == 1]
    states = constant_norm_states(facts)
    assert states[:2].sum() == mdp.reach.states[:2].sum()
    assert states[2, leading].all() == (off == 0.0)
    assert states[2].sum() == (9 if off == 0.0 else 6)


def test_one_norm_at_no_state_leaves_the_claim_about_states_with_nothing():
    mdp = world("wide-dense")
    sol = solve(mdp)
    with pytest.raises(NotApplicable):
        sides_of(CLAIMS["ss.thm1.kl.constant-norm"], sol, [0.5, -0.25])


@pytest.mark.parametrize("off", [0.0, NEAR])
def test_rewards_are_linear_or_not(off):
    mdp = world("narrow-softmax")
    rewards = mdp.rewards.copy()
    rewards[1, 5] += off
    assert outcome("ss.asm1", mdp.replace(rewards=rewards)) is (off == 0.0)


@pytest.mark.parametrize("off", [0.0, NEAR])
def test_values_are_linear_or_not(off):
    """Features that know no step, T = 2: Q_0 and Q_1 differ by V_1, a constant if r is one."""
    mdp = random_mdp(2, T=2).replace(features={"kind": "tabular", "per_step": False})
    rewards = np.zeros((2, 9))
    rewards[1, 4] = off
    assert outcome("q-linear", mdp.replace(rewards=rewards)) is (off == 0.0)


@pytest.mark.parametrize("off", [0.0, NEAR])
def test_feature_rows_are_independent_or_not(off):
    values = np.eye(9)[None].repeat(3, axis=0)
    values = np.concatenate([values * (np.arange(3) == t)[:, None, None] for t in range(3)], axis=2)
    values[2, 7] = values[2, 6]
    values[2, 7, 0] += off
    mdp = world("wide-dense", features={"kind": "dense", "values": values})
    assert outcome("features-independent", mdp) is (off != 0.0)


@pytest.mark.parametrize("off", [0.0, NEAR])
def test_ref_is_a_softmax_or_not(off):
    mdp = world("narrow-softmax")
    weights = mdp.ref_weights.copy()
    weights[5, 1] *= 1 + off
    assert outcome("ss.asm0", mdp.replace(ref_weights=weights)) is (off == 0.0)


def test_no_softmax_forbids_a_token():
    mdp = world("narrow-softmax")
    weights = mdp.ref_weights.copy()
    weights[5, 1] = 0.0
    assert outcome("ss.asm0", mdp.replace(ref_weights=weights)) is False


@pytest.mark.parametrize("name", list(WORLDS))
def test_claims_about_every_weight_are_tried_at_signed_ones(name):
    """Of every seed some draws have a negative weight, some of both signs; all are in the domain."""
    case = solved(name)
    facts = facts_of(case.sol, case.optimum)
    negative = mixed = 0
    for seed in range(8):
        lambdas = standard_lambdas(facts, seed)
        draws = [lam for key, lam in lambdas.items() if key.startswith("draw")]
        assert len(draws) == 4
        negative += sum((lam < 0).any() for lam in draws)
        mixed += sum((lam < 0).any() and (lam > 0).any() for lam in draws)
        used = [case.mdp.beta * np.abs(lam).sum() / case.mdp.beta_prime for lam in lambdas.values()]
        assert max(used) <= 1 + 1e-12
        assert all(0.1 <= u <= 1 for u in used[-5:-1])
        assert lambdas["user weights"] == pytest.approx(
            case.mdp.beta_prime / case.mdp.beta * case.mdp.w
        )
        one_hots = np.array([lambdas[f"one-hot {k}"] for k in range(case.mdp.n_rewards)])
        assert one_hots == pytest.approx(
            case.mdp.beta_prime / case.mdp.beta * np.eye(case.mdp.n_rewards)
        )
    assert negative > 16
    assert mixed > 8


def test_the_optimum_keeps_to_the_domain_and_beats_every_other_weight_by_the_second_code():
    """λ* on a grid of the domain, signs included: none is better, and J* is the second code's."""
    for name in ("wide-dense", "binary-ended"):
        case = solved(name)
        lam = case.optimum.lam
        assert case.mdp.beta * np.abs(lam).sum() <= case.mdp.beta_prime * (1 + 1e-9)
        best = float(Mix(case.truth, lam).value)
        assert pytest.approx(best, rel=1e-10) == case.optimum.J
        full = case.mdp.beta_prime / case.mdp.beta
        for first in np.linspace(-1, 1, 9):
            for second in ((1 - abs(first)), -(1 - abs(first)), 0.5 * (1 - abs(first))):
                other = Mix(case.truth, full * np.array([first, second]))
                assert float(other.value) <= best + 1e-7


def test_values_that_are_not_linear_come_with_a_way_out():
    """Specialists count from 1, as in the papers; the features that the reason names make Q linear."""
    mdp = generate("softmax", 12)
    value, reason = hypotheses()["q-linear"].evaluate(Facts(solve(mdp)), None)
    assert value is False
    assert reason.startswith("Q_1 is not linear in the features")
    assert "tabular, per_step true" in reason
    there = mdp.replace(
        features={"kind": "tabular", "per_step": True, "scale": 1.0}, start_feature=None
    )
    assert outcome("q-linear", there) is True
