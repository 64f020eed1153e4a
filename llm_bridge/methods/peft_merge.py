"""Merges of peft's ``add_weighted_adapter``: one adapter made of the specialists', for a while.

"linear" adds the factors apart, each times the root of its weight; "cat" stacks them, which adds the
products; "svd" truncates that sum; "ties", "dare_linear" and "magnitude_prune" drop entries first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ..backend import quiet_peft, torch
from ..bank import Bank, peft_name

MERGED = "merged"


@contextmanager
def peft_merge(
    bank: Bank, kind: str, weights: Sequence[float], *, seed: int = 0, **options: Any
) -> Iterator[Any]:
    """The model under one merge of its specialists with weights [K]; the merged adapter is deleted after.

    seed: of what DARE drops. Raises what peft raises for layers it cannot merge.
    """
    torch.manual_seed(seed)
    names = [peft_name(name) for name in bank.names]
    with quiet_peft():
        bank.model.base_model.add_weighted_adapter(
            names, list(map(float, weights)), adapter_name=MERGED, combination_type=kind, **options
        )
    try:
        with bank.using(MERGED, folded=True) as base:
            yield base
    finally:
        bank.model.delete_adapter(MERGED)
