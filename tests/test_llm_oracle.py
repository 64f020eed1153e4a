"""The oracle's exact values by other roads, and the two studies on it by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
from conftest import random_mdp

torch = pytest.importorskip("torch")

import soupcheck  # noqa: E402

from bounds.cli import main  # noqa: E402
from llm_bridge import oracle as module  # noqa: E402
from llm_bridge.oracle import log_ratio, oracle  # noqa: E402
from llm_bridge.studies.kl_estimators import every_answer, gradients, kl_estimators  # noqa: E402
from llm_bridge.studies.merging import balanced, merging, rewrite, turned  # noqa: E402
from toymdp import InstanceError, solve, soup_optimum  # noqa: E402
from toymdp.exact.evaluate import evaluate  # noqa: E402
from toymdp.exact.policy import Policy  # noqa: E402


@pytest.fixture(scope="module", params=[None, 1], ids=["horizon", "eos"])
def world(request):
    return random_mdp(3, A=4, L=2, T=4, K=3, forbid=0.2, beta=0.7, eos=request.param)


@pytest.fixture(scope="module")
def known(world):
    return oracle(world)


def test_every_value_by_the_solver(world, known):
    sol = known.sol
    assert known.names == ("k0", "k1", "k2")
    V = sol.V_w[0, world.start_context]
    assert known.value("user") == pytest.approx(V, abs=1e-10)
    assert known.gap("user") == pytest.approx(0.0, abs=1e-10)
    for k, name in enumerate(known.names):
        policy = Policy(world, sol.Q[k] / world.beta)
        mine = evaluate(policy, world.rewards[k], world.beta)
        of_w = evaluate(policy, world.reward_w, world.beta)
        assert known.value(name, world.rewards[k]) == pytest.approx(mine.value, abs=1e-10)
        assert known.value(name) == pytest.approx(of_w.value, abs=1e-10)
        assert known.kl(name) == pytest.approx(mine.kl, abs=1e-10)
    best = soup_optimum(world, sol)
    assert known.value(known.soup(best.lam)) == pytest.approx(best.J, abs=1e-10)
    assert known.gap(known.soup(best.lam)) == pytest.approx(best.gap, abs=1e-10)


def test_divergences_by_enumeration(known):
    for name, other in (("user", "ref"), ("k0", "k1"), ("ref", "user")):
        p = known.table(name)
        _, mass = every_answer(known, p)
        assert mass.sum() == pytest.approx(1.0)
        logs = log_ratio(p, known.table(other))
        # one answer after another, by its own product of probabilities
        total, stack = 0.0, [(0, known.mdp.start_context, 1.0, 0.0)]
        while stack:
            t, s, chance, so_far = stack.pop()
            if t == known.mdp.steps or not known.mdp.reach.states[t, s]:
                total += chance * so_far
                continue
            for a in np.flatnonzero(p[t, s]):
                s2 = int((s * 4 + a) % 16)
                stack.append((t + 1, s2, chance * p[t, s, a], so_far + logs[t, s, a]))
        assert known.kl(name, other) == pytest.approx(total, abs=1e-10)


def test_what_a_tool_makes_of_the_model_has_its_value(known):
    """Any causal language model over these tokens: here weights that were changed by hand."""
    head = known.bank.base.get_output_embeddings()
    factor = head.lora_A["k0"].weight
    before = factor.data.clone()
    try:
        factor.data = 0.5 * before  # half of k0's log-ratio is the soup at λ = ½ on it
        half = known.table("k0")
    finally:
        factor.data = before
    lam = np.array([0.5, 0.0, 0.0])
    np.testing.assert_allclose(half, known.soup(lam), atol=1e-12)
    assert known.value(half) == pytest.approx(known.value(known.soup(lam)), abs=1e-12)


def test_features_do_not_matter_and_a_horizon_does(world):
    dense = {"kind": "dense", "values": np.eye(16).tolist()}
    other = oracle(solve(world.replace(features=dense)))
    assert other.value("user") == pytest.approx(oracle(world).value("user"), abs=1e-12)
    until = world.replace(
        horizon=None, eos=1, features={"kind": "tabular", "per_step": False, "scale": 1.0}
    )
    with pytest.raises(InstanceError, match="needs a finite one"):
        oracle(until)


def test_soupcheck_shows_it():
    assert soupcheck.oracle is module.oracle
    assert "oracle" in dir(soupcheck)


# -- merging ---------------------------------------------------------------------------------


def factors_of(known):
    head = known.bank.base.get_output_embeddings()
    return [(head.lora_B[n].weight.numpy(), head.lora_A[n].weight.numpy()) for n in known.names]


def test_other_factors_of_a_product_are_the_same_specialist(world):
    o = oracle(world)
    products = [B @ A for B, A in factors_of(o)]
    rng = np.random.default_rng(0)
    for how in (balanced, lambda pair: turned(pair, rng)):
        rewrite(o, how)
        for (B, A), before in zip(factors_of(o), products, strict=True):
            np.testing.assert_allclose(B @ A, before, atol=1e-10)


def test_merges_by_hand():
    """P-SOUPS and peft's linear merge from the factors themselves; cat and svd are the soup."""
    report = merging(seed=0)
    rows = {(r["factors"], r["merge"]): r for r in report["merges"]}
    assert report["specialists moved by"] < 1e-12
    writings = ("one shared factor", "balanced", "another basis")
    for writing in writings:
        for exact in ("cat", "svd"):
            assert rows[writing, exact]["kl to soup"] < 1e-9
    assert (
        rows["one shared factor", "p-soups"]["kl to soup"] < 1e-9
    )  # weights sum to 1, B is shared
    averaged = [rows[writing, "p-soups"]["value"] for writing in writings]
    assert averaged[0] > averaged[1] > averaged[2]  # one set of specialists, three policies
    o = oracle(soupcheck.generate("dirichlet", 0))
    weights = np.array(report["weights"])
    rewrite(o, balanced)
    pairs = factors_of(o)
    base = o.bank.base.get_output_embeddings().base_layer.weight.detach().numpy()
    T, S = o.mdp.steps, o.mdp.n_contexts
    for kind, powers in (("p-soups", weights), ("linear", np.sqrt(weights))):
        B, A = (np.tensordot(powers, np.stack(x), 1) for x in zip(*pairs, strict=True))
        z = (base + B @ A)[:, : T * S].T.reshape(T, S, -1)
        z = np.where(o.mdp.reach.states[..., None], z, 0.0)
        p = np.exp(z - z.max(axis=2, keepdims=True))
        p /= p.sum(axis=2, keepdims=True)
        # peft takes its weights in float32
        assert o.value(p) == pytest.approx(rows["balanced", kind]["value"], abs=1e-6)


# -- estimators of a divergence --------------------------------------------------------------


def test_estimators_by_their_definitions():
    report = kl_estimators(draws=3000)
    exact, rows = report["exact"], report["estimators"]
    assert abs(rows["k1"]["bias"]) < 1e-12
    assert abs(rows["k3"]["bias"]) < 1e-12
    assert abs(rows["k2"]["bias"]) > 1e-3
    assert rows["k3"]["of the whole answer's ratio"] == pytest.approx(exact, abs=1e-10)
    assert rows["k1"]["mean over an answer's tokens × mean length"] != pytest.approx(
        exact, rel=1e-3
    )
    for name in ("k1", "k2"):  # k3's tail is too heavy for its own error bar
        mean, error = rows[name]["drawn"]
        assert abs(mean - rows[name]["mean of sums"]) < 5 * error


def test_gradients_by_differentiation(world):
    """The same gradients by autograd, of the KL itself and of each estimator on fixed answers."""
    o = oracle(world)
    p, ref = (torch.from_numpy(o.table(name)) for name in ("k1", "ref"))
    theta = torch.where(p > 0, p.clamp_min(1e-300).log(), -1e30).requires_grad_(True)
    on = p > 0
    pi = torch.where(on, theta, -1e30).softmax(dim=2) * on
    x = torch.where(on, (ref.clamp_min(1e-300) / pi.clamp_min(1e-300)).log(), 0.0)
    ahead, visit = torch.zeros(16, dtype=torch.float64), []
    following = torch.from_numpy(o.following)
    states = torch.from_numpy(o.mdp.reach.states)
    d = torch.zeros(16, dtype=torch.float64)
    d[o.mdp.start_context] = 1.0
    for t in range(o.mdp.steps):
        visit.append(d * states[t])
        d = torch.zeros(16, dtype=torch.float64).index_add(
            0, following.flatten(), (visit[-1][:, None] * pi[t]).detach().flatten()
        )
    for t in reversed(range(o.mdp.steps)):
        ahead = states[t] * (pi[t] * (-x[t] + ahead[following])).sum(dim=1)
    (exact,) = torch.autograd.grad(ahead[o.mdp.start_context], theta, retain_graph=True)
    weights = torch.stack(visit)[:, :, None] * pi.detach()
    found = gradients(o, p.numpy())
    for name, k in (("k1", -x), ("k2", 0.5 * x**2), ("k3", x.exp() - 1 - x)):
        (g,) = torch.autograd.grad((weights * k).sum(), theta, retain_graph=True)
        size = float(g.norm() / exact.norm())
        assert found[name]["size"] == pytest.approx(size, abs=1e-8)
        if size > 1e-8:
            cosine = float((g * exact).sum() / g.norm() / exact.norm())
            assert found[name]["cosine"] == pytest.approx(cosine, abs=1e-8)


def test_the_command(tmp_path, capsys):
    def run(*arguments):
        with pytest.raises(SystemExit) as done:
            main(["llm", "study", *map(str, arguments)])
        return done.value.code, capsys.readouterr()

    code, said = run()
    assert code == 0
    assert "merging" in said.out
    path = tmp_path / "i.json"
    random_mdp(1, A=3, L=1, T=3, K=2).save(path)
    for name, key in (("merging", "merges"), ("kl", "estimators")):
        code, said = run(name, "--instance", path, "--draws", 50, "--json", "-")
        assert code == 0, said.err
        assert key in json.loads(said.out)
    code, said = run("mergng")
    assert code == 2
    assert len(said.err.strip().splitlines()) == 1
