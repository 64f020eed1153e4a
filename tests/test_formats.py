"""The table of formats and the readers say the same; what schemas cannot say stands there in words."""

from __future__ import annotations

import json
import math
import re

import pytest
from command_line import run
from hostile_files import DOCUMENTS, WRONG, as_json, places, replaced
from jsonschema import Draft202012Validator

from bounds.records.formats import FORMATS, schema
from bounds.records.loading import load_given
from toymdp import InstanceError
from toymdp.files import to_plain

VALIDATORS = {name: Draft202012Validator(schema(name)) for name in FORMATS}
# what ties keys together: the readers' words for what Format.beyond says
BEYOND = re.compile(
    r"must be \[|must list|'\d+ entries': must have \d+|must be numbers in a rectangular|must be a token"
    r"|must be a prompt"
    r"|must be 1;|must be symmetric|positive definite|from 1e-50|must be 2\*\*n|at most n|must be 0\.\."
    r"|must be unique|one more than there are contexts|must rise|must match|ends in eos"
    r"|some token must follow|not all 0|must be a number or \[T\]|half a surrogate"
)


def said(document, tmp_path):
    """What the reader says against a document; None where it reads it."""
    path = tmp_path / "document.json"
    path.write_bytes(as_json(document))
    try:
        load_given(path)
    except InstanceError as error:
        return str(error)
    return None


@pytest.mark.parametrize("name", FORMATS)
def test_schemas_are_schemas(name):
    Draft202012Validator.check_schema(schema(name))
    assert len({key.name for key in FORMATS[name].keys}) == len(FORMATS[name].keys)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: d["format"])
def test_readers_and_schemas_agree(document, tmp_path):
    """Each place of a document holds each wrong value once.

    What a schema refuses no reader reads; what a reader alone refuses, Format.beyond says in words.
    """
    validator, only_reader, both = VALIDATORS[document["format"]], 0, 0
    assert said(document, tmp_path) is None
    assert validator.is_valid(document)
    for path in places(document):
        if "meta" in path:
            continue  # free data
        for wrong in WRONG:
            if isinstance(wrong, float) and not math.isfinite(wrong):
                continue  # no JSON
            changed = replaced(document, path, wrong)
            fits, against = validator.is_valid(changed), said(changed, tmp_path)
            assert fits or against is not None, (
                f"{path} = {wrong!r}: read, and refused by the schema"
            )
            if fits and against is not None:
                assert BEYOND.search(against), against
                only_reader += 1
            both += not fits and against is not None
    assert both > 5 * only_reader  # most that is wrong a schema sees


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: d["format"])
def test_keys_that_are_missing_or_unknown(document, tmp_path):
    validator = VALIDATORS[document["format"]]
    for key in document:
        without = {k: v for k, v in document.items() if k != key}
        assert validator.is_valid(without) == (said(without, tmp_path) is None), key
    more = document | {"colour": 1}
    assert not validator.is_valid(more)
    assert said(more, tmp_path)


@pytest.mark.parametrize("name", [f.name for f in FORMATS.values() if f.example])
def test_examples_are_written_and_read_again(name, tmp_path):
    path = tmp_path / "example.json"
    more = ["--witness"] if name == "soup-witness/1" else []
    assert run("instance", FORMATS[name].example, "--out", path, *more).exit_code == 0
    written = json.loads(path.read_text(encoding="utf-8"))
    VALIDATORS[name].validate(written)
    assert written["format"] == name
    given = load_given(path)
    again = given.as_dict() if name == "soup-witness/1" else given.fields()
    assert to_plain(again) == written


def test_what_commands_write_fits(tmp_path):
    path, ledger = tmp_path / "w.json", tmp_path / "ledger.jsonl"
    run("instance", "kl-natural", "--out", path)
    assert run("verify", path, "--claims", "ss.thm1.*,ex.eq19", "--json", ledger).exit_code == 0
    lines = ledger.read_text(encoding="utf-8").splitlines()
    assert len(lines) > 10
    for line in lines:
        VALIDATORS["ledger"].validate(json.loads(line))
    solved = json.loads(run("solve", path, "--json", "-").stdout)
    VALIDATORS["solve"].validate(solved)


def test_the_schema_command(tmp_path):
    printed = run("schema", "token-mdp/1")
    assert json.loads(printed.stdout) == schema("token-mdp/1")
    run("schema", "topic-cloud/1", "--out", tmp_path / "s.json")
    assert json.loads((tmp_path / "s.json").read_text()) == schema("topic-cloud/1")
    assert all(name in run("schema").stdout for name in FORMATS)
    assert run("schema", "token-mdp/2").exit_code == 2
