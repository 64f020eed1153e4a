"""Preference files in their formats, and the bundled judgements' splits."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from importlib.resources import files

import numpy as np
import pytest

from llm_bridge.formats.read import read_preferences
from llm_bridge.preferences import (
    Pair,
    Scored,
    ScoredSet,
    affirming,
    pairs_of,
    pretraining_text,
    truthfulqa,
)
from toymdp import InstanceError

ULTRA = {
    "source": "evol_instruct",
    "instruction": "Name a prime.",
    "models": ["a", "b", "c"],
    "completions": [
        {
            "model": "a", "response": "Seven.", "overall_score": 8.5,
            "annotations": {
                "helpfulness": {"Rating": "4", "Rationale": "x", "Type": ["1"]},
                "honesty": {"Rating": "5", "Rationale": "x"},
                "instruction_following": {"Rating": "3", "Rationale": "x"},
                "truthfulness": {"Rating": "5", "Rationale": "x", "Type": "None"},
            },
        },
        {
            "model": "b", "response": "Eight.", "overall_score": 3.0,
            "annotations": {
                "helpfulness": {"Rating": "5"}, "honesty": {"Rating": "2"},
                "instruction_following": {"Rating": "3"}, "truthfulness": {"Rating": "1"},
            },
        },
        {
            "model": "c", "response": "No.", "overall_score": 1.0,
            "annotations": {
                "helpfulness": {"Rating": "N/A"}, "honesty": {"Rating": "2"},
                "instruction_following": {"Rating": "3"}, "truthfulness": {"Rating": "1"},
            },
        },
    ],
}  # fmt: skip


def written(tmp_path, *rows):
    path = tmp_path / "data.jsonl"
    text = "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows)
    path.write_text(text, encoding="utf-8")
    return path


def test_ultrafeedback_as_published(tmp_path):
    found = read_preferences(written(tmp_path, ULTRA)).data
    assert found.names == ("helpfulness", "honesty", "instruction_following", "truthfulness")
    item = found.items[0]
    assert item.answers == ("Seven.", "Eight.")  # the third has no rating
    assert item.scores.tolist() == [[4, 5, 3, 5], [5, 2, 3, 1]]
    honest = pairs_of(found, {"honesty": 1.0}, per_prompt=9, seed=0, contentious=True)
    assert honest == [Pair("Name a prime.", "Seven.", "Eight.")]
    helpful = pairs_of(found, {"helpfulness": 1.0}, per_prompt=9, seed=0)
    assert helpful == [Pair("Name a prime.", "Eight.", "Seven.")]
    assert pairs_of(found, {"instruction_following": 1.0}, per_prompt=9, seed=0) == []


def test_contentious_pairs_have_opposite_orders():
    items = (Scored("p", ("a", "b", "c"), np.array([[2.0, 2.0], [1.0, 1.0], [0.0, 3.0]])),)
    found = pairs_of(
        ScoredSet(("x", "y"), items), [1.0, 0.0], per_prompt=9, seed=0, contentious=True
    )
    assert {(p.chosen, p.rejected) for p in found} == {("a", "c"), ("b", "c")}


def test_pairs_and_scored_answers(tmp_path):
    row = {"prompt": "q", "chosen": "a", "rejected": "b"}
    assert read_preferences(written(tmp_path, row, "", row)).data == [Pair("q", "a", "b")] * 2
    scored = {
        "prompt": "q",
        "answers": [
            {"text": "a", "scores": {"warm": 1, "short": 0.5}},
            {"text": "b", "scores": {"short": 2, "warm": 0}},
        ],
    }
    found = read_preferences(written(tmp_path, scored)).data
    assert found.names == ("warm", "short")
    assert found.items[0].scores.tolist() == [[1, 0.5], [0, 2]]


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        ([], "is empty"),
        (["{", "x"], "line 1: not JSON"),
        (["[1]"], "holds a int"),
        ([{"question": "q"}], "not a known format"),
        ([{"prompt": "q", "chosen": "a"}], "pairs .rejected missing"),
        ([{"prompt": "q", "answers": []}], "must be a list"),
        ([{"prompt": "q", "answers": [{"text": "a", "scores": {"x": "one"}}]}], "finite number"),
        ([{"prompt": "q", "answers": [{"text": "a", "scores": {}}]}], "must name the attributes"),
        ([{"instruction": "q", "completions": []}], "hold no preference"),
    ],
)
def test_every_wrong_file_is_one_line(tmp_path, rows, match):
    with pytest.raises(InstanceError, match=match) as caught:
        read_preferences(written(tmp_path, *rows))
    assert "\n" not in str(caught.value)


def test_missing_and_binary_files(tmp_path):
    with pytest.raises(InstanceError, match="cannot be read"):
        read_preferences(tmp_path / "nothing.jsonl")
    (tmp_path / "b.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(InstanceError, match="not UTF-8"):
        read_preferences(tmp_path / "b.jsonl")


def test_weights_by_name_only_for_attributes_that_exist():
    found = truthfulqa("test")
    with pytest.raises(InstanceError, match="no such attribute"):
        pairs_of(found, {"kind": 1.0}, per_prompt=1, seed=0)
    with pytest.raises(InstanceError, match="must have 4 weights"):
        found.weights([1.0])


# -- the bundled texts -----------------------------------------------------------------------


def plain(text):
    return " ".join(re.findall(r"[a-z0-9]+", text.lower()))


def test_training_test_and_pretraining_do_not_overlap():
    train, test = truthfulqa("train"), truthfulqa("test")
    questions = [{plain(i.prompt[3:-3]) for i in part.items} for part in (train, test)]
    assert len(train.items) > 600
    assert len(test.items) > 150
    assert not questions[0] & questions[1]
    text = "\n".join(plain(document) for document in pretraining_text())
    # short questions can occur inside other sentences; whole ones of five words must not
    long_enough = [q for part in questions for q in part if len(q.split()) >= 5]
    assert len(long_enough) > 700
    assert not [q for q in long_enough if f" {q} " in text]


def test_attributes_conflict():
    """Of pairs that two attributes order strictly, many are ordered oppositely."""
    found = truthfulqa("train")
    for a, b in ((0, 1), (1, 2), (0, 3)):
        same = opposite = 0
        for item in found.items:
            i, j = np.triu_indices(len(item.scores), 1)
            product = np.sign(item.scores[i, a] - item.scores[j, a]) * np.sign(
                item.scores[i, b] - item.scores[j, b]
            )
            same, opposite = same + (product > 0).sum(), opposite + (product < 0).sum()
        assert opposite > 0.3 * (same + opposite), (a, b)


def test_measured_attributes():
    assert affirming(" Yes, it is.") == 1.0
    assert affirming(" It isn’t.") == 0.0
    assert affirming(" Nothing happens.") == 0.0
    assert affirming(" A notable knot.") == 1.0


def test_shipped_texts_are_what_their_source_says():
    folder = files("llm_bridge") / "data"
    source = (folder / "SOURCE.md").read_text(encoding="utf-8")
    for name in ("kjv.txt.gz", "finegrained_qa.jsonl.gz"):
        digest = hashlib.sha256(gzip.decompress((folder / name).read_bytes())).hexdigest()
        assert digest in source
    assert "Apache License" in (folder / "LICENSE-finegrained-rlhf").read_text(encoding="utf-8")
