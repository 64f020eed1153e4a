"""Implicit souping: tokens of ref, accepted or rejected.

``a ~ ref``, accepted with probability ``e^{Σ_k weights_k ℓ_k(a)}/M`` with ``ℓ_k = log π_k/ref`` and
``M = max_a e^{…}`` (ss.sec4.implicit.repaired): draws from the soup exactly, a token at a time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..backend import torch
from ..bank import Bank
from ..decoding import generate
from ..measure.measures import log_ratios
from .request import Answers, Request

Tensor = Any


@dataclass
class Implicit:
    """Token-wise rejection from ref with the repaired bound; counts what it did.

    weights: [K] of the soup. noise: torch generator.
    cap: trials a token may take; a token that is not accepted by then is drawn from the soup's
    exact law, and counted in ``capped``: the law stays the soup's.
    """

    weights: Tensor
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
        tilt = torch.einsum("k,knc->nc", self.weights.to(d), d)
        top = torch.where(live, tilt, -torch.inf).amax(dim=1, keepdim=True)
        accept = torch.where(live, torch.exp(tilt - top), 0.0)
        self.expected += (ref * accept).sum(dim=1).tolist()
        token = torch.zeros(len(ref), dtype=torch.long, device=ref.device)
        open_rows = torch.arange(len(ref), device=ref.device)
        for _ in range(self.cap):  # one trial of every row that has no token yet
            trial = torch.multinomial(ref[open_rows], 1, generator=self.noise)[:, 0]
            u = torch.rand(len(trial), generator=self.noise, dtype=ref.dtype, device=ref.device)
            taken = u <= accept[open_rows, trial]
            token[open_rows[taken]] = trial[taken]
            self.trials += len(trial)
            open_rows = open_rows[~taken]
            self.accepted += len(trial) - len(open_rows)
            if not len(open_rows):
                break
        else:
            law = torch.softmax((reference + tilt)[open_rows], dim=1)
            token[open_rows] = torch.multinomial(law, 1, generator=self.noise)[:, 0]
            self.capped += len(open_rows)
        out = torch.full_like(reference, -torch.inf)
        return out.scatter_(1, token[:, None], 0.0)

    def report(self) -> dict[str, float]:
        """Acceptance rate as seen and as expected from the logits, and the share of capped tokens."""
        tokens = max(self.accepted + self.capped, 1)
        return {
            "acceptance": self.accepted / max(self.trials, 1),
            "expected acceptance": sum(self.expected) / max(len(self.expected), 1),
            "capped": self.capped / tokens,
            "tokens": float(tokens),
        }


def answers(bank: Bank, request: Request) -> Answers:
    """Draws from the soup by rejection, with acceptance rates."""
    noise = torch.Generator(device=bank.device).manual_seed(request.seed)
    sampler = Implicit(request.weights, noise, request.cap)
    options: dict[str, Any] = {"tokens": request.tokens, "seed": request.seed}
    drawn = generate(bank, request.prompts, sampler, **options)
    return drawn, dict(sampler.report())
