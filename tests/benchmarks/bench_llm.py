"""Diagnostics of a bank against the bare forward passes plus logits that nothing can do without.

    python tests/benchmarks/bench_llm.py [tiny|wide|270m|1b] [cpu|cuda] [float32|bfloat16]

In one process, as ratios to the bare passes: one switch of adapters a policy, its states and logits in
large batches, nothing looked at. Ours are timed stage by stage, each with those above it: states of all
policies, logits with the check for NaN, the measures, their running sums. On a GPU the measures are also
timed by torch alone, without the kernels of measure/fused.py. Random weights, K = 8 adapters of rank 8 on
every linear layer and a bespoke one; answers of 16 tokens after one, so that nearly every token is measured
(a long prompt is cheaper).
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from unittest.mock import patch

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from llm_bridge.answers import Answer
from llm_bridge.bank import Bank, pad
from llm_bridge.forward import logits_of, states_of
from llm_bridge.loading import add_adapters
from llm_bridge.measure.chunks import tally_answers
from llm_bridge.measure.soups import SoupSettings
from llm_bridge.measure.stream import stream
from llm_bridge.training.adapter import Recipe
from llm_bridge.training.pretrain import Shape, small_gemma

GEMMA = {
    "vocab": 262_144,
    "heads": 4,
    "head_width": 256,
    "window": 512,
    "context": 2048,
    "pattern": 6,
}
SHAPES = {
    "tiny": Shape(),
    # Gemma's vocabulary on a narrow body: what the measures cost beside the output layer
    "wide": Shape(vocab=262_144, width=128, inner=384, layers=4, heads=4, head_width=32),
    "270m": Shape(width=640, inner=2048, layers=18, **GEMMA),
    "1b": Shape(width=1152, inner=6912, layers=26, **GEMMA),
}
SPECIALISTS, LENGTH = 8, 16
FUSED = "llm_bridge.measure.measures._fused"


def bank_of(name: str, device: str, dtype: str = "float32", specialists: int = SPECIALISTS) -> Bank:
    """A Gemma-3 of that shape with random weights, random adapters and a bespoke one."""
    with torch.device(device):
        model = small_gemma(SHAPES[name], 0).to(getattr(torch, dtype))
        names = [f"k{k}" for k in range(specialists)]
        bank = add_adapters(model, names, Recipe(rank=8).lora(model), bespoke="user", name=name)
        for key, p in bank.model.named_parameters():
            if "lora_" in key:
                p.data = 0.02 * torch.randn_like(p)
    return bank


def timed(run: Callable[[], object], device: str, repeats: int = 2) -> tuple[float, float]:
    """Seconds of the first run and the least of some more: the device's queue emptied, or CPU time."""
    clock = time.perf_counter if device == "cuda" else time.process_time
    times = []
    for _ in range(repeats + 1):
        began = clock()
        run()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(clock() - began)
    return times[0], min(times[1:])


def answers_of(tokens: int, vocab: int) -> list[Answer]:
    """Random sequences with 16 states each."""
    rng = np.random.default_rng(0)
    return [
        Answer((2, *rng.integers(3, vocab, size=LENGTH).tolist()), 1)
        for _ in range(tokens // LENGTH)
    ]


@torch.no_grad()
def bare(bank: Bank, answers: list[Answer]) -> None:
    """States and logits of every policy and nothing else: what a loop over policies would take."""
    batches = [
        pad([a.ids for a in answers[start : start + bank.at_once]], bank.device)
        for start in range(0, len(answers), bank.at_once)
    ]
    for policy in bank.policies:
        with bank.using(policy) as base:
            for ids, mask in batches:
                logits_of(base, states_of(base, ids, mask)[:, :-1].flatten(0, 1))


def parts(bank: Bank, answers: list[Answer], *, logits: bool) -> None:
    """The first one or two stages of ours: states of every policy, and their logits by chunks."""
    size = bank.states_at_once(len(bank.policies) + 1)
    for start in range(0, len(answers), bank.at_once):
        ids, mask = pad([a.ids for a in answers[start : start + bank.at_once]], bank.device)
        hidden = bank.hidden(ids, mask)[:, :, :-1].flatten(1, 2)
        for first in range(0, hidden.shape[1] if logits else 0, size):
            bank.logits(hidden[:, first : first + size])


def peak(device: str) -> float:
    """Largest memory so far, MiB."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def main(
    name: str = "wide", device: str = "cpu", dtype: str = "float32", tokens: int | None = None
) -> None:
    """Print the table of one shape."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    bank = bank_of(name, device, dtype)
    settings = SoupSettings(("even",), np.full((1, SPECIALISTS), 1 / SPECIALISTS), 1.0, 1.0)
    if tokens is None:
        tokens = 4096 if device == "cuda" else 64 if bank.vocab_size > 10_000 else 4096
    answers, weights = answers_of(tokens, bank.vocab_size), settings.weights

    def measured() -> None:
        for _ in stream(bank, answers, weights):
            pass

    stages: dict[str, Callable[[], object]] = {
        "bare passes": lambda: bare(bank, answers),
        "states": lambda: parts(bank, answers, logits=False),
        "+ logits": lambda: parts(bank, answers, logits=True),
        "+ measures": measured,
        "+ sums: the whole pass": lambda: tally_answers(bank, answers, settings),
    }
    if device == "cuda":
        with patch(FUSED, lambda z, precision: False):
            plain = timed(measured, device, 1)
    title = (
        f"{name}: {bank.vocab_size} tokens, K = {SPECIALISTS}, {tokens} states, {device}, {dtype}"
    )
    table = Table(title=title)
    for column in ("stage", "seconds", "states/s", "ratio to bare", "first run, s"):
        table.add_column(column, justify="left" if column == "stage" else "right")
    found = {stage: timed(run, device) for stage, run in stages.items()}
    if device == "cuda":
        found["measures by torch alone"] = plain
    base = found["bare passes"][1]
    for stage, (first, least) in found.items():
        table.add_row(
            stage, f"{least:.3f}", f"{tokens / least:.0f}", f"{least / base:.2f}", f"{first:.1f}"
        )
    console = Console(width=110)
    console.print(table)
    console.print(
        f"peak {peak(device):.0f} MiB; {bank.states_at_once(len(bank.policies) + 1)} states at once"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
