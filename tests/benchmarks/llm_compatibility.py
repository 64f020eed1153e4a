"""Architectures × kinds of adapters: what the bridge makes of each, judged by transformers and peft alone.

    python tests/benchmarks/llm_compatibility.py [ARCHITECTURE ...]

A tiny random model of every architecture, adapters as peft saves them; the verdict is the largest
difference from plain models over logits of every state, log-ratios of an answer, and the logits at every
token drawn, or the first words of the refusal.
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from llm_architectures import (
    ARCHITECTURES,
    experts,
    plain_logits,
    plain_policies,
    tiny_model,
    write_bank,
)
from safetensors.torch import load_file, save_file

from llm_bridge.answers import Answer, answer_log_ratios
from llm_bridge.backend import quiet_transformers
from llm_bridge.decoding import generate
from llm_bridge.loading import load_bank
from llm_bridge.measure.soups import LogitMixture
from toymdp import InstanceError

IDS = (2, 5, 9, 33, 70, 8, 41, 6)
WEIGHTS = torch.tensor([0.7, -0.4], dtype=torch.float64)
KINDS = (
    "all linear", "one layer", "rank-stabilised", "output", "experts", "DoRA", "bias",
    "modules to save", "PiSSA", "OLoRA", "renamed tree", "half of the factors",
)  # fmt: skip


def spoil(root: Path, kind: str) -> None:
    """Rename the tree of an adapter's keys, or drop half of them."""
    path = root / "a" / "adapter_model.safetensors"
    held = load_file(path)
    if kind == "renamed tree":
        held = {
            k.replace("base_model.model.", "base_model.model.wrapped.", 1): v
            for k, v in held.items()
        }
    else:
        held = {k: held[k] for k in sorted(held)[: len(held) // 2]}
    save_file(held, path)


def verdict(name: str, kind: str) -> str:
    """What becomes of one kind of adapter on one architecture."""
    if kind == "experts" and not experts(tiny_model(name)):
        return "–"
    spoilt = kind in KINDS[-2:]
    with tempfile.TemporaryDirectory() as folder:
        try:
            root = write_bank(Path(folder), name, "all linear" if spoilt else kind)
        except (ValueError, AttributeError):  # DoRA, PiSSA on fused experts
            return "peft makes none"
        if spoilt:
            spoil(root, kind)
        try:
            bank = load_bank(
                str(root / "base"), [str(root / "a"), str(root / "b")], dtype="float64"
            )
        except InstanceError as error:
            return f"refused: {' '.join(str(error).split(': ', 1)[1].split()[:5])}"
        models = plain_policies(root)
        z = torch.stack([plain_logits(m, IDS) for m in models])
        apart = float((bank.logits(bank.hidden(torch.tensor([IDS]))[:, 0]) - z).abs().max())
        logs = (
            z[:, 2:-1]
            .log_softmax(dim=2)
            .gather(2, torch.tensor(IDS[3:])[None, :, None].expand(3, -1, 1))
        )
        total = logs.sum(dim=(1, 2))
        ratios = answer_log_ratios(bank, [Answer(IDS, 3)])[:, 0].double()
        apart = max(apart, float((ratios - (total[1:] - total[0])).abs().max()))
        steps: list[tuple[torch.Tensor, torch.Tensor]] = []

        def spy(rows, ids):
            steps.append((rows, ids.clone()))
            return LogitMixture(WEIGHTS)(rows, ids)

        generate(bank, [[2, 5, 9], [2, 33, 7]], spy, tokens=3, seed=0)
        for rows, ids in steps:
            for b in range(2):
                expected = torch.stack([plain_logits(m, ids[b].tolist())[-1] for m in models])
                apart = max(apart, float((rows[:, b] - expected).abs().max()))
    how = "" if bank.mixes_rows else ", a pass each"
    return f"{apart:.0e}{how}" if apart < 1e-4 else f"WRONG by {apart:.2g}"


def main() -> None:
    """Print the table in Markdown."""
    warnings.simplefilter("ignore")
    quiet_transformers()
    print("| architecture |", " | ".join(KINDS), "|")
    print("|---|" + "---|" * len(KINDS))
    for name in sys.argv[1:] or ARCHITECTURES:
        print(f"| {name} |", " | ".join(verdict(name, kind) for kind in KINDS), "|", flush=True)


if __name__ == "__main__":
    main()
