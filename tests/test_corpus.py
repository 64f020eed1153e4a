"""The corpus family: tokeniser, Witten-Bell model, rewards, and every way a file can be wrong."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from toymdp.families import corpus as corpus_module
from toymdp.families.corpus import (
    BUNDLED,
    CorpusError,
    corpus_fields,
    corpus_ngrams,
    corpus_one_hot,
)
from toymdp.families.vocabulary import (
    BOS,
    END,
    build_vocabulary,
    contexts,
    perplexity,
    witten_bell,
    words,
)

A, S = 32, 32**2


@pytest.fixture(scope="module")
def fields() -> dict[str, Any]:
    return corpus_fields()


@pytest.fixture(scope="module")
def eos_fields() -> dict[str, Any]:
    return corpus_fields(ending="eos")


def reached_contexts(fields: dict[str, Any]) -> set[int]:
    """Next contexts of steps 1..horizon by plain search: a second method for the set."""
    ref, size = fields["ref_weights"], fields["vocab_size"]
    here, found = {0}, set()
    for _ in range(fields["horizon"]):
        here = {
            int(s * size + a) % len(ref)
            for s in here
            if s % size != fields.get("eos", -1)
            for a in np.flatnonzero(ref[s])
        }
        found |= here
    return found


def toy_rows(n: int = 60) -> list[tuple[str, int, float]]:
    """Texts whose words decide two attributes, the second one fractional."""
    rng = np.random.default_rng(5)
    nouns = ["cat", "dog", "bird", "cow", "fox", "hen"]
    rows = []
    for i in range(n):
        kind, calm = int(rng.integers(2)), int(rng.integers(2))
        mood, noun = ("kind" if kind else "rude"), nouns[i % 6]
        rows.append(
            (f"the {mood} {noun} sat {'still' if calm else 'up'} {i % 3}.", kind, 0.1 + 0.8 * calm)
        )
    return rows


def write_plain(folder: Path, rows: list[tuple[str, int, float]]) -> tuple[Path, Path]:
    text, labels = folder / "t.txt", folder / "l.csv"
    text.write_text("".join(f"{row[0]}\n" for row in rows), encoding="utf-8")
    with labels.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("kind", "calm"), *(row[1:] for row in rows)])
    return text, labels


# ---------------------------------------------------------------- the tokeniser and the vocabulary


def test_words_keep_apostrophes_and_split_punctuation() -> None:
    assert words("I don't; I'll_go… 3.5%") == [
        "i", "don't", ";", "i'll", "_", "go", "…", "3", ".", "5", "%",
    ]  # fmt: skip
    assert words("It’s") == ["it's"]
    assert words(" \t") == []


def test_unknown_words_go_to_the_class_with_most_once_seen_words() -> None:
    texts = [words(row[0]) for row in toy_rows()] + [["zebra"], ["yak"]]
    labels = np.array([[row[1]] for row in toy_rows()] + [[0], [1]], dtype=float)
    vocabulary = build_vocabulary(texts, labels, 10, seed=0)
    once = [sum(word in ("zebra", "yak") for word in m) for m in vocabulary.members]
    assert vocabulary.unknown == int(np.argmax(once))
    tokens, text_of = vocabulary.encode([["never", "cat"], []])
    assert tokens.tolist() == [vocabulary.unknown, vocabulary.token_of["cat"], END, END]
    assert text_of.tolist() == [0, 0, 0, 1]
    assert sorted(vocabulary.token_of.values())[0] == 2
    assert set(vocabulary.token_of.values()) == set(range(2, 10))


def test_a_word_that_decides_a_label_is_a_token_of_its_own() -> None:
    rows = toy_rows()
    labels = np.array([[row[1], row[2]] for row in rows])
    names = build_vocabulary([words(row[0]) for row in rows], labels, 12, seed=0).names
    assert {"kind", "rude", "still", "up"} <= set(names)


# ---------------------------------------------------------------------------------- Witten-Bell


@pytest.mark.parametrize("theta", [1.0, 0.5])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_witten_bell_is_the_direct_recursion(order: int, theta: float) -> None:
    size = 5
    texts = [[2, 3, 2], [3, 3, 4], [], [2, 4, 4, 3]]
    grams: dict[tuple[int, ...], dict[int, int]] = {}
    flat, text_of = [], []
    for i, text in enumerate(texts):
        padded = [BOS] * order + text + [END]
        for j in range(order, len(padded)):
            flat.append(padded[j])
            text_of.append(i)
            for k in range(order + 1):
                row = grams.setdefault(tuple(padded[j - k : j]), {})
                row[padded[j]] = row.get(padded[j], 0) + 1

    def direct(history: tuple[int, ...], a: int) -> float:
        shorter = direct(history[1:], a) if history else (a != BOS) / (size - 1)
        row = grams.get(history)
        if row is None:
            return shorter
        kinds = theta * len(row)
        return (row.get(a, 0) + kinds * shorter) / (sum(row.values()) + kinds)

    tokens, of = np.array(flat), np.array(text_of)
    context = contexts(tokens, of, order, size)
    table = witten_bell(context, tokens, order, size, theta)
    for s in range(size**order):
        history = tuple(s // size**i % size for i in reversed(range(order)))
        np.testing.assert_allclose(table[s], [direct(history, a) for a in range(size)], rtol=1e-12)
    mean_log = np.mean([np.log(table[s, a]) for s, a in zip(context, tokens, strict=True)])
    assert perplexity(table, context, tokens) == pytest.approx(np.exp(-mean_log))


# ------------------------------------------------------------------------ the bundled instance


def test_the_bundle_is_the_source_text_and_is_deterministic_gzip() -> None:
    data = BUNDLED.read_bytes()
    assert len(data) < 800_000
    assert data[4:8] == bytes(4)  # the time field
    assert data[3] == 0  # no file name
    digest = hashlib.sha256(gzip.decompress(data)).hexdigest()
    assert digest in BUNDLED.with_name("SOURCE.md").read_text(encoding="utf-8")


def test_reference_rows_are_laws_that_never_emit_bos(fields: dict[str, Any]) -> None:
    ref = fields["ref_weights"]
    assert ref.shape == (S, A)
    assert (ref >= 0).all()
    np.testing.assert_allclose(ref.sum(axis=1), 1.0, atol=1e-12)
    assert (ref[:, fields["bos"]] == 0).all()
    assert (ref[np.arange(S) % A != END][:, 1:] > 0).all()


def test_padding_is_absorbing_and_earns_what_the_shift_gives(fields: dict[str, Any]) -> None:
    assert "eos" not in fields
    assert (fields["ref_weights"][END::A] == np.eye(A)[END]).all()
    shift = [score["shift"] for score in fields["meta"]["rewards"].values()]
    np.testing.assert_allclose(fields["rewards"][:, END * A + END], shift, atol=1e-12)


def test_least_reachable_reward_is_exactly_zero(fields: dict[str, Any]) -> None:
    reached = sorted(reached_contexts(fields))
    assert (fields["rewards"][:, reached].min(axis=1) == 0.0).all()


@pytest.mark.parametrize("horizon", [1, 2])
def test_the_shift_looks_no_further_than_the_horizon(horizon: int) -> None:
    fields = corpus_fields(vocab_size=8, width=16, horizon=horizon)
    reached = sorted(reached_contexts(fields))
    assert len(reached) == (7 if horizon == 1 else 7 + 6 * 7 + 1)
    assert (fields["rewards"][:, reached].min(axis=1) == 0.0).all()


@pytest.mark.parametrize("ending", ["pad", "eos"])
def test_rewards_lie_in_the_span_of_the_features(
    ending: str, fields: dict[str, Any], eos_fields: dict[str, Any]
) -> None:
    made = fields if ending == "pad" else eos_fields
    psi, rewards = made["features"]["values"], made["rewards"]
    assert psi.shape == (S, 64)
    assert rewards.shape == (2, S)
    nu = np.linalg.lstsq(psi, rewards.T, rcond=None)[0]
    assert np.abs(psi @ nu - rewards.T).max() < 1e-10
    assert (psi[:, :A] == np.eye(A)[np.arange(S) % A]).all()
    assert set(np.unique(psi)) == {0.0, 1.0}


def test_the_eos_variant_sets_eos_and_shifts_nothing(
    fields: dict[str, Any], eos_fields: dict[str, Any]
) -> None:
    assert eos_fields["eos"] == END
    assert all(score["shift"] == 0 for score in eos_fields["meta"]["rewards"].values())
    assert (eos_fields["rewards"].min(axis=1) < 0).all()
    live = np.arange(S) % A != END
    assert (eos_fields["ref_weights"][live] == fields["ref_weights"][live]).all()


def test_held_out_scores(fields: dict[str, Any]) -> None:
    meta = fields["meta"]
    assert meta["attributes"] == ["truthful", "informative"]
    assert meta["texts_train"] + meta["texts_held_out"] == 18311
    assert meta["perplexity"] < 0.7 * meta["perplexity_unigram"]
    for score in meta["rewards"].values():
        assert score["accuracy"] > score["accuracy_majority"] + 0.03
        assert score["auc"] > 0.7
        assert score["auc_fresh"] > 0.65


def test_the_logit_of_a_text_is_the_sum_of_its_rewards(tmp_path: Path) -> None:
    """The accuracy in meta, recomputed from the published rewards alone."""
    rows = toy_rows(100)
    made = corpus_fields(
        *write_plain(tmp_path, rows), vocab_size=12, width=24, ending="eos", order=3
    )
    meta = made["meta"]
    token_of = {w: i for i, t in enumerate(meta["tokens"]) for w in t["examples"]}
    right = 0
    for text, kind, _ in rows:
        s, logit = 0, meta["rewards"]["kind"]["intercept"]
        for a in [*(token_of[word] for word in words(text)), END]:
            s = (s * 12 + a) % 12**3
            logit += made["rewards"][0, s]
        right += (logit > 0) == kind
    assert right == len(rows)
    assert meta["rewards"]["kind"]["accuracy"] == 1.0
    assert meta["rewards"]["calm"]["auc"] == 1.0


def test_same_seed_same_fields_other_seed_other_split(fields: dict[str, Any]) -> None:
    again, other = corpus_fields(), corpus_fields(seed=1)
    assert (again["ref_weights"] == fields["ref_weights"]).all()
    assert (again["rewards"] == fields["rewards"]).all()
    assert (again["features"]["values"] == fields["features"]["values"]).all()
    assert json.dumps(again["meta"], allow_nan=False) == json.dumps(fields["meta"])
    assert other["meta"]["texts_train"] != fields["meta"]["texts_train"]
    assert other["meta"]["rewards"]["truthful"]["auc"] > 0.7


def test_contract_fields(fields: dict[str, Any]) -> None:
    assert fields["format"] == "token-mdp/1"
    assert fields["start"] == [fields["bos"]] * fields["order"]
    assert fields["w"] == [0.5, 0.5]
    assert len(fields["meta"]["tokens"]) == A
    assert len(fields["meta"]["ngrams"]) == 64 - A
    assert fields["meta"]["ngrams"][-1] == "</s> </s>"


def test_one_hot_features_are_never_materialised(tmp_path: Path) -> None:
    files = write_plain(tmp_path, toy_rows())
    made = corpus_fields(*files, vocab_size=9, width=12, features="one-hot", w=[0.25, 0.75], beta=2)
    assert made["features"] == {"kind": "tabular", "per_step": True, "scale": 1.0}
    assert (made["w"], made["beta"]) == ([0.25, 0.75], 2.0)


@pytest.mark.parametrize(
    ("vocab_size", "order"), [(8, 1), (8, 2), (8, 3), (8, 4), (64, 1), (64, 2)]
)
def test_other_sizes(vocab_size: int, order: int) -> None:
    made = corpus_fields(vocab_size=vocab_size, order=order, width=80)
    meta, reached = made["meta"], sorted(reached_contexts(made))
    assert (made["rewards"][:, reached].min(axis=1) == 0.0).all()
    assert meta["perplexity"] < meta["perplexity_unigram"]
    assert all(score["auc"] > 0.6 for score in meta["rewards"].values())
    assert not any(ngram.startswith("<s> <s>") for ngram in meta["ngrams"])
    if order == 1:  # the end token cannot be told from padding: its own weight is 0
        assert made["features"]["values"].shape == (vocab_size, vocab_size)
        shift = [score["shift"] for score in meta["rewards"].values()]
        assert made["rewards"][:, END].tolist() == shift


# -------------------------------------------------------------------------------- the user's own


def test_plain_text_csv_and_jsonl_say_the_same(tmp_path: Path) -> None:
    rows = toy_rows()
    text, labels = write_plain(tmp_path, rows)
    jsonl = tmp_path / "t.jsonl"
    lines = [{"text": t, "labels": {"kind": bool(k), "calm": c}} for t, k, c in rows]
    jsonl.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    options: dict[str, Any] = {"vocab_size": 12, "width": 20}
    made = [
        corpus_fields(text, labels, **options),
        corpus_fields(jsonl, **options),
        corpus_fields(str(jsonl), str(labels), **options),
    ]
    for other in made[1:]:
        assert (other["rewards"] == made[0]["rewards"]).all()
        assert (other["ref_weights"] == made[0]["ref_weights"]).all()
    assert made[0]["name"] == "corpus-t-A12-L2-pad-seed0"
    assert made[0]["meta"]["attributes"] == ["kind", "calm"]


def test_a_group_is_never_split(tmp_path: Path) -> None:
    lines = [
        {"text": f"{'good' if i % 2 else 'bad'} day {i % 5} in {i % 7}", "group": i // 10,
         "labels": {"good": i % 2}}
        for i in range(100)
    ]  # fmt: skip
    file = tmp_path / "g.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    meta = corpus_fields(file, vocab_size=8, width=12)["meta"]
    assert (meta["texts_train"], meta["texts_held_out"]) == (80, 20)


def test_equal_texts_stay_on_one_side_and_blank_lines_count(tmp_path: Path) -> None:
    rows = toy_rows()
    text, labels = write_plain(tmp_path, [*rows, *rows, ("", 1, 0.9)])
    meta = corpus_fields(text, labels, vocab_size=8, width=12)["meta"]
    assert meta["texts_held_out_not_in_train"] == meta["texts_held_out"]
    assert meta["texts_train"] + meta["texts_held_out"] == 2 * len(rows) + 1


def test_byte_order_mark_and_windows_line_ends(tmp_path: Path) -> None:
    text, labels = write_plain(tmp_path, toy_rows())
    plain = corpus_fields(text, labels, vocab_size=8, width=12)
    for file in (text, labels):
        lines = file.read_text(encoding="utf-8").splitlines()
        file.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    other = corpus_fields(text, labels, vocab_size=8, width=12)
    assert (other["rewards"] == plain["rewards"]).all()


# ----------------------------------------------------------------------------------------- errors

SMALL: dict[str, Any] = {"vocab_size": 8, "width": 12}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vocab_size": 7}, r"vocab_size = 7: must be an integer of at least 8 and at most 32768"),
        ({"vocab_size": 40_000}, "vocab_size = 40000"),
        ({"most": 0}, "most = 0"),
        ({"tokens": "letters"}, "tokens = 'letters'"),
        ({"tokens": "bpe", "vocab_size": 200}, "needs 258 or more"),
        ({"vocab_size": 32.0}, r"vocab_size = 32\.0"),
        ({"order": 0}, "order = 0: must be an integer of at least 1"),
        ({"horizon": 0}, "horizon = 0"),
        ({"width": 32}, "width = 32: must be an integer of at least 33"),
        ({"seed": -1}, "seed = -1"),
        ({"features": "dense"}, "features = 'dense': must be 'ngram' or 'one-hot'"),
        ({"ending": "stop"}, "ending = 'stop': must be 'pad' or 'eos'"),
        ({"beta": 0.0}, "beta = 0.0: must be positive"),
        ({"smoothing": float("nan")}, "smoothing = nan"),
        ({"w": [0.5, 0.6]}, r"w = \[0.5, 0.6\]: must be 2 numbers >= 0 that sum to 1"),
        ({"w": [1.0]}, "must be 2 numbers"),
        ({"w": [1.5, -0.5]}, "must be 2 numbers"),
        (
            {"vocab_size": 5000, "order": 3, "limit_gib": 0.01},
            r"reachable contexts with \d+ tokens so far need .* GiB, the limit is 0.01 GiB; lower order",
        ),
        ({"order": 16}, "order = 16: must be at most 10 with 32 tokens"),
        ({"limit_gib": 1e-4}, r"limit is 0\.0001 GiB; lower order"),
        ({"labels": "l.csv"}, "labels = 'l.csv': must be given together with text"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(CorpusError, match=message):
        corpus_fields(**options)


def test_missing_files(tmp_path: Path) -> None:
    text, labels = write_plain(tmp_path, toy_rows())
    with pytest.raises(CorpusError, match=r"no\.txt: cannot be read \(No such file"):
        corpus_fields(tmp_path / "no.txt", labels)
    with pytest.raises(CorpusError, match=r"no\.csv: cannot be read"):
        corpus_fields(text, tmp_path / "no.csv")
    with pytest.raises(CorpusError, match="labels = None: must be a CSV file, since"):
        corpus_fields(text)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file is empty"),
        (b"\n \n", "the file is empty"),
        (b"a fine line\nbad \xff byte\n", "line 2: byte 0xff is not UTF-8"),
        (b"one\ntwo\n", "60 rows of labels for 2 texts"),
    ],
)
def test_bad_text_file(tmp_path: Path, data: bytes, message: str) -> None:
    text, labels = write_plain(tmp_path, toy_rows())
    text.write_bytes(data)
    with pytest.raises(CorpusError, match=message):
        corpus_fields(text, labels, **SMALL)


@pytest.mark.parametrize(
    ("line", "new", "message"),
    [
        (1, "kind,kind", r"line 1: header \['kind', 'kind'\] needs one distinct name"),
        (1, "kind,", "line 1: header"),
        (1, "", r"line 1: header \[\]"),
        (4, "1,high", r"l\.csv, line 4, column 'calm': label 'high' is not a number in \[0, 1\]"),
        (5, "nan,0.5", "line 5, column 'kind': label 'nan'"),
        (6, "1,1.5", "line 6, column 'calm': label '1.5'"),
        (7, "-0.1,1", "line 7, column 'kind'"),
        (8, "1,", "line 8, column 'calm': label ''"),
        (9, "1", "line 9: 1 cells, the header has 2"),
        (9, "", "59 rows of labels for 60 texts"),
        (9, '"' + "x" * 200_000, "not CSV"),
    ],
)
def test_bad_labels_file(tmp_path: Path, line: int, new: str, message: str) -> None:
    text, labels = write_plain(tmp_path, toy_rows())
    lines = labels.read_text(encoding="utf-8").splitlines()
    lines[line - 1] = new
    labels.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(CorpusError, match=message):
        corpus_fields(text, labels, **SMALL)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{", r"t\.jsonl, line 3: not JSON"),
        ("[1]", "line 3: holds a list"),
        ('{"text": 5}', 'needs a string field "text"'),
        ('{"text": "a"}', '"labels" must be an object with the attributes of line 1'),
        ('{"text": "a", "labels": {"good": 1}}', '"labels" must be an object'),
        (
            '{"text": "a", "labels": {"kind": NaN}}',
            "line 3: not JSON .*NaN at line 1, column 34",
        ),
        ('{"text": "a", "labels": {"kind": null}}', "attribute 'kind': label None"),
        ('{"text": "a", "labels": {"kind": 1' + "0" * 400 + "}}", "is not a number"),
    ],
)
def test_bad_jsonl(tmp_path: Path, row: str, message: str) -> None:
    lines = [json.dumps({"text": t, "labels": {"kind": k}}) for t, k, _ in toy_rows()]
    lines[2] = row
    file = tmp_path / "t.jsonl"
    file.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(CorpusError, match=message):
        corpus_fields(file, **SMALL)


def test_too_little_of_something(tmp_path: Path) -> None:
    rows = toy_rows()
    with pytest.raises(CorpusError, match="19 texts, at least 20 are needed"):
        corpus_fields(*write_plain(tmp_path, rows[:19]), **SMALL)
    with pytest.raises(CorpusError, match="1 groups, at least 5 are needed"):
        corpus_fields(*write_plain(tmp_path, [("same", i % 2, 0.2) for i in range(30)]), **SMALL)
    flat = [(text, kind, 0.7) for text, kind, _ in rows]
    with pytest.raises(CorpusError, match=r"'calm' has only one class \(all >= 0.5\)"):
        corpus_fields(*write_plain(tmp_path, flat), **SMALL)
    with pytest.raises(CorpusError, match="different words, vocab_size=64 needs at least 62"):
        corpus_fields(*write_plain(tmp_path, rows), vocab_size=64, width=80)


def test_a_class_that_misses_the_training_part_is_named(tmp_path: Path) -> None:
    rows = [(f"{text} no{i}", 0, calm) for i, (text, _, calm) in enumerate(toy_rows())]
    messages = []
    for i in range(len(rows)):  # some text is held out: with it goes the only 1
        alone = [(t, int(i == j), c) for j, (t, _, c) in enumerate(rows)]
        try:
            corpus_fields(*write_plain(tmp_path, alone), **SMALL)
        except CorpusError as error:
            messages.append(str(error))
            break
    assert "only one class among the training texts (all < 0.5)" in messages[0]


def test_one_fit_serves_both_feature_maps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fits = []

    def counted(*args: Any, **options: Any) -> dict[str, Any]:
        fits.append(options)
        return corpus_fields(*args, **options)

    monkeypatch.setattr(corpus_module, "corpus_fields", counted)
    text, labels = write_plain(tmp_path, toy_rows())
    options = {"text": text, "labels": labels, "w": [0.5, 0.5], **SMALL}
    ngrams, one_hot = corpus_ngrams(**options), corpus_one_hot(**options)
    assert len(fits) == 1
    assert ngrams.features.as_dict()["kind"] == "dense"
    assert one_hot.features.as_dict()["kind"] == "tabular"
    assert one_hot.name == f"{ngrams.name}, one-hot"
    np.testing.assert_array_equal(ngrams.rewards, one_hot.rewards)
    text.write_text(text.read_text().replace("sat", "rested"))
    corpus_ngrams(**options)
    assert len(fits) == 2  # the file has changed
