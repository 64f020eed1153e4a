"""LoRA's products added to the weights of their layers, for as long as one policy makes long passes.

``W x + s·B A x`` takes three products with x, and ``(W + s·B A) x`` one. Adding costs as much as a pass
over ``rank`` tokens, so it pays where many tokens go through at once and the model is small; a large
model's ranks are small beside its width, and a second copy of its weights is not. The weights' own
numbers are kept and put back: nothing is subtracted, so nothing is rounded away.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from .backend import peft, torch

BYTES = 2**29  # of weights that are held twice


class Folding:
    """Which layers of a model can hold their adapters in their weights, and which do now.

    Layers of another kind, of half precision, or with a weight that another module has too (tied
    embeddings) are left to peft, and all of them where they are more than BYTES.
    """

    def __init__(self, model: Any, layers: Sequence[Any]):
        uses = Counter(id(p) for _, p in model.named_parameters(remove_duplicate=False))
        self._linear = [
            layer for layer in layers if _linear(layer) and uses[id(_weight(layer))] == 1
        ]
        self._own: list[tuple[Any, Any]] = []  # weights that hold more now, and their own numbers

    @property
    def layers(self) -> list[Any]:
        """The layers that can, as the model is now."""
        size = sum(_weight(layer).nbytes for layer in self._linear)
        return [layer for layer in self._linear if _precise(layer)] if size <= BYTES else []

    @contextmanager
    def put_away(self) -> Iterator[None]:
        """Every weight with its own numbers, whatever is folded in; that again after."""
        outer, self._own = self._own, []
        more = [weight.data for weight, _ in outer]
        for weight, own in outer:
            weight.data = own
        try:
            yield
        finally:
            for (weight, _), both in zip(outer, more, strict=True):
                weight.data = both
            self._own = outer

    @contextmanager
    def folded(self, names: Sequence[str]) -> Iterator[None]:
        """Adapters of these names (peft's) in the weights, and off in the layers that hold them.

        Factors that are trained stay apart: a weight's new numbers pass no gradient on to them. Whoever
        calls restores what the layers say of their adapters.
        """
        try:
            for layer in self.layers:
                here = [name for name in names if name in layer.lora_A]
                if not all(_frozen(layer, name) for name in here):
                    continue
                weight = _weight(layer)
                self._own.append((weight, weight.data))
                for name in here:
                    weight.data = weight.data + layer.get_delta_weight(name)
                layer._disable_adapters = True
            yield
        finally:
            for weight, own in self._own:
                weight.data = own
            self._own = []


def _weight(layer: Any) -> Any:
    return layer.get_base_layer().weight


def _frozen(layer: Any, name: str) -> bool:
    """Whether an adapter is a mere product here, and no gradient of it is taken."""
    factors = layer.lora_A[name].weight, layer.lora_B[name].weight
    taken = torch.is_grad_enabled() and any(factor.requires_grad for factor in factors)
    return not taken and name not in layer.lora_variant and not layer.lora_bias[name]


def _linear(layer: Any) -> bool:
    return (
        type(layer) is peft.tuners.lora.Linear
        and type(layer.get_base_layer()) is torch.nn.Linear
        and not layer.merged
    )


def _precise(layer: Any) -> bool:
    """Whether weight and factors are of one precision, single or double."""
    kinds = {_weight(layer).dtype, *(factor.weight.dtype for factor in layer.lora_B.values())}
    return kinds in ({torch.float32}, {torch.float64})
