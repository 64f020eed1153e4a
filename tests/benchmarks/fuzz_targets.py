"""What ``fuzz_readers.py`` fuzzes: each reader with its seeds, how they are changed, what is watched."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from random import Random
from types import ModuleType

import hostile_files as hostile

from toymdp.errors import MOST_SAID

Mutate = Callable[[bytes], bytes]  # the engine's own changes: bits, cuts, crossed inputs
CELLS = ("nan", "inf", "-0", "1e400", "1_0", "0x1", '"', '""', "\x00", "1;0", " 1 ", "١", "")


@dataclass(frozen=True)
class Reader:
    """A reader: read(path) is whether it accepts; whatever it raises is a find."""

    name: str
    suffix: str
    read: Callable[[Path], bool]
    seeds: Sequence[bytes]
    mutate: Callable[[bytes, Random, Mutate], bytes]
    modules: Sequence[ModuleType]


def refusing(mistake: type[Exception], read: Callable[[Path], object]) -> Callable[[Path], bool]:
    """Whether a reader accepts a file; if it refuses, it must do so in one line."""

    def accepts(path: Path) -> bool:
        try:
            read(path)
        except mistake as error:
            said = str(error)
            assert said.strip(), "says nothing"
            assert len(said.splitlines()) == 1, "several lines"
            assert len(said) <= MOST_SAID, "a line without end"
            return False
        return True

    return accepts


def mild(value: object, rng: Random) -> object:
    """Another value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + rng.choice((-1, 1, 1, 2))
    if isinstance(value, float):
        return value * rng.choice((0.0, -1.0, 0.5, 2.0, 1e-40, 1e40, 1 + 2**-52))
    if isinstance(value, str):
        return value + rng.choice(("", "x", "\u2028", "\x1b", "\U0001f600"))
    if isinstance(value, list):
        return rng.choice((value[::-1], value * 2, value[:-1]))
    return value


def change_json(content: bytes, rng: Random, mutate: Mutate) -> bytes:
    """Another value somewhere in JSON text, or other bytes."""
    if rng.random() < 0.5:
        return mutate(content)
    try:
        document = json.loads(content)
        place = rng.choice(hostile.places(document))
        value: object = rng.choice(hostile.WRONG)
        if rng.random() < 0.5:  # a fuzzer that breaks everything tests little
            value = mild(hostile.at(document, place), rng)
        return json.dumps(hostile.replaced(document, place, value)).encode()
    except (ValueError, IndexError, TypeError, AttributeError, RecursionError):
        return hostile.damaged(content, rng)


def change_lines(content: bytes, rng: Random, mutate: Mutate) -> bytes:
    """One line of JSON Lines changed, dropped or repeated."""
    lines = content.split(b"\n")
    i = rng.randrange(len(lines))
    kind = rng.random()
    if kind < 0.1:
        del lines[i]
    elif kind < 0.2:
        lines.insert(i, rng.choice(lines))
    elif kind < 0.9:
        lines[i] = change_json(lines[i], rng, mutate)
    else:
        return mutate(content)
    return b"\n".join(lines)


def change_cells(content: bytes, rng: Random, mutate: Mutate) -> bytes:
    """A cell of a CSV file changed, or other bytes."""
    if rng.random() < 0.5:
        return mutate(content)
    lines = content.split(b"\n")
    i = rng.randrange(len(lines))
    cells = lines[i].split(b",")
    cells[rng.randrange(len(cells))] = rng.choice(CELLS).encode()
    lines[i] = b",".join(cells)
    return b"\n".join(lines)


def change_archive(content: bytes, rng: Random, mutate: Mutate) -> bytes:
    """An archive with one member changed, so that its check sums are right; or other bytes."""
    kind = rng.random()
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            sizes = sum(member.file_size for member in archive.infolist())
            members = [(m.filename, archive.read(m)) for m in archive.infolist() if sizes < 2**20]
    except Exception:  # a damaged archive raises nearly everything; it is then changed as bytes
        members = []
    if not members or kind < 0.2:
        return mutate(content)
    i = rng.randrange(len(members))
    name, inside = members[i]
    if kind < 0.7:
        members[i] = (name, mutate(inside))
    elif kind < 0.8:
        members[i] = (mutate(name.encode()).decode("latin-1").replace("\x00", "") or "x", inside)
    elif kind < 0.85:
        del members[i]
    elif kind < 0.9:
        members.append(rng.choice(members))
    else:
        members[i] = (name, hostile.npy(rng.choice((0, 1.5, -1, [1], [[1.0]], "x", [True], 1e300))))
    how = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    return hostile.archive(members, how)


def _stored_witnesses() -> list[bytes]:
    folder = files("bounds") / "witnesses"
    return [p.read_bytes() for p in folder.iterdir() if p.name.endswith(".json")]


def _modules(*names: str) -> list[ModuleType]:
    return [import_module(name) for name in names]


READING = (
    "toymdp.files", "toymdp.archives", "toymdp.validators", "toymdp.arrays", "toymdp.instance",
    "toymdp.errors", "toymdp.worlds.token_mdp", "toymdp.worlds.features", "toymdp.worlds.reach",
    "toymdp.worlds.attribute_set", "toymdp.worlds.topic_cloud", "toymdp.worlds.preference_pairs",
    "bounds.records.loading", "bounds.records.witness",
)  # fmt: skip
PLAIN = [d for d in hostile.DOCUMENTS if d is not hostile.WITNESS]


def _loaded(path: Path) -> None:
    """Load a file, and load once more what it would be saved as: the same."""
    from bounds.records.loading import load_any
    from toymdp.files import parse_json, to_json

    instance = load_any(path)
    text = to_json(instance.fields())
    again = type(instance).from_fields(parse_json(text.encode(), "again"))
    assert to_json(again.fields()) == text, "saved and loaded it is another"


def json_reader() -> Reader:
    """Instances of every format, as JSON."""
    from toymdp import InstanceError

    seeds = [hostile.as_json(d) for d in PLAIN]
    return Reader(
        "json", ".json", refusing(InstanceError, _loaded), seeds, change_json, _modules(*READING)
    )


def npz_reader() -> Reader:
    """Instances of every format, as archives."""
    from toymdp import InstanceError

    seeds = [hostile.as_npz(d) for d in PLAIN]
    watched = _modules(*READING, "zipfile", "numpy.lib._format_impl")
    return Reader("npz", ".npz", refusing(InstanceError, _loaded), seeds, change_archive, watched)


def witness_reader() -> Reader:
    """Witnesses, as commands read them."""
    from bounds.records.witness import load_witness
    from toymdp import InstanceError

    seeds = [hostile.as_json(hostile.WITNESS), *_stored_witnesses()]
    accepts = refusing(InstanceError, load_witness)
    return Reader("witness", ".json", accepts, seeds, change_json, _modules(*READING))


def certificate_reader() -> Reader:
    """Witnesses, as certificates read them."""
    from bounds.certificates.instance import WitnessError, load

    seeds = [hostile.as_json(hostile.WITNESS), *_stored_witnesses()]
    watched = _modules("bounds.certificates.instance")
    return Reader("certificate", ".json", refusing(WitnessError, load), seeds, change_json, watched)


def text_reader() -> Reader:
    """Texts with labels, JSON Lines."""
    from toymdp.errors import CorpusError
    from toymdp.families.corpus_files import read_corpus

    rows = [
        {"text": f"one {i} two", "group": str(i % 7), "labels": {"a": i % 2, "b": 0.5}}
        for i in range(24)
    ]
    seeds = ["\n".join(map(json.dumps, rows)).encode()]
    watched = _modules("toymdp.files", "toymdp.families.corpus_files", "csv")
    accepts = refusing(CorpusError, lambda path: read_corpus(path, None))
    return Reader("text", ".jsonl", accepts, seeds, change_lines, watched)


def labels_reader() -> Reader:
    """Labels beside plain text, CSV."""
    from toymdp.errors import CorpusError
    from toymdp.families.corpus_files import read_corpus

    seeds = [("a,b\n" + "\n".join(f"{i % 2},0.{i}" for i in range(24))).encode()]
    texts = "\n".join(f"one {i} two" for i in range(24))

    def read(path: Path) -> object:
        text = path.with_suffix(".txt")
        if not text.exists():
            text.write_text(texts, encoding="utf-8")
        return read_corpus(text, path)

    watched = _modules("toymdp.files", "toymdp.families.corpus_files", "csv")
    return Reader("labels", ".csv", refusing(CorpusError, read), seeds, change_cells, watched)


def preferences_reader() -> Reader:
    """Pairs, scored answers and UltraFeedback rows, JSON Lines."""
    from llm_bridge.formats.read import read_preferences
    from toymdp import InstanceError

    seeds = ["\n".join(map(json.dumps, rows)).encode() for rows in hostile.PREFERENCES]
    watched = _modules("toymdp.files", "toymdp.lines", "llm_bridge.preferences")
    accepts = refusing(InstanceError, read_preferences)
    return Reader("preferences", ".jsonl", accepts, seeds, change_lines, watched)


def chunks_reader() -> Reader:
    """Finished chunks of a killed run, JSON Lines."""
    from llm_bridge.measure.chunks import ChunkFile
    from toymdp import InstanceError

    seeds = ["".join(json.dumps(row) + "\n" for row in hostile.CHUNKS).encode()]
    watched = _modules("toymdp.files", "toymdp.lines", "llm_bridge.measure.chunks",
                       "llm_bridge.measure.totals")  # fmt: skip

    def read(path: Path) -> object:
        return ChunkFile(path, "r")

    return Reader("chunks", ".jsonl", refusing(InstanceError, read), seeds, change_lines, watched)


READERS: dict[str, Callable[[], Reader]] = {
    "json": json_reader, "npz": npz_reader, "witness": witness_reader,
    "certificate": certificate_reader, "text": text_reader, "labels": labels_reader,
    "preferences": preferences_reader, "chunks": chunks_reader,
}  # fmt: skip
