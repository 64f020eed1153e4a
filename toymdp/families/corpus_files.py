"""Reading a corpus: text and label files, the bundled TruthfulQA, and what they may get wrong."""

from __future__ import annotations

import csv
import gzip
import json
import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import CorpusError, InstanceError
from ..lines import read_lines, row_of
from ..validators import plain_number
from .vocabulary import FloatArray, IntArray

BUNDLED = Path(__file__).parents[1] / "corpora" / "truthfulqa.jsonl.gz"
MIN_TEXTS, MIN_GROUPS = 20, 5


@dataclass(frozen=True)
class Corpus:
    """N texts, ``groups`` [N], ``labels`` [N,K] in [0,1], the names of the K, the file's name."""

    texts: list[str]
    groups: IntArray
    labels: FloatArray
    attributes: list[str]
    source: str


def check_integer(
    field: str, value: object, least: int, most: float = math.inf, of: str = ""
) -> None:
    """Raise ``CorpusError`` unless ``value`` is an integer from ``least`` to ``most``."""
    rule = f"an integer of at least {least}{of}"
    rule += f" and at most {most}" if most < math.inf else ""
    ok = isinstance(value, int | np.integer) and bool(least <= value <= most)
    check_field(ok, field, value, rule)


def check_field(ok: bool, field: str, value: object, rule: str) -> None:
    """Raise ``CorpusError`` with the field, its value and the rule unless ``ok``."""
    if not ok:
        raise CorpusError(f"{field} = {value!r}: must be {rule}")


def text_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 file. Raises CorpusError for what is none."""
    try:
        return read_lines(path)
    except InstanceError as error:
        raise CorpusError(str(error)) from None


def label_number(value: object, place: str) -> float:
    """A label in [0,1] from a cell; ``place`` is its file, line and column."""
    try:
        number = plain_number(value) if isinstance(value, str) else float(value)  # type: ignore[arg-type]
    except (ValueError, OverflowError, TypeError):
        number = math.nan
    if not 0.0 <= number <= 1.0:
        raise CorpusError(
            f"{place}: label {value!r:.80} is not a number in [0, 1]; rescale or drop it"
        )
    return number


def read_csv(path: Path) -> tuple[list[str], list[list[float]]]:
    """The K attributes of the header and the labels, a list of K for each row."""
    reader = csv.reader(text_lines(path))
    try:
        table = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise CorpusError(
            f"{path}, line {reader.line_num}: not CSV ({error}); close its quotes"
        ) from error
    header = [name.strip() for name in table[0][1]]
    if not header or "" in header or len(set(header)) < len(header):
        raise CorpusError(f"{path}, line 1: header {header} needs one distinct name per attribute")
    rows = []
    for line, row in table[1:]:
        if not row:
            continue  # a blank line holds no labels; the count of rows tells if one is missing
        place = f"{path}, line {line}"
        if len(row) != len(header):
            raise CorpusError(f"{place}: {len(row)} cells, the header has {len(header)}; align it")
        cells = zip(row, header, strict=True)
        rows.append([label_number(cell, f"{place}, column {name!r}") for cell, name in cells])
    return header, rows


def read_jsonl(
    path: Path, with_labels: bool
) -> tuple[list[str], list[str | None], tuple[list[str], list[list[float]]]]:
    """Texts, groups (None where a row has none), and ``read_csv``'s pair from rows with labels."""
    texts: list[str] = []
    groups: list[str | None] = []
    header: list[str] = []
    rows: list[list[float]] = []
    for i, line in enumerate(text_lines(path), 1):
        place = f"{path}, line {i}"
        try:
            row = row_of(line.encode(), place)
        except InstanceError as error:
            raise CorpusError(str(error)) from None
        if not isinstance(row.get("text"), str):
            raise CorpusError(f'{place}: {line[:60]!r} needs a string field "text"; add it')
        texts.append(row["text"])
        groups.append(None if row.get("group") is None else str(row["group"]))
        if with_labels:
            cells = row.get("labels")
            header = header or list(cells if isinstance(cells, dict) else ())
            if not isinstance(cells, dict) or not header or set(cells) != set(header):
                raise CorpusError(
                    f'{place}: "labels" must be an object with the attributes of line 1 '
                    f"({header or 'none'}); complete it or give a labels CSV"
                )
            rows.append(
                [label_number(cells[name], f"{place}, attribute {name!r}") for name in header]
            )
    return texts, groups, (header, rows)


def read_corpus(text: str | Path | None, labels: str | Path | None) -> Corpus:
    """The user's corpus, or the bundled one; what the two arguments mean: ``corpus_fields``."""
    if text is None:
        check_field(labels is None, "labels", labels, "given together with text")
        rows = [json.loads(line) for line in gzip.decompress(BUNDLED.read_bytes()).splitlines()]
        flat = [(row["question"], answer) for row in rows for answer in row["answers"]]
        names = ["truthful", "informative"]
        values = np.array([[answer[name] for name in names] for _, answer in flat], dtype=float)
        texts, questions = [a["text"] for _, a in flat], [question for question, _ in flat]
        return Corpus(texts, numbered(questions), values, names, BUNDLED.name)
    path = Path(text)
    if path.suffix == ".jsonl":
        texts, groups, (names, cells) = read_jsonl(path, labels is None)
    else:
        check_field(labels is not None, "labels", labels, f"a CSV file, since {path} is plain text")
        texts = text_lines(path)
        groups = [None] * len(texts)
    if labels is not None:
        names, cells = read_csv(Path(labels))
    if len(cells) != len(texts):
        raise CorpusError(
            f"{labels}: {len(cells)} rows of labels for {len(texts)} texts in {path} (a blank line "
            "there is an empty text); give one row per text"
        )
    # Without groups, copies of one text on both sides of the split would be scored from memory.
    keys = [("text", t) if g is None else ("group", g) for t, g in zip(texts, groups, strict=True)]
    for what, have, least in (
        ("texts", len(texts), MIN_TEXTS),
        ("groups", len(set(keys)), MIN_GROUPS),
    ):
        if have < least:
            raise CorpusError(f"{path}: {have} {what}, at least {least} are needed; give more")
    return Corpus(texts, numbered(keys), np.array(cells), names, path.name)


def numbered(keys: Sequence[Hashable]) -> IntArray:
    """The keys as numbers from 0 in order of first appearance: [N]."""
    first = {key: i for i, key in enumerate(dict.fromkeys(keys))}
    return np.array([first[key] for key in keys], dtype=np.int64)
