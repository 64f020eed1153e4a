"""The corpus family with a vocabulary of thousands: a truncated back-off model on the contexts it reaches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest

from bounds import check
from toymdp import TokenMDP, solve
from toymdp.families.back_off import BackOff, coverage, reachable
from toymdp.families.corpus import corpus_fields
from toymdp.families.vocabulary import BOS, END, contexts, frequent_words, witten_bell

A, TEXTS = 6, [[2, 3, 2, 4], [3, 3, 4], [], [2, 4, 4, 3], [2, 3, 3, 5], [5, 2, 4, 2]]


def flat(texts):
    tokens = np.array([t for text in texts for t in [*text, END]])
    return tokens, np.repeat(np.arange(len(texts)), [len(text) + 1 for text in texts])


def direct(order, most, theta):
    """Rows by the definition: all that was seen after the last token, the likeliest of it."""
    seen = Counter()
    for text in TEXTS:
        padded = [BOS] * order + text + [END]
        for j in range(order, len(padded)):
            seen.update((tuple(padded[j - k : j]), padded[j]) for k in range(1, order + 1))

    def chance(history, a):
        after = {b: n for (h, b), n in seen.items() if h == history}
        if len(history) == 1:
            return after.get(a, 0) / sum(after.values())
        if not after:
            return chance(history[1:], a)
        kinds = theta * len(after)
        return (after.get(a, 0) + kinds * chance(history[1:], a)) / (sum(after.values()) + kinds)

    def row(history):
        if history[-1] == END:
            return {END: 1.0}
        found = {a: chance(history, a) for (h, a) in seen if h == history[-1:]}
        return dict(sorted(found.items(), key=lambda item: (-item[1], item[0]))[:most])

    return row


def histories(order: int) -> Iterator[tuple[int, tuple[int, ...]]]:
    for code in range(A**order):
        yield code, tuple(code // A**i % A for i in reversed(range(order)))


@pytest.mark.parametrize(
    ("order", "most", "theta"), [(1, 9, 1.0), (2, 2, 1.0), (3, 9, 0.5), (3, 2, 1.0)]
)
def test_rows_are_those_of_the_definition(order, most, theta):
    token, text_of = flat(TEXTS)
    model = BackOff.fit(contexts(token, text_of, order, A), token, order, A, most, theta)
    row = direct(order, most, theta)
    codes = np.array([c for c, h in histories(order) if h[-1] != 1 or len(h) == order])
    found = model.rows(codes)
    assert model.count(codes) == len(found.tokens)
    for i, code in enumerate(codes):
        history = tuple(int(code) // A**j % A for j in reversed(range(order)))
        part = slice(found.indptr[i], found.indptr[i + 1])
        expected = row(history)
        assert found.tokens[part].tolist() == sorted(expected)
        np.testing.assert_allclose(
            found.weights[part], [expected[a] for a in sorted(expected)], rtol=1e-12
        )


@pytest.mark.parametrize("steps", [2, 9])
def test_contexts_are_those_that_are_reached(steps):
    order, most = 2, 3
    token, text_of = flat(TEXTS)
    model = BackOff.fit(contexts(token, text_of, order, A), token, order, A, most, 1.0)
    row = direct(order, most, 1.0)
    layer, seen, reached = {(BOS, BOS)}, {(BOS, BOS)}, set()
    with_rows = set()
    for _ in range(steps):
        with_rows |= layer
        ahead = {(h[1], a) for h in layer for a in row(h)}
        reached |= ahead
        layer = ahead - seen
        seen |= ahead
    asked = []
    found = reachable(model, BOS, order, steps, lambda n, e: asked.append((n, e)))
    assert [(c // A, c % A) for c in found.contexts.tolist()] == sorted(seen)
    assert [(c // A, c % A) for c in found.contexts[found.nexts].tolist()] == sorted(reached)
    counts = np.diff(found.rows.indptr)
    assert counts.tolist() == [len(row(h)) if h in with_rows else 0 for h in sorted(seen)]
    assert asked[-1] == (len(seen), len(found.rows.tokens))


def test_coverage_by_hand():
    token, text_of = flat([[2, 3], [2, 3], [2, 4]])
    model = BackOff.fit(contexts(token, text_of, 1, A), token, 1, A, 1, 1.0)
    found = reachable(model, BOS, 1, 5, lambda n, e: None)
    assert found.contexts.tolist() == [BOS, END, 2, 3]  # 4 is the less likely after 2
    new, of = flat([[2, 3], [2, 4], [5], [2]])
    judged = coverage(found, A, contexts(new, of, 1, A), new, of, token)
    # covered: <s>2 23 3</s>, <s>2, <s>2; not: 24, 4</s>, <s>5, 5</s>, 2</s>
    assert judged.share == 5 / 10
    assert judged.perplexity == pytest.approx(1.0)
    assert judged.whole_texts == pytest.approx(1 / 4)
    # 2, 3 and </s> are 3, 2 and 3 of the nine tokens of training text
    assert judged.perplexity_unigram == pytest.approx(
        np.exp(-np.mean(np.log([3 / 9, 2 / 9, 3 / 9, 3 / 9, 3 / 9])))
    )


def test_words_that_are_met_once_are_unknown():
    vocabulary = frequent_words([["b", "a", "b"], ["a", "b", "c"]], 30_000)
    assert vocabulary.names == ("<s>", "</s>", "<unk>", "b", "a")
    assert vocabulary.encode([["c", "b", "zebra"]])[0].tolist() == [2, 3, 2, END]
    assert frequent_words([["b", "a", "b"], ["a", "b", "c"]], 4).names[3:] == ("b",)


@pytest.fixture(scope="module")
def fields():
    return corpus_fields(vocab_size=32_000, horizon=6, width=24, most=8)


def test_a_real_vocabulary_on_the_bundled_text(fields):
    mdp, meta = TokenMDP(**fields), fields["meta"]
    assert not mdp.dense
    assert mdp.vocab_size > 4000
    assert np.diff(fields["ref_sparse"]["indptr"]).max() == 8
    assert 0.3 < meta["coverage"] < 1.0
    assert meta["perplexity"] < meta["perplexity_unigram"]
    # padding earns what it earned, and the least reward of a reachable next context is 0
    used = mdp.reach.nexts.any(axis=0)
    np.testing.assert_allclose(mdp.rewards[:, used].min(axis=1), 0.0, atol=1e-12)
    padding = mdp.sparse.index(END * mdp.vocab_size + END)
    shift = [meta["rewards"][name]["shift"] for name in meta["attributes"]]
    np.testing.assert_allclose(mdp.rewards[:, padding], shift, atol=1e-12)
    sol = solve(mdp)
    assert sol.status == "solved"
    assert sol.value_w > 0


def test_rewards_are_linear_in_the_features(fields):
    psi, rewards = fields["features"]["values"], fields["rewards"]
    assert psi.shape[1] == 24
    missed = rewards.T - psi @ np.linalg.lstsq(psi, rewards.T)[0]
    assert np.abs(missed).max() < 1e-10
    assert check(TokenMDP(**fields), "ss.asm1")[0].verdict == "holds"


def test_the_table_stays_the_choice_where_it_fits():
    """One order, one text: the same rewards whichever model is used."""
    table = corpus_fields(vocab_size=100, order=1, horizon=3, width=16)
    assert "contexts" not in table
    assert table["ref_weights"].shape == (100, 100)
    rows = corpus_fields(vocab_size=100, order=1, horizon=3, width=16, limit_gib=8e-5, most=10)
    assert len(rows["contexts"]) <= 100
    assert table["meta"]["rewards"]["truthful"]["auc"] == rows["meta"]["rewards"]["truthful"]["auc"]


def test_back_off_and_witten_bell_agree_where_nothing_is_cut():
    """What is seen after the last token keeps the same odds, up to what the table gives to the unseen."""
    token, text_of = flat(TEXTS * 3)
    context = contexts(token, text_of, 2, A)
    rows = BackOff.fit(context, token, 2, A, A, 1e-9).rows(np.unique(context))
    table = witten_bell(context, token, 2, A, 1e-9)[np.unique(context)]
    owner = np.repeat(np.arange(len(table)), np.diff(rows.indptr))
    np.testing.assert_allclose(rows.weights, table[owner, rows.tokens], atol=1e-7)


def test_byte_pairs_cover_every_text():
    pytest.importorskip("tokenizers")
    made = corpus_fields(vocab_size=400, order=1, horizon=3, width=16, tokens="bpe", limit_gib=1e-3)
    assert made["vocab_size"] == 400
    assert made["meta"]["tokens"].startswith("byte pairs")
    assert 0.3 < made["meta"]["coverage"] <= 1.0
