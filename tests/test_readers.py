"""Whatever a reader is given, it is an instance or one line that names value, rule and remedy."""

from __future__ import annotations

import contextlib
import json
import math
import os
import threading
from random import Random

import numpy as np
import pytest
from command_line import run
from hostile_files import (
    ATOMS,
    DOCUMENTS,
    GAUSSIAN,
    PAIRS,
    SEARCH,
    SPARSE,
    TOKEN_MDP,
    WITNESS,
    WRONG,
    archive,
    as_json,
    as_npz,
    damaged,
    mutant,
    npy,
    places,
    replaced,
)
from hypothesis import given
from hypothesis import strategies as st

from bounds import check
from bounds.certificates.instance import WitnessError
from bounds.certificates.instance import load as load_exactly
from bounds.records.loading import load_any
from bounds.records.witness import load_witness
from bounds.search.stored import read_search
from toymdp import InstanceError, SolverError, TokenMDP, validators
from toymdp.errors import MOST_SAID, UNPRINTABLE, CorpusError
from toymdp.families.corpus_files import read_corpus
from toymdp.files import DEEPEST, read_bytes, streams_kept, to_json
from toymdp.kinds import KINDS

HOSTILE_TEXT = "\x1b]0;pwn\x07\x1b[2J\x9b1m"


def refused(path) -> str:
    """What load_any says of a file that it must not accept."""
    with pytest.raises(InstanceError) as caught:
        load_any(path)
    said = str(caught.value)
    assert len(said.splitlines()) == 1
    assert len(said) <= MOST_SAID
    return said


def complaint(mistake, read, *arguments) -> str:
    """What a reader says in refusing, on one line; "" where it does not refuse."""
    said = ""
    try:
        read(*arguments)
    except mistake as error:
        said = str(error)
    assert len(said.splitlines()) == bool(said)
    return said


@pytest.fixture
def file(tmp_path):
    def write(content: bytes | str | dict, name: str = "f.json"):
        path = tmp_path / name
        if isinstance(content, dict):
            content = as_json(content)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: d["format"])
def test_the_documents_themselves_are_read(file, document):
    assert load_any(file(document))
    if document is not WITNESS:
        assert load_any(file(as_npz(document), "f.npz"))


# -- JSON ----------------------------------------------------------------------------------

PLAIN = as_json(TOKEN_MDP).decode()
BAD_JSON = {
    "duplicate": (PLAIN[:-1] + ', "beta": 2.0}', "'beta'.*given twice"),
    "duplicate inside": (PLAIN.replace('"kind"', '"values": 1, "kind"'), "'values'.*given twice"),
    "NaN": (PLAIN.replace('"beta": 1.0', '"beta": NaN'), "NaN at line 1, column .*no JSON number"),
    "-Infinity": (PLAIN.replace('"beta"', '\n"beta"').replace("1.0", "-Infinity"), "at line 2"),
    "overflowing": (PLAIN.replace('"beta": 1.0', '"beta": 1e999'), "beta = inf: must be a finite"),
    "huge integer": (PLAIN.replace("1.0", "9" * 4000), "beta = an integer beyond 1e18"),
    "unreadable integer": (PLAIN.replace("1.0", "9" * 5000), "digits"),
    "half a pair": (PLAIN[:-1] + ', "name": "\\ud800"}', r"\\ud800 is half a surrogate pair"),
    "half a pair in meta": (PLAIN[:-1] + ', "meta": {"x": ["\\udfff"]}}', "half a surrogate pair"),
    "deep": (PLAIN[:-1] + ', "meta": {"x": ' + "[" * 200 + "]" * 200 + "}}", "nested more than"),
    "very deep": ("[" * 100_000, "nested more than"),
    "deep objects": ('{"a": ' * 5000 + "1" + "}" * 5000, "nested more than"),
    "UTF-16": (PLAIN.encode("utf-16"), "not UTF-8"),
    "two marks": (b"\xef\xbb\xbf" * 2 + PLAIN.encode(), "not valid JSON"),
    "hexadecimal": (PLAIN.replace('"beta": 1.0', '"beta": 0x10'), "not valid JSON"),
    "underscores": (PLAIN.replace('"beta": 1.0', '"beta": 1_000'), "not valid JSON"),
    "leading zero": (PLAIN.replace('"beta": 1.0', '"beta": 01'), "not valid JSON"),
    "plus": (PLAIN.replace('"beta": 1.0', '"beta": +1'), "not valid JSON"),
    "no digits": (PLAIN.replace('"beta": 1.0', '"beta": 1.'), "not valid JSON"),
    "minus nothing": (PLAIN.replace('"beta": 1.0', '"beta": -0'), "beta = 0: must be a finite"),
    "underflow": (PLAIN.replace('"beta": 1.0', '"beta": 1e-400'), "beta = 0.0: must be a finite"),
    "overflow": (PLAIN.replace("[0, 1, 2]", "[0, 1e400, 2]"), r"rewards\[0\]\[1\] = inf"),
    "comment": (PLAIN + "// done", "not valid JSON"),
    "trailing comma": (PLAIN[:-1] + ",}", "not valid JSON"),
    "empty": (b"", "not valid JSON"),
    "NULs": (b"\x00" * 64, "not valid JSON"),
    "two objects": (PLAIN + PLAIN, "not valid JSON"),
    "list": ("[]", "holds a list"),
    "infinite meta": (PLAIN[:-1] + ', "meta": {"x": 1e999}}', "meta.*plain JSON data"),
    "long key": (PLAIN[:-1] + ', "' + "k" * 10**6 + '": 1}', r"k\.\.\. = 1: no such key"),
}


@pytest.mark.parametrize("name", BAD_JSON)
def test_json_that_is_refused(file, name):
    text, rule = BAD_JSON[name]
    path = file(text)
    with pytest.raises(InstanceError, match=rule):
        load_any(path)
    refused(path)


def test_json_that_is_accepted(file):
    """A byte-order mark, U+2028 as it is, a pair of surrogates, and nesting that an instance may have."""
    assert load_any(file(b"\xef\xbb\xbf" + PLAIN.encode())).beta == 1.0
    named = load_any(file(PLAIN[:-1] + ', "name": "a\u2028b \\ud83d\\ude00"}'))
    assert named.name == "a\u2028b \U0001f600"
    inside = DEEPEST - 2
    assert load_any(file(PLAIN[:-1] + ', "meta": {"x": ' + "[" * inside + "]" * inside + "}}"))


# -- NPZ -----------------------------------------------------------------------------------

ARRAYS = {
    "format": "token-mdp/1", "vocab_size": 3, "order": 1, "horizon": 2, "start": [0],
    "ref_weights": TOKEN_MDP["ref_weights"], "rewards": TOKEN_MDP["rewards"], "beta": 1.0,
    "w": [0.5, 0.5], "features.kind": "dense", "features.values": [[1, 0], [1, 1], [1, 2]],
}  # fmt: skip
MEMBERS = [(f"{key}.npy", npy(value)) for key, value in ARRAYS.items()]


def declaring(shape: str, type: str = "<f8") -> bytes:
    """A .npy member that says it has this shape, with eight zeros behind."""
    header = f"{{'descr': '{type}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + bytes(64)


def lying(content: bytes, size: int) -> bytes:
    """The archive with the unpacked size of its first member overwritten in the directory."""
    at = content.rindex(b"PK\x01\x02") if content.count(b"PK\x01\x02") == 1 else -1
    at = content.index(b"PK\x01\x02") if at < 0 else at
    return content[: at + 24] + size.to_bytes(4, "little") + content[at + 28 :]


def encrypted(content: bytes) -> bytes:
    """The archive with the flag of encryption set on its first member."""
    at = content.index(b"PK\x01\x02")
    changed = bytearray(content)
    changed[6] |= 1
    changed[at + 8] |= 1
    return bytes(changed)


def text_of(code: int, order: str = "<") -> bytes:
    """A .npy member of one letter with this number."""
    member = npy(np.array("x", f"{order}U1"))
    return member[:-4] + code.to_bytes(4, "little" if order == "<" else "big")


def without(key: str) -> list[tuple[str, bytes]]:
    """The members but one."""
    return [member for member in MEMBERS if member[0] != f"{key}.npy"]


BAD_ARCHIVES = {
    "no npy": (archive([("rewards", b"hello")]), "'rewards' = 'no .npy'"),
    "text as npy": (archive([("rewards.npy", b"hello")]), "not an NPZ archive of plain arrays"),
    "folder": (archive([("a/", b"")]), "no .npy"),
    "inside a folder": (archive([*MEMBERS, ("a/beta.npy", npy(1.0))]), "no such key"),
    "encrypted": (encrypted(archive(MEMBERS)), "'format.npy' = 'encrypted'"),
    "40 GB": (archive([("rewards.npy", declaring("(5000000000,)"))]), "takes 40000000000 bytes"),
    "beyond numbers": (archive([("w.npy", declaring(f"({10**30},)"))]), "takes 8000000000"),
    "negative": (archive([("w.npy", declaring("(-1,)"))]), "NPZ|takes"),
    "directory lies": (lying(archive([("w.npy", npy([1.0]))]), 2**32 - 2), "takes|allowed here"),
    "twice": (archive([*MEMBERS, ("w.npy", npy([1.0]))]), "given twice"),
    "both forms": (archive([*MEMBERS, ("features.npy", npy(1.0))]), "'features'.*given twice"),
    "objects": (archive([("w.npy", declaring("(1,)", "|O"))]), "numbers, booleans or text"),
    "nothing wide": (archive([("w.npy", declaring("(1000000000000,)", "|V0"))]), "numbers"),
    "times": (archive([("w.npy", npy(np.array(["2020-01-01"], "M8[D]")))]), "numbers"),
    "complex": (archive([("w.npy", npy([1j]))]), "numbers, booleans or text"),
    "table of text": (archive([("start.npy", npy(["a", "b"]))]), "only single strings"),
    "format is a table": (archive([("format.npy", npy([1, 2]))]), "neither an instance"),
    "meta": (archive([*MEMBERS, ("meta.npy", npy("{"))]), "meta is not a JSON string"),
    "meta twice": (archive([*MEMBERS, ("meta.npy", npy('{"a": 1, "a": 2}'))]), "'a'.*given twice"),
    "cut": (archive(MEMBERS)[:-40], "not an NPZ archive"),
    "empty": (b"", "not an NPZ archive"),
    "empty archive": (archive([]), "format = None"),
    "no character": (
        archive([("name.npy", text_of(0x110000))]),
        "'name.npy' = 'text': holds what is no",
    ),
    "half a pair": (archive([("name.npy", text_of(0xD800, ">"))]), "holds what is no character"),
    "structure": (archive([("w.npy", npy(np.zeros(2, "i4,f8")))]), "numbers, booleans or text"),
    "object inside": (
        archive([("w.npy", declaring("(8,)", "[('a', '|O')]"))]),
        "not an NPZ|numbers",
    ),
    "bytes": (archive([("format.npy", npy(b"token-mdp/1"))]), "numbers, booleans or text"),
    "beyond a double": (
        archive([*without("beta"), ("beta.npy", npy(np.longdouble("1e4000")))]),
        "beta",
    ),
    "integer beyond": (
        archive([*without("vocab_size"), ("vocab_size.npy", npy(2**63 + 1))]),
        "vocab_size",
    ),
    "half precision of a size": (
        archive([*without("order"), ("order.npy", npy(np.float16(1)))]),
        "order = 1",
    ),
    "boolean beta": (archive([*without("beta"), ("beta.npy", npy(True))]), "beta = True"),
    "beta in a list": (archive([*without("beta"), ("beta.npy", npy([1.0]))]), "beta = .1"),
    "long and broken name": (
        archive([("w\n" * 6000 + ".npy", npy(1))]).replace(b"w\nw", b"w\nv", 1),
        r"not an NPZ archive .* \.\.\. .*is the file truncated",
    ),
    "broken name": (archive([*MEMBERS, ("a\nb\u2028c.npy", npy(1))]), "a b c = 1: no such key"),
    "deep header": (archive([("w.npy", declaring("(" * 9 + "1,)"))]), "not an NPZ"),
}


@pytest.mark.parametrize("name", BAD_ARCHIVES)
def test_archives_that_are_refused(file, name):
    content, rule = BAD_ARCHIVES[name]
    with pytest.raises(InstanceError, match=rule):
        load_any(file(content, "f.npz"))
    refused(file(content, "f.npz"))


@pytest.mark.parametrize("kind", ["<f4", ">f8", "<f2", ">i4", "<u8", "|i1", "longdouble"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_every_layout_are_the_same_numbers(file, kind, order):
    """Whole numbers up to 16, which every type holds: byte order, width and layout change nothing."""
    plain = load_any(file(archive(MEMBERS), "f.npz"))
    for key in ("ref_weights", "rewards", "features.values"):
        stored = npy(np.asarray(np.array(ARRAYS[key]), dtype=kind, order=order))
        loaded = load_any(file(archive([*without(key), (f"{key}.npy", stored)]), "f.npz"))
        assert to_json(loaded.fields()) == to_json(plain.fields())


def test_an_archive_too_large_for_this_machine_is_refused_before_it_is_unpacked(file, monkeypatch):
    path = file(archive([*MEMBERS, ("meta.npy", npy("{}"))]), "f.npz")
    assert load_any(path)
    monkeypatch.setattr("toymdp.archives.memory_limit", lambda: 500)
    assert "allowed here" in refused(path)


# -- fields --------------------------------------------------------------------------------

SPARSE_KEYS = SPARSE["ref_sparse"]
BAD_FIELDS = {
    "beta below": (TOKEN_MDP | {"beta": 1e-310}, "beta = 1e-310: must be from 1e-50 to 1e"),
    "beta above": (TOKEN_MDP | {"beta": 1.1e50}, r"beta = 1.1e\+50: must be from"),
    "beta_prime": (TOKEN_MDP | {"beta_prime": 9e-51}, "beta_prime = 9e-51"),
    "reward": (replaced(TOKEN_MDP, ("rewards", 0, 2), 1.7e308), r"rewards\[0\]\[2\] = 1.7e\+308"),
    "nats": (TOKEN_MDP | {"beta": 1e-50}, "largest absolute entry of rewards = 3.0: with beta"),
    "nats of beta'": (TOKEN_MDP | {"beta_prime": 1e-50}, "with beta_prime = 1e-50"),
    "indptr": (replaced(SPARSE, ("ref_sparse", "indptr", 1), 1.5), r"indptr\[1\] = 1.5.*whole"),
    "indptr falls": (replaced(SPARSE, ("ref_sparse", "indptr", 1), 4), r"indptr\[2\] = 3: .*rise"),
    "indptr start": (replaced(SPARSE, ("ref_sparse", "indptr", 0), 1), r"indptr\[0\] = 1: .*rise"),
    "indptr below": (replaced(SPARSE, ("ref_sparse", "indptr", 0), -1), r"indptr\[0\] = -1"),
    "indptr end": (replaced(SPARSE, ("ref_sparse", "indptr", 3), 6), r"indptr\[3\] = 6: .*to 5"),
    "indptr short": (replaced(SPARSE, ("ref_sparse", "indptr"), [0, 5]), "length of ref_sparse.indptr"),
    "token": (replaced(SPARSE, ("ref_sparse", "tokens", 2), 3), r"tokens\[2\] = 3: must be a token"),
    "token half": (replaced(SPARSE, ("ref_sparse", "tokens", 2), 0.5), r"tokens\[2\] = 0.5"),
    "token twice": (replaced(SPARSE, ("ref_sparse", "tokens", 1), 0), "must be unique"),
    "weights": (replaced(SPARSE, ("ref_sparse", "weights"), [1]), "must match 5 tokens"),
    "covariance": (replaced(PAIRS, ("prior_covariance", 0, 0), 1e300), r"\[0\]\[0\] = 1e\+300"),
    "negative": (replaced(PAIRS, ("prior_covariance", 0, 0), -1e308), r"= -1e\+308: must be at most"),
    "indefinite": (replaced(PAIRS, ("prior_covariance", 0, 0), -1), "positive definite"),
    "difference": (PAIRS | {"beta": 1e-50, "differences": [[1e10, 0]]}, "with beta = 1e-50"),
    "draws": (GAUSSIAN | {"draws": 2**31 - 1}, "draws = 2147483647: it would take .* GiB"),
    "counts": (ATOMS | {"counts": [1e300, 1]}, r"counts\[0\] = 1e\+300"),
    "contexts": (TOKEN_MDP | {"order": 2**31 - 1}, "order"),
    "steps": (TOKEN_MDP | {"horizon": 2**31 - 1}, "GiB"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_FIELDS)
def test_fields_that_are_refused(file, name):
    document, rule = BAD_FIELDS[name]
    path = file(document)
    with pytest.raises(InstanceError, match=rule):
        load_any(path)
    refused(path)


@pytest.mark.parametrize("beta", [1e-50, 1e-10, 1.0, 1e17, 1e50])
@pytest.mark.parametrize("reward", [1e-300, 1e-50, 1.0, 1e40, 1e50])
def test_within_the_ranges_no_proved_claim_is_violated(beta, reward):
    fields = TOKEN_MDP | {"beta": beta, "rewards": [[0, reward, reward / 3], [reward, 0, 0]]}
    if reward > 1e50 * beta:
        with pytest.raises(InstanceError, match="with beta"):
            TokenMDP(**fields)
        return
    for found in check(TokenMDP(**fields)):
        assert found.status != "proved" or found.verdict != "violated", found
        assert found.lhs is None or math.isfinite(found.lhs)


def test_memory_is_guessed_where_the_system_does_not_say(monkeypatch):
    monkeypatch.delattr(os, "sysconf")
    assert validators.memory_limit() == validators.ASSUMED_MEMORY // 2
    assert TokenMDP(**TOKEN_MDP)


# -- witnesses and searches ----------------------------------------------------------------


@pytest.mark.parametrize("key", ["seed", "claim", "lambda", "expected", "instance", "format"])
def test_a_witness_with_a_wrong_field_names_it(file, key):
    right = {"lambda": (None, [1, 2]), "seed": (0, 1, 2, 2**31, 2**63)}.get(key, ())
    for value in WRONG:
        if (value in right and not isinstance(value, bool)) or (
            key == "claim" and isinstance(value, str)
        ):
            continue
        path = file(WITNESS | {key: value})
        said = refused(path)
        assert key in said or "half a surrogate" in said or "no JSON number" in said
        with pytest.raises(WitnessError):
            load_exactly(path)


def test_a_search_that_cannot_be_resumed_says_what_is_wrong(file):
    base = ("instance", "meta", "search")
    assert read_search(file(WITNESS), "ss.thm1.kl").rounds == 1
    wrong = 0
    for place in places(SEARCH):
        for value in (None, -1, 0.5, "1", [], {}, [None], 10**30, 1e308):
            path = file(replaced(WITNESS, (*base, *place), value))
            said = complaint(InstanceError, read_search, path, "ss.thm1.kl")
            assert said == "" or "search" in said
            wrong += bool(said)
    assert wrong > 200


def test_a_search_of_another_claim_is_refused_before_anything_is_compiled(file, monkeypatch):
    def compiled() -> None:
        raise AssertionError("the kernels are compiled first")

    monkeypatch.setattr("bounds.commands.search.warm_up", compiled)
    for content in (WITNESS, as_json(WITNESS)[:-9], TOKEN_MDP):
        done = run("search", "ss.thm1.gap", "--resume", "--out", file(content))
        assert done.exit_code == 2
        assert len(done.stderr.splitlines()) == 1


# -- what is no regular file ---------------------------------------------------------------


def feed(path, content: bytes) -> threading.Thread:
    """A thread that writes into a named pipe, and minds no reader who stops early."""

    def write() -> None:
        with contextlib.suppress(BrokenPipeError):
            path.write_bytes(content)

    thread = threading.Thread(target=write)
    thread.start()
    return thread


def test_a_pipe_is_read_once_and_gives_the_same_again(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    for content in (as_json(TOKEN_MDP), as_npz(SPARSE), as_json(WITNESS)):
        writer = feed(path, content)
        with streams_kept():
            first, again = load_any(path), load_any(path)
        writer.join()
        assert first.vocab_size == again.vocab_size == 3


@pytest.mark.parametrize("command", [["verify", "--claims", "ss.lemma1"], ["solve"]])
def test_commands_read_pipes(tmp_path, command):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = feed(path, as_json(TOKEN_MDP))
    done = run(*command, path)
    writer.join()
    assert done.exit_code == 0, done.stderr


def test_an_endless_stream_is_not_read_to_its_end(tmp_path, monkeypatch):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = feed(path, b"y\n" * 2**22)  # at once: this is no object
    assert "not valid JSON" in refused(path)
    writer.join()
    monkeypatch.setattr("toymdp.files.MOST_STREAMED", 2**21)
    writer = feed(path, b'{"a": [' * 2**20)
    assert "holds more than 2 MiB" in refused(path)
    writer.join()
    writer = feed(path, b" " * 2**23)
    assert "holds more than 2 MiB" in refused(path)
    writer.join()
    assert "not valid JSON" in refused(tmp_path.__class__("/dev/zero"))


def test_a_file_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    path = tmp_path / "large.json"
    with path.open("wb") as file:
        file.truncate(2**40)  # sparse: it takes no room
    assert "holds more than" in refused(path)
    with pytest.raises(CorpusError, match="holds more than"):
        read_corpus(path.with_suffix(".json"), path)


def test_paths_that_lead_nowhere(tmp_path):
    loop = tmp_path / "loop.json"
    loop.symlink_to(loop)
    for path, reason in (
        (loop, "symbolic links"), (tmp_path, "directory"), (tmp_path / "none.json", "No such file"),
        (tmp_path / ("x" * 300), "too long"), (tmp_path / "a\0b", "null byte"),
    ):  # fmt: skip
        assert reason in refused(path)
        with pytest.raises(InstanceError):
            read_bytes(path)
    for command in (["verify"], ["solve"], ["verify", "--html", loop], ["certify"]):
        done = run(*command, loop, "--json", loop)
        assert done.exit_code == 2
        assert len(done.stderr.splitlines()) == 1, done.stderr


# -- control characters --------------------------------------------------------------------


@pytest.mark.parametrize("place", ["name", "key", "claim", "meta"])
def test_control_characters_of_files_are_spelt_out(file, place):
    documents = {
        "name": TOKEN_MDP | {"name": HOSTILE_TEXT, "meta": {"search": HOSTILE_TEXT}},
        "key": TOKEN_MDP | {HOSTILE_TEXT: 1},
        "claim": WITNESS | {"claim": HOSTILE_TEXT},
        "meta": TOKEN_MDP | {"features": {"kind": HOSTILE_TEXT}},
    }
    path = file(documents[place])
    for command in (
        ["solve", path], ["verify", path, "--claims", "ss.lemma1", "--json", "-"], ["certify", path],
        ["explain", path, "ss.thm1.kl"], ["search", "ss.thm1.kl", "--resume", "--out", path],
    ):  # fmt: skip
        done = run(*command)
        assert not UNPRINTABLE.search(done.stdout + done.stderr)
        if place == "name" and command[0] in ("solve", "verify"):
            assert done.exit_code == 0
            assert r"\x1b]0;pwn" in done.stdout + done.stderr
    if place == "name":
        (line,) = run("verify", path, "--claims", "ss.lemma1", "--json", "-").stdout.splitlines()
        assert json.loads(line)["instance"] == HOSTILE_TEXT


# -- fuzzing -------------------------------------------------------------------------------


def survives(path) -> bool:
    """Whether a file is an instance; it must else be refused in one line, and by every reader."""
    if path.suffix == ".json":
        complaint(InstanceError, load_witness, path)
        complaint(WitnessError, load_exactly, path)
    return not complaint(InstanceError, load_any, path)


VALUES = st.recursive(
    st.sampled_from(WRONG) | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(data=st.data(), document=st.sampled_from(DOCUMENTS), npz=st.booleans())
def test_fuzzed_values(tmp_path_factory, data, document, npz):
    place = data.draw(st.sampled_from(places(document)))
    changed = replaced(document, place, data.draw(VALUES))
    path = tmp_path_factory.getbasetemp() / ("fuzzed.npz" if npz else "fuzzed.json")
    path.write_bytes(as_npz(changed) if npz else as_json(changed))
    survives(path)


@given(
    document=st.sampled_from(DOCUMENTS), npz=st.booleans(), seed=st.randoms(use_true_random=False)
)
def test_fuzzed_bytes(tmp_path_factory, document, npz, seed):
    path = tmp_path_factory.getbasetemp() / ("fuzzed.npz" if npz else "fuzzed.json")
    path.write_bytes(damaged(as_npz(document) if npz else as_json(document), seed))
    survives(path)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(4))
def test_a_hundred_thousand_mutants(tmp_path, seed):
    rng, accepted = Random(seed), 0
    for _ in range(25_000):
        suffix, content = mutant(rng)
        path = tmp_path / f"m{suffix}"
        path.write_bytes(content)
        accepted += survives(path)
    assert 1000 < accepted < 24_000  # a fuzzer that breaks everything, or nothing, tests little


@pytest.mark.long
def test_mutants_that_are_accepted_are_judged():
    """Instances within the ranges, however odd: claims are judged, or one line says why not."""
    rng, judged = Random(5), 0
    for _ in range(600):
        document = rng.choice(DOCUMENTS[:-1])
        changed = replaced(document, rng.choice(places(document)), rng.choice(WRONG))
        try:
            instance = KINDS[document["format"]].instance.from_fields(changed)
        except InstanceError:
            continue
        try:
            found = check(instance)
        except SolverError:
            continue
        judged += 1
        assert all(c.status != "proved" or c.verdict != "violated" for c in found), changed
    assert judged > 50
