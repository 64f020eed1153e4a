"""Coverage-guided fuzzing of every reader, with atheris (``pip install atheris``; no test needs it).

    python tests/benchmarks/fuzz_readers.py json --inputs 100000 --seed 1

A reader may accept an input or refuse it in one line; anything else is a find, as is whatever takes
over a second or much memory. One line at the end counts inputs and finds; the inputs of finds are
kept in the folder of ``--finds``.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from types import FunctionType, ModuleType

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

import atheris  # noqa: E402
from fuzz_targets import READERS, Reader  # noqa: E402

SLOW = 1.0  # seconds
GROWTH = 2**18  # KiB of memory by which one input may raise what the process ever held


def instrument(modules: Sequence[ModuleType]) -> None:
    """Let the branches that these modules' functions and methods take guide the search."""
    for module in modules:
        held = list(vars(module).values())
        held += [v for kind in held if isinstance(kind, type) for v in vars(kind).values()]
        for function in held:
            function = getattr(function, "__func__", function)  # of a class method
            if isinstance(function, FunctionType) and function.__module__ == module.__name__:
                atheris.instrument_func(function)


@contextlib.contextmanager
def silent_output() -> Iterator[None]:
    """Nothing of what the engine prints; it writes to the descriptor itself."""
    kept = os.dup(2)
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)


class Session:
    """One reader, the inputs it was given and what they did."""

    def __init__(self, reader: Reader, inputs: int, folder: Path, finds: Path) -> None:
        self.reader, self.inputs, self.folder, self.finds = reader, inputs, folder, finds
        self.path = folder / f"input{reader.suffix}"
        self.outcomes: Counter[str] = Counter()
        self.escapes: Counter[str] = Counter()
        self.slowest, self.most, self.began = 0.0, 0, time.perf_counter()

    def look(self, content: bytes) -> None:
        """Give the reader one input."""
        self.path.write_bytes(content)
        began = time.perf_counter()
        try:
            self.outcomes["accepted" if self.reader.read(self.path) else "refused"] += 1
        except Exception as error:  # what this program looks for
            where = traceback.extract_tb(error.__traceback__)[-1]
            kind = f"{type(error).__name__} at {Path(where.filename).name}:{where.lineno}"
            self.note(kind, content, traceback.format_exc())
        took = time.perf_counter() - began
        self.slowest = max(self.slowest, took)
        if took > SLOW:
            self.note(f"slow: {took:.0f} s", content)
        self.weigh(content)
        if self.outcomes.total() + self.escapes.total() >= self.inputs:
            self.end()

    def weigh(self, content: bytes) -> None:
        """Note an input that raised the most memory that the process ever held."""
        import resource

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        if self.most and most > self.most + GROWTH:
            self.note(f"memory: {(most - self.most) // 2**10} MiB", content)
        self.most = max(most, self.most)

    def note(self, kind: str, content: bytes, trace: str = "") -> None:
        """Count a find and keep the first input of its kind."""
        self.escapes[kind] += 1
        if self.escapes[kind] == 1:
            name = "".join(c if c.isalnum() else "-" for c in f"{self.reader.name} {kind}")
            self.finds.mkdir(parents=True, exist_ok=True)
            (self.finds / f"{name}{self.reader.suffix}").write_bytes(content)
            if trace:
                (self.finds / f"{name}.txt").write_text(trace, encoding="utf-8")

    def end(self) -> None:
        """Say what was seen, and stop the engine, which knows no other way to."""
        seconds = time.perf_counter() - self.began
        print(
            f"{self.reader.name}: {self.inputs} inputs in {seconds:.0f} s "
            f"({self.inputs / seconds:.0f} a second), {dict(self.outcomes)}, "
            f"slowest {self.slowest:.2f} s, {self.most // 2**10} MiB, "
            f"finds {dict(self.escapes) or 'none'}",
            flush=True,
        )
        os._exit(1 if self.escapes else 0)


def main() -> None:
    """Fuzz one reader."""
    parser = argparse.ArgumentParser(description="Fuzz one reader.")
    parser.add_argument("reader", choices=sorted(READERS))
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--finds", type=Path, default=Path("fuzz-finds"))
    parser.add_argument("--work", type=Path, required=True, help="an empty folder, best in memory")
    asked = parser.parse_args()
    reader = READERS[asked.reader]()
    asked.work.mkdir(parents=True, exist_ok=True)
    seeds = asked.work / "seeds"
    seeds.mkdir(exist_ok=True)
    for i, content in enumerate(reader.seeds):
        (seeds / str(i)).write_bytes(content)
    session = Session(reader, asked.inputs, asked.work, asked.finds)
    warnings.simplefilter("error")  # a warning is a second line on somebody's screen
    for content in reader.seeds:  # what is slow the first time only: imports, compiled kernels
        session.path.write_bytes(content)
        assert reader.read(session.path), f"{reader.name}: a seed is refused"
    instrument(reader.modules)

    def mutate(content: bytes, most: int, seed: int) -> bytes:
        rng = Random(seed)
        if rng.random() < 0.5:  # what guides the search is broken in ever more ways
            content = rng.choice(reader.seeds)
        changed = reader.mutate(content, rng, lambda part: atheris.Mutate(part, most))
        return changed[:most]

    options = [
        f"-seed={asked.seed}", "-mutate_depth=2", "-max_len=16384", "-timeout=60",
        "-rss_limit_mb=6000",
    ]  # fmt: skip
    with silent_output():
        atheris.Setup(
            [sys.argv[0], *options, f"-artifact_prefix={asked.work}/", str(seeds)],
            session.look, custom_mutator=mutate,
        )  # fmt: skip
        atheris.Fuzz()


if __name__ == "__main__":
    main()
