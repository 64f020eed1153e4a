"""Measures of many answers, a chunk at a time: a killed run goes on after its last finished chunk.

A chunk is a batch of answers; finished, it is one line of a file, and a later run with the same
inputs goes on after it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from bounds.runs.progress import OnProgress, silent
from toymdp import InstanceError
from toymdp.files import read_bytes, write_whole
from toymdp.lines import row_of
from toymdp.validators import integer

from ..answers import Answer
from ..backend import filelock, torch
from ..bank import Bank
from .soups import SoupSettings
from .stream import Chunk, rounding_unit, stream
from .totals import Tally, tally_of

FORMAT = "soupcheck-llm-chunks/2"


def fingerprint(bank: Bank, answers: Sequence[Answer], settings: SoupSettings) -> str:
    """SHA-256 of what the numbers depend on: adapters, answers, soups, temperatures, the kind of device."""
    digest = hashlib.sha256()
    for name, value in sorted(bank.model.named_parameters()):
        if ".lora_" in name or "norm" in name:
            digest.update(name.encode())
            digest.update(value.detach().cpu().float().numpy().tobytes())
    digest.update(json.dumps([(answer.ids, answer.begin) for answer in answers]).encode())
    digest.update(settings.lams.tobytes())
    digest.update(
        repr(
            (
                bank.policies,
                settings.names,
                settings.beta,
                settings.beta_prime,
                bank.device.type,
            )
        ).encode()
    )
    return digest.hexdigest()


class ChunkFile:
    """Finished chunks as JSON Lines: a header that names the run, then one line each.

    Raises InstanceError if the file belongs to another run.
    """

    def __init__(self, path: Path, run: str):
        self.path = path
        header = json.dumps({"format": FORMAT, "run": run})
        rows = _finished(path, header) if path.exists() else {}
        self.finished = {n: Tally.from_dict(row["tally"]) for n, row in rows.items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [header, *map(json.dumps, rows.values())]
        write_whole(path, "".join(line + "\n" for line in lines).encode())

    def write(self, number: int, tally: Tally, tokens: list[dict[str, Any]]) -> None:
        """Append one finished chunk."""
        row = {"chunk": number, "tally": tally.as_dict(), "tokens": tokens}
        with self.path.open("a", encoding="utf-8", newline="\n") as file:
            file.write(json.dumps(row) + "\n")


def _finished(path: Path, header: str) -> dict[int, dict[str, Any]]:
    """The lines of finished chunks by their number. Raises InstanceError for another run's file.

    What follows the last line break is the line that a killed run was writing.
    """
    first, *rest = read_bytes(path, (b"{",)).split(b"\n")
    if first != header.encode() and (rest or not header.encode().startswith(first)):
        raise InstanceError.of(
            "chunks", str(path), "belongs to another run", "delete it or name another file"
        )
    rows = {}
    for number, line in enumerate(rest[:-1], 2):
        place = f"{path}, line {number}"
        row = row_of(line, place)
        try:
            n = integer("chunk", row.get("chunk"), 0)
            Tally.from_dict(row.get("tally"))
        except InstanceError as error:
            raise InstanceError(f"{place}: {error}") from None
        if n in rows:
            raise InstanceError.of(f"{place}: chunk", n, "given twice", "drop the line")
        rows[n] = row
    return rows


@contextmanager
def exclusive_path(path: Path) -> Iterator[Path]:
    """The path while no other run works on it, else a path of this run alone, never resumed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(f"{path}.lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        yield path.with_name(f"{path.stem}-{os.getpid()}{path.suffix}")
        return
    try:
        yield path
    finally:
        lock.release()


def token_records(chunk: Chunk, answers: Sequence[Answer], first: int) -> list[dict[str, Any]]:
    """One record for each state of a chunk: Δ_k, D₂, extremes, KLs, spans in nats.

    answers: of the whole run; the chunk's rows count from the answer number ``first``.
    """
    of = chunk.measures
    return [
        {
            "sequence": row, "token": place, "id": answers[row].ids[place + 1],
            "log_upper": of.log_upper[:, n].tolist(), "log_lower": of.log_lower[:, n].tolist(),
            "delta": of.delta[:, n].tolist(), "renyi": of.renyi[:, n].tolist(),
            "kl": of.kl[:, :, n].tolist(), "span": of.span[:, n].tolist(),
        }
        for n, (row, place) in enumerate(
            zip((chunk.row + first).tolist(), chunk.place.tolist(), strict=True)
        )
    ]  # fmt: skip


def tally_answers(
    bank: Bank,
    answers: Sequence[Answer],
    settings: SoupSettings,
    *,
    precision: Any = torch.float32,
    batch: int | None = None,
    chunks: Path | None = None,
    tokens: bool = False,
    on_progress: OnProgress = silent,
) -> Tally:
    """Measure every state of the answers; with ``chunks``, resumable. Constant memory.

    tokens: also write one record for each state into the chunk file. batch: answers of a chunk.
    """
    batch = batch or bank.at_once
    if not answers:
        raise InstanceError.of("prompts", 0, "there is nothing to measure", "check the file")
    file = ChunkFile(chunks, fingerprint(bank, answers, settings)) if chunks is not None else None
    eps = rounding_unit(bank, precision)
    total = Tally()
    for number, start in enumerate(range(0, len(answers), batch)):
        part = answers[start : start + batch]
        if file is not None and number in file.finished:
            total.add(file.finished[number])
        else:
            tally, records = Tally(), list[dict[str, Any]]()
            for chunk in stream(bank, part, settings.weights, precision=precision, batch=batch):
                row, place = (np.asarray(x.cpu()) for x in (chunk.row, chunk.place))
                tally.add(
                    tally_of(
                        chunk.measures, row + start, place, settings, bank.bespoke is not None, eps
                    )
                )
                if tokens and file is not None:
                    records += token_records(chunk, answers, start)
            if file is not None:
                file.write(number, tally, records)
            total.add(tally)
        on_progress("measuring answers", start + len(part), len(answers))
    return total
