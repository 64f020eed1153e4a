"""Rollouts: the gap identity with its interval, and generation with shared randomness."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import random_mdp

torch = pytest.importorskip("torch")

from llm_models import tiny_bank  # noqa: E402

from bounds import Facts, Soup  # noqa: E402
from llm_bridge.answers import Answer  # noqa: E402
from llm_bridge.bank import pad  # noqa: E402
from llm_bridge.decoding import Mixer, generate, single_row  # noqa: E402
from llm_bridge.lookup import lookup_bank  # noqa: E402
from llm_bridge.measure.rollout_gap import Watched, drawn_and_measured, rollout_gap  # noqa: E402
from llm_bridge.measure.soups import LogitMixture, soup_weights  # noqa: E402
from llm_bridge.measure.stream import stream  # noqa: E402
from toymdp import InstanceError, solve  # noqa: E402
from toymdp.exact.policy import Policy  # noqa: E402

LAM = np.array([0.9, -0.5, 0.2])


@pytest.fixture(scope="module")
def world():
    mdp = random_mdp(3, A=4, L=2, T=4, K=3, forbid=0.3, beta=0.7, eos=1).replace(beta_prime=1.3)
    sol = solve(mdp)
    return sol, lookup_bank(sol)


def estimate(sol, bank, seed, n=400):
    mdp = sol.mdp
    return rollout_gap(
        bank, [list(mdp.start)], LAM, beta=mdp.beta, beta_prime=mdp.beta_prime, rollouts=n,
        tokens=mdp.horizon, seed=seed, precision=torch.float64, batch=n,
    )  # fmt: skip


def covered(sol, bank, seeds):
    exact = Soup(Facts(sol), LAM).gap
    found = [estimate(sol, bank, seed) for seed in seeds]
    return sum(g.low <= exact <= g.high for g in found)


def test_gap_by_rollouts_covers_the_exact_gap(world):
    assert covered(*world, range(10)) >= 8


@pytest.mark.long
def test_coverage_over_a_hundred_seeds(world):
    assert covered(*world, range(100)) >= 93


def test_weights_of_all_answers_make_the_gap_exact(world):
    """Every answer, weighted by its probability under the soup: the identity without sampling."""
    sol, bank = world
    mdp, exact = sol.mdp, Soup(Facts(sol), LAM)
    table = Policy(mdp, exact.logits).table
    answers, weights = [], []

    def walk(tokens, s, t, weight):
        if t == mdp.horizon or (tokens and tokens[-1] == mdp.eos):
            answers.append(Answer((*mdp.start, *tokens), mdp.order))
            weights.append(weight)
            return
        for a in np.flatnonzero(table[t, s]):
            following = int((s * mdp.vocab_size + a) % mdp.n_contexts)
            walk([*tokens, int(a)], following, t + 1, weight * table[t, s, a])

    walk([], mdp.start_context, 0, 1.0)
    # as they would be drawn: one token of all answers at a time, padded behind an end
    soup = soup_weights(torch.tensor(LAM), mdp.beta, mdp.beta_prime)
    watched = Watched(soup, torch.tensor([mdp.eos]), torch.float64)
    whole, _ = pad([answer.ids for answer in answers])
    for n in range(mdp.order, whole.shape[1]):
        watched(bank.logits(bank.hidden(whole[:, :n])[:, :, -1]), whole[:, :n])
    to_w, to_ref, sharp = watched.totals.numpy().T
    w, rest = np.array(weights), mdp.beta_prime / np.abs(LAM).sum() - mdp.beta
    assert w.sum() == pytest.approx(1.0, abs=1e-12)
    assert w @ (mdp.beta * to_w + rest * to_ref) == pytest.approx(exact.gap, abs=1e-9)
    assert w @ (mdp.beta * sharp + rest * to_ref) >= exact.gap


@pytest.mark.parametrize("weights", [(0.8, -0.4), (0.0, 0.7), (0.0, 0.0)])
def test_drawing_with_the_bespoke_row_draws_the_same_and_measures_it(weights):
    """Against the measures of the drawn answers in passes of their own."""
    bank = tiny_bank(dtype=torch.float64)
    prompts, soup = (
        [[2, 5, 6], [2, 9], [2, 4, 8, 7]] * 3,
        torch.tensor(weights, dtype=torch.float64),
    )
    options = {"tokens": 6, "seed": 3}
    drawn, totals = drawn_and_measured(
        bank, prompts, np.array(weights), precision=torch.float64, **options
    )
    assert drawn == generate(bank, prompts, LogitMixture(soup), **options)
    assert len({len(a) for a in drawn}) > 1
    answers = [Answer((*p, *a), len(p)) for p, a in zip(prompts, drawn, strict=True)]
    expected = np.zeros((len(answers), 3))
    for chunk in stream(bank, answers, soup[None], precision=torch.float64):
        kl, row = chunk.measures.kl, chunk.row.numpy()
        for column, value in enumerate((kl[4, 3], kl[4, 0], chunk.measures.span[0] ** 2 / 8)):
            np.add.at(expected[:, column], row, value.numpy())
    np.testing.assert_allclose(totals, expected, atol=1e-9)
    assert (totals[:, 0] > 0).all()


def test_generation_follows_the_soup_and_never_a_forbidden_token(world):
    sol, bank = world
    mdp = sol.mdp
    mixture = LogitMixture(soup_weights(torch.tensor(LAM), mdp.beta, mdp.beta_prime))
    drawn = generate(bank, [list(mdp.start)] * 3000, mixture, tokens=4, seed=5)
    first = np.bincount([a[0] for a in drawn], minlength=4) / len(drawn)
    law = Policy(mdp, Soup(Facts(sol), LAM).logits).table[0, mdp.start_context]
    assert (first[law == 0] == 0).all()
    assert np.abs(first - law).max() < 4 * 0.5 / np.sqrt(len(drawn))
    again = generate(bank, [list(mdp.start)] * 3000, mixture, tokens=4, seed=5)
    assert drawn == again


def test_draws_follow_the_softmax_of_four_tokens():
    """Four, since with two a flipped sign of the noise gives the same law."""
    law = torch.tensor([0.55, 0.3, 0.1, 0.05], dtype=torch.float64)
    n = 100_000
    mixer = Mixer(single_row, 1, 0, "cpu")
    forced = mixer(torch.zeros((n, 1), dtype=torch.long), law.log().expand(n, 4))
    found = torch.bincount(forced.argmax(dim=1), minlength=4) / n
    assert float(((found - law).abs() / (law * (1 - law) / n).sqrt()).max()) < 4.5


def test_one_answer_carries_no_interval(world):
    with pytest.raises(InstanceError, match="two or more"):
        estimate(*world, seed=0, n=1)


def test_generation_needs_eval_mode(world):
    _, bank = world
    bank.model.train()
    try:
        with pytest.raises(InstanceError, match="eval mode"):
            generate(bank, [[0, 0]], LogitMixture(torch.zeros(3)), tokens=2, seed=0)
    finally:
        bank.model.eval()
