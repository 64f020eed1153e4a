"""Files -> rows with their places: JSON Lines, a JSON array, CSV, Parquet, a folder of ``save_to_disk``.

Text files may be gzipped and begin with a byte-order mark. What kind a file is its content says, and
for CSV its name.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from toymdp import InstanceError
from toymdp.files import MOST_BYTES, parse_value, read_bytes
from toymdp.lines import rows_in, text_of

GZIP, PARQUET = b"\x1f\x8b", b"PAR1"
STARTS = (b"{", b"[", GZIP[:1], PARQUET[:1])
TABLES = {".csv": ",", ".tsv": "\t"}
Rows = Iterator[tuple[str, dict[str, Any]]]


def rows_of(path: Path, split: str | None = None) -> Rows:
    """The objects that a file holds and where each stands, "file, line n" or "file, row n".

    split: which part of a folder that ``save_to_disk`` wrote. Raises InstanceError.
    """
    if path.is_dir():
        return _saved_to_disk(path, split)
    if split is not None:
        raise InstanceError.of("--split", split, "only a folder has parts", "leave it out")
    suffixes = [s for s in path.suffixes if s != ".gz"]
    delimiter = TABLES.get(suffixes[-1].lower()) if suffixes else None
    data = read_bytes(path, () if delimiter else STARTS)
    if data.startswith(GZIP):
        data = _unpacked(data, path)
    if data.startswith(PARQUET):
        return _parquet(data, path)
    text = text_of(data, str(path))
    if delimiter is not None:
        return _table(text, path, delimiter)
    return _array(text, path) if text.lstrip().startswith("[") else rows_in(text, str(path))


def _unpacked(data: bytes, path: Path) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            whole = file.read(MOST_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise InstanceError(f"{path}: is no whole gzip file ({error}); pack it anew") from None
    if len(whole) > MOST_BYTES:
        raise InstanceError(
            f"{path}: unpacks to more than {MOST_BYTES // 2**20} MiB; give a smaller file"
        )
    return whole


def _array(text: str, path: Path) -> Rows:
    """Entry by entry, so that a message can say on which line one begins."""
    decoder, at, line = json.JSONDecoder(), text.index("[") + 1, 1
    counted = 0
    while True:
        while at < len(text) and text[at] in " \t\r\n,":
            at += 1
        line, counted = line + text.count("\n", counted, at), at
        place = f"{path}, line {line}"
        if at >= len(text):
            raise InstanceError(f"{place}: the array does not end; is the file truncated?")
        if text[at] == "]":
            if text[at + 1 :].strip():
                raise InstanceError(f"{place}: something follows the array; give one array a file")
            return
        try:
            _, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            end = len(text)  # what is wrong with it the reader of values says
        yield place, _object(parse_value(text[at:end].encode(), place), place)
        at = end


def _object(value: Any, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InstanceError(f"{place}: holds a {type(value).__name__}, not an object; see README")
    return value


def _table(text: str, path: Path, delimiter: str) -> Rows:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    csv.field_size_limit(MOST_BYTES)
    names: list[str] | None = None
    while True:
        place = f"{path}, line {reader.line_num + 1}"
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise InstanceError(
                f"{place}: not CSV ({error}); quote cells with line breaks"
            ) from None
        if cells is None:
            return
        if names is None:
            names = [cell.strip() for cell in cells]
            if len({*names}) < len(names):
                raise InstanceError.of(
                    f"{place}: header", names, "names a column twice", "rename one"
                )
        elif cells:
            if len(cells) != len(names):
                rule = f"must have {len(names)} cells, as the header has"
                raise InstanceError.of(
                    f"{place}: cells", len(cells), rule, "quote cells with commas"
                )
            yield place, dict(zip(names, cells, strict=True))


def _parquet(data: bytes, path: Path) -> Rows:
    import pyarrow.parquet

    number = 0
    try:
        for batch in pyarrow.parquet.ParquetFile(io.BytesIO(data)).iter_batches():
            for row in batch.to_pylist():
                number += 1
                yield f"{path}, row {number}", row
    except (pyarrow.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise InstanceError(f"{path}: is no whole Parquet file ({reason}); save it anew") from None


def _saved_to_disk(path: Path, split: str | None) -> Rows:
    import datasets

    if not any((path / name).is_file() for name in ("state.json", "dataset_dict.json")):
        raise InstanceError.of(
            "data", str(path), "is no folder of save_to_disk", "name a file in it"
        )
    try:
        held = datasets.load_from_disk(str(path))
    except Exception as error:  # of a damaged folder datasets raises nearly everything
        reason = (str(error).splitlines() or [repr(error)])[0]
        raise InstanceError(f"{path}: cannot be read ({reason}); save it anew") from None
    parts = dict(held) if isinstance(held, datasets.DatasetDict) else {"": held}
    name = next(iter(parts)) if split is None and len(parts) == 1 else split
    if name not in parts:
        raise InstanceError.of(
            "--split", split, "is no part of it", f"name one of {[*map(str, parts)]}"
        )
    for number, row in enumerate(parts[name], 1):
        yield f"{path}{'/' * bool(name)}{name}, row {number}", row
