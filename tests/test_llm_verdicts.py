"""Verdicts of the bridge equal the toy side's, and turn under sabotage."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import random_mdp

torch = pytest.importorskip("torch")

from llm_models import random_answers, tiny_bank, two_soups  # noqa: E402

from bounds import Facts, Soup, check  # noqa: E402
from bounds.claims.kl import kl_any, kl_repaired  # noqa: E402
from llm_bridge.answers import Answer  # noqa: E402
from llm_bridge.lookup import lookup_bank, state_paths  # noqa: E402
from llm_bridge.measure.after_states import norm_bound  # noqa: E402
from llm_bridge.measure.chunks import tally_answers  # noqa: E402
from llm_bridge.measure.diagnosis import kl_from_bespoke, sampled_prefixes  # noqa: E402
from llm_bridge.measure.reached import reach  # noqa: E402
from llm_bridge.measure.soups import SoupSettings  # noqa: E402
from llm_bridge.measure.verdicts import check_of, feature_checks, stream_checks  # noqa: E402
from toymdp import solve  # noqa: E402

LAM = np.array([0.6, -0.2])
EPS = float(np.finfo(np.float64).eps)


def scaled_world(seed):
    mdp = random_mdp(seed, A=4, L=2, T=3, K=2, forbid=0.2, beta=0.7)
    scale = np.random.default_rng(seed).uniform(0.5, 2.0, size=(3, 16))
    features = {"kind": "tabular", "per_step": True, "scale": scale}
    sol = solve(mdp.replace(beta_prime=0.9, features=features))
    return sol, lookup_bank(sol), list(state_paths(sol.mdp).values())


def settings_of(sol):
    return SoupSettings(("lam",), LAM[None], sol.mdp.beta, sol.mdp.beta_prime)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_verdicts_and_sides_of_a_lookup_table(seed):
    sol, bank, prefixes = scaled_world(seed)
    answers = [Answer((*p, 0), len(p)) for p in prefixes]
    settings = settings_of(sol)
    tally = tally_answers(bank, answers, settings, precision=torch.float64)
    found = {c.claim: c for c in stream_checks(tally, bank, EPS)}
    toy = {c.claim: c for c in check(sol, "ss.delta", seed=0)}["ss.delta"]
    assert found["ss.delta"].verdict == toy.verdict
    # the bridge judges π_w as well as the specialists: its worst is at most the toy's
    assert found["ss.delta"].slack <= toy.slack + 1e-9
    assert found["ss.thm1.gap.sharp"].verdict == "holds"

    reached = reach(bank, prefixes)
    kl = kl_from_bespoke(bank, reached, settings, torch.float64)
    facts = Facts(sol)
    nu = facts.value_fit.nu
    report = feature_checks(
        bank, reached, settings, None, top=4, nu=nu, kl=kl, precision=torch.float64
    )
    bridge = {c.claim: c for c in report.checks}
    for claim, sides in (("ss.thm1.kl.any", kl_any), ("ss.thm1.kl.repaired", kl_repaired)):
        exact = sides(facts, Soup(facts, LAM))
        assert bridge[claim].lhs == pytest.approx(exact.lhs, abs=1e-9)
        assert bridge[claim].rhs == pytest.approx(exact.rhs, abs=1e-9)
        assert bridge[claim].verdict == ("holds" if exact.slack > 0 else "violated")
        assert "the bespoke adapter is π_w" in bridge[claim].assumed
    assert bridge["ss.lemma1"].verdict == "holds"
    assert report.fit.residual.max() < 1e-12


def test_two_valued_ratios_are_not_judged_as_inequalities():
    mdp = random_mdp(0, A=2, L=2, T=3, K=2, beta=0.7)
    sol = solve(mdp.replace(beta_prime=0.9))
    bank = lookup_bank(sol)
    answers = [Answer((*p, 0), len(p)) for p in state_paths(sol.mdp).values()]
    tally = tally_answers(bank, answers, settings_of(sol), precision=torch.float64)
    assert "ss.delta" not in tally.sides
    assert stream_checks(tally, bank, EPS)[0].verdict == "not-applicable"


def test_sabotage_turns_the_verdicts():
    sol, bank, prefixes = scaled_world(0)
    answers = [Answer((*p, 0), len(p)) for p in prefixes]
    tally = tally_answers(bank, answers, settings_of(sol), precision=torch.float64)
    for claim, sides in tally.sides.items():
        broken = type(sides)(sides.lhs, 0.9 * sides.lhs, sides.scale, where=sides.where)
        assert check_of(claim, broken, EPS, []).verdict == "violated"
        assert check_of(claim, broken, 1.0, []).verdict == "undecided"  # rounding never decides


def test_lemma_1_fails_on_a_random_gemma_and_the_printed_bound_does_not_apply():
    bank = tiny_bank(target="all", dtype=torch.float64)
    answers, settings = random_answers(12), two_soups()
    prefixes = sampled_prefixes(answers, 40, 0)
    reached = reach(bank, prefixes)
    kl = kl_from_bespoke(bank, reached, settings, torch.float64)
    report = feature_checks(
        bank, reached, settings, norm_bound(bank), kl=kl, precision=torch.float64
    )
    verdicts = {c.claim: c for c in report.checks}
    assert verdicts["ss.lemma1"].verdict == "violated"
    assert verdicts["ss.thm1.kl.any"].verdict == "not-applicable"
    assert "q-linear" in verdicts["ss.thm1.kl.any"].reason
    assert verdicts["ss.thm1.kl.any"].hypotheses == {"q-linear": False}
