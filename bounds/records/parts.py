"""Parts: what a task of a sweep gives, as the bytes of one Parquet file.

``soup-sweep/1``: a row for each claim on each instance. Parameters of the families have a column each,
``p_NAME``, null where they were left to the seed. ``ratio`` is null unless the sides are told apart;
``seconds`` is the CPU time of the whole instance, and the one column that two runs do not share.

``soup-experiment/1``: a row for each record of an experiment, whole as JSON in ``record``, and beside it
in columns what one groups and averages by.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toymdp.errors import InstanceError
from toymdp.extras import install
from toymdp.families.options import options_of
from toymdp.kinds import ALL_FAMILIES

from .output import Record, dump, versions

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT, EXPERIMENT_FORMAT = "soup-sweep/1", "soup-experiment/1"
MARK, NO_DIGEST = "sha256 of this file with these digits 0: ", "0" * 64
PARAMETERS: dict[str, type] = {
    name: kind for make in ALL_FAMILIES.values() for name, kind in options_of(make).items()
}
FLOATS = ("lhs", "rhs", "slack", "error", "ratio")
WORDS = (
    "task", "family", "instance", "claim", "status", "kind", "verdict", "lambda_name", "evidence",
    "reason",
)  # fmt: skip
# what repeats within a part: the rest is numbers that differ
REPEATED = (
    *WORDS, "sha256", "seed", "steps.list.element", "lambda.list.element", "terms.key_value.key",
    "where.key_value.key", "rhs", "seconds", *(f"p_{name}" for name in PARAMETERS),
)  # fmt: skip


class DamagedPartError(ValueError):
    """A file that is not, or not any more, the part that its name says."""


def require_pyarrow() -> None:
    """Raise InstanceError, with the remedy, where sweeps have no library to write with."""
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        rule = "writes Parquet, for which pyarrow is not installed"
        raise InstanceError(f"sweep: {rule}; {install('sweep')}") from None


def schema() -> pa.Schema:
    """The columns of ``soup-sweep/1``."""
    import pyarrow as pa

    word, number = pa.dictionary(pa.int32(), pa.string()), pa.float64()
    sizes = {int: pa.int32(), float: number}
    columns = {
        "task": word, "family": word,
        **{f"p_{name}": sizes[PARAMETERS[name]] for name in sorted(PARAMETERS)},
        "seed": pa.int64(), "steps": pa.list_(pa.int64()), "instance": word, "sha256": pa.binary(32),
        "claim": word, "status": word, "kind": word, "verdict": word,
        **dict.fromkeys(FLOATS, number),
        "lambda": pa.list_(number), "lambda_name": word, "evidence": word, "reason": word,
        "terms": pa.map_(pa.string(), number), "where": pa.map_(pa.string(), pa.int64()),
        "seconds": pa.float32(),
    }  # fmt: skip
    return pa.schema(columns, {"format": FORMAT})


def part_of(task: str, rows: Sequence[Mapping[str, Any]]) -> bytes:
    """The bytes of a part: the same rows give the same bytes.

    task: the id. rows: by column; what is missing is null, ``sha256`` is in hexadecimal.
    """
    import pyarrow as pa

    shape = schema()
    columns = []
    for field in shape:
        values: Iterable[Any] = [row.get(field.name) for row in rows]
        if field.name == "task":
            values = [task] * len(rows)
        elif field.name == "sha256":
            values = [None if x is None else bytes.fromhex(x) for x in values]
        elif pa.types.is_map(field.type):
            values = [None if not x else list(x.items()) for x in values]
        columns.append(pa.array(values, field.type))
    return bytes_of([pa.Table.from_arrays(columns, schema=shape)], shape, {"task": task})


def records_part(task: str, records: Sequence[Record]) -> bytes:
    """The bytes of a part of an experiment."""
    import pyarrow as pa

    word, number, size = pa.dictionary(pa.int32(), pa.string()), pa.float64(), pa.int32()
    columns = {
        **dict.fromkeys(("task", "experiment", "domain", "method", "variant", "prompts", "status"), word),
        **dict.fromkeys(("seed", "user", "pairs"), size),
        **dict.fromkeys(("share", "value", "regret", "accuracy", "seconds"), number),
        "record": pa.string(),
    }  # fmt: skip
    rows = [{**r, "task": task, "record": dump(r)} for r in records]
    shape = pa.schema(columns, {"format": EXPERIMENT_FORMAT})
    table = pa.table(
        {k: pa.array([row.get(k) for row in rows], kind) for k, kind in columns.items()},
        schema=shape,
    )
    return bytes_of([table], shape, {"task": task})


def records_of(table: pa.Table) -> list[Record]:
    """The records of an experiment's part, as they were."""
    return [json.loads(text) for text in table["record"].to_pylist()]


def bytes_of(tables: Iterable[pa.Table], shape: pa.Schema, about: Mapping[str, str]) -> bytes:
    """Tables, a row group each and none of them kept, as a Parquet file that holds its own SHA-256.

    shape: their schema, of which format. about: goes into the file's metadata.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    metadata = {
        **{k.decode(): v.decode() for k, v in (shape.metadata or {}).items()},
        "versions": json.dumps(versions()), "digest": f"{MARK}{NO_DIGEST}", **about,
    }  # fmt: skip
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(
        sink, shape.with_metadata(metadata), compression="zstd", compression_level=9,
        write_statistics=["seed"], use_dictionary=list(REPEATED),
    ) as writer:  # fmt: skip
        for table in tables:
            writer.write_table(table.replace_schema_metadata(metadata))
    return _signed(bytes(sink.getvalue()))


def _signed(content: bytes) -> bytes:
    """The file with its digest in the place that is kept for it: the checksums of Parquet's pages
    know nothing of the footer, in which a turned bit can change what is read.
    """
    at = content.rindex(MARK.encode()) + len(MARK)
    blank = content[:at] + NO_DIGEST.encode() + content[at + len(NO_DIGEST) :]
    digest = hashlib.sha256(blank).hexdigest().encode()
    return content[:at] + digest + content[at + len(digest) :]


def read_part(
    path: Path, task: str | None = None, columns: Sequence[str] | None = None
) -> pa.Table:
    """The table of a part, every byte checked; task: the id that it must be of.

    Raises DamagedPartError for a file that is truncated, changed, or no such part.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        content = path.read_bytes()
        if _signed(content) != content:
            raise ValueError("its bytes are not those that were written")
        with pq.ParquetFile(io.BytesIO(content)) as file:
            metadata = file.schema_arrow.metadata or {}
            table = file.read(columns=None if columns is None else list(columns))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DamagedPartError(f"{path}: {' '.join(str(error).split())}") from None
    if metadata.get(b"format", b"").decode() not in (FORMAT, EXPERIMENT_FORMAT):
        raise DamagedPartError(f"{path}: is no part of a sweep")
    if task is not None and metadata.get(b"task") != task.encode():
        raise DamagedPartError(f"{path}: is the part of another task")
    return table


def gathered(tables: Sequence[pa.Table]) -> pa.Table:
    """Tables of parts as one."""
    import pyarrow as pa

    return pa.concat_tables(tables).unify_dictionaries().combine_chunks()


def about(path: Path) -> dict[str, str]:
    """What a file says of itself. Raises DamagedPartError where it is not whole."""
    metadata = read_part(path, columns=[]).schema.metadata or {}
    return {key.decode(): value.decode() for key, value in metadata.items()}


def rows_of(table: pa.Table) -> list[Record]:
    """The rows of a part as plain values again."""
    rows: list[Record] = table.to_pylist(maps_as_pydicts="strict")
    for row in rows:
        if row.get("sha256") is not None:
            row["sha256"] = row["sha256"].hex()
    return rows
