"""Diagnostics of a bank against the bare forward passes plus logits that nothing can do without.

    python tests/benchmarks/bench_llm.py [tiny|wide|270m] [cpu|cuda]

In one process, as ratios: time of ``stream`` over that of the K + 2 backbone passes with their logits
(in the same chunks), and the memory that each number of tokens takes beyond the weights.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from llm_bridge.answers import Answer
from llm_bridge.bank import Bank, pad
from llm_bridge.loading import add_adapters
from llm_bridge.measure.stream import stream
from llm_bridge.training.adapter import Recipe
from llm_bridge.training.pretrain import Shape, small_gemma

SHAPES = {
    "tiny": Shape(),
    # Gemma's vocabulary on a narrow body: what the measures cost beside the output layer
    "wide": Shape(vocab=262_208, width=128, inner=384, layers=4, heads=4, head_width=32),
    "270m": Shape(
        vocab=262_208, width=640, inner=2048, layers=18, heads=4, head_width=256, window=512,
        context=2048, pattern=6,
    ),
}  # fmt: skip
SPECIALISTS = 8


def bank_of(name: str, device: str) -> Bank:
    """A Gemma-3 of that shape with random weights, K = 8 random adapters and a bespoke one."""
    model = small_gemma(SHAPES[name], 0).to(device)
    names = [f"k{k}" for k in range(SPECIALISTS)]
    bank = add_adapters(model, names, Recipe(rank=8).lora(model), bespoke="user", name=name)
    for key, p in bank.model.named_parameters():
        if "lora_" in key:
            p.data = 0.02 * torch.randn_like(p)
    return bank


def timed(run: Callable[[], object], device: str, repeats: int = 2) -> float:
    """Least seconds over a few runs: the device's queue emptied, or on a CPU the processor's time."""
    clock = time.perf_counter if device == "cuda" else time.process_time
    times = []
    for _ in range(repeats):
        began = clock()
        run()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(clock() - began)
    return min(times)


def answers_of(tokens: int, vocab: int) -> list[Answer]:
    """Random sequences of 17 tokens, 16 states each."""
    rng = np.random.default_rng(0)
    return [Answer((2, *rng.integers(3, vocab, size=16).tolist()), 1) for _ in range(tokens // 16)]


def bare(bank: Bank, answers: list[Answer]) -> None:
    """K + 2 backbone passes and all their logits, nothing else; the same chunks."""
    size = bank.states_at_once(len(bank.policies) + 1)
    for start in range(0, len(answers), 16):
        ids, mask = pad([answer.ids for answer in answers[start : start + 16]], bank.device)
        hidden = bank.hidden(ids, mask)[:, :, :-1].flatten(1, 2)
        for first in range(0, hidden.shape[1], size):
            bank.logits(hidden[:, first : first + size])


def peak(device: str) -> float:
    """Largest memory so far, MiB."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def main(name: str = "wide", device: str = "cpu") -> None:
    """Print the table of one shape."""
    bank, console = bank_of(name, device), Console()
    weights = torch.full((1, SPECIALISTS), 1.0 / SPECIALISTS, dtype=torch.float64)
    table = Table(title=f"{name}, vocabulary {bank.vocab_size}, K = {SPECIALISTS}, {device}")
    for column in ("tokens", "bare tokens/s", "diagnosed tokens/s", "ratio", "peak MiB"):
        table.add_column(column, justify="right")
    first = 16 if bank.vocab_size > 10_000 and device == "cpu" else 1024
    for tokens in (first, 4 * first):
        answers = answers_of(tokens, bank.vocab_size)

        def diagnosed(answers: list[Answer] = answers) -> None:
            for _ in stream(bank, answers, weights):
                pass

        base = timed(lambda answers=answers: bare(bank, answers), device)
        ours = timed(diagnosed, device)
        table.add_row(
            str(tokens), f"{tokens / base:.0f}", f"{tokens / ours:.0f}", f"{ours / base:.2f}",
            f"{peak(device):.0f}",
        )  # fmt: skip
    console.print(table)


if __name__ == "__main__":
    main(*sys.argv[1:])
