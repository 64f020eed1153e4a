"""Souping methods and user weights, each against a second computation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

torch = pytest.importorskip("torch")

from llm_models import tiny_bank  # noqa: E402

from bounds.claims.appendix_c import maxima  # noqa: E402
from bounds.facts.preference_pairs import subject  # noqa: E402
from llm_bridge.measure.measures import mix  # noqa: E402
from llm_bridge.methods.souping import (  # noqa: E402
    Implicit,
    Pad,
    PadSF,
    answers_by,
    lora_layers,
    parameter_soup,
)
from llm_bridge.methods.weights import (  # noqa: E402
    binary_rows,
    deltas_of,
    fit_batch,
    fit_sequential,
    into_domain,
    prior,
)
from llm_bridge.preferences import Pair  # noqa: E402
from toymdp import InstanceError  # noqa: E402
from toymdp.worlds.preference_pairs import PreferencePairs  # noqa: E402

MU = torch.tensor([0.7, -0.4], dtype=torch.float64)


def logits(seed=0, n=1, A=12, forbid=True):
    z = torch.randn((3, n, A), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    if forbid:
        z[:, :, 3] = -torch.inf
    return z


# -- implicit --------------------------------------------------------------------------------


def drawn(sampler, z, n):
    tokens = sampler(z.expand(3, n, z.shape[2]), torch.zeros((n, 1))).argmax(dim=1)
    return torch.bincount(tokens, minlength=z.shape[2]).double() / n


@pytest.mark.parametrize("cap", [500, 1])
def test_rejection_draws_from_the_soup_and_counts(cap):
    z, n = logits(), 6000
    law = torch.softmax(mix(z, MU[None])[0, 0], dim=0)
    sampler = Implicit(MU, torch.Generator().manual_seed(0), cap)
    found = drawn(sampler, z, n)
    assert float((found - law).abs().max()) < 4 * 0.5 / np.sqrt(n)
    assert found[3] == 0
    report = sampler.report()
    # the acceptance rate is 1/E-type: E_ref[ratio]/max ratio, by hand
    ref = torch.softmax(z[0, 0], dim=0)
    ratio = torch.where(ref > 0, law / ref, 0.0)
    expected = float((ref * ratio).sum() / ratio.max())
    assert report["expected acceptance"] == pytest.approx(expected, rel=1e-9)
    assert report["acceptance"] == pytest.approx(expected, abs=0.03)
    if cap == 1:
        assert report["capped"] == pytest.approx(1 - expected, abs=0.03)
        assert sampler.trials == n
    else:
        assert report["capped"] == 0.0
        assert sampler.trials > n


def test_the_printed_bound_is_not_one():
    """M of section 4 as printed is a geometric mean: ratios above it are cut, and the law changes."""
    z = logits()
    ref = torch.softmax(z[0, 0], dim=0)
    log_ratio = (torch.softmax(z[1:, 0], dim=1) / ref).log().nan_to_num(0.0)
    tilt = torch.exp(MU @ log_ratio)
    kl = -(ref * log_ratio).sum(dim=1)
    printed = ref * torch.minimum(torch.exp(-(MU @ kl)), tilt)
    law = torch.softmax(mix(z, MU[None])[0, 0], dim=0)
    assert float(0.5 * (printed / printed.sum() - law).abs().sum()) > 0.05


# -- PAD, P-SOUPS ----------------------------------------------------------------------------


def test_pad_keeps_the_top_tokens_and_tilts_by_log_ratios():
    z = logits(n=2)
    found = torch.softmax(Pad(MU, strength=0.5, top=4)(z, None), dim=1)
    for row in range(2):
        ref = torch.softmax(z[0, row], dim=0)
        keep = ref.topk(4).indices
        ell = (torch.softmax(z[1:, row], dim=1) / ref).log()
        weights = {int(a): float(ref[a] * torch.exp(0.5 * (MU @ ell[:, a]))) for a in keep}
        total = sum(weights.values())
        for a in range(12):
            assert float(found[row, a]) == pytest.approx(weights.get(a, 0.0) / total, abs=1e-12)


def test_pad_with_every_token_is_the_explicit_soup():
    z = logits()
    found = torch.softmax(Pad(MU, top=12)(z, None), dim=1)
    torch.testing.assert_close(found, torch.softmax(mix(z, MU[None])[0], dim=1))


def test_pad_sf_weighs_by_the_state():
    z, scorer = logits(n=2), torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    states = torch.tensor([[1.0, 1.0], [-3.0, 0.5]])
    found = PadSF(Pad(MU, top=12), scorer, lambda ids: states)(z, None)
    for row in range(2):
        w = torch.softmax(scorer @ states[row], dim=0).double()
        one = Pad(w, top=12)(z[:, row : row + 1], None)
        torch.testing.assert_close(found[row : row + 1], one)


def test_averaged_parameters_are_not_averaged_policies():
    bank = tiny_bank(target="output", dtype=torch.float64)
    head = bank.base.lm_head
    with parameter_soup(bank, [0.3, 0.7]):
        product = head.lora_B["k0"].weight @ head.lora_A["k0"].weight
    factors = [(head.lora_A[n].weight, head.lora_B[n].weight) for n in bank.names]
    mean = [0.3 * a + 0.7 * b for a, b in zip(*factors, strict=True)]
    torch.testing.assert_close(product, mean[1] @ mean[0])
    exact = 0.3 * factors[0][1] @ factors[0][0] + 0.7 * factors[1][1] @ factors[1][0]
    assert float((product - exact).norm() / exact.norm()) > 0.2
    # outside the context the first specialist is itself again
    assert torch.equal(head.lora_A["k0"].weight, factors[0][0])


def test_parameters_of_other_shapes_cannot_be_averaged():
    bank = tiny_bank()
    lora_layers(bank)[0].scaling["k1"] = 2.0
    with pytest.raises(InstanceError, match="P-SOUPS needs one"), parameter_soup(bank, [1, 1]):
        pass


@pytest.mark.parametrize("method", ["explicit", "weight-space", "implicit", "p-soups", "pad"])
def test_every_method_answers(method):
    bank = tiny_bank(target="output")
    before = {n: p.clone() for n, p in bank.model.named_parameters()}
    prompts = [[2, 5, 6], [2, 9]]
    found, report = answers_by(method, bank, prompts, MU.numpy(), tokens=6, seed=0)
    assert all(1 <= len(a) <= 6 for a in found)
    again, _ = answers_by(method, bank, prompts, MU.numpy(), tokens=6, seed=0)
    assert found == again
    assert ("acceptance" in report) == (method == "implicit")
    assert all(torch.equal(p, before[n]) for n, p in bank.model.named_parameters())


def test_weight_space_and_explicit_draw_the_same_answers_on_the_output_layer():
    bank = tiny_bank(target="output")
    prompts = [[2, 5, 6], [2, 9], [2, 7, 8, 9]]
    drawn = [
        answers_by(m, bank, prompts, MU.numpy(), tokens=12, seed=3)[0]
        for m in ("explicit", "weight-space")
    ]
    assert drawn[0] == drawn[1]


# -- λ from preferences ----------------------------------------------------------------------


def test_batch_is_the_minimiser():
    rng = np.random.default_rng(0)
    rows, labels = rng.normal(size=(40, 3)), rng.choice([-1.0, 1.0], size=40)
    mean, covariance = rng.normal(size=3), np.diag([1.0, 4.0, 0.5])

    def loss(lam):
        apart = lam - mean
        return np.logaddexp(0, -labels * (rows @ lam)).sum() + 0.5 * apart @ np.linalg.solve(
            covariance, apart
        )

    found = fit_batch(rows, labels, mean, covariance)
    assert found.mean == pytest.approx(minimize(loss, mean, tol=1e-12).x, abs=1e-5)
    step, basis = 1e-4, 1e-4 * np.eye(3)
    curvature = [
        [
            (loss(found.mean + a + b) - loss(found.mean + a - b) - loss(found.mean - a + b)
             + loss(found.mean - a - b)) / (4 * step * step)
            for a in basis
        ]
        for b in basis
    ]  # fmt: skip
    assert found.covariance @ np.array(curvature) == pytest.approx(np.eye(3), abs=1e-4)


def test_separable_preferences_stay_finite_under_the_prior():
    rows = 50.0 * np.abs(np.random.default_rng(0).normal(size=(30, 2)))
    found = fit_batch(rows, np.ones(30), *prior(2, 100.0))
    assert np.isfinite(found.mean).all()
    lam, shrunk = into_domain(np.array([3.0, -1.0]), 1.0, 2.0)
    assert shrunk
    assert lam == pytest.approx([1.5, -0.5])
    assert into_domain(lam, 1.0, 2.0)[1] is False


def test_sequential_reaches_each_maximum_a_posteriori():
    """The refreshed recursion against cvxpy's maxima, interaction by interaction."""
    rng = np.random.default_rng(1)
    differences = rng.normal(size=(6, 2))
    instance = PreferencePairs(
        differences=differences, prior_mean=np.zeros(2), prior_covariance=4.0 * np.eye(2)
    )
    points, _ = maxima(subject(instance))
    for n in range(1, 7):
        found = fit_sequential(differences[:n], np.zeros(2), 4.0 * np.eye(2))
        assert found.mean == pytest.approx(points[n - 1], abs=1e-8)
    printed = fit_sequential(differences[:1], np.zeros(2), 4.0 * np.eye(2), refreshed=False)
    assert np.abs(printed.mean - points[0]).max() > 1e-3


def test_sequential_comes_near_the_batch():
    rng = np.random.default_rng(2)
    truth = np.array([1.0, -0.5])
    rows = rng.normal(size=(400, 2))
    labels = np.where(rng.random(400) < 1 / (1 + np.exp(-rows @ truth)), 1.0, -1.0)
    batch = fit_batch(rows, labels, *prior(2, 10.0))
    one_by_one = fit_sequential(rows * labels[:, None], *prior(2, 10.0))
    assert np.abs(one_by_one.mean - batch.mean).max() < 0.1
    assert np.abs(batch.mean - truth).max() < 0.4
    binary = fit_batch(rows, labels, *prior(2, 10.0))
    assert binary.mean == pytest.approx(batch.mean)


def test_a_user_who_is_a_specialist_gets_that_specialist():
    bank = tiny_bank(text=True)
    rng = np.random.default_rng(0)
    words = [" it", " is", " so", " not", " cat", " mat"]
    texts = ["".join(rng.choice(words, size=4)) for _ in range(60)]
    pairs = [Pair("A:", a, b) for a, b in zip(texts[::2], texts[1::2], strict=True) if a != b]
    rows = deltas_of(bank, pairs, 1.0)
    ordered = [
        p if d[0] > 0 else Pair(p.prompt, p.rejected, p.chosen)
        for p, d in zip(pairs, rows, strict=True)
    ]
    found = fit_batch(deltas_of(bank, ordered, 1.0), np.ones(len(ordered)), *prior(2, 100.0))
    assert found.mean[0] > 5 * abs(found.mean[1])
    single = binary_rows(bank, ["A:"] * 2, [pairs[0].chosen, pairs[0].rejected], 1.0)
    assert single[0] - single[1] == pytest.approx(rows[0], abs=1e-4)
    with pytest.raises(InstanceError, match="needs at least one"):
        deltas_of(bank, [], 1.0)
