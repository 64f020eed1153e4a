"""The verdicts against the second code's sides: the error radius is neither too wide nor too narrow."""

from __future__ import annotations

import numpy as np
import pytest
from judging import facts_of
from second_code import SECOND, Nothing
from second_code.solve import Mix
from second_code.worlds import WORLDS
from test_second_code import TOKEN_CLAIMS, both, compare, has_no_softmax, solved

from bounds import Check, Soup
from toymdp.exact.policy import Policy

CLEAR = 1e-6  # of the sides: a slack that rounding does not reach by far


def expected(claim, pair) -> str | None:
    """The verdict that the two sides leave no doubt about."""
    size, slack = 1 + abs(pair.lhs) + abs(pair.rhs), pair.rhs - pair.lhs
    if abs(slack) > CLEAR * size:
        return "holds" if claim.kind == "inequality" and slack > 0 else "violated"
    return "holds" if claim.kind == "equality" and abs(slack) < 1e-28 * size else None


@pytest.mark.parametrize("world", WORLDS)
def test_clear_sides_are_decided(world):
    """A radius that swallows a clear slack, or misses rounding, gives another verdict."""
    case = solved(world)
    facts = facts_of(case.sol, case.optimum)
    soup = Soup(facts, case.weights(0))
    decided = 0
    for claim in TOKEN_CLAIMS:
        if claim.status in ("hypothesis", "set-up") or has_no_softmax(claim, case):
            continue
        lam = None if claim.at == "instance" else soup.lam
        _, pair = both(claim, case, lam)
        found: Check = claim.evaluate(facts, None if lam is None else soup)
        gates = all(found.hypotheses[h.id] is True for h in claim.hypotheses)
        if pair is None or not gates or claim.id == "ss.betaprime":
            continue
        if (claim.id, world) == ("ss.lemma1.desirability", "narrow-softmax"):
            pair = type(pair)(pair.rhs, pair.rhs)  # 0 but for the rounding of ref
        verdict = expected(claim, pair)
        if verdict is not None:
            assert found.verdict == verdict, (claim.id, found)
            # factors are roots of singular values: they keep half the digits
            room = 1e-3 if claim.id == "ss.psoups.gauge" else 1e-7
            assert found.error < room * (1 + abs(found.lhs) + abs(found.rhs)), claim.id
            decided += 1
    assert decided >= 20


@pytest.mark.parametrize("world", ["wide-dense", "one-hot-forbidding"])
def test_what_divides_by_the_size_of_the_weights_passes_zero_over(world):
    """Where the second code divides by 0 a claim says nothing at λ = 0; elsewhere the sides agree."""
    case = solved(world)
    zero = np.zeros(case.mdp.n_rewards)
    for claim in TOKEN_CLAIMS:
        if claim.at == "instance" or claim.id == "ss.sec4.implicit":  # whose M is no bound at all
            continue
        try:
            SECOND[claim.id](case.truth, Mix(case.truth, zero), None)
        except ZeroDivisionError:
            assert not claim.zero, claim.id
            continue
        except Nothing:  # defined, with nothing to compare
            pass
        assert claim.zero, claim.id
        sides, pair = both(claim, case, zero)
        if pair is not None:
            compare(claim, sides, pair)


@pytest.mark.parametrize("claim_id", ["ss.sec4.explicit.repaired", "ss.sec4.implicit.repaired"])
def test_one_bent_logit_is_found_wherever_it_is(claim_id, monkeypatch):
    """Laws that differ at one place only, where the soup is not farthest from ref."""
    case = solved("wide-dense")
    (claim,) = [c for c in TOKEN_CLAIMS if c.id == claim_id]
    facts = facts_of(case.sol, case.optimum)
    soup = Soup(facts, case.weights(0))
    usual = claim.sides(facts, soup)
    others = 0
    for t, n in np.argwhere(case.mdp.reach.nexts)[::3]:
        logits = soup.mixed.logits.copy()
        logits[t, n] += 1e-3
        with monkeypatch.context() as bent:
            bent.setattr(Soup, "mixed", property(lambda self, G=logits: Policy(self.mdp, G)))
            found = claim.evaluate(facts, soup)
        assert found.verdict == "violated"
        assert found.where["t"] == t
        assert case.mdp.ref[found.where["s"], n % 3] > 0
        assert found.where["s"] % 3 == n // 3  # a state that the bent next context follows
        assert 1e-5 < abs(found.slack) < 1.1e-3
        others += (found.where["t"], found.where["s"]) != (usual.where["t"], usual.where["s"])
    assert others > 3
