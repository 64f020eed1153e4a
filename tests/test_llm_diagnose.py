"""Diagnostics: verdicts equal the toy side's, chunks add up, a killed run goes on."""

from __future__ import annotations

import json
from importlib import import_module

import numpy as np
import pytest
from conftest import random_mdp

torch = pytest.importorskip("torch")

from llm_models import random_lines, tiny_bank  # noqa: E402

from bounds import (  # noqa: E402
    Facts,
    Soup,
    check,
)
from bounds.claims.kl import kl_any, kl_repaired  # noqa: E402
from llm_bridge.answers import Answer  # noqa: E402
from llm_bridge.lookup import lookup_bank, state_paths  # noqa: E402
from llm_bridge.measure.after_states import (  # noqa: E402
    after_states,
    decodability,
    fit_linear,
    norm_bound,
    state_linearity,
)
from llm_bridge.measure.diagnose import (  # noqa: E402
    ChunkFile,
    effective_rank,
    feature_checks,
    judged,
    spanned,
    stream_checks,
    tally_lines,
)
from llm_bridge.measure.diagnosis import kl_from_bespoke, sampled_prefixes  # noqa: E402
from llm_bridge.measure.stream import stream  # noqa: E402
from llm_bridge.measure.totals import SoupSettings, Tally  # noqa: E402
from toymdp import InstanceError, solve  # noqa: E402

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


# -- the bridge's verdicts are the toy's -----------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_verdicts_and_sides_of_a_lookup_table(seed):
    sol, bank, prefixes = scaled_world(seed)
    lines = [Answer((*p, 0), len(p)) for p in prefixes]
    settings = settings_of(sol)
    tally = tally_lines(bank, lines, settings, precision=torch.float64)
    found = {c.claim: c for c in stream_checks(tally, bank, EPS)}
    toy = {c.claim: c for c in check(sol, "ss.delta", seed=0)}["ss.delta"]
    assert found["ss.delta"].verdict == toy.verdict
    # the bridge judges π_w as well as the specialists: its worst is at most the toy's
    assert found["ss.delta"].slack <= toy.slack + 1e-9
    assert found["ss.thm1.gap.sharp"].verdict == "holds"

    kl = kl_from_bespoke(bank, prefixes, settings, torch.float64)
    facts = Facts(sol)
    nu = facts.value_fit.nu
    report = feature_checks(
        bank, prefixes, settings, None, top=4, nu=nu, kl=kl, precision=torch.float64
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
    lines = [Answer((*p, 0), len(p)) for p in state_paths(sol.mdp).values()]
    tally = tally_lines(bank, lines, settings_of(sol), precision=torch.float64)
    assert "ss.delta" not in tally.sides
    assert stream_checks(tally, bank, EPS)[0].verdict == "not-applicable"


def test_sabotage_turns_the_verdicts():
    sol, bank, prefixes = scaled_world(0)
    lines = [Answer((*p, 0), len(p)) for p in prefixes]
    tally = tally_lines(bank, lines, settings_of(sol), precision=torch.float64)
    for claim, sides in tally.sides.items():
        broken = type(sides)(sides.lhs, 0.9 * sides.lhs, sides.scale, where=sides.where)
        assert judged(claim, broken, EPS, []).verdict == "violated"
        assert judged(claim, broken, 1.0, []).verdict == "undecided"  # rounding never decides


# -- a random Gemma --------------------------------------------------------------------------


def gemma_settings():
    return SoupSettings(("a", "b"), np.array([[0.5, 0.3], [1.0, -0.5]]), 1.0, 1.0)


def test_lemma_1_fails_on_a_random_gemma_and_the_printed_bound_does_not_apply():
    bank = tiny_bank(target="all", dtype=torch.float64)
    lines, settings = random_lines(12), gemma_settings()
    prefixes = sampled_prefixes(lines, 40, 0)
    kl = kl_from_bespoke(bank, prefixes, settings, torch.float64)
    report = feature_checks(
        bank, prefixes, settings, norm_bound(bank), kl=kl, precision=torch.float64
    )
    verdicts = {c.claim: c for c in report.checks}
    assert verdicts["ss.lemma1"].verdict == "violated"
    assert verdicts["ss.thm1.kl.any"].verdict == "not-applicable"
    assert "q-linear" in verdicts["ss.thm1.kl.any"].reason
    assert verdicts["ss.thm1.kl.any"].hypotheses == {"q-linear": False}


def test_the_norm_bound_is_a_bound_and_nearly_met():
    bank = tiny_bank(dtype=torch.float64)
    bound = norm_bound(bank)
    prefixes = sampled_prefixes(random_lines(6), 20, 0)
    few, every = (
        after_states(bank, prefixes, top, torch.zeros((0, 2)), precision=torch.float64)
        for top in (8, 64)
    )
    assert 0.3 * bound < every.norms.max() <= bound
    for n, prefix in enumerate(prefixes[:4]):  # log-ratios by plain forward passes
        logs = []
        for policy in bank.policies:
            with bank.using(policy) as base, torch.no_grad():
                z = base(input_ids=torch.tensor([prefix])).logits[0, -1]
            logs.append(torch.log_softmax(z, dim=0).numpy()[few.tokens[n]])
        np.testing.assert_allclose(few.log_probs[:, n], logs, atol=1e-9)
        np.testing.assert_allclose(few.ratios[:, n], np.array(logs[1:]) - logs[0], atol=1e-9)
    # with every token taken the mean norm is exact, with few it is bounded from above
    exact = (np.exp(every.log_probs[0]) * every.norms).sum(axis=1)
    assert every.mean_norm(every.log_probs[0], bound) == pytest.approx(exact)
    above = few.mean_norm(few.log_probs[0], bound)
    rest = 1.0 - np.exp(few.log_probs[0]).sum(axis=1)
    assert (above >= exact).all()
    assert (above <= exact + rest * bound).all()
    assert rest.min() > 0.01


@pytest.mark.parametrize(("target", "exact"), [("output", True), ("all", False)])
def test_output_layer_ratios_are_linear_in_the_state(target, exact):
    bank = tiny_bank(target=target, dtype=torch.float64)
    found = state_linearity(bank, sampled_prefixes(random_lines(12), 80, 0))
    assert (found > 1 - 1e-9).all() if exact else (found < 0.999).all()


def test_windows_as_long_as_the_prefix_lose_nothing():
    bank = tiny_bank()
    prefixes = sampled_prefixes(random_lines(6), 12, 0)
    found = decodability(bank, prefixes, [1, 4, 60])
    assert found[60] < 1e-12
    assert found[1] > found[4] > 1e-6


def test_fit_finds_an_exact_nu():
    bank = tiny_bank(dtype=torch.float64)
    prefixes = sampled_prefixes(random_lines(12), 40, 0)
    found = after_states(bank, prefixes, 8, torch.zeros((0, 2)), precision=torch.float64)
    nu = np.random.default_rng(0).normal(size=(3, 16))
    shift = np.random.default_rng(1).normal(size=(3, 40, 1))  # V of each state
    planted = type(found)(
        found.tokens, found.psi, found.live, found.log_probs,
        np.einsum("pd,nmd->pnm", nu, found.psi) + shift,
    )  # fmt: skip
    fit = fit_linear(planted)
    assert fit.residual.max() < 1e-9
    assert (fit.held_out > 1 - 1e-12).all()


def test_ranks():
    assert effective_rank(np.eye(4)) == pytest.approx(4.0)
    assert effective_rank(np.ones((4, 4))) == pytest.approx(1.0)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, 2))
    X = np.column_stack([X, X @ [2.0, -1.0]])
    found = spanned(X.T @ X)
    assert found[1] == pytest.approx(1.0)
    r2 = (X[:, 0] @ X[:, 2]) ** 2 / (X[:, 0] @ X[:, 0]) / (X[:, 2] @ X[:, 2])
    assert found[0] == pytest.approx(r2)


# -- chunks ----------------------------------------------------------------------------------


def same(a, b):
    assert a.states == b.states
    for kind in ("sums", "maxima"):
        for key, value in getattr(a, kind).items():
            np.testing.assert_allclose(value, getattr(b, kind)[key], rtol=1e-4, atol=1e-6)
    assert set(a.sides) == set(b.sides)
    for claim, found in a.sides.items():  # the worst place of all chunks, not of the first
        other = b.sides[claim]
        assert (found.lhs, found.rhs) == pytest.approx((other.lhs, other.rhs), rel=1e-3, abs=1e-6)


def test_chunk_sizes_change_nothing(monkeypatch):
    bank, lines = tiny_bank(), random_lines(10)
    whole = tally_lines(bank, lines, gemma_settings(), batch=10)
    same(whole, tally_lines(bank, lines, gemma_settings(), batch=3))
    monkeypatch.setitem(import_module("llm_bridge.measure.stream").BYTES, "cpu", 1)
    same(whole, tally_lines(bank, lines, gemma_settings(), batch=10))


def test_no_tensor_grows_with_the_number_of_tokens(monkeypatch):
    """The largest logits tensor ever made is that of the states which fit the budget."""
    bank = tiny_bank()
    sizes = []
    real = type(bank).logits
    monkeypatch.setattr(
        type(bank), "logits", lambda self, h: (sizes.append(h.shape[1]), real(self, h))[1]
    )
    for n in (8, 64):
        list(stream(bank, random_lines(n), torch.zeros((1, 2)), limit=32))
        assert max(sizes) <= 32


def test_a_killed_run_keeps_its_chunks(tmp_path):
    bank, lines, path = tiny_bank(), random_lines(10), tmp_path / "chunks.jsonl"
    whole = tally_lines(bank, lines, gemma_settings(), batch=3)

    class KilledError(Exception):
        pass

    seen = []

    def kill(n):
        seen.append(n)
        if len(seen) == 3:
            raise KilledError

    options = {"batch": 3, "chunks": path, "tokens": True}
    with pytest.raises(KilledError):
        tally_lines(bank, lines, gemma_settings(), progress=kill, **options)
    with path.open("a") as file:
        file.write('{"chunk": 3, "tal')  # what a kill in the middle of a line leaves
    calls = []
    real = type(bank).hidden
    type(bank).hidden = lambda self, *a: (calls.append(1), real(self, *a))[1]
    try:
        same(whole, tally_lines(bank, lines, gemma_settings(), **options))
    finally:
        type(bank).hidden = real
    assert len(calls) == 1  # one chunk of four was left
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    records = [r for row in rows[1:] for r in row["tokens"]]
    assert len(records) == whole.states
    assert np.mean([r["delta"] for r in records], axis=0) == pytest.approx(whole.mean("delta"))


def test_chunks_of_another_run_are_refused(tmp_path):
    path = tmp_path / "chunks.jsonl"
    tally_lines(tiny_bank(), random_lines(3), gemma_settings(), chunks=path)
    with pytest.raises(InstanceError, match="another run"):
        tally_lines(tiny_bank(seed=7), random_lines(3), gemma_settings(), chunks=path)
    with pytest.raises(InstanceError, match="another run"):
        ChunkFile(path, "x")


def test_tallies_survive_json():
    tally = tally_lines(tiny_bank(), random_lines(4), gemma_settings())
    back = Tally.from_dict(json.loads(json.dumps(tally.as_dict())))
    same(tally, back)
    assert back.sides == tally.sides


def test_nothing_to_measure():
    with pytest.raises(InstanceError, match="nothing to measure"):
        tally_lines(tiny_bank(), [], gemma_settings())
