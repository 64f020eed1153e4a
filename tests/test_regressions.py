"""Defects that a referee found, kept from coming back."""

from __future__ import annotations

import json
import math
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from conftest import random_mdp

from bounds import check
from bounds.certificates import WitnessError, certify
from bounds.cli import main
from bounds.records.loading import load_any
from bounds.records.output import OutputFile
from bounds.records.witness import Witness
from toymdp import InstanceError, SolverError, TokenMDP, solve, soup_optimum
from toymdp.exact.policy import Policy
from toymdp.exact.scans import mixture
from toymdp.families import generate
from toymdp.kinds import load_instance

ONE_HOT = {"kind": "tabular", "per_step": True, "scale": 1.0}


def plain(**fields) -> TokenMDP:
    base = {
        "vocab_size": 2, "order": 1, "horizon": 1, "start": [0], "beta": 1.0, "w": [1.0],
        "ref_weights": [[1, 1], [1, 1]], "rewards": [[0, 1]], "features": ONE_HOT,
    }  # fmt: skip
    return TokenMDP(**{**base, **fields})


def no_false_violation(mdp: TokenMDP) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for found in check(mdp):
            assert found.verdict != "violated" or found.status != "proved", found


def test_divergence_when_an_allowed_token_has_underflowed():
    """p has lost a token to underflow that q = ref still gives 5 %: KL(p‖ref) = −log 0.95."""
    mdp = plain(ref_weights=[[0.95, 0.05], [0.95, 0.05]], rewards=[[1000.0, 0.0]])
    sol = solve(mdp)
    kl = Policy(mdp, sol.Q_w / mdp.beta).divergence(Policy(mdp, np.zeros((1, 2))))
    assert kl[0, 0] == pytest.approx(-math.log(0.95), rel=1e-12)
    assert soup_optimum(mdp, sol).gap == pytest.approx(0.0, abs=1e-9)
    no_false_violation(mdp)


@pytest.mark.parametrize("size", [0.0, 1e-8, 1e-5])
def test_no_or_tiny_rewards_decide_nothing_by_rounding(size):
    for seed in range(4):
        mdp = random_mdp(seed, T=3, K=1 + seed % 2, forbid=0.3)
        no_false_violation(mdp.replace(rewards=size * mdp.rewards))


def test_rare_tokens_do_not_break_the_desirability_claim():
    no_false_violation(
        plain(horizon=2, ref_weights=[[1, 1e-30], [1, 1e-60]], rewards=[[0.0, 60.0]])
    )


def test_features_of_wild_scale_do_not_break_the_bookkeeping():
    for seed in range(6):
        mdp = random_mdp(seed, A=2, T=2, beta=0.1)
        scale = np.exp(3 * np.random.default_rng(seed).normal(size=(2, 4)))
        features = {"kind": "tabular", "per_step": True, "scale": scale}
        no_false_violation(mdp.replace(rewards=0.1 * mdp.rewards, features=features))


def test_reward_units_do_not_matter():
    mdp = random_mdp(3, K=3)
    small = mdp.replace(beta=2.0**-20, beta_prime=2.0**-20, rewards=2.0**-20 * mdp.rewards)
    first, second = soup_optimum(mdp), soup_optimum(small)
    assert pytest.approx(first.J, rel=1e-9) == 2.0**20 * second.J


BAD_FILES = {
    "format list": {"format": []},
    "kind list": {"features": {"kind": []}},
    "huge integer": {"beta": 10**400},
    "huge entry": {"rewards": [[0, 10**400]]},
    "huge count": {"vocab_size": 10**30},
    "string entry": {"rewards": [["1", 0]]},
    "null entry": {"rewards": [[None, 0]]},
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_strange_types_are_refused(tmp_path, name):
    fields = {
        "format": "token-mdp/1", "vocab_size": 2, "order": 1, "horizon": 1, "start": [0],
        "beta": 1.0, "w": [1.0], "ref_weights": [[1, 1], [1, 1]], "rewards": [[0, 1]],
        "features": ONE_HOT, **BAD_FILES[name],
    }  # fmt: skip
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(fields), encoding="utf-8")
    for read in (load_instance, load_any, TokenMDP.load):
        with pytest.raises(InstanceError) as caught:
            read(path)
        assert "\n" not in str(caught.value)


def test_numbers_too_long_to_read(tmp_path):
    path = tmp_path / "long.json"
    path.write_text('{"format": "token-mdp/1", "beta": ' + "9" * 5000 + "}", encoding="utf-8")
    with pytest.raises(InstanceError, match="digits"):
        load_instance(path)


def test_one_token_has_one_context():
    mdp = plain(vocab_size=1, order=40, start=[0] * 40, ref_weights=[[1]], rewards=[[2.0]])
    assert solve(mdp).value_w == 2.0


def test_output_never_replaces_an_input_nor_an_old_ledger_if_it_fails(tmp_path):
    old = tmp_path / "old.jsonl"
    old.write_text("kept\n", encoding="utf-8")
    with pytest.raises(ZeroDivisionError), OutputFile(str(old)):
        raise ZeroDivisionError  # before its first line
    assert old.read_text(encoding="utf-8") == "kept\n"
    with pytest.raises(InstanceError, match="input"):
        OutputFile(str(old), [old])


def test_names_that_read_as_markup_are_shown_as_they_are(tmp_path, capsys):
    path = tmp_path / "n.json"
    random_mdp(0).replace(name="a[/b][red]c").save(path)
    for arguments in (["solve", str(path)], ["verify", str(path), "--claims", "ss.lemma1"]):
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert stop.value.code == 0
        assert "a[/b][red]c" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [["search", "ss.thm1.kl", "--factor", "inf"], ["verify", "--html", "{folder}"]],
)
def test_targets_that_cannot_be_met_are_refused_at_once(arguments, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main([a.format(folder=tmp_path) for a in arguments])
    assert stop.value.code == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_the_optimum_is_zero_only_if_no_start_is_better():
    """A reward that ref all but forbids: J is 1e-17, and 0 is not the largest value met."""
    mdp = TokenMDP(
        vocab_size=2, order=1, horizon=1, start=[0], ref_weights=[[1, 1e-17], [1, 1]],
        rewards=[[0, 1.0]], beta=1.0, w=[1.0], features={"kind": "tabular", "per_step": True},
    )  # fmt: skip
    opt = soup_optimum(mdp)
    assert all(max(a.value, a.value_at_start) <= opt.J for a in opt.starts)


def test_a_continuation_that_ends_early_is_certified_nowhere(tmp_path):
    mdp = random_mdp(3, A=3, L=2, T=4, K=1, eos=2).replace(
        features={"kind": "dense", "values": [[1, i % 3] for i in range(9)]}
    )
    path = tmp_path / "w.json"
    Witness("w", mdp, "ss.eq13.single-vector", None, 0, {"lhs": 1.0, "rhs": 0.0}).save(path)
    assert not certify(path).proved


def test_too_many_specialists_for_enclosing_the_optimum_are_refused(tmp_path):
    mdp = random_mdp(3, K=9)
    path = tmp_path / "w.json"
    Witness("w", mdp, "ss.thm1.kl", None, 0, {"lhs": 1.0, "rhs": 0.0}).save(path)
    with pytest.raises(WitnessError, match="K = 9"):
        certify(path)


def no_digits(rewards, beta_prime=None) -> TokenMDP:
    """Until eos, where going on costs so much that a soup of negative weight hardly ever ends."""
    return plain(
        vocab_size=3, horizon=None, eos=2, rewards=rewards, beta_prime=beta_prime,
        w=[1 / len(rewards)] * len(rewards),
        ref_weights=[[0.33, 0.41, 0.4], [0.11, 0.36, 0.68], [0.67, 0.05, 0.43]],
        features={"kind": "tabular", "per_step": False, "scale": 1.0},
    )  # fmt: skip


@pytest.mark.parametrize("cost", [5.0, 20.0, 37.0, 100.0])
def test_a_soup_that_hardly_ends_is_undecided_and_never_the_optimum(cost):
    """1 − P has no digits of a chance of e^-37 to end: J came out as 4e19 above V_w."""
    mdp = no_digits([[-cost, -0.57 * cost, 0.0]])
    sol = solve(mdp)
    opt = soup_optimum(mdp, sol)
    assert sol.value_w + 1e-9 >= opt.J
    assert pytest.approx(sol.value_w, abs=1e-9) == opt.J  # K = 1: λ = 1 is π_w itself
    no_false_violation(mdp)
    found = {c.claim: c for c in check(mdp, "ss.thm1.gap.identity,ss.eq8.upper", lam=[-0.99])}
    if cost > 30:
        assert {c.verdict for c in found.values()} == {"undecided"}
        assert "no digits left" in found["ss.eq8.upper"].reason


def test_policies_that_never_end_raise_and_do_not_warn():
    mdp = no_digits([[-37.0, -37.0, 0.0], [0.0, -60.0, 0.0]])
    away = np.array([[1e3, 1e3, 0.0]])
    with pytest.raises(SolverError, match="no digits left"):
        Policy(mdp, away).value(mdp.reward_w)
    with pytest.raises(SolverError, match="no digits left"):
        _ = Policy(mdp, away).occupancy
    no_false_violation(mdp)


def test_the_radius_of_values_covers_the_rounding_of_large_logits():
    """A logit of 6e4 nats is known to 1e-11: J, of size 4e4, is off by 1e-7 and not by 1e-11."""
    mdp = plain(
        vocab_size=3, horizon=2, w=[0.3, 0.7],
        ref_weights=[[0, 0.269, 0.223], [0, 0, 1], [0.462, 0.161, 0]],
        rewards=[[-2e4, 2e4, 1e4], [-4e4, 2e4, 6e4]],
    )  # fmt: skip
    for scale in (1.0, 10.0):
        larger = mdp.replace(rewards=scale * mdp.rewards)
        for lam in ([0.18182037774571305, -0.3694971315501944], [0.3, 0.7], [-0.5, 0.1]):
            (found,) = check(larger, "ss.betaprime", lam=lam)
            assert found.verdict != "violated"
            assert found.error > 1e-16 * (scale * 6e4) ** 2 / 8
        no_false_violation(larger)


@pytest.mark.parametrize("lam", [[0.1, 0.1], [], [0.1] * 5, 0.3, [[0.1] * 3], [math.nan, 0.1, 0.1]])
def test_weights_of_another_length_or_no_numbers_are_refused(lam):
    mdp = generate("dirichlet", 2)
    assert mdp.n_rewards == 3
    with pytest.raises(InstanceError, match="must be 3 finite numbers"):
        check(mdp, "ss.eq8.upper", lam=lam)
    with pytest.raises(ValueError, match="weights for"):
        mixture(np.ones(2), np.ones((3, 4, 5)))


def test_zero_rewards_are_linear_in_any_features():
    """Q is 0 up to β times a rounding, which no rounding of Q itself can tell."""
    rng = np.random.default_rng(2)
    for _ in range(4):
        mdp = plain(
            vocab_size=5, horizon=3, ref_weights=rng.dirichlet(np.ones(5), size=5),
            rewards=np.zeros((1, 5)), features={"kind": "dense", "values": rng.normal(size=(5, 2))},
        )  # fmt: skip
        found = {c.claim: c for c in check(mdp)}
        assert found["ss.lemma1"].verdict == found["ss.lemma1.per-step"].verdict == "holds"
        assert found["ss.thm1.kl.repaired"].hypotheses["q-linear"]


@pytest.mark.parametrize("never", [1e13, 1e17])
def test_rewards_that_are_never_earned_change_no_verdict(never):
    """bos is not emitted: what reaching it would pay must not drown what is there."""

    def verdicts(x: float) -> dict[str, str]:
        mdp = plain(
            vocab_size=3, horizon=2, start=[2], bos=2, beta=2.0, w=[0.5, 0.5],
            ref_weights=[[1, 2, 0], [3, 1, 0], [1, 1, 0]], rewards=[[0, 1, x], [1, 0, x]],
        )  # fmt: skip
        return {c.claim: c.verdict for c in check(mdp)}

    assert verdicts(never) == verdicts(0.0)
    assert verdicts(0.0)["ss.eq7.logit"] == "violated"


def test_no_number_in_a_policy_is_no_number_in_its_divergences():
    mdp = generate("dirichlet", 1)
    bad = np.full((mdp.steps, mdp.n_contexts), np.nan)
    for G, H in ((bad, 0 * np.nan_to_num(bad)), (np.zeros_like(bad), bad)):
        assert np.isnan(Policy(mdp, G).divergence(Policy(mdp, H))[mdp.reach.states]).any()


def test_two_threads_may_look_for_optima_at_once():
    """The program of a step has parameters: each thread has its own."""
    cases = [generate("dirichlet", seed) for seed in range(6)]
    expected = [soup_optimum(mdp).J for mdp in cases]
    with ThreadPoolExecutor(3) as pool:
        for _ in range(3):
            found = pool.map(lambda mdp: soup_optimum(mdp).J, cases)
            assert list(found) == pytest.approx(expected, rel=1e-9)
