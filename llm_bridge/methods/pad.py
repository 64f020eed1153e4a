"""PAD: the likeliest tokens of ref, tilted by the user's token reward ``Σ w_k log π_k/ref``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..backend import torch
from ..bank import Bank
from ..decoding import generate
from ..measure.measures import allowed_tokens, log_ratios
from .request import Answers, Request

Tensor = Any


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
        likely = reference >= reference.topk(min(self.top, z.shape[2]), dim=1).values[:, -1:]
        return torch.where(likely & live, reference + self.strength * reward, -torch.inf)


def answers(bank: Bank, request: Request) -> Answers:
    """Draws by PAD with the soup's weights for w; nothing to report."""
    mixture = Pad(request.weights)
    return generate(bank, request.prompts, mixture, tokens=request.tokens, seed=request.seed), {}
