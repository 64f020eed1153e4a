"""EXACT on a random model: selection by enumeration, retrieval."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from llm_models import tiny_bank  # noqa: E402

from llm_bridge.methods.attributes import with_attributes, word_margins  # noqa: E402
from llm_bridge.methods.exact import Memory, greedy  # noqa: E402
from llm_bridge.preferences import Pair  # noqa: E402
from toymdp import InstanceError  # noqa: E402

WORDS = ("it", "mat", "so", "not")
PAIR = Pair("the cat", " sat on", " is not")


@pytest.fixture(scope="module")
def bank():
    return tiny_bank(text=True)


def by_hand(bank, prompt, answer):
    """log π(answer, end | prompt) under ref by a plain forward pass."""
    head = bank.encode(prompt)
    ids = [*head, *bank.tokenizer.encode(answer, add_special_tokens=False), 1]
    with bank.using("ref") as base, torch.no_grad():
        logs = torch.log_softmax(base(input_ids=torch.tensor([ids])).logits[0].double(), dim=1)
    return sum(float(logs[i - 1, ids[i]]) for i in range(len(head), len(ids)))


def test_margins_by_the_definition(bank):
    subsets = [(), ("it",), ("mat", "so")]
    found = word_margins(bank, PAIR, subsets)
    for value, words in zip(found, subsets, strict=True):
        prompt = with_attributes(PAIR.prompt, words)
        expected = by_hand(bank, prompt, PAIR.chosen) - by_hand(bank, prompt, PAIR.rejected)
        assert value == pytest.approx(expected, abs=1e-4)


def test_greedy_takes_the_best_word_each_time(bank):
    words, value = greedy(bank, PAIR, WORDS, 2)
    ones = {a: word_margins(bank, PAIR, [(a,)])[0] for a in WORDS}
    assert words[0] == max(ones, key=ones.get)
    twos = {a: word_margins(bank, PAIR, [(words[0], a)])[0] for a in WORDS if a != words[0]}
    assert words[1] == max(twos, key=twos.get)
    assert value == pytest.approx(max(twos.values()), abs=1e-4)
    stopped, least = greedy(bank, PAIR, WORDS, 4, stop=True)
    assert least >= word_margins(bank, PAIR, [()])[0] - 1e-6
    assert len(stopped) <= len(greedy(bank, PAIR, WORDS, 4)[0]) == 4
    # the greedy value never exceeds the best subset
    every = [c for n in (1, 2) for c in itertools.permutations(WORDS, n)]
    assert value <= word_margins(bank, PAIR, every).max() + 1e-4


def test_attributes_come_after_the_query():
    assert with_attributes("Q: why\nA:", ("a", "b")) == "Q: why\nAttributes: a, b\nA:"
    assert with_attributes("why", ("a",)) == "why\nAttributes: a\n"
    assert with_attributes("why", ()) == "why"


def test_memory_retrieves_the_nearest_and_keeps_the_better(bank):
    table = {"near": [1.0, 0.1], "far": [0.0, 1.0], "new": [2.0, 0.0]}
    memory = Memory(bank, WORDS, 1, embedding=lambda text: np.array(table[text]))
    first = memory.add(Pair("near", " sat on", " is not"))
    memory.add(Pair("far", " is not", " sat on"))
    assert memory.retrieve("new") == first
    values = [greedy(bank, Pair("near", *texts), WORDS, 1) for texts in
              ((" sat on", " is not"), (" is not", " sat on"))]  # fmt: skip
    memory.add(Pair("near", " is not", " sat on"))
    assert memory.entries["near"][0] == max(values, key=lambda v: v[1])[0]


def test_memory_by_the_models_own_state(bank):
    memory = Memory(bank, WORDS, 1)
    with pytest.raises(InstanceError, match="holds no prompt"):
        memory.retrieve("the cat")
    words = memory.add(PAIR)
    assert memory.retrieve("the cat") == words
    found = memory.answer("the cat", tokens=5, seed=0)
    assert 1 <= len(found) <= 5
    assert found == memory.answer("the cat", tokens=5, seed=0)


def test_a_budget_beyond_the_library(bank):
    with pytest.raises(InstanceError, match="number of attributes"):
        greedy(bank, PAIR, WORDS, 5)
