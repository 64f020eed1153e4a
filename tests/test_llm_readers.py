"""Files that the bridge reads: whatever they hold, one line or what they should be."""

from __future__ import annotations

import json
import math
import os
import shutil
import threading
from random import Random

import pytest

torch = pytest.importorskip("torch")

from hostile_files import CHUNKS, PREFERENCES, WRONG, as_json, damaged, places, replaced  # noqa: E402
from llm_models import tiny_bank  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

from llm_bridge.commands.data import user_weights  # noqa: E402
from llm_bridge.commands.inputs import numbers  # noqa: E402
from llm_bridge.formats.read import read_preferences  # noqa: E402
from llm_bridge.loading import end_tokens, load_bank, save_adapter  # noqa: E402
from llm_bridge.measure.chunks import ChunkFile  # noqa: E402
from llm_bridge.training.checkpoint import load_state, save_state  # noqa: E402
from toymdp import InstanceError  # noqa: E402
from toymdp.errors import MOST_SAID  # noqa: E402


def lines(rows) -> bytes:
    return b"".join(as_json(row) + b"\n" for row in rows)


def refused(read, *arguments) -> str:
    """What a reader says of what it must not accept: one line."""
    with pytest.raises(InstanceError) as caught:
        read(*arguments)
    said = str(caught.value)
    assert len(said.splitlines()) == 1
    assert len(said) <= MOST_SAID
    return said


def survives(read, *arguments) -> bool:
    """Whether a reader accepts; it must else refuse in one line."""
    said = ""
    try:
        read(*arguments)
    except InstanceError as error:
        said = str(error)
    assert len(said.splitlines()) == bool(said)
    return not said


# -- preferences ---------------------------------------------------------------------------

PAIR, SCORED, RATED = (rows[0] for rows in PREFERENCES)
BAD_ROWS = {
    "duplicate": (b'{"prompt": "a", "prompt": "b", "chosen": "", "rejected": ""}', "given twice"),
    "deep": (b'{"chosen": ' + b"[" * 5000, "nested more than"),
    "NaN": (as_json(replaced(SCORED, ("answers", 0, "scores", "warm"), math.nan)), "no JSON number"),
    "infinite": (as_json(SCORED).replace(b"0.5", b"1e400"), "score of short = inf: must be a finite"),
    "huge": (as_json(SCORED).replace(b"0.5", b"1e60"), "score of short = 1e.60: must be at most 1e.50"),
    "huge integer": (as_json(SCORED).replace(b"0.5", b"9" * 400), "an integer beyond 1e18"),
    "true": (as_json(SCORED).replace(b"0.5", b"true"), "score of short = True"),
    "half a pair": (b'{"prompt": "\\ud800", "chosen": "", "rejected": ""}', "surrogate pair"),
    "completions": (as_json(RATED | {"completions": 3}), "completions = 3: must be a list"),
    "completion": (as_json(RATED | {"completions": [None]}), "must be a list of objects"),
    "annotations": (as_json(replaced(RATED, ("completions", 0, "annotations"), [1])), "an object"),
    "two marks": (b"\xef\xbb\xbf" * 2 + as_json(PAIR), "line 1: not JSON"),
    "no text": (b"\xff\xfe", "byte 0xff is not UTF-8"),
    "NULs": (b"\x00" * 64, "line 1: not JSON"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_ROWS)
def test_rows_that_are_refused(tmp_path, name):
    content, rule = BAD_ROWS[name]
    path = tmp_path / "f.jsonl"
    path.write_bytes(content)
    with pytest.raises(InstanceError, match=rule):
        read_preferences(path)
    refused(read_preferences, path)


def test_rows_that_are_accepted(tmp_path):
    """A byte-order mark, Windows' line ends, a raw U+2028 inside a text; odd ratings leave out."""
    path = tmp_path / "f.jsonl"
    text = json.dumps(PAIR | {"prompt": "a\u2028b"}, ensure_ascii=False)
    path.write_bytes(b"\xef\xbb\xbf" + f"{text}\r\n\r\n{text}\r\n".encode())
    assert [pair.prompt for pair in read_preferences(path).data] == ["a\u2028b"] * 2
    for odd in ("²", "٣", "9" * 400, "-1", "4.5.", "", None, True, [], {}):
        row = replaced(RATED, ("completions", 0, "annotations", "honesty", "Rating"), odd)
        path.write_bytes(lines([row]))
        assert read_preferences(path).data.items[0].answers == ("z",)


def test_preferences_from_a_pipe_and_from_no_end(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    for content, said in ((lines(PREFERENCES[0]), ""), (b"y\n" * 2**20, "line 1: not JSON")):

        def write(content: bytes = content) -> None:
            try:
                path.write_bytes(content)
            except BrokenPipeError:  # the reader has seen enough
                return

        writer = threading.Thread(target=write)
        writer.start()
        if said:
            assert said in refused(read_preferences, path)
        else:
            assert len(read_preferences(path).data) == 3
        writer.join()


def test_fuzzed_rows(tmp_path):
    rng, path, accepted = Random(0), tmp_path / "f.jsonl", 0
    for _ in range(1500):
        rows = list(rng.choice(PREFERENCES))
        i = rng.randrange(len(rows))
        rows[i] = replaced(rows[i], rng.choice(places(rows[i])), rng.choice(WRONG))
        content = lines(rows)
        path.write_bytes(damaged(content, rng) if rng.random() < 0.3 else content)
        accepted += survives(read_preferences, path)
    assert 100 < accepted < 1400


@pytest.mark.parametrize("text", ["nan,1", "1_0,1", "inf,1", "0x1,1", "1", "", "٣,1", "1e400,1"])
def test_numbers_of_options_are_plain(text):
    assert "--lambda" in refused(numbers, text, 2, "--lambda")


@pytest.mark.parametrize(
    "text", ["warm=nan", "warm=1_0", "warm", "warm=", "warm=1,warm=2", "warm=1e60"]
)
def test_user_weights_are_plain(tmp_path, text):
    path = tmp_path / "f.jsonl"
    path.write_bytes(lines(PREFERENCES[1]))
    data = read_preferences(path).data
    assert user_weights("warm=1, short=-.5e1", data) == {"warm": 1.0, "short": -5.0}
    assert "--w" in refused(user_weights, text, data)


# -- finished chunks -----------------------------------------------------------------------


def test_a_chunk_file_of_somebody_else_is_not_touched(tmp_path):
    path = tmp_path / "f.jsonl"
    for content in (b"my notes", b"{}\n", b"[1]\n", b"\xff", lines([CHUNKS[0] | {"run": "s"}])):
        path.write_bytes(content)
        assert "belongs to another run" in refused(ChunkFile, path, "r")
        assert path.read_bytes() == content


def test_the_line_that_was_being_written_is_left_out_and_no_other(tmp_path):
    path, whole = tmp_path / "f.jsonl", lines(CHUNKS)
    first, second = (i + 1 for i, c in enumerate(whole) if c == 10 and i + 1 < len(whole))
    for cut in (0, 5, first - 1, first, first + 20, second, second + 50, len(whole)):
        path.write_bytes(whole[:cut])
        expected = set(range(max(whole[:cut].count(b"\n") - 1, 0)))
        assert set(ChunkFile(path, "r").finished) == expected
        assert path.read_bytes() == whole[: max(first, whole[:cut].rfind(b"\n") + 1)]
    for i in (1, 2):
        for place in places(CHUNKS[i]):
            rows = [*CHUNKS[:i], replaced(CHUNKS[i], place, "?"), *CHUNKS[i + 1 :]]
            path.write_bytes(lines(rows))
            if place[0] == "tokens":  # records for people, which are not read
                continue
            assert f"line {i + 1}" in refused(ChunkFile, path, "r")
            assert path.read_bytes() == lines(rows)


# -- banks ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bank_folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("bank")
    bank = tiny_bank(text=True)
    save_adapter(bank, "k0", root / "k0", str(root / "base"))
    bank.model.base_model.unload().save_pretrained(root / "base")
    bank.tokenizer.save_pretrained(root / "base")
    return root


FILES = (
    "k0/adapter_config.json", "k0/adapter_model.safetensors", "base/config.json",
    "base/generation_config.json", "base/tokenizer.json", "base/model.safetensors",
)  # fmt: skip


@pytest.mark.parametrize("name", FILES)
@pytest.mark.filterwarnings("ignore")  # peft's and transformers' own; none of them is asserted
def test_damaged_banks_are_one_line(bank_folder, tmp_path, name):
    shutil.copytree(bank_folder, tmp_path / "bank")
    root, rng = tmp_path / "bank", Random(1)
    content = (root / name).read_bytes()
    accepted = 0
    for turn in range(16):
        changed = damaged(content, rng)
        if name.endswith("config.json") and turn % 2:
            document = json.loads(content)
            changed = as_json(replaced(document, rng.choice(places(document)), rng.choice(WRONG)))
        (root / name).write_bytes(changed)
        accepted += survives(load_bank, str(root / "base"), [str(root / "k0")])
    assert accepted < 16


def test_what_peft_would_take_without_a_word(bank_folder, tmp_path):
    shutil.copytree(bank_folder, tmp_path / "bank")
    root = tmp_path / "bank"
    config, weights = (root / "k0" / f"adapter_{x}" for x in ("config.json", "model.safetensors"))
    right, tensors = json.loads(config.read_bytes()), load_file(weights)

    def load():
        return load_bank(str(root / "base"), [str(root / "k0")])

    for key, value, said in (
        ("target_modules", ["q_proj"], "are in its file"), ("r", 10**9, "rank r = 1000000000"),
        ("rank_pattern", {"q_proj": 10**9}, "rank q_proj"), ("lora_alpha", True, "lora_alpha = True"),
        ("use_rslora", [1], "use_rslora"), ("use_dora", 1, "plain LoRA"),
        ("megatron_config", {"a": 1}, "plain LoRA"), ("base_model_name_or_path", [1], "a string"),
    ):  # fmt: skip
        config.write_bytes(as_json(right | {key: value}))
        assert said in refused(load)
    config.write_bytes(as_json(right)[:-1] + b', "r": 4}')
    assert "given twice" in refused(load)
    config.write_bytes(as_json(right))
    name = min(tensors)
    save_file(tensors | {name: tensors[name] * math.nan}, weights)
    assert "not all finite" in refused(load)
    save_file(tensors, weights)
    assert load().names == ("k0",)
    path = root / "base" / "model.safetensors"
    base = load_file(path)
    save_file({k: v for k, v in base.items() if "layers.1.mlp" not in k}, path, {"format": "pt"})
    assert "its files lack" in refused(load)


@pytest.mark.parametrize("given", [[-1], 10**6, "</s>", [1, None], [True], 1.5])
def test_end_tokens_are_tokens(given):
    model = tiny_bank().base
    model.generation_config.eos_token_id = given
    assert "eos_token_id" in refused(end_tokens, model)


def test_checkpoints_that_cannot_be_gone_on_from(tmp_path):
    weight = torch.nn.Parameter(torch.ones(2, 3))
    optimizer = torch.optim.AdamW([weight])
    weight.sum().backward()
    optimizer.step()
    path = tmp_path / "c.safetensors"
    save_state(path, {"w": weight}, optimizer, 7, "run")
    assert load_state(path, {"w": weight}, optimizer, "run") == 7
    content, tensors, rng = path.read_bytes(), load_file(path), Random(0)

    def load():
        return load_state(path, {"w": weight}, optimizer, "run")

    for changed in (
        {}, tensors | {"weight/v": torch.ones(1)}, tensors | {"weight/w": torch.ones(3)},
        tensors | {"other/w": torch.ones(2, 3)}, {k: v for k, v in tensors.items() if "avg" in k},
        {k: v for k, v in tensors.items() if k != "step/w"},
    ):  # fmt: skip
        save_file(changed, path, {"step": "7", "run": "run"})
        assert "delete it to start anew" in refused(load)
    for step in ("", "-1", "x", "9" * 5000):
        save_file(tensors, path, {"step": step, "run": "run"})
        assert "is not whole" in refused(load)
    for _ in range(200):
        path.write_bytes(damaged(content, rng))
        survives(load)
