"""λ cross-fitted, policies judged on held-out pairs, gaps by drawing: each by hand on a random bank."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from llm_models import TEXTS, TINY, tiny_bank  # noqa: E402

import llm_bridge.answers  # noqa: E402
from llm_bridge.answers import every_log_prob, log_probs, tokenised  # noqa: E402
from llm_bridge.backend import peft  # noqa: E402
from llm_bridge.comparison import policies  # noqa: E402
from llm_bridge.comparison.crossfit import (  # noqa: E402
    OWN,
    clustered,
    cross_fit,
    fitted,
    halves_of,
)
from llm_bridge.comparison.finished import Finished  # noqa: E402
from llm_bridge.comparison.gaps import shortfall, shortfalls  # noqa: E402
from llm_bridge.comparison.page import first_page  # noqa: E402
from llm_bridge.comparison.policies import (  # noqa: E402
    SOUP,
    Rival,
    margins,
    rivals,
    soup_log_probs,
)
from llm_bridge.decoding import generate, single_row  # noqa: E402
from llm_bridge.loading import add_adapters  # noqa: E402
from llm_bridge.methods.weights import deltas_of, into_domain  # noqa: E402
from llm_bridge.preferences import Pair  # noqa: E402
from llm_bridge.training.pretrain import small_gemma, train_tokenizer  # noqa: E402
from toymdp import InstanceError  # noqa: E402

WORDS = ("the", "cat", "sat", "on", "mat", "yes", "it", "is", "so", "no", "not", "what")
BETA = 0.7


def some_pairs(n, seed=0):
    rng = np.random.default_rng(seed)

    def words(k):
        return " " + " ".join(rng.choice(WORDS, size=k))

    return [Pair(f"the {WORDS[i % 7]}", words(int(rng.integers(1, 5))), words(3)) for i in range(n)]


@pytest.fixture(scope="module")
def bank():
    return tiny_bank(text=True, dtype=torch.float64, spread=0.2)


@pytest.fixture(scope="module")
def pairs():
    return some_pairs(16)


def plain(bank, policy, ids, begin):
    """Log-probabilities of each taken token by one plain forward pass."""
    with bank.using(policy) as base, torch.no_grad():
        return torch.log_softmax(base(input_ids=torch.tensor([ids])).logits[0].double(), dim=1)


def reference(bank, answers):
    with bank.using("ref"):
        return log_probs(bank, answers).double().numpy()


def soup_by_hand(bank, answer, weights):
    logs = [plain(bank, p, answer.ids, answer.begin) for p in ("ref", *bank.names)]
    mixed = logs[0] + sum(w * (one - logs[0]) for w, one in zip(weights, logs[1:], strict=True))
    law = torch.log_softmax(mixed, dim=1)
    return sum(float(law[i, answer.ids[i + 1]]) for i in answer.places)


def test_the_soups_own_likelihood_by_hand(bank, pairs):
    answers = [tokenised(bank, p.prompt, p.chosen) for p in pairs[:5]]
    weights = np.array([0.8, -0.5])
    expected = [soup_by_hand(bank, a, weights) for a in answers]
    np.testing.assert_allclose(soup_log_probs(bank, answers, weights), expected, atol=1e-9)


def test_rivals_are_what_they_are_called(bank, pairs):
    answers = [tokenised(bank, p.prompt, t) for p in pairs[:3] for t, _ in p.texts]
    ref, w = reference(bank, answers), np.array([0.6, 0.3])
    found = {r.name: margins(bank, answers, r, w, ref) for r in rivals(bank)}
    assert tuple(found) == (
        "k0", "k1", "user", "weight averaging", "task arithmetic", "TIES", "DARE", "P-SOUPS"
    )  # fmt: skip
    by_hand = [
        sum(float(plain(bank, "k1", a.ids, a.begin)[i, a.ids[i + 1]]) for i in a.places)
        for a in answers
    ]
    apart = np.array(by_hand) - ref
    np.testing.assert_allclose(found["k1"], apart[::2] - apart[1::2], atol=1e-4)
    # the sum of the products, by changing the base weights themselves
    for name, weights in (("weight averaging", (0.5, 0.5)), ("task arithmetic", w)):
        before = []
        for layer in bank.lora_layers:
            weight = layer.get_base_layer().weight
            before.append((weight, weight.data.clone()))
            for key, scale in zip(bank.names, weights, strict=True):
                weight.data += scale * layer.lora_B[key].weight @ layer.lora_A[key].weight
        try:
            moved = reference(bank, answers) - ref
        finally:
            for weight, data in before:
                weight.data = data
        np.testing.assert_allclose(found[name], moved[::2] - moved[1::2], atol=1e-4)
    assert len({tuple(np.round(x, 6)) for x in found.values()}) == len(found)
    assert not [n for n in bank.model.peft_config if n not in ("k0", "k1", "user")]


def test_halves_are_of_prompts(pairs):
    half, groups = halves_of(pairs, seed=3)
    for n in (0, 1):
        mine, others = ({pairs[i].prompt for i in np.flatnonzero(half == m)} for m in (n, 1 - n))
        assert mine
        assert not mine & others
    assert [groups[i] for i in range(7)] == list(range(7))
    with pytest.raises(InstanceError, match="halves need 8 pairs of 2 prompts"):
        halves_of([pairs[0]] * 20, seed=0)


def test_what_is_fitted_is_not_judged(bank, pairs):
    """Labels of one half turned round change nothing of the λ that is judged on that half."""
    fit = cross_fit(bank, pairs, BETA, BETA, seed=1)
    half, _ = halves_of(pairs, 1)
    deltas = deltas_of(bank, pairs, BETA)
    for n in (0, 1):
        lam, _ = into_domain(fitted(deltas[half != n])[0], BETA, BETA)
        np.testing.assert_allclose(fit.halves[n], lam, atol=1e-8)
        expected = np.sign(deltas[half == n] @ lam) * 0.5 + 0.5
        np.testing.assert_allclose(fit.judged[OWN].hits[half == n], expected)
    turned = [
        Pair(p.prompt, p.rejected, p.chosen) if half[i] == 0 else p for i, p in enumerate(pairs)
    ]
    other = cross_fit(bank, turned, BETA, BETA, seed=1)
    np.testing.assert_allclose(other.halves[0], fit.halves[0])
    assert np.abs(other.halves[1] - fit.halves[1]).max() > 1e-3
    np.testing.assert_allclose(
        other.judged[SOUP].hits[half == 0], 1 - fit.judged[SOUP].hits[half == 0]
    )
    # leaving one out is fitting the others
    lam = fitted(deltas[half != 0][:, [1]])[0]
    expected = np.sign(deltas[half == 0][:, [1]] @ lam) * 0.5 + 0.5
    np.testing.assert_allclose(fit.without["k0"].hits[half == 0], expected)
    assert fit.correlation[0, 1] == pytest.approx(np.corrcoef(deltas.T)[0, 1])


def test_standard_errors_are_over_prompts():
    values, groups = np.array([1.0, 1, 0, 0, 1, 1, 0, 0]), np.repeat(np.arange(4), 2)
    # four independent values: 1, 0, 1, 0
    expected = np.std([1.0, 0, 1, 0], ddof=1) / 2
    assert clustered(values, groups) == pytest.approx(expected)
    assert clustered(values, np.arange(8)) == pytest.approx(values.std(ddof=1) / np.sqrt(8))


def test_a_shortfall_by_hand(bank):
    prompts = [tuple(bank.encode(p)) for p in ("the cat", "yes it is", "no")]
    rival = Rival("k0", lambda b, _: b.using("k0"))
    weights = np.array([0.7, -0.3])
    found = shortfall(bank, prompts, rival, weights, beta=BETA, tokens=4, seed=5)
    with bank.using("k0") as base:
        drawn = generate(bank, prompts, single_row, tokens=4, seed=5, single=base)
    totals = []
    for prompt, answer in zip(prompts, drawn, strict=True):
        ids = [*prompt, *answer]
        mine, theirs = (plain(bank, p, ids, 0)[len(prompt) - 1 : -1] for p in ("k0", "user"))
        totals.append(BETA * float((mine.exp() * (mine - theirs)).sum()))
    assert found[0] == pytest.approx(np.mean(totals), abs=1e-6)
    assert found[1] == pytest.approx(np.std(totals, ddof=1) / np.sqrt(3), abs=1e-6)
    every = shortfalls(bank, prompts, weights, beta=BETA, tokens=4, seed=5)
    assert set(every) == {SOUP, "ref", "k0", "k1", *(r.name for r in rivals(bank)[3:])}
    # the soup whose weights are one specialist's is that specialist
    alone = shortfall(bank, prompts, None, np.array([1.0, 0.0]), beta=BETA, tokens=4, seed=5)
    assert alone == pytest.approx(found, abs=1e-9)


def page_of(bank, pairs, prime=BETA):
    fit = cross_fit(bank, pairs, BETA, prime)
    return first_page(
        bank.names, fit, {"k0": 0.99, "k1": 0.4}, beta=BETA, beta_prime=prime, gaps={}
    )


def test_the_page_says_first_that_no_soup_is_better(bank, pairs):
    page = page_of(bank, pairs)  # random preferences
    assert page["says"][0].startswith("No soup of these adapters orders")
    assert "far from linear" in " ".join(page["says"])
    assert page["policies"]["ref"]["accuracy"] == 0.5
    json.dumps(page)


def test_the_page_says_that_the_soup_is_better_and_beyond_the_budget(bank):
    """A user who follows k0: what k0 makes likelier is chosen."""
    pairs = some_pairs(28)
    deltas = deltas_of(bank, pairs, BETA)[:, 0]
    following = [
        p if d > 0 else Pair(p.prompt, p.rejected, p.chosen)
        for p, d in zip(pairs, deltas, strict=True)
    ]
    page = page_of(bank, following)
    assert page["policies"]["k0"]["accuracy"] > 0.99
    assert page["policies"][OWN]["accuracy"] > 0.9
    assert page["scaled into β|λ|₁ ≤ β'"]
    assert "beyond the budget" in page["says"][1]
    assert page["brings"]["k0"][0] > page["brings"]["k1"][0]
    assert page["lambda"]["k0"] > abs(page["lambda"]["k1"])


def test_a_killed_comparison_goes_on(bank, pairs, tmp_path):
    path, steps = tmp_path / "f.steps", []

    def kill(stage, done, total):
        steps.append(done)
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cross_fit(bank, pairs, BETA, BETA, finished=Finished(path, "r"), on_progress=kill)
    kept = Finished(path, "r").known
    assert len(kept) == 3  # every policy's log-probabilities, the soup, weight averaging
    path.write_bytes(path.read_bytes() + b'{"step": "torn')
    again = Finished(path, "r")
    assert set(again.known) == set(kept)
    again.known["half 0 soup"] = -100.0 * np.ones_like(
        again.known["half 0 soup"]
    )  # is not computed anew
    fit = cross_fit(bank, pairs, BETA, BETA, finished=again)
    half, _ = halves_of(pairs, 0)
    assert not fit.judged[SOUP].hits[half == 0].any()
    assert Finished(path, "another").known == {}


def test_states_kept_of_answers_give_the_same_soup(bank, pairs):
    answers = [tokenised(bank, p.prompt, t) for p in pairs[:6] for t, _ in p.texts]
    weights, states = np.array([0.8, -0.5]), {}
    every_log_prob(bank, answers, states)
    assert set(states) == set(answers)
    expected = soup_log_probs(bank, answers, weights)
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(type(bank), "hidden")
        patch.setattr(policies, "BATCH", 5)  # several batches, the last one short
        found = soup_log_probs(bank, answers[::-1], weights, states)[::-1]
    np.testing.assert_allclose(found, expected, atol=1e-9)
    # beyond what is kept, they are read again
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(llm_bridge.answers, "KEPT", 1)
        states = {}
        every_log_prob(bank, answers, states)
    assert not states


def test_errors_of_a_scaled_weight_are_scaled_with_it(bank, pairs):
    plain = cross_fit(bank, pairs, BETA, 1e3)
    scaled = cross_fit(bank, pairs, BETA, 1e-3)
    assert scaled.shrunk
    assert not plain.shrunk
    np.testing.assert_allclose(scaled.lam / scaled.error, plain.lam / plain.error, rtol=1e-12)
    assert np.abs(scaled.lam).sum() == pytest.approx(1e-3 / BETA)


def test_a_bespoke_adapter_of_more_layers_and_specialists_of_two_ranks(pairs):
    """P-SOUPS averages what the specialists have; where it cannot, it is left out, said, and not drawn."""
    heads = [[2, 5, 6], [2, 9], [2, 8, 8]]
    options = {"beta": BETA, "tokens": 3, "seed": 0}
    for rank, made in ((4, True), (2, False)):
        model = small_gemma(replace(TINY, vocab=280), 0)
        few = peft.LoraConfig(r=4, lora_alpha=4, target_modules=["q_proj"])
        both = add_adapters(
            model, ["warm", "short"], few, bespoke="user", eos=(1,), tokenizer=train_tokenizer(TEXTS, 280)
        )  # fmt: skip
        for name, r, layers in (("short", rank, ["q_proj"]), ("user", 4, "all-linear")):
            both.model.delete_adapter(name)
            both.model.add_adapter(name, peft.LoraConfig(r=r, lora_alpha=4, target_modules=layers))
        for name, p in both.model.named_parameters():
            p.requires_grad_(False)
            if "lora_" in name:
                p.data = 0.1 * torch.randn_like(p)
        both.model.eval()
        both = replace(both)  # which has not looked at its layers yet
        fit = cross_fit(both, pairs, BETA, BETA)
        assert ("P-SOUPS" in fit.judged) is made
        assert ("P-SOUPS" in fit.left_out) is not made
        gaps = shortfalls(both, heads, fit.lam, left_out=fit.left_out, **options)
        assert ("P-SOUPS" in gaps) is made
        page = first_page(both.names, fit, {"warm": 0.9}, beta=BETA, beta_prime=BETA, gaps=gaps)
        said = [line for line in page["says"] if line.startswith("P-SOUPS is left out")]
        assert len(said) == (not made)
        assert made or "(2, 2.0), (4, 1.0)" in said[0]
