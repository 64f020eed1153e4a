"""The bridge on a GPU: the same numbers as on a CPU, every command, and its time beside bare passes.

    python tests/benchmarks/llm_device.py [cuda|cpu] [--small]

1. the bundled bank on both devices: every measure token by token (float32 and float64), log-ratios of
   answers, λ fitted from pairs, a whole diagnosis; drawn answers differ, since each device draws its own;
2. the soup drawn token by token, explicitly and by rejection from the reference, against the soup's law
   (χ²), on the bundled bank; both at Gemma's vocabulary, with times;
3. every command with ``--device``;
4. the kernels of the measuring passes: time and error of each way to run them;
5. measures beside bare forward passes at the shapes of Gemma-3 270M and 1B (``bench_llm.py``).

What fails is printed with its traceback, the rest goes on, and the exit code is 1. On one H100 or H200 it
takes four minutes; ``--small`` (tiny shapes) runs anywhere. Without installing the package:
``PYTHONPATH=.`` from the root of the repository.
"""

from __future__ import annotations

import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any
from unittest.mock import patch

import bench_llm
import numpy as np
import peft
import torch
import transformers
from rich.console import Console
from rich.table import Table
from scipy.stats import chi2
from typer.main import get_command

from llm_bridge.answers import answer_log_ratios
from llm_bridge.bank import Bank
from llm_bridge.commands.llm import llm
from llm_bridge.decoding import generate
from llm_bridge.measure.diagnosis import Effort, answers_of, diagnose_bank
from llm_bridge.measure.measures import SLICE, Measures, measure
from llm_bridge.measure.soups import LogitMixture, SoupSettings, mix
from llm_bridge.measure.stream import stream
from llm_bridge.methods.implicit import Implicit
from llm_bridge.methods.weights import deltas_of, fit_batch, prior
from llm_bridge.preferences import pairs_of, question_prompt, truthfulqa
from llm_bridge.training.default_bank import USER_WEIGHTS, load_default

CONSOLE = Console(width=110)
BETA = 0.2
MOST = 250.0  # seconds after which nothing new is begun
# what the devices may differ by: sums of thousands of rounded products, and no more
ALLOWED = {torch.float32: 2e-3, torch.float64: 1e-10}


def settings_of(K: int) -> SoupSettings:
    """One soup inside the budget and one outside it."""
    lams = np.stack([np.full(K, 1 / K), np.linspace(1.0, -0.5, K)])
    return SoupSettings(("even", "signed"), lams, BETA, BETA)


def table_of(title: str, *columns: str) -> Table:
    """An empty table whose first column is text."""
    table = Table(title=title)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    return table


def machine(device: str) -> None:
    """Versions and the device."""
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    CONSOLE.print(
        f"{name}; torch {torch.__version__}, transformers {transformers.__version__}, peft "
        f"{peft.__version__}; float32 products: {torch.get_float32_matmul_precision()}; fused passes "
        f"beyond {SLICE} tokens"
    )


def same_measures(banks: dict[str, Bank], precision: Any) -> None:
    """The bundled bank's measures of real answers on both devices."""
    answers = answers_of(banks["cpu"], truthfulqa("test"), 40, 0)
    settings = settings_of(len(banks["cpu"].names))
    found: dict[str, dict[str, torch.Tensor]] = {}
    for place, bank in banks.items():
        parts = list(stream(bank, answers, settings.weights, precision=precision, batch=16))
        found[place] = {
            f.name: sum(getattr(c.measures, f.name).double().cpu() for c in parts)
            if f.name == "gram"
            else torch.cat([getattr(c.measures, f.name).double().cpu() for c in parts], dim=-1)
            for f in fields(Measures)
        }
    states = found["cpu"]["scale"].shape[0]
    title = f"measures of {states} states, bundled bank, {precision}: CPU and device"
    table, worst = table_of(title, "measure", "largest", "largest difference"), 0.0
    for name, values in found["cpu"].items():
        apart = float((values - found["device"][name]).abs().max())
        size = float(values.abs().max())
        worst = max(worst, apart / (1.0 + size))
        table.add_row(name, f"{size:.3g}", f"{apart:.2e}")
    CONSOLE.print(table)
    if not worst <= ALLOWED[precision]:
        raise AssertionError(f"devices differ by {worst:.2e} of what is measured")


def same_fits(banks: dict[str, Bank]) -> None:
    """Log-ratios of answers, λ from pairs, and a whole diagnosis."""
    pairs = pairs_of(truthfulqa("train").standardised(), USER_WEIGHTS, per_prompt=1, seed=0)[:60]
    answers = answers_of(banks["cpu"], truthfulqa("test"), 24, 0)
    rows: dict[str, list[Any]] = {}
    reports: dict[str, dict[str, Any]] = {}
    seconds = {}
    for place, bank in banks.items():
        ratios = np.asarray(answer_log_ratios(bank, answers), dtype=float)
        deltas = deltas_of(bank, pairs, BETA)
        lam = fit_batch(deltas, np.ones(len(deltas)), *prior(len(bank.names), 100.0)).mean
        began = time.perf_counter()
        effort = Effort(fit_states=32, window_states=16, prompts=24, rollouts=2, tokens=24)
        reports[place] = diagnose_bank(bank, answers, settings_of(len(bank.names)), effort=effort)
        seconds[place] = time.perf_counter() - began
        for name, value in {
            "log π_k/ref of answers": ratios,
            "Δ of pairs": deltas,
            "λ": lam,
        }.items():
            rows.setdefault(name, []).append(value)
    for key in ("specialists", "kl, mean", "features", "decodability defect"):
        for place in banks:
            rows.setdefault(key, []).append(np.array(list(numbers_in(reports[place][key]))))
    table = table_of("bundled bank, float32: CPU and device", "what", "largest", "difference")
    for name, (a, b) in rows.items():
        table.add_row(name, f"{np.abs(a).max():.4g}", f"{np.abs(a - b).max():.2e}")
    CONSOLE.print(table)
    table = table_of(
        "gaps from drawn answers: different draws, one law", "soup", *banks, "apart in s.e."
    )
    for soup in reports["cpu"]["gaps"]:
        a, b = (reports[place]["gaps"][soup] for place in banks)
        error = np.hypot(a["high"] - a["low"], b["high"] - b["low"]) / 3.92
        table.add_row(
            soup, f"{a['gap']:.3f}", f"{b['gap']:.3f}", f"{(b['gap'] - a['gap']) / error:.2f}"
        )
    CONSOLE.print(table)
    verdicts = {
        place: [(c["claim"], c["verdict"]) for c in report["checks"]]
        for place, report in reports.items()
    }
    CONSOLE.print(f"verdicts alike: {verdicts['cpu'] == verdicts['device']}; seconds {seconds}")


def numbers_in(value: Any) -> Any:
    """Every number of a JSON object, in order."""
    if isinstance(value, dict):
        for each in value.values():
            yield from numbers_in(each)
    elif isinstance(value, int | float):
        yield float(value)


def draws_follow_the_law(bank: Bank, n: int) -> None:
    """First tokens of n answers, drawn explicitly and by rejection, against the soup's law."""
    prompt = bank.encode(question_prompt("Is the earth flat?"))
    weights = torch.tensor([0.6, 0.2, 0.3, -0.2], dtype=torch.float64)[: len(bank.names)]
    ids = torch.tensor([prompt], device=bank.device)
    z = bank.logits(bank.hidden(ids)[:, :, -1])[: len(bank.names) + 1].double()
    law = torch.softmax(mix(z, weights[None].to(z.device))[0, 0], dim=0).cpu().numpy()
    table = table_of("first tokens against the soup's law, bundled bank", "method", "χ²", "cells", "p",
                     "acceptance", "expected", "trials", "seconds")  # fmt: skip
    for name in ("explicit", "implicit"):
        noise = torch.Generator(device=bank.device).manual_seed(1)
        sampler = Implicit(weights, noise, cap=4096)
        mixture = LogitMixture(weights) if name == "explicit" else sampler
        began = time.perf_counter()
        drawn: list[list[int]] = []
        for part in range(0, n, 256):
            drawn += generate(bank, [prompt] * 256, mixture, tokens=1, seed=part)
        seconds = time.perf_counter() - began
        counts = np.bincount([a[0] for a in drawn], minlength=len(law))
        often = law * n >= 5
        seen = np.append(counts[often], counts[~often].sum())
        due = np.append(law[often], law[~often].sum()) * n
        value = float(((seen - due) ** 2 / due).sum())
        p = float(chi2.sf(value, len(seen) - 1))
        said = sampler.report()
        extra = (
            (f"{said['acceptance']:.4f}", f"{said['expected acceptance']:.4f}", str(sampler.trials))
            if name == "implicit"
            else ("", "", "")
        )
        table.add_row(name, f"{value:.1f}", str(len(seen)), f"{p:.3f}", *extra, f"{seconds:.2f}")
        if p < 1e-4:
            raise AssertionError(f"{name} does not draw from the soup: p = {p:.1e}")
    CONSOLE.print(table)


def drawing_times(shape: str, device: str, tokens: int) -> None:
    """Explicit and implicit souping at Gemma's vocabulary."""
    bank = bench_llm.bank_of(shape, device, specialists=4)
    weights = torch.full((4,), 0.25, dtype=torch.float64)
    prompts = [[2, *range(5, 5 + n % 7 + 2)] for n in range(16)]
    table = table_of(f"drawing 16 answers of {tokens} tokens, {shape}, K = 4", "method", "seconds",
                     "ms a token", "acceptance", "expected", "capped")  # fmt: skip
    for name in ("explicit", "implicit"):
        for _ in range(2):
            noise = torch.Generator(device=bank.device).manual_seed(1)
            sampler = Implicit(weights, noise, cap=64)
            mixture = LogitMixture(weights) if name == "explicit" else sampler
            began = time.perf_counter()
            generate(bank, prompts, mixture, tokens=tokens, seed=0)
            seconds = time.perf_counter() - began
        said = sampler.report()
        extra = [f"{said[key]:.3f}" for key in ("acceptance", "expected acceptance", "capped")]
        table.add_row(name, f"{seconds:.2f}", f"{1e3 * seconds / tokens:.1f}",
                      *(extra if name == "implicit" else ("", "", "")))  # fmt: skip
    CONSOLE.print(table)


CONFIGS = [  # tokens at a time, warps, tokens of a program, products
    (64, 1, 8192, "tf32x3"), (64, 1, 16384, "tf32x3"), (32, 1, 8192, "tf32x3"), (64, 2, 8192, "tf32x3"),
    (128, 4, 16384, "tf32x3"), (64, 1, 8192, "ieee"), (128, 4, 16384, "ieee"),
]  # fmt: skip
NAMES = ("BLOCK", "WARPS", "STRETCH", "PRODUCT")


def kernels() -> None:
    """The fused passes at Gemma's vocabulary: time and error of each way to run them; the fastest stays.

    The error is that of the worst measure against torch in float64, in units of float32's last place of
    what was subtracted; torch's own in float32 beside it.
    """
    from llm_bridge.measure import fused

    A, N = bench_llm.GEMMA["vocab"], 128
    z = torch.randn((10, N, A), device="cuda")
    weights = torch.full((1, 8), 0.125, device="cuda")
    table = table_of(f"fused passes, 10 policies × {N} states × {A} tokens, float32", "tokens, warps, "
                     "stretch, products", "compile s", "µs a state", "share of the copy limit", "error",
                     "torch's")  # fmt: skip
    began = time.perf_counter()
    for _ in range(3):
        z.clone()
    torch.cuda.synchronize()
    copied = 3 * 2 * z.numel() * 4 / (time.perf_counter() - began)
    few = z[:, :4]
    with patch(bench_llm.FUSED, lambda z, precision: False):
        exact = measure(few, weights, bespoke=True, precision=torch.float64)
        single = measure(few, weights, bespoke=True)
    best: dict[tuple[Any, ...], float] = {}
    for config in CONFIGS:
        for name, value in zip(NAMES, config, strict=True):
            setattr(fused, name, value)
        try:
            first_run, seconds = bench_llm.timed(
                lambda: measure(z, weights, bespoke=True), "cuda", 3
            )
            found = measure(few.contiguous(), weights, bespoke=True)
        except Exception:
            traceback.print_exc()
            continue
        best[config] = seconds
        table.add_row(
            " ".join(map(str, config)), f"{first_run - seconds:.1f}", f"{1e6 * seconds / N:.1f}",
            f"{2 * z.numel() * 4 / copied / seconds:.2f}", f"{units(found, exact):.1f}",
            f"{units(single, exact):.1f}",
        )  # fmt: skip
    CONSOLE.print(table)
    CONSOLE.print(f"a copy moves {copied / 1e12:.2f} TB/s")
    for name, value in zip(NAMES, min(best, key=lambda c: best[c]), strict=True):
        setattr(fused, name, value)


def units(found: Measures, exact: Measures) -> float:
    """The largest difference of two measures in float32's last places of 1 + scale."""
    size = torch.finfo(torch.float32).eps * (1.0 + exact.scale)
    return max(
        float(((getattr(found, f.name) - getattr(exact, f.name)).abs() / size).max())
        for f in fields(Measures)
        if f.name != "gram"
    )


def commands(device: str) -> None:
    """Every command with ``--device``, on the bundled bank."""
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        few = ["--items", "12", "--prompts", "6", "--tokens", "8"]
        question = ["--question", "Is the earth flat?", "--tokens", "8"]
        rows = ['{"prompt": "Q: Is it so?\\nA:", "chosen": " Yes.", "rejected": " No, it is not."}']
        (root / "pairs.jsonl").write_text("\n".join(rows * 12))
        some = ["--pairs", str(root / "pairs.jsonl")]
        words = ["--attributes", "truthful,concise"]
        calls: list[list[str]] = [
            ["train", str(root / "own"), "--steps", "3", "--batch", "4", "--rank", "4", "--w", "truthful=1"],
            ["train", str(root / "binary"), "--steps", "2", "--batch", "4", "--loss", "binary",
             "--data", str(root / "pairs.jsonl")],
            ["diagnose", *few, "--json", str(root / "report.json"), "--chunks", str(root / "chunks")],
            ["export", str(root / "merged"), "--lambda", "0.4,0.3,0.2,0.1", "--items", "6"],
            *(["soup", *question, "--method", name, "--lambda", "0.4,0.3,0.2,0.1"]
              for name in ("explicit", "implicit", "weight-space", "p-soups", "pad")),
            ["soup", *question, "--method", "pad-sf", *some],
            ["soup", *question, "--method", "exact", *some, *words],
            ["soup", *question, "--method", "drift", *some, *words],
        ]  # fmt: skip
        table = table_of("commands", "soupcheck llm", "seconds")
        failed = []
        for call in calls:
            began = time.perf_counter()
            try:
                get_command(llm)([*call, "--device", device], standalone_mode=False)
                said = f"{time.perf_counter() - began:.1f}"
            except Exception:
                failed.append(" ".join(call[:5]))
                traceback.print_exc()
                said = "FAILED"
            table.add_row(" ".join(call[:5]).replace(place, "…"), said)
        CONSOLE.print(table)
        if failed:
            raise AssertionError(f"commands failed: {failed}")


def main(arguments: list[str]) -> int:
    """Run every part; return 1 if one failed."""
    small = "--small" in arguments
    device = next((a for a in arguments if not a.startswith("-")), "cuda")
    if device == "cuda" and not torch.cuda.is_available():
        CONSOLE.print("no CUDA here: on the CPU, at small shapes")
        device, small = "cpu", True
    torch.set_num_threads(2)  # the bundled bank is small: more would wait for each other
    began = time.perf_counter()
    banks = {"cpu": load_default("cpu"), "device": load_default(device)}

    def in_doubles() -> None:
        for bank in banks.values():
            bank.model.to(torch.float64)
        same_measures(banks, torch.float64)

    parts: list[Callable[[], object]] = [
        lambda: machine(device),
        lambda: same_measures(banks, torch.float32),
        lambda: draws_follow_the_law(banks["device"], 256 if small else 2048),
        lambda: commands(device),
        lambda: same_fits(banks),
        in_doubles,
    ]
    if device == "cuda":
        parts.append(kernels)
    parts += [
        lambda: bench_llm.main("tiny" if small else "270m", device, tokens=256 if small else None),
        lambda: drawing_times("tiny" if small else "270m", device, 4 if small else 32),
    ]
    if not small:
        parts += [
            lambda: bench_llm.main("1b", device),
            lambda: bench_llm.main("270m", device, "bfloat16"),
            lambda: bench_llm.main("1b", device, "bfloat16"),
        ]
    failed = 0
    for part in parts:
        if time.perf_counter() - began > MOST:
            CONSOLE.print("the rest is left out: no time")
            break
        try:
            part()
        except Exception:
            traceback.print_exc()
            failed += 1
        if device == "cuda":
            torch.cuda.empty_cache()
        CONSOLE.print(f"[{time.perf_counter() - began:.0f} s]", markup=False)
    CONSOLE.print(f"{failed} parts failed")
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
