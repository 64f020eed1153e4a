"""Facts own what is derived from a solution: computed once, gone with their owner, never stale."""

from __future__ import annotations

import gc
import pickle
import weakref
from dataclasses import replace

import numpy as np
import pytest
from conftest import random_mdp
from judging import judged

from bounds import CLAIMS, Facts, Soup, check
from bounds.facts.once import ComputesOnce
from toymdp import TokenMDP, solve, soup_optimum
from toymdp.families import generate


def kinds(seed: int) -> TokenMDP:
    """Instances of every sort that is solved differently, small ones."""
    family = ("softmax", "low-rank", "dirichlet", "unit-norm", "tree")[seed % 5]
    return generate(family, seed) if seed % 8 else random_mdp(seed, T=None, eos=2, beta=4.0)


def test_nothing_keeps_instances_alive():
    """With the collector off: no cycle, no cache, no thread holds an instance or a solution."""
    check(kinds(1))  # compiling leaves cycles behind that hold on to whoever asked for it
    gc.collect()
    gc.disable()
    try:
        seen = []
        for seed in range(40):
            mdp = kinds(seed)
            sol = solve(mdp)
            check(sol, "ss.*", optimum=soup_optimum(mdp, sol, draws=1))
            seen += [weakref.ref(mdp), weakref.ref(sol)]
            del mdp, sol
        assert [alive() for alive in seen] == [None] * 80
    finally:
        gc.enable()


def test_facts_die_with_their_owner():
    facts = Facts(solve(random_mdp(3)))
    soup = Soup(facts, np.array([0.4, -0.3]))
    for claim in CLAIMS.values():
        if claim.world == "token-mdp/1":
            claim.evaluate(facts, None if claim.at == "instance" else soup)
    seen = [weakref.ref(x) for x in (facts, facts.second, soup, soup.second, facts.instance)]
    gc.disable()
    try:
        del facts, soup
        assert [alive() for alive in seen] == [None] * 5
    finally:
        gc.enable()


def test_a_replaced_solution_never_shows_the_numbers_of_the_first():
    sol = solve(random_mdp(4))
    first = Facts(sol)
    before = first.size_of_values, first.deltas[0, 0, 0], judged("ss.eq8.upper", first, [0.4, 0.3])
    bent = replace(sol, Q=2.0 * sol.Q, Q_w=2.0 * sol.Q_w)
    np.testing.assert_array_equal(bent.bespoke.logits, 2.0 * sol.bespoke.logits)
    assert not np.array_equal(bent.policy_w, sol.policy_w)
    after = Facts(bent)
    assert after.deltas[0, 0, 0] != before[1]
    assert judged("ss.eq8.upper", after, [0.4, 0.3]).rhs != before[2].rhs
    assert (first.size_of_values, first.deltas[0, 0, 0]) == before[:2]


def test_facts_are_computed_once_for_each_owner():
    facts, calls = Facts(solve(random_mdp(5))), []

    def derived(owner: Facts) -> int:
        calls.append(owner)
        return len(calls)

    assert facts.once(derived) == facts.once(derived) == 1
    assert facts.second.once(derived) == 2
    assert calls == [facts, facts.second]


def test_a_failure_is_not_remembered():
    class Owner(ComputesOnce):
        """Something that facts are derived from."""

    owner, calls = Owner(), []

    def fails_first(_: Owner) -> int:
        calls.append(1)
        if len(calls) == 1:
            raise ValueError("not yet")
        return 7

    with pytest.raises(ValueError, match="not yet"):
        owner.once(fails_first)
    assert owner.once(fails_first) == 7


def test_both_solutions_share_what_depends_on_the_instance_alone():
    facts = Facts(solve(random_mdp(6)))
    assert facts.second.instance is facts.instance
    assert facts.second.features is facts.features
    assert facts.second.sol.method != facts.sol.method
    assert facts.second.second.sol is facts.sol  # no third solution is made
    narrowed = facts.at(*facts.start)
    assert narrowed.judged.sum() == 1
    assert narrowed.judged[facts.start]
    assert (narrowed.second.judged == narrowed.judged).all()


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=lambda c: c.id)
def test_every_claim_pickles(claim):
    again = pickle.loads(pickle.dumps(claim))
    assert again == claim
    assert again.sides is not None


def test_facts_pickle_whatever_was_asked_of_them():
    facts = Facts(solve(random_mdp(7)))
    before = check(facts)
    again = pickle.loads(pickle.dumps(facts))
    assert check(again) == before
    soup = Soup(facts, np.array([0.3, 0.4]))
    assert pickle.loads(pickle.dumps(soup)).gap == soup.gap


def test_facts_are_of_one_instance():
    first, second = solve(random_mdp(8)), solve(random_mdp(9))
    with pytest.raises(ValueError, match="different instances"):
        replace(Facts(first), sol=second)
    with pytest.raises(ValueError, match="different instances"):
        Facts(first, other=second)


def test_what_a_caller_changes_afterwards_changes_nothing():
    sol = solve(random_mdp(8))
    states = np.zeros(sol.Q_w.shape, dtype=bool)
    states[0, sol.mdp.start_context] = True
    facts = Facts(sol, states)
    states[:] = False
    assert facts.judged.sum() == 1


def test_a_soup_follows_the_temperature_of_its_facts():
    mdp = random_mdp(8)
    soup = Soup(Facts(solve(mdp)), np.array([0.3, 0.4]))
    moved = replace(soup, facts=Facts(solve(mdp.replace(beta_prime=3.0))))
    assert (soup.beta_prime, moved.beta_prime) == (1.0, 3.0)
    assert Soup(soup.facts, soup.lam, 2.0).second.beta_prime == 2.0
