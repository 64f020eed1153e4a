"""P-SOUPS: the parameters of the adapters averaged, factor by factor.

``Ā = Σ w_k A_k, B̄ = Σ w_k B_k`` with the soup's weights for w; the product of averages is not the
average of products.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from toymdp import InstanceError

from ..backend import torch
from ..bank import Bank, peft_name
from ..decoding import generate, single_row
from .request import Answers, Request


@contextmanager
def parameter_soup(bank: Bank, weights: Sequence[float]) -> Iterator[Any]:
    """P-SOUPS: the first specialist's factors replaced by the weighted mean of all; restored after.

    Raises InstanceError if ranks or scalings differ, since their factors cannot be averaged.
    """
    keys = [peft_name(name) for name in bank.names]
    first = keys[0]
    saved = []
    try:
        for layer in bank.lora_layers:
            names = [n for n in keys if n in layer.lora_A]
            if not names:  # a layer of the bespoke adapter alone
                continue
            ranks = {(layer.r[n], layer.scaling[n]) for n in names}
            if len(names) != len(keys) or len(ranks) != 1:
                found = (
                    f"of (rank, scaling) {sorted(ranks)}, {len(names)} of {len(keys)} in one layer"
                )
                raise InstanceError.of(
                    "adapters", found, "P-SOUPS needs one rank, scaling and set of layers",
                    "train them alike",
                )  # fmt: skip
            for factors in (layer.lora_A, layer.lora_B):
                stack = torch.stack([factors[n].weight.data for n in names])
                mean = torch.einsum("k,k...->...", torch.as_tensor(weights).to(stack), stack)
                saved.append((factors[first].weight, factors[first].weight.data))
                factors[first].weight.data = mean
        with bank.using(bank.names[0], folded=True) as base:
            yield base
    finally:
        for weight, data in saved:
            weight.data = data


def answers(bank: Bank, request: Request) -> Answers:
    """Draws from the averaged adapter as one model; nothing to report."""
    options: dict[str, Any] = {"tokens": request.tokens, "seed": request.seed}
    with parameter_soup(bank, request.weights.tolist()) as base:
        return generate(bank, request.prompts, single_row, single=base, **options), {}
