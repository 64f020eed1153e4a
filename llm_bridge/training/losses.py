"""The two losses of Spectral Souping, section 4, for one specialist.

``log π/ref`` of an answer is a sum over its tokens. β is in reward units per nat.
"""

from __future__ import annotations

from typing import Any

from ..backend import torch

Tensor = Any


def bradley_terry(chosen: Tensor, rejected: Tensor, beta: float) -> Tensor:
    """``−E log σ(β Σ log π/ref (chosen) − β Σ log π/ref (rejected))``, a scalar in nats.

    chosen, rejected: [B] summed log-ratios. The difference of returns R(w) − R(l) of one prompt is
    that difference of log-ratios times β: the prompt's value cancels (ss.sec4.return).
    """
    return -torch.nn.functional.logsigmoid(beta * (chosen - rejected)).mean()


def binary_gumbel(
    q: Tensor, value: Tensor, taken: Tensor, labels: Tensor, beta: float
) -> tuple[Tensor, Tensor]:
    """``L_Binary`` and ``L_Gumbel``, two scalars in nats.

    q: [B, n] ``Q_θ(s_t, a_t)`` of the tokens taken. value: [B, n] ``V_θ(s_t)``. taken: [B, n], 1 on
    answer tokens, which are contiguous. labels: [B], 1 good, 0 bad.

    ``R = Σ_{t<T} Q − Σ_{1≤t≤T} V`` with V = 0 after the end, so that R telescopes to
    ``Σ A + V(s_0)`` with A = Q − V; and ``L_Gumbel = E[e^{A/β} − A/β − 1]`` over taken tokens.
    """
    advantage = (q - value) * taken
    first = value[torch.arange(len(value)), taken.argmax(dim=1)]
    returns = advantage.sum(dim=1) + first
    binary = torch.nn.functional.binary_cross_entropy_with_logits(returns, labels.to(q.dtype))
    scaled = advantage / beta
    gumbel = ((torch.exp(scaled) - scaled - 1.0) * taken).sum() / taken.sum()
    return binary, gumbel
