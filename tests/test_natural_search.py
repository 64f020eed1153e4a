"""``search --natural``: no instance leaves the limits, and worlds within them break (9) and (10)."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import count

import numpy as np
import pytest
import torch
from command_line import run
from judging import sides_of

from bounds import CLAIMS
from bounds.records.witness import load_witness, stored_witness
from bounds.search import judge, ordinary_edits, shrink
from bounds.search.batch_solver import Sizes
from bounds.search.budget import Budget
from bounds.search.climb import ball, neighbours
from bounds.search.objectives import OBJECTIVES, batch_facts, within
from bounds.search.ordinary import CONFINED, Measured, Ordinary
from bounds.search.ordinary_population import OrdinaryPopulation, ordinary_population, turned
from bounds.search.shrink import Shrinker, bits
from bounds.search.stored import read_search
from bounds.search.within_limits import most_broken
from bounds.search.witness_features import norms_within
from toymdp import InstanceError, TokenMDP, solve
from toymdp.soup.objective import SoupObjective

torch.set_num_threads(1)
GAP = "ss.thm1.gap.constant-norm"
EQUAL = Ordinary(norm_ratio=1.0, horizon=3)
LIMITS = (
    Ordinary(), Ordinary(0.1, 2.0, 5.0, (0.3, 0.7), 4), Ordinary(1 / 3, horizon=3),
    Ordinary(weights=None), Ordinary(weights=(1 / 3, 1 / 3, 1 / 3)), Ordinary(0.05, may_forbid=True),
    Ordinary(horizon=2, order=1),
)  # fmt: skip


@pytest.fixture
def looked_at(monkeypatch):
    """Every instance that a search or a shrinker judges."""
    seen = []

    def watched(name, module):
        before = getattr(module, name)

        def judged(mdp, *args):
            seen.append(mdp)
            return before(mdp, *args)

        monkeypatch.setattr(module, name, judged)

    for module in (judge, shrink):
        watched("quick", module)
        watched("verdict", module)
    return seen


# -- the limits are part of the numbers ---------------------------------------------------------


@pytest.mark.parametrize("limits", LIMITS, ids=str)
@pytest.mark.parametrize("stretch", [1.0, 60.0])
def test_every_instance_of_a_population_is_within(limits, stretch):
    """Whatever the parameters become: 60 is where softmax and sigmoid are 0 and 1 in float64."""
    for seed in range(3):
        population, theta = ordinary_population(np.random.default_rng(seed), limits, 4)
        for i in range(len(theta)):
            mdp, lam = population.instance(stretch * theta, i)
            assert limits.admits(mdp), Measured.of(mdp)
            assert np.abs(lam).sum() <= 1 + 1e-12
            assert Measured.of(mdp).forbids <= limits.may_forbid


def test_ideas_and_mirrors_are_drawn():
    kinds = [ordinary_population(np.random.default_rng(s), Ordinary(), 2)[0] for s in range(12)]
    assert {p.mirrored for p in kinds} == {False, True}
    assert {p.sizes.L for p in kinds} == {1, 2}
    unequal = Ordinary(weights=(0.3, 0.7))
    assert not any(
        ordinary_population(np.random.default_rng(s), unequal, 2)[0].mirrored for s in range(12)
    )


def test_a_limit_is_met_on_one_side_and_missed_on_the_other():
    mdp = stored_witness("kl-natural").instance  # ref 1/10, norms 1 and 3, r/β 50, w equal, T = 2
    limits = Ordinary(0.1, 3.0, 50.0, (0.5, 0.5), 2)
    assert limits.admits(mdp)
    for change in (
        {"least_ref": 0.1001}, {"norm_ratio": 2.999}, {"reward_over_beta": 49.99},
        {"weights": (0.501, 0.499)}, {"horizon": 3}, {"order": 1},
    ):  # fmt: skip
        assert not replace(limits, **change).admits(mdp), change
    assert replace(limits, weights=None, horizon=None).admits(mdp)
    assert replace(limits, order=2).admits(mdp)
    assert not limits.admits(mdp.replace(rewards=mdp.rewards - 1e-6))
    assert limits.admits(mdp.replace(rewards=mdp.rewards * 2, beta=2.0))
    weights = mdp.ref_weights.copy()
    weights[0, 1] = 0
    assert not limits.admits(mdp.replace(ref_weights=weights))
    assert replace(limits, may_forbid=True).admits(mdp.replace(ref_weights=weights))


@pytest.mark.parametrize("K", [2, 3])
def test_a_mirrored_world_is_symmetric_in_its_soups(K):
    """Turning λ round leaves J as it is, and tokens that do not turn still differ."""
    limits = Ordinary(weights=(1 / K,) * K)
    sizes = Sizes(K + 2, 2, 3, K)
    mask = np.ones((1, sizes.S, sizes.A), dtype=bool)
    population = OrdinaryPopulation(sizes, mask, limits, mirrored=True)
    theta = torch.as_tensor(np.random.default_rng(K).normal(size=(1, population.width)))
    mdp, _ = population.instance(theta, 0)
    J = SoupObjective(solve(mdp))
    lam = np.array([0.5, -0.3, 0.1])[:K]
    values = [J.value(np.roll(lam, k)) for k in range(K)]
    assert values == pytest.approx([values[0]] * K, rel=1e-12)
    assert abs(J.value(-lam) - values[0]) > 1e-3
    assert np.ptp(mdp.ref[0]) > 1e-3
    contexts, first = turned(Sizes(3, 1, 1, 2))
    assert contexts.tolist() == [[0, 1, 2], [0, 2, 1]]
    assert first.tolist() == [0, 1, 1, 3, 4, 5, 3, 5, 4]


def test_rivals_of_three_rewards():
    grid = ball(K=3)
    assert grid.abs().sum(dim=1).max() == pytest.approx(1.0)
    signs = {tuple(x) for x in torch.sign(grid).int().tolist()}
    assert len(signs) == 26  # every pattern but 0
    lam = torch.tensor([[0.2, 0.3, 0.4]], dtype=torch.float64)
    near = neighbours(lam)[0]
    assert near.shape == (8, 3)
    assert (near.abs().sum(dim=1) <= 1 + 1e-12).all()
    assert sorted({round(float(x), 6) for x in near.sum(dim=1)}) == [0.873, 0.9, 0.927]


# -- features of norms within a ratio ---------------------------------------------------------------


@pytest.mark.parametrize("claim", ["ss.thm1.kl", "ss.thm1.gap"])
@pytest.mark.parametrize("ratio", [1.0, 3.0])
def test_built_features_reach_the_bound_and_none_are_better(claim, ratio):
    population, theta = ordinary_population(
        np.random.default_rng(4), Ordinary(horizon=3, weights=(0.3, 0.7)), 3
    )
    objective = within(OBJECTIVES[claim], ratio)
    with torch.no_grad():
        batch, lam = population.solve(theta, population.reach())
        f = batch_facts(batch, population.candidate(batch, lam))
        least = objective.rhs(f).numpy()
    rng = np.random.default_rng(0)
    for i in range(len(theta)):
        mdp, _ = population.instance(theta, i)
        sol, soup = solve(mdp), f.lam[i].numpy()
        built = list(norms_within(sol, soup, ratio))
        assert all(Measured.of(m).norm_ratio <= ratio * (1 + 1e-12) for m in built)
        last = [sides_of(CLAIMS[claim], solve(m), soup) for m in built]
        # where λ is c·w the first terms of (10) vanish, so that only what the objective has is left
        assert last[0].rhs == pytest.approx(least[i], rel=0.04)
        scales = rng.uniform(1.0, ratio, size=(20, 3, mdp.n_contexts))
        others = [
            mdp.replace(features={"kind": "tabular", "per_step": True, "scale": c}) for c in scales
        ]
        for side in [*last, *(sides_of(CLAIMS[claim], solve(m), soup) for m in others)]:
            assert side.rhs >= least[i] * (1 - 1e-9)


def test_a_world_where_nothing_differs_ranks_below_all_others():
    """Equal tastes: gap and logit error are both 0, and their ratio is no find."""
    population, theta = ordinary_population(np.random.default_rng(1), Ordinary(horizon=2), 4)
    population = replace(population, mirrored=False)
    z = population.sizes
    same = theta.clone()
    tastes = same[:, z.S * z.A : z.S * z.A + 2 * z.S].reshape(-1, 2, z.S)
    tastes[:, 1] = tastes[:, 0]
    with torch.no_grad():
        for point, low in ((same, True), (theta, False)):
            batch, _ = population.solve(point, population.reach())
            value = within(OBJECTIVES[GAP], 1.0).places(batch_facts(batch, batch.w))
            assert ((value < np.log(1e-3)).all()) == low


def test_only_what_has_an_objective_can_be_confined():
    assert set(CONFINED) == set(OBJECTIVES)


# -- finding and shrinking ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claim", "limits"), [(GAP, EQUAL), ("ss.thm1.kl", Ordinary(0.01, 3.0, horizon=2))]
)
def test_a_world_that_breaks_the_claim_is_found(claim, limits, looked_at):
    state = most_broken(claim, limits, 400, 0)
    assert state.breaks_by(1.03)
    assert state.looks < 450
    assert looked_at
    assert all(limits.admits(mdp) for mdp in looked_at)
    again = most_broken(claim, limits, 400, 0)
    assert again.strength == state.strength


@pytest.mark.long
@pytest.mark.parametrize(
    ("claim", "limits"),
    [
        ("ss.thm1.kl", Ordinary(0.1, 3.0, horizon=2)), ("ss.thm1.gap", Ordinary()),
        (GAP, Ordinary(norm_ratio=1.0)), (GAP, Ordinary(0.001, 1.0, weights=(0.3, 0.7))),
    ],
)  # fmt: skip
def test_ordinary_worlds_break_the_papers_bounds(claim, limits):
    assert most_broken(claim, limits, 30_000, 0).breaks_by(1.05)


def test_proved_claims_stand_within_limits():
    for claim in ("ss.thm1.kl.repaired", "ss.thm1.gap.sharp", "ss.thm1.kl.constant-norm"):
        state = most_broken(claim, EQUAL, 150, 0)
        assert state.best is None or not state.best.broken


def test_shrinking_stays_within_and_rounds(looked_at):
    found = most_broken(GAP, EQUAL, 400, 0).best
    looked_at.clear()
    ticks = count()  # a second passes whenever it is asked: as many edits on any computer
    budget = Budget(60.0, lambda: float(next(ticks)))
    small = Shrinker(GAP, 1.01, budget, 0, ordinary=EQUAL).run(found)
    assert small.broken
    assert looked_at
    assert all(EQUAL.admits(mdp) for mdp in looked_at)
    assert bits(small.mdp, None) < bits(found.mdp, None)
    assert np.array_equal(small.mdp.rewards * 10, np.round(small.mdp.rewards * 10))


def test_rounding_treats_equals_alike():
    mdp = TokenMDP(
        vocab_size=3, order=1, horizon=2, start=[0], beta=1.0, w=[1.0], rewards=[[0.0, 1.04, 2.6]],
        ref_weights=[[0.012, 0.494, 0.494], [0.2, 0.3, 0.5], [1, 1, 1]],
        features={"kind": "tabular", "per_step": True, "scale": 1.0},
    )  # fmt: skip
    rounded, _ = ordinary_edits._shares((mdp, None), n=10)
    assert rounded.ref_weights.tolist() == [[1, 4, 4], [2, 3, 5], [3, 3, 3]]
    rounded, _ = ordinary_edits._rewards((mdp, None), step=0.5)
    assert rounded.rewards.tolist() == [[0, 1, 2.5]]


# -- the command --------------------------------------------------------------------------------


@pytest.mark.long
def test_the_kl_bound_breaks_where_every_context_is_reached(tmp_path):
    """As docs/limits.md has it: within norms of 1 : 5, and proved."""
    out = tmp_path / "kl.json"
    asked = ("--natural", "--order", 1, "--norm-ratio", 5, "--seed", 3, "--factor", 1.03)
    found = run("search", "ss.thm1.kl", *asked, "--seconds", 600, "--no-shrink", "--out", out)
    assert found.exit_code == 0
    assert load_witness(out).instance.reach.nexts.all()
    proved = run("certify", out)
    assert proved.exit_code == 0
    assert "PROVED" in proved.stdout


def test_command_records_what_was_asked(tmp_path):
    out = tmp_path / "w.json"
    asked = (
        "--natural",
        "--least-ref",
        0.02,
        "--norm-ratio",
        1,
        "--weights",
        "1,1",
        "--horizon",
        3,
        "--order",
        1,
    )
    args = ("search", GAP, "--out", out, "--seconds", 4, "--no-shrink", "--json", "-")
    done = run(*args, *asked)
    found = json.loads(done.stdout)
    witness = load_witness(out)
    limits = Ordinary(0.02, 1.0, 50.0, (0.5, 0.5), 3, order=1)
    assert found["natural"] == witness.instance.meta["search"]["natural"] == limits.as_record()
    assert limits.admits(witness.instance)
    assert witness.instance.reach.nexts.all()  # one token decides: all contexts, at every step
    # typer draws the table as wide as the terminal: words, not lines
    assert "ref ≥ 0.02 of all tokens" in " ".join(done.stderr.split())
    for other in ((), (*asked, "--least-ref", 0.03)):
        refused = run(*args, *other, "--resume")
        assert (refused.exit_code, refused.stdout) == (2, "")
        assert "ask for the same" in refused.stderr
    more = json.loads(run(*args, *asked, "--factor", 1000, "--resume").stdout)
    assert more["rounds"] > found["rounds"]
    older = json.loads(out.read_text())  # of a time without that limit
    del older["instance"]["meta"]["search"]["natural"]["order"]
    (tmp_path / "older.json").write_text(json.dumps(older))
    assert read_search(tmp_path / "older.json", GAP).ordinary == replace(limits, order=None)
    broken = json.loads(out.read_text())
    broken["instance"]["rewards"][0][1] = -1.0
    out.write_text(json.dumps(broken))
    refused = run(*args, *asked, "--resume")
    assert refused.exit_code == 2
    assert "leaves meta.search.natural" in refused.stderr


@pytest.mark.parametrize(
    ("claim", "options", "says"),
    [
        (GAP, ["--least-ref", 0.1], "--natural"),
        (GAP, ["--may-forbid"], "--natural"),
        (GAP, ["--natural", "--least-ref", 0], "from 1e-300 to 0.333"),
        (GAP, ["--natural", "--least-ref", 0.4], "from 1e-300 to 0.333"),
        (GAP, ["--natural", "--least-ref", "nan"], "--least-ref"),
        (GAP, ["--natural", "--norm-ratio", 0.5], "--norm-ratio"),
        (GAP, ["--natural", "--reward-over-beta", -1], "--reward-over-beta"),
        (GAP, ["--natural", "--horizon", 0], "--horizon"),
        (GAP, ["--natural", "--order", 3], "--order"),
        (GAP, ["--natural", "--weights", "1,0"], "--weights"),
        (GAP, ["--natural", "--weights", "1"], "2 to 5 numbers"),
        (GAP, ["--natural", "--weights", "a,b"], "numbers by commas"),
        ("ss.lemma1", ["--natural"], "choose from ss.thm1.kl"),
    ],
)
def test_bad_limits_are_one_line(claim, options, says):
    done = run("search", claim, "--seconds", 1, *options)
    assert (done.exit_code, done.stdout) == (2, "")
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_stored_limits_are_read_with_care(tmp_path):
    from bounds.search.stored import _ordinary

    record = Ordinary().as_record()
    assert _ordinary(record, "x") == Ordinary()
    for change in (
        {"least_ref": "a"}, {"may_forbid": 1}, {"weights": []}, {"weights": 3}, {"horizon": 1.5},
        {"norm_ratio": 0.0}, {"more": 1},
    ):  # fmt: skip
        with pytest.raises(InstanceError):
            _ordinary({**record, **change}, "x")
