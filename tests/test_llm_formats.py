"""Every format of preferences and every kind of file, on small files of our own text."""

from __future__ import annotations

import csv
import gzip
import json
import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pq = pytest.importorskip("pyarrow.parquet")

import datasets  # noqa: E402
import pyarrow as pa  # noqa: E402

from llm_bridge.formats.catalogue import FORMATS, markdown  # noqa: E402
from llm_bridge.formats.read import read_preferences  # noqa: E402
from llm_bridge.preferences import Labelled, Pair, labels_of, ties_of  # noqa: E402
from llm_bridge.texts import Conversation  # noqa: E402
from toymdp import InstanceError  # noqa: E402


def said(*turns):
    """Messages from "u: …" and "a: …"."""
    roles = {"u": "user", "a": "assistant", "s": "system"}
    return [{"role": roles[t[0]], "content": t[3:]} for t in turns]


def talk(*turns):
    return Conversation(tuple((m["role"], m["content"]) for m in said(*turns)))


def mark(h, o, i, t):
    names = ("helpfulness", "honesty", "instruction_following", "truthfulness")
    return {name: {"Rating": x} for name, x in zip(names, (h, o, i, t), strict=True)}


RAIN, ONE, TWO = "Will it rain?", "Take a coat.", "Who knows."
ASKED = talk(f"u: {RAIN}")
ROW = b'{"prompt": "a", "chosen": "b", "rejected": "c"}'
LONG = talk(f"u: {RAIN}", "a: In the evening.", "u: And after?")
HH = f"\n\nHuman: {RAIN}\n\nAssistant: In the evening.\n\nHuman: And after?\n\nAssistant: "
STEER = {"helpfulness": 4, "correctness": 3, "coherence": 4, "complexity": 1, "verbosity": 2}
PRISM = [
    {"turn": 0, "role": "user", "content": RAIN},
    {"turn": 0, "role": "model", "content": ONE, "score": 80, "if_chosen": True},
    {"turn": 0, "role": "model", "content": TWO, "score": 15, "if_chosen": False},
    {"turn": 1, "role": "user", "content": "And after?"},
    {"turn": 1, "role": "model", "content": "Sun.", "score": 60, "if_chosen": True},
    {"turn": 1, "role": "model", "content": "Snow.", "score": None, "if_chosen": False},
]
AFTER = talk(f"u: {RAIN}", f"a: {ONE}", "u: And after?")


def utterance(n, prompt, answer, score, chosen):
    return {
        "conversation_id": "c1", "turn": n, "user_prompt": prompt, "model_response": answer,
        "score": score, "if_chosen": chosen,
    }  # fmt: skip


# format -> rows, what they hold, what is left out
PAIRS = {
    "pairs": (
        [{"prompt": RAIN, "chosen": ONE, "rejected": TWO}, {"prompt": RAIN, "chosen": ONE, "rejected": " "},
         {"prompt": RAIN, "chosen": ONE, "rejected": ONE}, {"prompt": " ", "chosen": ONE, "rejected": TWO},
         {"prompt": said("s: Be kind.", f"u: {RAIN}"), "chosen": ONE, "rejected": TWO}],
        [Pair(RAIN, ONE, TWO), Pair(talk("s: Be kind.", f"u: {RAIN}"), ONE, TWO)],
        {"empty answers": 1, "the same answer twice": 1, "empty prompts": 1},
    ),
    "conversational": (
        [{"chosen": said(f"u: {RAIN}", f"a: {ONE}"), "rejected": said(f"u: {RAIN}", f"a: {TWO}")},
         {"prompt": said(f"u: {RAIN}"), "chosen": said(f"a: {ONE}"), "rejected": said(f"a: {TWO}")},
         # binarized UltraFeedback, whose equal scores are no preference
         {"prompt": RAIN, "chosen": said(f"u: {RAIN}", f"a: {TWO}"), "score_chosen": 7.5,
          "rejected": said(f"u: {RAIN}", f"a: {ONE}"), "score_rejected": 7.0},
         {"prompt": RAIN, "chosen": said(f"u: {RAIN}", f"a: {TWO}"), "score_chosen": 7.0,
          "rejected": said(f"u: {RAIN}", f"a: {ONE}"), "score_rejected": 7},
         {"chosen": [{"from": "human", "value": RAIN}, {"from": "gpt", "value": ONE}],
          "rejected": [{"from": "human", "value": RAIN}, {"from": "gpt", "value": TWO}]},
         {"chosen": said("u: Snow?", f"a: {ONE}"), "rejected": said(f"u: {RAIN}", f"a: {TWO}")},
         {"chosen": said(f"u: {RAIN}", "u: Hm?"), "rejected": said(f"u: {RAIN}", f"a: {TWO}")}],
        [Pair(ASKED, ONE, TWO), Pair(ASKED, ONE, TWO), Pair(ASKED, TWO, ONE), Pair(ASKED, ONE, TWO)],
        {"ties": 1, "different prompts": 1, "no answer at the end": 1},
    ),
    "hh-rlhf": (
        [{"chosen": HH + "Sun.", "rejected": HH + "Snow."}, {"chosen": HH + "Sun.", "rejected": HH},
         {"chosen": HH + "Sun.", "rejected": HH.replace("evening", "morning") + "Snow."}],
        [Pair(LONG, "Sun.", "Snow.")], {"empty answers": 1, "different prompts": 1},
    ),
    "helpsteer2-preference": (
        [{"prompt": RAIN, "response_1": ONE, "response_2": TWO, "preference_strength": s} for s in (-2, 0, 3)]
        + [{"prompt": f"{RAIN}\n<extra_id_1>Assistant\nIn the evening.\n<extra_id_1>User\nAnd after?",
            "response_1": ONE, "response_2": TWO, "preference_strength": -1}],
        [Pair(RAIN, ONE, TWO), Pair(RAIN, TWO, ONE), Pair(LONG, ONE, TWO)], {"ties": 1},
    ),
    "helpsteer3": (
        [{"context": context, "response1": ONE, "response2": TWO, "overall_preference": s,
          "domain": "general", "language": "english",
          "individual_preference": [{"score": x, "reasoning": "so", "feedback1": "", "feedback2": ""}
                                    for x in own]}
         for context, s, own in (
             (said(f"u: {RAIN}"), -2, (-2, -1, 1)), (said(f"u: {RAIN}"), 0, (-1, 1)),
             (said(f"u: {RAIN}", "a: In the evening.", "u: And after?"), 1, (1,)),
             (said(f"u: {RAIN}"), None, (3, -1, None)), (said(f"u: {RAIN}"), None, (2, -2)),
             (said(f"u: {RAIN}"), None, ()))],
        [Pair(ASKED, ONE, TWO), Pair(LONG, TWO, ONE), Pair(ASKED, TWO, ONE)],
        {"ties": 2, "answers without a rating": 1},
    ),
    "shp": (
        [{"history": RAIN, "human_ref_A": ONE, "human_ref_B": TWO, "labels": x} for x in (1, 0)],
        [Pair(RAIN, ONE, TWO), Pair(RAIN, TWO, ONE)], {},
    ),
    "arena": (
        [{"conversation_a": said(f"u: {RAIN}", f"a: {ONE}"),
          "conversation_b": said(f"u: {RAIN}", f"a: {TWO}"), "winner": w}
         for w in ("model_a", "model_b", "tie", "tie (bothbad)", "both_bad")]
        + [{"conversation_a": said(f"u: {RAIN}", f"a: {ONE}", "u: So?", "a: Yes."),
            "conversation_b": said(f"u: {RAIN}", f"a: {TWO}", "u: So?", "a: No."), "winner": "model_a"}],
        [Pair(ASKED, ONE, TWO), Pair(ASKED, TWO, ONE)], {"ties": 3, "different prompts": 1},
    ),
    "arena-columns": (
        [{"prompt": json.dumps([RAIN]), "response_a": json.dumps([ONE]), "response_b": json.dumps([TWO]),
          "winner_model_a": a, "winner_model_b": b, "winner_tie": t}
         for a, b, t in ((1, 0, 0), (0, 1, 0), (0, 0, 1))],
        [Pair(ASKED, ONE, TWO), Pair(ASKED, TWO, ONE)], {"ties": 1},
    ),
}  # fmt: skip
SCORES = {
    "ultrafeedback": (
        [{"instruction": RAIN, "completions": [
            {"response": ONE, "annotations": mark("4", 5, "3.5", 5.0)},
            {"response": TWO, "annotations": mark(2, "1", 3, "N/A")},
            {"response": "Snow.", "annotations": None},
            {"response": "Sun.", "annotations": mark(1, 2, 3, 4)}]}],
        [(RAIN, [ONE, "Sun."], [[4, 5, 3.5, 5], [1, 2, 3, 4]])], {"answers without a rating": 2},
    ),
    "nectar": (
        [{"prompt": f"\n\nHuman: {RAIN}\n\nAssistant: ", "turns": 1,
          "answers": [{"answer": TWO, "rank": 2.0}, {"answer": ONE, "rank": 1.0},
                      {"answer": "", "rank": 3.0}]}],
        [(ASKED, [TWO, ONE], [[-2], [-1]])], {"empty answers": 1},
    ),
    "scored": (
        [{"prompt": RAIN, "answers": [{"text": ONE, "scores": {"warm": 1, "short": 0.5}},
                                      {"text": TWO, "scores": {"short": 2, "warm": 0}}]}],
        [(RAIN, [ONE, TWO], [[1, 0.5], [0, 2]])], {},
    ),
    "helpsteer": (
        [{"prompt": RAIN, "response": ONE} | STEER, {"prompt": "Snow?", "response": TWO} | STEER,
         {"prompt": RAIN, "response": TWO} | STEER | {"helpfulness": 0}],
        [(RAIN, [ONE, TWO], [[4, 3, 4, 1, 2], [0, 3, 4, 1, 2]]), ("Snow?", [TWO], [[4, 3, 4, 1, 2]])], {},
    ),
    "prism": (
        [{"conversation_id": "c1", "conversation_history": PRISM},
         {"conversation_id": "c2", "conversation_history": [m | {"if_chosen": False} for m in PRISM]}],
        [(ASKED, [ONE, TWO], [[80], [15]]), (AFTER, ["Sun."], [[60]]), (ASKED, [ONE, TWO], [[80], [15]])],
        {"answers without a rating": 1, "turns after one without a chosen answer": 1},
    ),
    "prism-utterances": (
        [utterance(0, RAIN, ONE, 80, True), utterance(0, RAIN, TWO, 15, False),
         utterance(1, "And after?", "Sun.", 60, True), utterance(3, "Hm?", "Hm.", 1, False)],
        [(ASKED, [ONE, TWO], [[80], [15]]), (AFTER, ["Sun."], [[60]])],
        {"turns after one without a chosen answer": 1},
    ),
    "kto": (
        [{"prompt": RAIN, "completion": ONE, "label": True},
         {"prompt": RAIN, "completion": TWO, "label": False},
         {"prompt": said(f"u: {RAIN}"), "completion": said(f"a: {ONE}"), "label": "false"}],
        [(RAIN, [ONE, TWO], [[1], [0]]), (ASKED, [ONE], [[0]])], {},
    ),
}  # fmt: skip


def lines(path, rows):
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def check(reading, name, expected, left_out):
    assert reading.format == name
    assert reading.left_out == left_out
    if name in PAIRS:
        assert reading.data == expected
        return
    found = [(i.prompt, list(i.answers), i.scores.tolist()) for i in reading.data.items]
    assert found == expected


def test_every_format_has_its_file():
    assert set(FORMATS) == set(PAIRS) | set(SCORES)
    assert {name for name, row in FORMATS.items() if row.scores} == set(SCORES)


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_of_every_format(tmp_path, name):
    rows, expected, left_out = (PAIRS | SCORES)[name]
    reading = read_preferences(lines(tmp_path / "f.jsonl", rows))
    check(reading, name, expected, left_out)
    assert reading.rows == len(rows)
    check(read_preferences(tmp_path / "f.jsonl", name), name, expected, left_out)


@pytest.mark.parametrize("name", FORMATS)
def test_the_same_from_parquet_and_from_a_saved_folder(tmp_path, name):
    """Columnar files give every row every column: what a row lacks is null."""
    rows, expected, left_out = (PAIRS | SCORES)[name]
    if name in ("pairs", "kto"):  # a column has one type
        rows = [row for row in rows if isinstance(row["prompt"], str)]
        expected = expected[:1]
    if name == "conversational":
        rows, expected = [rows[i] for i in (0, 2, 3, 5, 6)], [expected[0], expected[2]]
    if name == "ultrafeedback":
        rows = json.loads(
            json.dumps(rows).replace("5.0", '"5"').replace('"Rating": 1', '"Rating": "1"')
        )
        rows = json.loads(re.sub(r'"Rating": (\d)', r'"Rating": "\1"', json.dumps(rows)))
    keys = dict.fromkeys(key for row in rows for key in row)
    rows = [{key: row.get(key) for key in keys} for row in rows]
    table = pa.Table.from_pylist(rows)
    pq.write_table(table, tmp_path / "f.parquet")
    check(read_preferences(tmp_path / "f.parquet"), name, expected, left_out)
    if name in ("pairs", "prism"):
        datasets.disable_progress_bars()
        held = datasets.Dataset.from_list(rows)
        held.save_to_disk(tmp_path / "one")
        check(read_preferences(tmp_path / "one"), name, expected, left_out)
        datasets.DatasetDict({"train": held, "test": held}).save_to_disk(tmp_path / "two")
        check(read_preferences(tmp_path / "two", split="test"), name, expected, left_out)
        for split in (None, "dev"):
            with pytest.raises(InstanceError, match=r"name one of \['train', 'test'\]"):
                read_preferences(tmp_path / "two", split=split)


@pytest.mark.parametrize(
    "name", ["pairs", "shp", "helpsteer", "kto", "arena-columns", "helpsteer2-preference"]
)
def test_the_same_from_tables(tmp_path, name):
    rows, expected, left_out = (PAIRS | SCORES)[name]
    rows = [
        {k: json.dumps(v) if isinstance(v, list) else v for k, v in row.items()} for row in rows
    ]
    if name == "kto":
        rows, expected = rows[:2], expected[:1]
    if name == "pairs":
        rows, expected = rows[:4], expected[:1]
    for suffix, delimiter in ((".csv", ","), (".tsv", "\t"), (".csv.gz", ",")):
        path = tmp_path / f"f{suffix}"
        opener = gzip.open if suffix.endswith("gz") else Path.open
        with opener(path, "wt", encoding="utf-8-sig", newline="") as file:
            writer = csv.DictWriter(file, rows[0], delimiter=delimiter)
            writer.writeheader()
            writer.writerows(rows)
        check(read_preferences(path), name, expected, left_out)


def test_kinds_of_text_files(tmp_path):
    rows = [{"prompt": "a\u2028b", "chosen": "c\x0bd", "rejected": "e\nf"}] * 2
    expected = [Pair("a\u2028b", "c\x0bd", "e\nf")] * 2
    raw = json.dumps(rows, ensure_ascii=False)
    one_a_line = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n"
    texts = (raw, json.dumps(rows, indent=2), "[\n" + raw[1:], one_a_line, f"  {raw} \n")
    for number, text in enumerate(texts):
        for mark_ in ("", "\ufeff"):
            for packed in (False, True):
                data = (mark_ + text).encode()
                path = tmp_path / f"{number}.data"
                path.write_bytes(gzip.compress(data) if packed else data)
                assert read_preferences(path).data == expected


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("f.json", b"[]", "is empty"), ("f.json", b"[{}", "line 1: .* not a known format"),
        ("f.json", b"[\n" + ROW + b',\n{"prompt": 1', r"line 3: not valid JSON"),
        ("f.json", b"[" + ROW, "does not end"), ("f.json", b"[" + ROW + b"] x", "follows the array"),
        ("f.json", b"[\n" + ROW + b",\n3]", "line 3: holds a int"),
        ("f.csv", b"prompt,chosen,rejected\na,b\n", "line 2: cells = 2: must have 3"),
        ("f.csv", b"prompt,prompt\na,b\n", "names a column twice"),
        ("f.csv", b'prompt,chosen,rejected\n"a\n', "line 2: not CSV"),
        ("f.csv", b"prompt,chosen,rejected\n", "is empty"),
        ("f.parquet", b"PAR1 and no more", "no whole Parquet file"),
        ("f.jsonl.gz", gzip.compress(b"{}", mtime=0)[:-6], "no whole gzip file"),
        ("f.jsonl", ROW + b'\n{"prompt": "a", "chosen": "b"}',
         "line 2: rejected = None: is missing, in a file of format pairs"),
        ("f.jsonl", b'{"question": "a", "yes": "b"}', r"not a known format; tried: conversational \(chosen"),
        ("f.jsonl", b'{"chosen": "a", "rejected": "b"}', "line 1: chosen = 'a': must begin with a speaker"),
        ("f.jsonl", PAIRS["arena"][0][0] | {"winner": "me"}, "model_a, model_b or a tie"),
        ("f.jsonl", PAIRS["shp"][0][0] | {"labels": 2}, "must be true or false"),
        ("f.jsonl", {"chosen": [{"role": "tool", "content": ""}], "rejected": []}, "must be one of"),
        ("f.jsonl", SCORES["helpsteer"][0][0] | {"verbosity": None}, "verbosity = None"),
        ("f.jsonl", {"prompt": "a", "chosen": "b", "rejected": ""},
         "{'empty answers': 1}: 1 rows of format pairs hold no preference"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line_with_its_place(tmp_path, name, content, match):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    with pytest.raises(InstanceError, match=match) as caught:
        read_preferences(path)
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


def test_a_format_can_be_asked_for(tmp_path):
    path = lines(tmp_path / "f.jsonl", PAIRS["pairs"][0])
    with pytest.raises(InstanceError, match="choose from"):
        read_preferences(path, "csv")
    with pytest.raises(
        InstanceError, match="instruction = None: is missing, in a file of format ultra"
    ):
        read_preferences(path, "ultrafeedback")
    with pytest.raises(InstanceError, match="only a folder has parts"):
        read_preferences(path, split="train")
    with pytest.raises(InstanceError, match="no folder of save_to_disk"):
        read_preferences(tmp_path)


def test_labels_and_ties(tmp_path):
    data = read_preferences(lines(tmp_path / "f.jsonl", SCORES["kto"][0])).data
    assert labels_of(data)[:2] == [Labelled(RAIN, ONE, True), Labelled(RAIN, TWO, False)]
    steer = read_preferences(lines(tmp_path / "g.jsonl", SCORES["helpsteer"][0])).data
    assert ties_of(steer, {"correctness": 1.0}) == 1
    assert ties_of(steer, {"helpfulness": 1.0}) == 0
    assert np.shape(steer.items[0].scores) == (2, 5)


def test_the_documents_show_every_format():
    readme = (Path(__file__).parents[1] / "llm_bridge" / "FORMATS.md").read_text(encoding="utf-8")
    assert markdown() in readme
