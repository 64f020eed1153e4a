"""Random models made on the spot: a Gemma-3 of a few thousand parameters with LoRA adapters."""

from __future__ import annotations

import numpy as np
import torch

from llm_bridge.answers import Answer
from llm_bridge.loading import add_adapters
from llm_bridge.measure.soups import SoupSettings
from llm_bridge.training.adapter import Recipe
from llm_bridge.training.pretrain import Shape, small_gemma, train_tokenizer

torch.set_num_threads(1)  # tiny tables: threads would only wait for each other

TINY = Shape(
    vocab=64, width=16, inner=32, layers=2, heads=2, head_width=8, window=4, context=64, pattern=2
)
TEXTS = ["the cat sat on the mat", "yes it is so", "no it is not so", "A: it is what it is"] * 4


def tiny_bank(*, target="all", K=2, seed=0, spread=0.3, dtype=torch.float32, text=False):
    """K random specialists and a bespoke one on a random two-layer Gemma-3."""
    shape = Shape(**{**TINY.__dict__, "vocab": 280}) if text else TINY
    model = small_gemma(shape, seed)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn_like(p))
    tokenizer = train_tokenizer(TEXTS, shape.vocab) if text else None
    names = [f"k{k}" for k in range(K)]
    bank = add_adapters(
        model, names, Recipe(rank=4, target=target).lora(model), bespoke="user", tokenizer=tokenizer,
        eos=(1,), name="tiny",
    )  # fmt: skip
    torch.manual_seed(seed + 1)
    for name, p in bank.model.named_parameters():
        if "lora_" in name:
            p.data = spread * torch.randn_like(p)
    bank.model.to(dtype)
    return bank


def random_answers(n, seed=0, length=(8, 20)):
    """Random prompts of three tokens with random answers."""
    rng = np.random.default_rng(seed)
    return [
        Answer((2, *rng.integers(3, 64, size=int(rng.integers(*length))).tolist()), 4)
        for _ in range(n)
    ]


def two_soups():
    """λ inside the budget and one outside it, at β = β' = 1."""
    return SoupSettings(("a", "b"), np.array([[0.5, 0.3], [1.0, -0.5]]), 1.0, 1.0)
