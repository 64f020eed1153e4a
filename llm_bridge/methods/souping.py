"""Soups other than the explicit mixture of logits: one law of the next token for each method.

Notation: ``ℓ_k = log π_k/ref``, μ_k the weight of ``ℓ_k`` in the soup's logits (λ_k β/β').

- weight space: all adapters active with their scaling times μ_k. Exact for adapters on the output
  layer, where logits are linear in them; elsewhere another policy, whose divergence is reported.
- implicit: ``a ~ ref``, accepted with probability ``e^{Σ μ_k ℓ_k(a)}/M``, ``M = max_a e^{…}``
  (ss.sec4.implicit.repaired): draws from the soup exactly, a token at a time.
- P-SOUPS: the parameters of the adapters averaged, factor by factor, ``Ā = Σ w_k A_k, B̄ = Σ w_k B_k``;
  the product of averages is not the average of products.
- PAD: the ``top`` likeliest tokens of ref, tilted by the user's token reward ``Σ w_k ℓ_k``.
- PAD-SF: the same with K scores that a state's linear scorer gives in place of w (softmax over k).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from toymdp import InstanceError

from ..backend import peft, torch
from ..bank import Bank
from ..decoding import Soup, alone, generate
from ..measure.measures import allowed_tokens, log_ratios

Tensor = Any


def lora_layers(bank: Bank) -> list[Any]:
    """Modules that carry LoRA factors."""
    kind = peft.tuners.lora.LoraLayer
    return [m for m in bank.model.modules() if isinstance(m, kind)]


@contextmanager
def weight_space(bank: Bank, mu: Sequence[float]) -> Iterator[Any]:
    """The soup in weight space: every specialist active, its scaling times μ_k; restored after.

    ``add_weighted_adapter`` would not do: "linear" adds the factors apart, each times √μ, "svd"
    truncates, and an existing name returns silently without a change.
    """
    layers = lora_layers(bank)
    before = [dict(layer.scaling) for layer in layers]
    try:
        for layer in layers:
            for name, weight in zip(bank.names, mu, strict=True):
                if name in layer.scaling:
                    layer.scaling[name] *= float(weight)
        with bank.using(bank.names) as base:
            yield base
    finally:
        for layer, scaling in zip(layers, before, strict=True):
            layer.scaling.update(scaling)


@contextmanager
def parameter_soup(bank: Bank, weights: Sequence[float]) -> Iterator[Any]:
    """P-SOUPS: the first specialist's factors replaced by the weighted mean of all; restored after.

    Raises InstanceError if ranks or scalings differ, since their factors cannot be averaged.
    """
    layers, first = lora_layers(bank), bank.names[0]
    saved = []
    try:
        for layer in layers:
            names = [n for n in bank.names if n in layer.lora_A]
            ranks = {(layer.r[n], layer.scaling[n]) for n in names}
            if len(names) != len(bank.names) or len(ranks) != 1:
                raise InstanceError.of(
                    "adapters", sorted(ranks), "P-SOUPS needs one rank, scaling and set of layers",
                    "train them alike",
                )  # fmt: skip
            for factors in (layer.lora_A, layer.lora_B):
                stack = torch.stack([factors[n].weight.data for n in names])
                mean = torch.einsum("k,k...->...", torch.as_tensor(weights).to(stack), stack)
                saved.append((factors[first].weight, factors[first].weight.data))
                factors[first].weight.data = mean
        with bank.using(first) as base:
            yield base
    finally:
        for weight, data in saved:
            weight.data = data


@dataclass
class Implicit:
    """Token-wise rejection from ref with the repaired bound; counts what it did.

    cap: trials a token may take; a token that is not accepted by then is drawn from the soup's
    exact law, and counted in ``capped``: the law stays the soup's.
    """

    mu: Tensor
    noise: Any
    cap: int = 64
    trials: int = 0
    accepted: int = 0
    capped: int = 0
    expected: list[float] = field(default_factory=list)

    def __call__(self, z: Tensor, ids: Tensor) -> Tensor:
        """Logits [B, A] that force the drawn token; z [K+1, B, A] raw."""
        d, live = log_ratios(z)
        reference = torch.where(live, z[0], -torch.inf)
        ref = torch.softmax(reference, dim=1)
        tilt = torch.einsum("k,knc->nc", self.mu.to(d), d)
        top = torch.where(live, tilt, -torch.inf).amax(dim=1, keepdim=True)
        accept = torch.where(live, torch.exp(tilt - top), 0.0)
        self.expected += (ref * accept).sum(dim=1).tolist()
        out = torch.full_like(reference, -torch.inf)
        for b in range(len(ref)):
            for _ in range(self.cap):
                self.trials += 1
                token = int(torch.multinomial(ref[b], 1, generator=self.noise))
                u = float(torch.rand((), generator=self.noise, dtype=ref.dtype))
                if u <= float(accept[b, token]):
                    self.accepted += 1
                    break
            else:
                law = torch.softmax(reference[b] + tilt[b], dim=0)
                token = int(torch.multinomial(law, 1, generator=self.noise))
                self.capped += 1
            out[b, token] = 0.0
        return out

    def report(self) -> dict[str, float]:
        """Acceptance rate as seen and as expected from the logits, and the share of capped tokens."""
        tokens = max(self.accepted + self.capped, 1)
        return {
            "acceptance": self.accepted / max(self.trials, 1),
            "expected acceptance": sum(self.expected) / max(len(self.expected), 1),
            "capped": self.capped / tokens,
            "tokens": float(tokens),
        }


@dataclass(frozen=True)
class Pad:
    """PAD at decoding: ref restricted to its ``top`` likeliest tokens, times ``e^{strength Σ w ℓ}``.

    weights: [K] = w.
    """

    weights: Tensor
    strength: float = 1.0
    top: int = 10

    def __call__(self, z: Tensor, ids: Tensor) -> Tensor:
        """Logits [B, A]."""
        return self.tilted(z, self.weights.to(z)[:, None].expand(-1, z.shape[1]))

    def tilted(self, z: Tensor, w: Tensor) -> Tensor:
        """Logits [B, A] for weights [K, B] of each row."""
        live = allowed_tokens(z[0])
        d, _ = log_ratios(z)
        shift = torch.logsumexp(torch.where(live, z[1:], -torch.inf), dim=2)
        shift = shift - torch.logsumexp(torch.where(live, z[0], -torch.inf), dim=1)
        reward = torch.einsum("kn,knc->nc", w, d - shift[:, :, None])
        reference = torch.where(live, z[0], -torch.inf)
        kept = reference >= reference.topk(min(self.top, z.shape[2]), dim=1).values[:, -1:]
        return torch.where(kept & live, reference + self.strength * reward, -torch.inf)


@dataclass(frozen=True)
class PadSF:
    """PAD-SF: the weights are ``softmax_k(scorer·psi(s))``, a K-dimensional scorer on the state.

    scorer: [K, d], learnt by llm_bridge.methods.scorer. state: function from token ids [B, n] to the
    reference's states [B, d].
    """

    pad: Pad
    scorer: Tensor
    state: Any

    def __call__(self, z: Tensor, ids: Tensor) -> Tensor:
        """Logits [B, A]."""
        w = torch.softmax(self.state(ids).to(z) @ self.scorer.to(z).T, dim=1)
        return self.pad.tilted(z, w.T)


def answers_by(
    method: str, bank: Bank, prompts: Sequence[Sequence[int]], mu: Any, *, tokens: int, seed: int,
    cap: int = 64,
) -> tuple[list[list[int]], dict[str, float]]:  # fmt: skip
    """Answers of one method (token ids) and what it reports; mu: [K] weights on log-ratios."""
    weights = torch.as_tensor(mu, dtype=torch.float64)
    draw = partial(generate, bank, prompts, tokens=tokens, seed=seed)
    if method == "explicit":
        return draw(Soup(weights)), {}
    if method == "implicit":
        sampler = Implicit(weights, torch.Generator().manual_seed(seed), cap)
        return draw(sampler), sampler.report()
    if method == "pad":
        return draw(Pad(weights)), {}
    context = weight_space if method == "weight-space" else parameter_soup
    with context(bank, weights.tolist()) as base:
        return draw(alone, single=base), {}
