"""Search: the differentiable model is the solver, finds are breaks, proved claims stand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from judging import judged, sides_of

from bounds import CLAIMS, Facts, Soup, check
from bounds.records.witness import stored_witnesses
from bounds.search import derivative_free as plain
from bounds.search import witness_features as features
from bounds.search.batch_solver import Sizes, soup_values
from bounds.search.budget import Budget
from bounds.search.climb import ball, penalised
from bounds.search.engine import State, search
from bounds.search.judge import matched
from bounds.search.objectives import OBJECTIVES, batch_facts, best_scale, span_rate
from bounds.search.population import random_population
from bounds.search.witness_features import SQUARED_NORM, UNIT, three_squares, unit_rows
from toymdp import solve, soup_optimum
from toymdp.exact.policy import Policy
from toymdp.families import dirichlet
from toymdp.soup.objective import SoupObjective

torch.set_num_threads(1)


def population(seed, A=3, L=1, T=4, count=5):
    rng = np.random.default_rng(seed)
    return random_population(rng, Sizes(A, L, T, 2), count)


# -- the model against the solver, which shares no line with it --------------------------------


@pytest.mark.parametrize(("A", "L", "T"), [(3, 1, 4), (2, 2, 5), (4, 1, 1)])
def test_batch_is_the_solver(A, L, T):
    world, theta = population(A + L, A, L, T)
    with torch.no_grad():
        batch, lam = world.solve(theta, world.reach())
        f = batch_facts(batch, lam)
        sharp = span_rate(f)
    for i in range(len(theta)):
        mdp, lam_i = world.instance(theta, i)
        sol, here = solve(mdp), None
        here = Soup(Facts(sol), lam_i)
        used, states = mdp.reach.nexts, mdp.reach.states
        assert np.array_equal(used, batch.used[i].numpy())
        assert np.array_equal(states, batch.visited[i].numpy())
        np.testing.assert_allclose(batch.Q[i, :-1].numpy()[:, used], sol.Q[:, used], atol=1e-9)
        np.testing.assert_allclose(batch.Q[i, -1].numpy()[used], sol.Q_w[used], atol=1e-9)
        np.testing.assert_allclose(f.e[i].numpy()[used], here.logit_error[used], atol=1e-9)
        np.testing.assert_allclose(float(f.gap[i]), here.gap, atol=1e-9)
        kl = Policy(mdp, sol.Q_w).divergence(Policy(mdp, here.logits))
        np.testing.assert_allclose(f.kl_from_w[i].numpy()[states], kl[states], atol=1e-9)
        claim = sides_of(CLAIMS["ss.thm1.gap.sharp"], sol, lam_i)
        np.testing.assert_allclose(float(sharp[i]), claim.rhs, rtol=1e-9, atol=1e-9)
        drop = sides_of(CLAIMS["ss.proof.C.lipschitz.repaired"], sol, lam_i)
        where = drop.where
        np.testing.assert_allclose(
            float(f.partition_drop[i, where["t"], where["s"]]), drop.lhs, atol=1e-9
        )


def test_many_soups_at_once_are_the_objective():
    world, theta = population(3, T=6)
    with torch.no_grad():
        batch, _ = world.solve(theta, world.reach())
        J = soup_values(batch, ball(8).expand(len(theta), -1, -1)).numpy()
    for i in range(len(theta)):
        objective = SoupObjective(solve(world.instance(theta, i)[0]))
        np.testing.assert_allclose(J[i], objective.values(ball(8).numpy()), atol=1e-9)


@pytest.mark.parametrize("claim", sorted(OBJECTIVES))
def test_gradient_is_the_difference_quotient(claim):
    world, theta = population(11, T=3, count=3)
    objective, reach = OBJECTIVES[claim], world.reach()

    def value(x):
        batch, lam = world.solve(x, reach)
        return penalised(
            objective, batch_facts(batch, batch.w if objective.matched else lam), None
        )[0]

    x = theta.clone().requires_grad_()
    (slope,) = torch.autograd.grad(value(x).sum(), x)
    direction = torch.as_tensor(np.random.default_rng(0).normal(size=theta.shape))
    h = 1e-6
    quotient = (value(theta + h * direction) - value(theta - h * direction)) / (2 * h)
    np.testing.assert_allclose(
        (slope * direction).sum(1).numpy(), quotient.detach().numpy(), rtol=1e-4, atol=1e-6
    )


# -- features optimised out -----------------------------------------------------------------------


def test_best_scale_is_the_geometric_program():
    import cvxpy as cp

    rng = np.random.default_rng(5)
    for _ in range(4):
        m, e = rng.exponential(size=4), rng.normal(size=4)
        c = cp.Variable(4, pos=True)
        value = cp.sum(cp.multiply(m, c)) * cp.sum(cp.multiply(e**2, c**-2.0)) ** 0.5
        problem = cp.Problem(cp.Minimize(value), [c >= 1e-3, c <= 1e3])
        problem.solve(gp=True, solver=cp.CLARABEL)
        closed = float(best_scale(torch.as_tensor(m), torch.as_tensor(e)))
        assert closed == pytest.approx(problem.value, rel=1e-5)


def test_built_features_reach_the_objective():
    """The bound at the built one-hot features is the closed form, to what far places leave."""
    world, theta = population(2, T=3)
    names = ("user", "ref")
    for i in range(len(theta)):
        mdp, lam = world.instance(theta, i)
        sol = solve(mdp)
        e = np.abs(features.logit_error(sol, lam))[0, : mdp.vocab_size]
        mass = features.masses(sol, lam, names, 0, 0)
        closed = float(best_scale(torch.as_tensor(mass), torch.as_tensor(e)))
        values = [
            sides_of(CLAIMS["ss.thm1.kl"], solve(m), lam).rhs
            for m in features.one_hot_variants(sol, lam, names, (0, 0))
        ]
        assert min(values) == pytest.approx(closed, rel=2e-2)
        assert min(values) >= closed * (1 - 1e-9)


def test_constant_norm_rows_are_exact_and_independent():
    rows = unit_rows(np.linspace(-0.99, 0.99, 23))
    whole = np.rint(rows * UNIT).astype(object)
    assert (whole == rows * UNIT).all()
    assert {sum(int(a) ** 2 for a in row) for row in whole} == {SQUARED_NORM}
    assert np.linalg.matrix_rank(rows) == len(rows)
    for n in (14, 2, 6, 10**6 + 2):
        assert sum(a * a for a in three_squares(n)) == n
    with pytest.raises(ValueError, match="three squares"):
        three_squares(7)


def test_constant_norm_bound_is_the_sup():
    mdp = dirichlet(4, K=2, T=3, forbid=0.0)
    sol, lam = solve(mdp), np.array([0.4, 0.3]) * (mdp.beta_prime / mdp.beta)
    (built,) = features.constant_norm(sol, lam)
    (found,) = check(built, "ss.thm1.kl.constant-norm", lam=lam)
    again = judged("ss.thm1.gap.constant-norm", solve(built), lam)
    assert again.hypotheses["features-constant-norm"]
    largest = np.abs(features.logit_error(sol, lam)).max()
    assert found.rhs == pytest.approx(2 * largest / mdp.beta, rel=2e-3)


# -- finding ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "claim", ["ss.lemma1", "ss.eq12", "ss.proof.A", "ss.thm1.kl.any", "ss.proof.C.lipschitz"]
)
def test_easy_claims_break(claim):
    state = search(State(claim, 0), Budget(120.0), 1.0, lambda state: None)
    assert state.breaks_by(1.0)
    found = state.best
    (again,) = check(found.mdp, claim, lam=found.lam)
    assert again.verdict == "violated"
    assert all(again.hypotheses[h.id] for h in CLAIMS[claim].hypotheses)
    assert again.lhs == pytest.approx(found.check.lhs)


@pytest.mark.parametrize("claim", ["ss.thm1.gap", "ss.thm1.kl", "ss.thm1.gap.constant-norm"])
def test_claims_about_the_optimum_break(claim):
    state = search(State(claim, 1), Budget(240.0), 1.0, lambda state: None)
    assert state.breaks_by(1.0), state
    (again,) = check(state.best.mdp, claim, seed=7)
    assert again.verdict == "violated"
    assert all(again.hypotheses[h.id] for h in CLAIMS[claim].hypotheses)


@pytest.mark.parametrize(
    "claim", ["ss.thm1.kl.repaired", "ss.thm1.gap.sharp", "ss.thm1.gap.minimal", "ss.delta"]
)
def test_proved_claims_stand(claim):
    state = search(State(claim, 0), Budget(4.0), 1.0, lambda state: None)
    assert state.rounds > 0
    assert state.best is None or state.best.check.verdict != "violated"


def test_same_seed_same_witness():
    first, second = (
        search(State("ss.proof.A", 3), Budget(60.0), 1.0, lambda state: None).best for _ in range(2)
    )
    assert np.array_equal(first.mdp.rewards, second.mdp.rewards)
    assert first.check.lhs == second.check.lhs


def test_interrupt_keeps_the_best():
    def stop(state):
        if state.rounds == 2:
            raise KeyboardInterrupt

    seen = []

    def report(state):
        seen.append(state.rounds)
        if not state.interrupted:
            stop(state)

    state = search(State("ss.delta", 0), Budget(60.0), 1.0, report)
    assert state.interrupted
    assert state.best is not None
    assert seen == [1, 2, 2]


@pytest.mark.parametrize("laws", [0, 2])
def test_plain_forms_meet_what_they_promise(laws):
    form = plain.Form(3, 2, 3, 2, softmax=False, laws=laws)
    mdp, lam = form.instance(np.random.default_rng(0).normal(size=form.width))
    blocks = mdp.ref.reshape(3, 3, 3).transpose(1, 0, 2)
    assert all(np.linalg.matrix_rank(block) == (laws or 3) for block in blocks)
    assert mdp.beta * np.abs(lam).sum() <= mdp.beta_prime * (1 + 1e-12)
    form = plain.Form(3, 2, 3, 2, softmax=True)
    mdp, lam = form.instance(np.random.default_rng(0).normal(size=form.width))
    found = judged(CLAIMS["ss.eq13.single-vector"], solve(mdp))
    assert found.hypotheses["ss.asm0"]
    assert judged(CLAIMS["ss.lemma1"], solve(mdp)).hypotheses["ss.asm1"]


def searchable():
    return [
        c.id for c in CLAIMS.values()
        if c.world == "token-mdp/1" and c.status not in ("hypothesis", "set-up") and c.hypotheses
    ]  # fmt: skip


@pytest.mark.parametrize("claim", searchable())
def test_plain_draws_meet_the_hypotheses(claim):
    """Else no search of the claim would say anything, however long it looked."""
    for i in range(60):
        rng = np.random.default_rng([7, i])
        form = plain.random_form(rng, CLAIMS[claim])
        check = plain.judged(CLAIMS[claim], *form.instance(rng.normal(size=form.width))).check
        if all(check.hypotheses[h.id] for h in CLAIMS[claim].hypotheses):
            return
    pytest.fail(f"{claim}: none of 60 draws meets {[h.id for h in CLAIMS[claim].hypotheses]}")


CONDITIONAL = "ss.thm1.gap.constant-norm.conditional"


def test_what_a_claim_asks_holds_of_every_draw():
    rng = np.random.default_rng(0)
    for _ in range(6):
        form = plain.random_form(rng, CLAIMS[CONDITIONAL])
        mdp, lam = form.instance(rng.normal(size=form.width))
        found = plain.judged(CLAIMS[CONDITIONAL], mdp, lam).check
        assert all(found.hypotheses[h.id] for h in CLAIMS[CONDITIONAL].hypotheses)
        assert found.lhs is not None
    form = plain.random_form(rng, CLAIMS["ss.thm1.gap"])
    assert form.nonnegative
    assert form.instance(rng.normal(size=form.width))[0].rewards.min() >= 0


def test_the_search_aims_at_constant_norms_on_the_full_budget():
    """Its objective is the claim's ratio at the features that it builds, and all of it counts."""
    state = State(CONDITIONAL, 0)
    search(state, Budget(3000.0, clock=lambda: float(state.looks)), 1.0, lambda state: None)
    assert state.met == state.looks > 0
    assert 0.5 < state.strength < 1.0
    (again,) = check(state.best.mdp, CONDITIONAL, lam=state.best.lam)
    assert again.verdict == "holds"
    world, theta = population(3, T=4)
    with torch.no_grad():
        batch, lam = world.solve(theta, world.reach())
        objective = OBJECTIVES[CONDITIONAL]
        f = batch_facts(batch, objective.soup(world, batch, lam))
        places = objective.places(f)[:, 0, 0].exp().numpy()
    for i in range(len(theta)):
        mdp = world.instance(theta, i)[0]
        (built,) = features.constant_norm(solve(mdp), f.lam[i].numpy())
        sides = sides_of(CLAIMS[CONDITIONAL], solve(built), f.lam[i].numpy())
        assert sides.lhs / sides.rhs == pytest.approx(places[i], rel=5e-3)


def test_score_is_positive_exactly_where_the_claim_fails():
    claim = CLAIMS["ss.proof.A"]
    for seed in range(12):
        form = plain.random_form(np.random.default_rng(seed), claim)
        x = np.random.default_rng(seed + 100).normal(size=form.width)
        found = plain.judged(claim, *form.instance(x))
        value = plain.score(claim, found)
        if found.check.verdict == "violated":
            assert value > 0
        if found.check.verdict == "holds":
            assert value < 0


@pytest.mark.parametrize("away", [-0.03, 0.02])
def test_matching_moves_w_back_to_its_fixed_point(away):
    (witness,) = (w for w in stored_witnesses() if w.name == "gap-first-step-only")
    w = witness.instance.w + np.array([away, -away])
    moved = matched(witness.instance.replace(w=w))
    lam = np.abs(soup_optimum(moved, draws=2).lam)
    np.testing.assert_allclose(moved.w, lam / lam.sum(), atol=1e-7)
    np.testing.assert_allclose(moved.w, witness.instance.w, atol=1e-5)
