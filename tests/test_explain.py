"""The walked proofs and the ladder of bounds."""

from __future__ import annotations

import itertools
import json
import re

import numpy as np
import pytest
from command_line import run
from conftest import random_mdp
from judging import judged

from bounds import CLAIMS, Facts, Soup, check
from bounds.claims.catalogue import numbered, of_number, select
from bounds.proofs.ladder import BRANCHES, RUNGS, feature_rungs, ladder
from bounds.proofs.walk import PROOFS, explain, has_proof
from bounds.records.witness import stored_witness, stored_witnesses
from toymdp import InstanceError, solve, soup_optimum
from toymdp.families import generate
from toymdp.families.classics import lemma1_softmax, rare_first_token, rare_token


def test_gap_walk_names_the_step_that_breaks():
    found = explain(solve(rare_first_token()), "ss.thm1.gap")
    assert found.claim.verdict == "violated"
    assert found.steps[found.first_broken][0].claim == "ss.proof.A"
    verdicts = {c.claim: c.verdict for c in found.repairs}
    assert verdicts.pop("ss.thm1.gap.constant-norm.conditional") == "not-applicable"
    assert verdicts.pop("ss.thm1.gap.bennett") in (
        "holds",
        "undecided",
    )  # two tokens: both sides equal
    assert set(verdicts.values()) == {"holds"}
    plain = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert plain["first_broken"]["claim"] == "ss.proof.A"


def test_lemma_walk():
    found = explain(solve(lemma1_softmax()), "ss.lemma1")
    assert found.steps[found.first_broken][0].claim == "ss.proof.single-exponential"
    assert "ss.lemma1.any-reward" in found.reading
    assert [c.verdict for _, c in found.steps[:-1]] == ["holds"] * (len(found.steps) - 1)


WALKED = [
    (w.name, claim.id)
    for w in stored_witnesses()
    for claim in CLAIMS.values()
    if claim.status == "refuted" and has_proof(claim.id) and w.claim == claim.id
]


@pytest.mark.parametrize(("name", "claim"), WALKED)
def test_what_claims_blames_is_what_explain_finds(name, claim):
    w = stored_witness(name)
    found = explain(w.instance, claim, lam=w.lam)
    assert found.claim.verdict == "violated"
    assert found.first_broken is not None
    assert found.steps[found.first_broken][0].claim == CLAIMS[claim].blames
    assert found.true_when == CLAIMS[claim].true_when
    judged_here = {c.claim for c in found.repairs}
    assert set(CLAIMS[claim].true_by) <= judged_here


def test_every_refuted_row_with_a_walk_blames_one_of_its_steps_and_has_a_witness():
    walked = {c.id for c in CLAIMS.values() if c.status == "refuted" and has_proof(c.id)}
    assert {claim for _, claim in WALKED} == walked
    assert walked == {c.id for c in CLAIMS.values() if c.blames}


def test_a_claim_about_every_weight_is_walked_where_it_fails():
    """At the worst of the standard set if no λ is given, and at that state: not at λ* and the start."""
    scale = np.array([[1.0, 1.0], [2.0**-20, 1.0]])
    features = {"kind": "tabular", "per_step": True, "scale": scale}
    mdp = rare_token().replace(horizon=2, start=[1], features=features)
    (worst,) = check(mdp, "ss.thm1.kl.norm-of-mean")
    assert worst.verdict == "violated"
    assert worst.where != {"t": 0, "s": mdp.start_context}
    found = explain(mdp, "ss.thm1.kl.norm-of-mean")
    assert found.claim == worst
    assert {"t": found.place[0], "s": found.place[1]} == worst.where
    *before, (last, c) = found.steps
    assert [x.verdict for _, x in before] == ["holds", "holds"]
    assert (last.claim, c.verdict) == ("ss.proof.kl-step.norm-of-mean", "violated")
    mean = before[-1][1]
    assert mean.lhs + c.lhs == pytest.approx(worst.lhs, rel=1e-9)
    assert mean.rhs + c.rhs == pytest.approx(worst.rhs, rel=1e-9)


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
    assert {name: rungs[name].claim for name in RUNGS} == RUNGS
    assert {r.claim for name, r in rungs.items() if name not in RUNGS} == {""}
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
    start = judged(CLAIMS["ss.delta"], Facts(sol).at(0, sol.mdp.start_context))
    if start.where is not None:
        assert (start.where["t"], start.where["s"]) == (0, sol.mdp.start_context)
        assert everywhere.slack <= start.slack + 1e-12


@pytest.mark.parametrize("written", ["(10)", "10", "eq10", "Eq. (10)"])
def test_a_number_of_the_paper_names_the_claim_that_it_is(written):
    assert numbered(written) == "ss.thm1.gap"
    assert [c.id for c in select(written)] == ["ss.thm1.gap"]


def test_a_number_of_several_claims_or_none_is_refused():
    for written in ("(14)", "(6)", "99", "ss.thm1.gap"):
        assert numbered(written) is None
    with pytest.raises(InstanceError, match=r"did you mean ss\.thm1\.kl\.any or"):
        explain(rare_first_token(), "(14)")


def test_claims_of_one_number_are_listed_together():
    assert [c.id for c in select("(14)")] == of_number("eq14")
    assert len(of_number("(14)")) > 1


def test_the_table_of_steps_says_how_its_sides_are_turned_and_why_some_are_missing(tmp_path):
    path = tmp_path / "world.json"
    stored_witness("gap-natural-T2").instance.save(path)
    done = run("explain", path, "(10)")
    assert done.exit_code == 0, done.stderr
    words = " ".join(re.sub("[│┃]", " ", done.stdout).split())
    assert "Every inequality is turned to lhs ≤ rhs" in words
    assert "divided by |λ|₁" in words
    assert "full budget" in words
    assert "ss.thm1.gap.bennett" in words
