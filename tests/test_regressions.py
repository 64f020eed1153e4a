"""Defects that a referee found, kept from coming back."""

from __future__ import annotations

import json
import math
import warnings

import numpy as np
import pytest
from conftest import random_mdp

from bounds import check
from bounds.ledger import OutputFile
from bounds.worlds import load_any, load_instance
from toymdp import InstanceError, TokenMDP, solve, soup_optimum
from toymdp.policies import divergence

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
    kl = divergence(mdp, sol.Q_w / mdp.beta, np.zeros((1, 2)))
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


def test_output_never_replaces_an_input_nor_an_old_ledger(tmp_path):
    old = tmp_path / "old.jsonl"
    old.write_text("kept\n", encoding="utf-8")
    with OutputFile(str(old)):
        pass
    assert old.read_text(encoding="utf-8") == "kept\n"
    with pytest.raises(InstanceError, match="input"):
        OutputFile(str(old), [old])
