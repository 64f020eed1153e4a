"""Sparse references: the file, the memory, and everything solved the same as from a table."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from conftest import random_mdp
from sparse_worlds import sparse_copy, sparse_fields

from bounds import check
from toymdp import InstanceError, TokenMDP, solve, soup_optimum
from toymdp.errors import NoTable
from toymdp.exact import scans
from toymdp.exact.policy import Policy
from toymdp.kinds import load_instance
from toymdp.soup.objective import SoupObjective
from toymdp.soup.starts import projection

# full support, forbidden tokens, eos at a horizon and without one, rewards that overflow exp
WORLDS = {
    "full": {}, "forbids": {"forbid": 0.4, "L": 3}, "eos": {"forbid": 0.3, "eos": 2},
    "until-eos": {"eos": 2, "T": None, "beta": 5.0, "forbid": 0.2},
    "large": {"scale": 1e4, "forbid": 0.3},
}  # fmt: skip


def pair(name: str, seed: int = 1):
    dense = random_mdp(seed, A=4, K=3, **WORLDS[name])
    sparse, listed = sparse_copy(dense)
    assert dense.dense
    assert not sparse.dense
    return dense, sparse, listed


def close(first, second, size=1.0):
    np.testing.assert_allclose(first, second, rtol=1e-12, atol=1e-12 * size)


@pytest.mark.parametrize("suffix", [".json", ".npz"])
def test_files_round_trip_exactly(tmp_path, suffix):
    _, mdp, _ = pair("forbids")
    mdp.save(tmp_path / f"m{suffix}")
    again = load_instance(tmp_path / f"m{suffix}")
    assert isinstance(again, TokenMDP)
    assert not again.dense
    for name in ("contexts", "indptr", "tokens", "weights"):
        assert np.array_equal(getattr(again.sparse, name), getattr(mdp.sparse, name))
    assert np.array_equal(again.rewards, mdp.rewards)
    assert again.start_context == mdp.start_context
    assert again.replace(beta=2.0).beta == 2.0


def bad(name: str, change):
    fields, _ = sparse_fields(random_mdp(1, A=4, forbid=0.4, L=3))
    fields["ref_sparse"] = dict(fields["ref_sparse"])
    change(fields)
    return name, fields


def swapped(fields):
    fields["contexts"] = fields["contexts"][[1, 0, *range(2, len(fields["contexts"]))]]


def dropped(fields):  # the last context, which others lead to; its row goes with it
    n = fields["ref_sparse"]["indptr"][-2]
    fields["contexts"], fields["rewards"] = fields["contexts"][:-1], fields["rewards"][:, :-1]
    parts = fields["ref_sparse"]
    parts["indptr"] = parts["indptr"][:-1]
    parts["tokens"], parts["weights"] = parts["tokens"][:n], parts["weights"][:n]


def entry(key, i, value):
    def change(fields):
        fields["ref_sparse"][key] = fields["ref_sparse"][key].copy()
        fields["ref_sparse"][key][i] = value

    return change


BAD = (
    bad(r"contexts\[1\] = .*must be above", swapped),
    bad(r"leads from context \d+ to \d+, not in contexts", dropped),
    bad(r"contexts\[0\] = -1: must be from 0 to .* 63", lambda f: f["contexts"].__setitem__(0, -1)),
    bad(r"contexts = .given.: is the list of rows",
        lambda f: f.update(ref_sparse=None, ref_weights=np.ones((64, 4)))),
    bad(r"start = .*is context 42, not in contexts", lambda f: f.update(start=[2, 2, 2])),
    bad(r"order = 40: A\*\*L is over 2\*\*53", lambda f: f.update(order=40)),
    bad(r"weights\[2\] = -1.0: must be non-negative", entry("weights", 2, -1.0)),
    bad(r"tokens\[0\] = 4: must be a token", entry("tokens", 0, 4)),
    bad(r"rewards = .shape", lambda f: f.update(rewards=np.zeros((2, 64)))),
    bad(r"length of ref_sparse.indptr",
        lambda f: f["ref_sparse"].update(indptr=f["ref_sparse"]["indptr"][:-1])),
)  # fmt: skip


@pytest.mark.parametrize(("message", "fields"), BAD, ids=[name[:30] for name, _ in BAD])
def test_what_does_not_fit_is_refused_in_one_line(message, fields):
    with pytest.raises(InstanceError, match=message) as caught:
        TokenMDP(**fields)
    assert "\n" not in str(caught.value)


def test_a_context_without_tokens_must_not_be_reachable():
    fields, _ = sparse_fields(random_mdp(1, A=4, forbid=0.4, L=3))
    parts = dict(fields["ref_sparse"])
    parts["weights"] = parts["weights"].copy()
    parts["weights"][: parts["indptr"][1]] = 0.0
    with pytest.raises(InstanceError, match="context is reachable, so some token must follow"):
        TokenMDP(**{**fields, "ref_sparse": parts})


@pytest.mark.parametrize("name", WORLDS)
def test_solutions_are_those_of_the_table(name):
    dense, sparse, listed = pair(name)
    expected = solve(dense)
    methods = ("linear", "nudged") if dense.horizon is None else ("exp", "log", "rows")
    size = float(np.abs(expected.Q_w).max())
    for method in methods[name == "large" :]:
        sol = solve(sparse, method=method)
        assert sol.status == "solved"
        used = sparse.reach.nexts
        for Q, other in zip((*sol.Q, sol.Q_w), (*expected.Q, expected.Q_w), strict=True):
            close(np.where(used, Q, 0.0), np.where(used, other[:, listed], 0.0), size)
    assert solve(sparse).method == expected.method
    assert np.array_equal(sparse.reach.states, dense.reach.states[:, listed])
    assert np.array_equal(sparse.reach.nexts, dense.reach.nexts[:, listed])
    assert sparse.reach.n_triples == dense.reach.n_triples


@pytest.mark.parametrize("size", [0.5, 1e-4])
@pytest.mark.parametrize("name", WORLDS)
def test_policies_do_the_same(name, size):
    dense, sparse, listed = pair(name)
    rng, size = np.random.default_rng(3), size * WORLDS[name].get("scale", 1.0)
    G, H = size * rng.normal(size=(2, dense.steps, dense.n_contexts))
    payoff, extra = rng.normal(size=(2, *G.shape))
    first, second = Policy(dense, G), Policy(sparse, np.ascontiguousarray(G[:, listed]))
    close(np.sqrt(first.divergence(Policy(dense, H))[:, listed]),  # whose digits are those of a small KL
          np.sqrt(second.divergence(Policy(sparse, H[:, listed]))), size)  # fmt: skip
    apart = [p.divergence(Policy(p.mdp, h)) for p, h in ((first, H), (second, H[:, listed]))]
    close(apart[0][:, listed], apart[1], 1e4)
    close(first.log_partition[:, listed], second.log_partition, 1e4)
    for one, other in zip(first.importance_ratio, second.importance_ratio, strict=True):
        close(one[:, listed], other, 1e4)
    close(first.mean(payoff)[:, listed], second.mean(np.ascontiguousarray(payoff[:, listed])))
    states = dense.reach.states[:, listed]
    U = first.value(payoff, extra)[:-1, listed]
    close(np.where(states, U, 0.0)[:, states[0]],
          second.value(payoff[:, listed], extra[:, listed])[:-1][:, states[0]])  # fmt: skip
    for one, other in ((first.occupancy.states, second.occupancy.states),
                       (first.occupancy.nexts, second.occupancy.nexts)):  # fmt: skip
        close(one[:, listed], other)
    assert second.occupancy.states.any()
    laws = np.stack([second.law(t) for t in range(dense.steps)])
    close(sparse.rows.sums(laws), sparse.reach.states.astype(float))
    table = first.table[:, listed[sparse.rows.owners], sparse.rows.tokens]
    close(np.where(sparse.reach.states[:, sparse.rows.owners], table, 0.0), laws)
    with pytest.raises(NoTable, match="ref is sparse"):
        _ = second.table


@pytest.mark.parametrize("name", WORLDS)
def test_scans_find_the_same(name):
    dense, sparse, listed = pair(name)
    F = np.random.default_rng(4).normal(size=(dense.steps, dense.n_contexts))
    F[:, ::3] = F[:, :1]  # ties
    other = np.ascontiguousarray(F[:, listed])
    for find in (scans.extrema, scans.inner_extent):
        close(np.array(find(dense, F))[..., listed], np.array(find(sparse, other)))
    beside = [scans.chance_beside_the_top(m, f, 1e-9) for m, f in ((dense, F), (sparse, other))]
    close(beside[0][:, listed], beside[1])
    means = [np.empty_like(F), np.empty_like(other)]
    scans.expectation(dense, np.ones(dense.n_contexts), F, means[0])
    scans.expectation(sparse, np.ones(sparse.n_contexts), other, means[1])
    close(means[0][:, listed], means[1])
    if dense.horizon is not None:
        zero = np.zeros_like(F)
        cost = np.abs(F)
        ties = [
            scans.hard_minimum(dense, zero, F, 1.0),
            scans.hard_minimum(sparse, zero[:, listed], other, 1.0),
        ]
        close(*ties)
        close(
            scans.hard_minimum(dense, cost, F, 1.0),
            scans.hard_minimum(sparse, cost[:, listed], other, 1.0),
        )


@pytest.mark.parametrize("name", WORLDS)
def test_soups_are_worth_the_same(name):
    dense, sparse, _ = pair(name)
    first, second = (SoupObjective(solve(mdp)) for mdp in (dense, sparse))
    size = first.scale
    for u in ([0.5, -0.3, 0.1], [0.0, 0.0, 1.0]):
        one, other = first.at(np.array(u)), second.at(np.array(u))
        close(one.value, other.value, size)
        close(one.slope, other.slope, size * (1.0 + size / 1e3))  # Q times a logit
        close(one.kink, other.kink, size)
        close(first.value(np.array(u)), second.value(np.array(u)), size)
    for one, other in zip(first.at_zero, second.at_zero, strict=True):
        close(one, other, size * size)
    close(projection(first.sol), projection(second.sol), 100.0)


def test_the_best_soup_is_the_same_and_its_bound_says_why_there_is_none():
    dense, sparse, _ = pair("forbids")
    one = soup_optimum(dense, draws=1)
    other = soup_optimum(sparse, draws=1, tolerance=1e-3)
    close(one.J, other.J)
    np.testing.assert_allclose(one.lam, other.lam, atol=1e-6)
    assert other.bound is None
    assert other.no_bound is not None
    assert "table" in other.no_bound


def test_a_vocabulary_of_thirty_thousand_takes_no_more_than_its_rows():
    A, L, n = 30_000, 3, 200
    rng = np.random.default_rng(0)
    tokens = rng.choice(A, size=n, replace=False)
    after = {int(a): rng.choice(tokens, size=3, replace=False) for a in tokens}
    start = tuple(int(t) for t in tokens[:L])
    going, seen = [start], {start}
    while going and len(seen) < 20_000:
        context = going.pop(0)
        for a in after[context[-1]]:
            ahead = (*context[1:], int(a))
            if ahead not in seen:
                seen.add(ahead)
                going.append(ahead)
    listed = sorted(seen, key=lambda c: c[0] * A * A + c[1] * A + c[2])
    rows = [sorted(int(a) for a in after[c[-1]] if (*c[1:], int(a)) in seen) for c in listed]
    codes = np.array([c[0] * A * A + c[1] * A + c[2] for c in listed])
    N = len(codes)
    tracemalloc.start()
    mdp = TokenMDP(
        vocab_size=A, order=L, horizon=4, start=start, contexts=codes,
        ref_sparse={"indptr": np.cumsum([0, *map(len, rows)]),
                    "tokens": np.array([a for row in rows for a in row]),
                    "weights": np.ones(sum(map(len, rows)))},
        rewards=rng.normal(size=(2, N)), beta=1.0, w=[0.5, 0.5],
        features={"kind": "tabular", "per_step": True, "scale": 1.0},
    )  # fmt: skip
    objective = SoupObjective(solve(mdp))
    assert np.isfinite(objective.at(np.array([0.5, 0.5])).value)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert N < 10_000
    assert peak < 8 * N * (4 * 3 + 4 * 60) + 2**24, f"{peak} bytes for {N} contexts"


def test_memory_is_predicted_before_it_is_taken(monkeypatch):
    fields, _ = sparse_fields(random_mdp(1, A=4, forbid=0.4, L=3))
    monkeypatch.setattr("toymdp.validators.memory_limit", lambda: 3000)
    with pytest.raises(
        InstanceError, match=r"contexts = \d+: .* contexts with \d+ tokens would take"
    ):
        TokenMDP(**fields)


def test_a_table_that_would_not_fit_stays_sparse(monkeypatch):
    """A sparse file of all contexts: a table where that fits, rows where it does not."""
    dense = random_mdp(1, A=8, L=2, forbid=0.8, T=2)
    s, a = np.nonzero(dense.ref_weights)
    fields = dense.fields()
    weights = fields.pop("ref_weights")
    indptr = np.searchsorted(s, np.arange(65))
    fields["ref_sparse"] = {"indptr": indptr, "tokens": a, "weights": weights[s, a]}
    assert np.array_equal(TokenMDP(**fields).ref, dense.ref)
    for room in ("toymdp.validators.memory_limit", "toymdp.worlds.sparse.memory_limit"):
        monkeypatch.setattr(room, lambda: 8 * (4 * 512 + 64 * 2 * 11) - 1)
    kept = TokenMDP(**fields)
    assert not kept.dense
    assert kept.n_contexts == 64
    close(solve(kept).Q_w, solve(dense).Q_w)


# what is written for a table: L-token continuations of every context, matrices with a column a token
NEED_A_TABLE = {
    "ss.eq13", "ss.eq13.single-vector", "ss.lemma1.desirability", "ss.psoups.gauge", "ss.psoups.delta",
}  # fmt: skip
# sides at places or tables that a seed draws among the contexts there are
DRAWN = {"ss.thm1.gap.any-logits", "ss.sec4.return", "ss.sec4.gumbel"}


@pytest.mark.parametrize(("name", "dense_features"), [("forbids", False), ("until-eos", True)])
def test_every_verdict_is_that_of_the_table(name, dense_features):
    dense = random_mdp(1, A=4, **{**WORLDS[name], "T": None if name == "until-eos" else 3})
    if dense_features:
        values = np.random.default_rng(0).normal(size=(dense.n_contexts, 3))
        dense = dense.replace(features={"kind": "dense", "values": values})
    sparse, listed = sparse_copy(dense)
    run = 0
    for one, other in zip(check(dense), check(sparse), strict=True):
        assert one.hypotheses == other.hypotheses, one.claim
        if other.verdict == "not-applicable" and one.verdict != other.verdict:
            assert one.claim in NEED_A_TABLE
            assert "ref is sparse" in other.reason
            continue
        assert one.verdict == other.verdict, (one.claim, one, other)
        run += one.lhs is not None
        if one.slack is None or one.claim in DRAWN:
            continue
        assert other.slack == pytest.approx(one.slack, rel=1e-8, abs=1e-9), one.claim
        if abs(one.slack) > 1e-9:  # else the worst place is where rounding is
            close((other.lhs, other.rhs), (one.lhs, one.rhs), 1e4)
            if one.where and "s" in one.where:
                assert listed[other.where["s"]] == one.where["s"]
    assert run >= 35
