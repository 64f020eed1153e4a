"""Souping in weight space: all adapters active, their scaling times the soup's weights.

Exact for adapters on the output layer, where logits are linear in them; elsewhere another policy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ..bank import Bank, peft_name
from ..decoding import generate, single_row
from .request import Answers, Request


@contextmanager
def weight_space(bank: Bank, weights: Sequence[float]) -> Iterator[Any]:
    """The soup in weight space: every specialist active, its scaling times its weight; restored after.

    ``add_weighted_adapter`` would not do: "linear" adds the factors apart, each times √weight, "svd"
    truncates, and an existing name returns silently without a change.
    """
    layers = bank.lora_layers
    before = [dict(layer.scaling) for layer in layers]
    try:
        for layer in layers:
            for name, weight in zip(map(peft_name, bank.names), weights, strict=True):
                if name in layer.scaling:
                    layer.scaling[name] *= float(weight)
        with bank.using(bank.names, folded=True) as base:
            yield base
    finally:
        for layer, scaling in zip(layers, before, strict=True):
            layer.scaling.update(scaling)


def answers(bank: Bank, request: Request) -> Answers:
    """Draws from the scaled adapters as one model; nothing to report."""
    options: dict[str, Any] = {"tokens": request.tokens, "seed": request.seed}
    with weight_space(bank, request.weights.tolist()) as base:
        return generate(bank, request.prompts, single_row, single=base, **options), {}
