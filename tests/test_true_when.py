"""When a refuted row is true as printed: said of every one, by proved claims, and so on instances."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from command_line import run
from judging import judged
from rich.console import Console

from bounds import CLAIMS, Facts, Soup
from bounds.claims.catalogue import TABLES
from bounds.claims.kl import reference_mean_norm
from bounds.claims.span import logit_fit
from bounds.facts.soup import standard_lambdas
from bounds.report import tables
from toymdp import solve
from toymdp.exact.moments import norm_of_mean
from toymdp.families import generate
from toymdp.families.classics import long_fit, redundant_tastes

ROWS = [claim for table in TABLES for claim in table]
REFUTED = [claim for claim in ROWS if claim.status == "refuted"]


def test_every_refuted_row_says_when_it_is_true_and_no_other_row_does():
    assert len(REFUTED) > 30
    for claim in ROWS:
        assert bool(claim.true_when) is (claim.status == "refuted"), claim.id
        assert not claim.true_by or claim.true_when
        assert {CLAIMS[name].status for name in claim.true_by} <= {"proved"}, claim.id
        assert claim.blames == "" or CLAIMS[claim.blames].status == "refuted"


def test_rows_without_a_proved_claim_to_point_at_are_few_and_known():
    """Their conditions are cases of the row's own proof, or make both sides one."""
    assert {c.id for c in REFUTED if not c.true_by} == {
        "ss.gaussian", "ss.gaussian.given", "ss.eq8.simplex", "ex.alg2.nearest",
    }  # fmt: skip


def test_the_catalogue_shows_it_in_every_form():
    console = Console(width=400, record=True, file=io.StringIO())
    console.print(tables.catalogue(CLAIMS.values(), {}))
    printed = console.export_text()
    markdown = run("claims", "--markdown").stdout
    listed = [json.loads(line) for line in run("claims", "--json", "-").stdout.splitlines()]
    by_id = {row["id"]: row for row in listed}
    for claim in REFUTED:
        assert by_id[claim.id]["true_when"] == claim.true_when
        assert by_id[claim.id]["true_by"] == list(claim.true_by)
        assert by_id[claim.id]["blames"] == claim.blames
        assert tables.condition(claim).replace("|", r"\|") in markdown
        assert claim.true_when[:20] in printed
    assert "breaks at ss.proof.kl-step" in markdown
    # a pipe inside a cell would break the table
    rows = [line for line in markdown.splitlines() if line.startswith("| `")]
    assert {line.replace(r"\|", "").count("|") for line in rows} == {7}


def states(name: str, sol, lam):
    """The condition of a row at each state, and its two sides there."""
    facts = Facts(sol)
    soup = Soup(facts, lam)
    n, beta = soup.logit_norm / soup.beta_prime, facts.mdp.beta
    ref, of_mean = facts.reference_norm, facts.once(reference_mean_norm)
    w, own = norm_of_mean(facts.bespoke), norm_of_mean(soup.policy)
    drop = soup.partition_drop / beta
    return {
        "ss.thm1.kl.any": (soup.mean_norm <= ref, soup.kl_from_w, (facts.bespoke_norm + ref) * n),
        "ss.thm1.kl.norm-of-mean": (own <= of_mean, soup.kl_from_w, (w + of_mean) * n),
        "ss.proof.kl-step": (soup.mean_norm <= ref, -drop, ref * n),
        "ss.proof.kl-step.norm-of-mean": (own <= of_mean, -drop, of_mean * n),
        "ss.proof.C.lipschitz": (facts.bespoke_norm <= ref, drop, ref * n),
        "ss.proof.C.norm-of-mean": (w <= of_mean, drop, of_mean * n),
    }[name]


@pytest.mark.parametrize(
    "name",
    [
        "ss.thm1.kl.any", "ss.thm1.kl.norm-of-mean", "ss.proof.kl-step",
        "ss.proof.kl-step.norm-of-mean", "ss.proof.C.lipschitz", "ss.proof.C.norm-of-mean",
    ],
)  # fmt: skip
def test_conditions_on_norms_are_enough(name):
    """At every state and λ where the condition holds, so does the row; it is false at others."""
    met = unmet = 0
    for seed in range(6):
        sol = solve(generate("dirichlet", seed, A=4, T=3))
        for lam in standard_lambdas(Facts(sol)).values():
            condition, lhs, rhs = states(name, sol, lam)
            live = sol.mdp.reach.states
            assert (lhs <= rhs + 1e-10)[condition & live].all()
            met += int((condition & live).sum())
            unmet += int((~condition & live).sum())
    assert min(met, unmet) > 30


@pytest.mark.parametrize("seed", range(8))
def test_a_one_hot_weight_has_one_worst_policy(seed):
    sol = solve(generate("dirichlet", seed))
    for e in np.eye(sol.mdp.n_rewards):
        assert (
            judged("ss.proof.A", sol, sol.mdp.beta_prime / sol.mdp.beta * e).verdict != "violated"
        )


def test_a_full_fit_is_what_the_span_needs():
    """K > rank and a least |c|₁ below 1: there is a c with |c|₁ = 1, and then λ* is π_w."""
    seen = set()
    one_step = [generate("dirichlet", seed, T=1) for seed in range(4)]
    several = [generate(family, seed) for family in ("tree", "unit-norm") for seed in range(12)]
    mdps = [*one_step, *several, long_fit(), redundant_tastes()]
    for mdp in mdps:
        facts = Facts(solve(mdp))
        fit = facts.once(logit_fit)
        found = judged("ss.span.vanishes", facts, facts.optimum.lam)
        if found.verdict in ("holds", "violated"):
            assert (found.verdict == "holds") is (fit.full is not None), mdp.name
            seen.add(found.verdict)
    assert seen == {"holds", "violated"}
