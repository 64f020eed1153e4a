"""The walked proofs and the ladder of bounds."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from conftest import random_mdp
from judging import judged

from bounds import CLAIMS, Facts, Soup
from bounds.proofs.ladder import BRANCHES, RUNGS, feature_rungs, ladder
from bounds.proofs.walk import PROOFS, explain
from toymdp import InstanceError, solve, soup_optimum
from toymdp.families import generate
from toymdp.families.classics import lemma1_softmax, rare_first_token


def test_gap_walk_names_the_step_that_breaks():
    found = explain(solve(rare_first_token()), "ss.thm1.gap")
    assert found.claim.verdict == "violated"
    assert found.steps[found.first_broken][0].claim == "ss.proof.A"
    verdicts = {c.claim: c.verdict for c in found.repairs}
    assert set(verdicts.values()) == {"holds"}
    plain = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert plain["first_broken"]["claim"] == "ss.proof.A"


def test_lemma_walk():
    found = explain(solve(lemma1_softmax()), "ss.lemma1")
    assert found.steps[found.first_broken][0].claim == "ss.eq12"
    last = found.steps[-1][1]
    assert (last.claim, last.verdict) == ("ss.proof.single-exponential", "violated")


def test_every_step_and_repair_is_a_claim():
    for proof in PROOFS.values():
        assert all(step.claim in CLAIMS for step in proof.steps)
        assert all(CLAIMS[name].status == "proved" for name in proof.repairs)


def test_unknown_claims_are_refused():
    with pytest.raises(InstanceError, match="claim"):
        explain(solve(random_mdp(0)), "ss.lemma2")
    with pytest.raises(InstanceError, match="token MDPs"):
        explain(solve(random_mdp(0)), "ex.thm5.1")


@pytest.mark.parametrize("seed", range(6))
def test_ladder_is_ordered(seed):
    mdp = generate("unit-norm", seed, T=3)
    sol = solve(mdp)
    opt = soup_optimum(mdp, sol)
    rungs = {r.name: r for r in ladder(Soup(Facts(sol), opt.lam))}
    assert set(RUNGS) <= set(rungs)
    gap = rungs["true gap"].value
    slop = 1e-9 * max(1.0, abs(sol.value_w))
    assert rungs["identity"].value == pytest.approx(gap, abs=slop)
    for branch in BRANCHES:
        values = [rungs[name].value for name in branch]
        assert all(a <= b + slop for a, b in itertools.pairwise(values)), branch
    assert rungs["minimal repair"].value >= gap - slop
    floor, best = rungs["printed, any features ≥"].value, rungs["printed, best one-hot scale"].value
    printed = rungs["printed (10)"].value
    assert floor <= best * (1 + 1e-6) + slop
    assert best <= printed * (1 + 1e-6) + slop


def test_best_scale_is_attained_by_that_class():
    """No random rescaling of the one-hots does better than the geometric program says."""
    mdp = generate("unit-norm", 3, A=3, L=1, T=2)
    sol = solve(mdp)
    opt = soup_optimum(mdp, sol)
    best = {r.name: r.value for r in ladder(Soup(Facts(sol), opt.lam))}[
        "printed, best one-hot scale"
    ]
    rng = np.random.default_rng(0)
    for _ in range(20):
        scale = np.exp(2 * rng.normal(size=(2, 3)))
        features = {"kind": "tabular", "per_step": True, "scale": scale}
        scaled = solve(mdp.replace(features=features))
        printed = {r.name: r.value for r in ladder(Soup(Facts(scaled), opt.lam))}["printed (10)"]
        assert printed >= best * (1 - 1e-6)


def test_features_rung_takes_the_better_bound():
    sol = solve(generate("unit-norm", 1))
    here = Soup(Facts(sol), soup_optimum(sol.mdp, sol).lam)
    parts = feature_rungs(here)
    assert parts["better"] <= min(parts["diameter"], parts["Jeffreys"]) + 1e-12


def test_at_start_judges_the_start_only():
    sol = solve(generate("dirichlet", 2, T=3))
    everywhere = judged(CLAIMS["ss.delta"], sol)
    start = judged(CLAIMS["ss.delta"], Facts(sol).at_start())
    if start.where is not None:
        assert (start.where["t"], start.where["s"]) == (0, sol.mdp.start_context)
        assert everywhere.slack <= start.slack + 1e-12
