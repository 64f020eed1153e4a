"""Sums over many answers: chunks add up, a killed run goes on, two runs keep apart."""

from __future__ import annotations

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from llm_models import random_answers, tiny_bank, two_soups  # noqa: E402

from llm_bridge.measure.chunks import ChunkFile, exclusive_path, tally_answers  # noqa: E402
from llm_bridge.measure.soups import SoupSettings  # noqa: E402
from llm_bridge.measure.stream import stream  # noqa: E402
from llm_bridge.measure.totals import Tally, effective_rank, explained_shares  # noqa: E402
from toymdp import InstanceError  # noqa: E402


def test_ranks():
    assert effective_rank(np.eye(4)) == pytest.approx(4.0)
    assert effective_rank(np.ones((4, 4))) == pytest.approx(1.0)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, 2))
    X = np.column_stack([X, X @ [2.0, -1.0]])
    found = explained_shares(X.T @ X)
    assert found[1] == pytest.approx(1.0)
    r2 = (X[:, 0] @ X[:, 2]) ** 2 / (X[:, 0] @ X[:, 0]) / (X[:, 2] @ X[:, 2])
    assert found[0] == pytest.approx(r2)


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
    bank, answers = tiny_bank(), random_answers(10)
    whole = tally_answers(bank, answers, two_soups(), batch=10)
    same(whole, tally_answers(bank, answers, two_soups(), batch=3))
    monkeypatch.setattr("llm_bridge.bank.BYTES", 1)
    same(whole, tally_answers(bank, answers, two_soups(), batch=10))


def test_no_tensor_grows_with_the_number_of_tokens(monkeypatch):
    """The largest logits tensor ever made is that of the states which fit the budget."""
    bank = tiny_bank()
    sizes = []
    real = type(bank).logits
    monkeypatch.setattr(
        type(bank), "logits", lambda self, h: (sizes.append(h.shape[1]), real(self, h))[1]
    )
    for n in (8, 64):
        list(stream(bank, random_answers(n), torch.zeros((1, 2)), limit=32))
        assert max(sizes) <= 32


def test_a_killed_run_keeps_its_chunks(tmp_path):
    bank, answers, path = tiny_bank(), random_answers(10), tmp_path / "chunks.jsonl"
    whole = tally_answers(bank, answers, two_soups(), batch=3)

    class KilledError(Exception):
        pass

    seen = []

    def kill(stage, done, total):
        seen.append((stage, done, total))
        if len(seen) == 3:
            raise KilledError

    options = {"batch": 3, "chunks": path, "tokens": True}
    with pytest.raises(KilledError):
        tally_answers(bank, answers, two_soups(), on_progress=kill, **options)
    assert seen == [("measuring answers", n, 10) for n in (3, 6, 9)]
    with path.open("a") as file:
        file.write('{"chunk": 3, "tal')  # what a kill in the middle of a line leaves
    calls = []
    real = type(bank).hidden
    type(bank).hidden = lambda self, *a: (calls.append(1), real(self, *a))[1]
    try:
        same(whole, tally_answers(bank, answers, two_soups(), **options))
    finally:
        type(bank).hidden = real
    assert len(calls) == 1  # one chunk of four was left
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    records = [r for row in rows[1:] for r in row["tokens"]]
    assert len(records) == whole.states
    assert np.mean([r["delta"] for r in records], axis=0) == pytest.approx(whole.mean("delta"))


def test_chunks_of_another_run_are_refused(tmp_path):
    path = tmp_path / "chunks.jsonl"
    tally_answers(tiny_bank(), random_answers(3), two_soups(), chunks=path)
    with pytest.raises(InstanceError, match="another run"):
        tally_answers(tiny_bank(seed=7), random_answers(3), two_soups(), chunks=path)
    with pytest.raises(InstanceError, match="another run"):
        ChunkFile(path, "x")


def test_tallies_survive_json():
    tally = tally_answers(tiny_bank(), random_answers(4), two_soups())
    back = Tally.from_dict(json.loads(json.dumps(tally.as_dict())))
    same(tally, back)
    assert back.sides == tally.sides


def test_nothing_to_measure():
    with pytest.raises(InstanceError, match="nothing to measure"):
        tally_answers(tiny_bank(), [], two_soups())


def test_two_runs_at_once_keep_their_chunks_apart(tmp_path):
    place = tmp_path / "deep" / "run.jsonl"
    with exclusive_path(place) as first:
        assert first == place
        with exclusive_path(place) as second:
            assert second != place
            assert second.parent == place.parent
    with exclusive_path(place) as again:
        assert again == place


def test_the_worst_soup_is_named_by_its_place_among_all_soups():
    """The first soup is outside the budget β|λ|₁ ≤ β', so the sharp bound speaks of the second."""
    soups = SoupSettings(("outside", "inside"), np.array([[3.0, 2.0], [0.5, -0.2]]), 1.0, 1.0)
    assert [soups.in_domain(m) for m in range(2)] == [False, True]
    tally = tally_answers(tiny_bank(), random_answers(4), soups)
    assert tally.sides["ss.thm1.gap.sharp"].where["soup"] == 1
    alone = SoupSettings(soups.names[:1], soups.lams[:1], 1.0, 1.0)
    assert "ss.thm1.gap.sharp" not in tally_answers(tiny_bank(), random_answers(4), alone).sides


def test_token_records_number_the_answers_of_the_whole_run(tmp_path):
    answers, path = random_answers(7), tmp_path / "chunks.jsonl"
    tally = tally_answers(tiny_bank(), answers, two_soups(), batch=3, chunks=path, tokens=True)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    records = [record for row in rows[1:] for record in row["tokens"]]
    places = [(record["sequence"], record["token"]) for record in records]
    assert places == [(n, place) for n, a in enumerate(answers) for place in a.places]
    for record in records:
        assert record["id"] == answers[record["sequence"]].ids[record["token"] + 1]
    where = tally.sides["ss.delta"].where  # a verdict names its state by the same numbers
    judged = records[places.index((where["sequence"], where["token"]))]
    k = where["k"]
    slack = judged["delta"][k] - judged["renyi"][k]
    assert slack == pytest.approx(tally.sides["ss.delta"].slack)
