"""PAD-SF's scorer: its loss against sums by hand, its maximum, and what it draws."""

from __future__ import annotations

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from llm_models import tiny_bank  # noqa: E402

from bounds.cli import main  # noqa: E402
from llm_bridge.answers import answer_log_ratios, tokenised  # noqa: E402
from llm_bridge.methods import pad_sf  # noqa: E402
from llm_bridge.methods.pad import Pad  # noqa: E402
from llm_bridge.preferences import Pair  # noqa: E402
from toymdp import InstanceError  # noqa: E402


@pytest.fixture(scope="module")
def bank():
    return tiny_bank(text=True, spread=1.0)


@pytest.fixture(scope="module")
def pairs():
    words = ["ab", "ba", "abba", "bab", "aab", "bbb", "aba", "baa"]
    return [Pair(f"{a}", f"{b}{a}", f"{a}{a}{b}") for a in words[:4] for b in words[4:]]


def test_tables_add_up_to_whole_answers(bank, pairs):
    answers = [tokenised(bank, p.prompt, t) for p in pairs for t in (p.chosen, p.rejected)]
    states, ratios, owners = pad_sf.token_tables(bank, answers, batch=5)
    assert len(states) == sum(len(a.ids) - a.begin for a in answers)
    totals = np.zeros((len(answers), len(bank.names)))
    np.add.at(totals, owners.numpy(), ratios.numpy())
    np.testing.assert_allclose(
        totals, answer_log_ratios(bank, answers)[: len(bank.names)].T.numpy(), atol=1e-4
    )


def test_margins_of_equal_weights_are_mean_log_ratios(bank, pairs):
    answers = [tokenised(bank, p.prompt, t) for p in pairs for t in (p.chosen, p.rejected)]
    tables = pad_sf.token_tables(bank, answers)
    flat = torch.zeros((len(bank.names), tables[0].shape[1]), dtype=torch.float64)
    found = pad_sf.scorer_margins(flat, tables, len(pairs), 0.5)
    whole = answer_log_ratios(bank, answers)[: len(bank.names)].double().mean(dim=0)
    torch.testing.assert_close(found, 0.5 * (whole[::2] - whole[1::2]), atol=1e-4, rtol=0)


def test_the_fit_is_first_order_optimal(bank, pairs):
    """Central differences of the penalised loss, spelled out, vanish in random directions."""
    beta = 2.0
    found, fit = pad_sf.fit_scorer(bank, pairs, beta)
    answers = [tokenised(bank, p.prompt, t) for p in pairs for t in (p.chosen, p.rejected)]
    states, ratios, owners = (x.numpy() for x in pad_sf.token_tables(bank, answers))
    size = (states**2).sum(axis=1).mean()

    def loss(C):
        z = states @ C.T
        w = np.exp(z - z.max(axis=1, keepdims=True))
        w /= w.sum(axis=1, keepdims=True)
        total = np.zeros(2 * len(pairs))
        np.add.at(total, owners, (w * ratios).sum(axis=1))
        m = beta * (total[::2] - total[1::2])
        return np.logaddexp(0.0, -m).sum() + 0.5 * size * (C**2).sum()

    C, rng = found.numpy(), np.random.default_rng(0)
    for _ in range(5):
        d = rng.normal(size=C.shape)
        d /= np.linalg.norm(d)
        slope = (loss(C + 1e-5 * d) - loss(C - 1e-5 * d)) / 2e-5
        assert abs(slope) < 1e-2
    assert loss(C) < loss(np.zeros_like(C))
    assert fit["pairs"] == len(pairs)
    assert fit["pairs ordered right"] >= fit["pairs ordered right by equal weights"]


def test_a_scorer_of_zeros_draws_from_pad_with_equal_weights(bank):
    """The first token's law, by counting, against PAD's own."""
    prompt = bank.encode("ab")
    flat = torch.zeros((len(bank.names), bank.config.hidden_size), dtype=torch.float64)
    drawn = [pad_sf.draw(bank, [prompt], flat, tokens=1, seed=s)[0][0] for s in range(120)]
    z = bank.logits(bank.hidden(torch.tensor([prompt]))[:, :, -1]).double()
    equal = torch.full((len(bank.names),), 1 / len(bank.names), dtype=torch.float64)
    law = torch.softmax(Pad(equal)(z[: 1 + len(bank.names)], None), dim=1)[0].numpy()
    counts = np.bincount(drawn, minlength=len(law))
    assert counts[law == 0].sum() == 0
    assert np.abs(counts / 120 - law).max() < 4 * np.sqrt(0.25 / 120)


def test_pad_sf_weighs_by_the_state():
    z = torch.randn((3, 2, 12), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    z[:, :, 3] = -torch.inf
    scorer = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    states = torch.tensor([[1.0, 1.0], [-3.0, 0.5]])
    found = pad_sf.PadSF(Pad(torch.tensor([0.7, -0.4]), top=12), scorer, lambda ids: states)(
        z, None
    )
    for row in range(2):
        w = torch.softmax(scorer @ states[row], dim=0).double()
        one = Pad(w, top=12)(z[:, row : row + 1], None)
        torch.testing.assert_close(found[row : row + 1], one)


def test_no_pairs_are_refused(bank):
    with pytest.raises(InstanceError, match="at least one"):
        pad_sf.fit_scorer(bank, [], 1.0)


def test_the_command(tmp_path, capsys):
    lines = [{"prompt": "Is it?", "chosen": "Yes.", "rejected": "No, never."}] * 3
    path = tmp_path / "pairs.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    with pytest.raises(SystemExit) as stop:
        main(["llm", "soup", "Who?", "--method", "pad-sf", "--pairs", str(path), "--tokens", "4",
              "--json", "-"])  # fmt: skip
    assert stop.value.code == 0
    found = json.loads(capsys.readouterr().out)
    assert found["method"] == "pad-sf"
    assert found["scorer from pairs"]["pairs"] == 3
    assert len(found["answers"]) == 1
