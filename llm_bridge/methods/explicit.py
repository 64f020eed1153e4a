"""Explicit souping: raw logits of ref and the specialists mixed, one draw for all of them."""

from __future__ import annotations

from ..bank import Bank
from ..decoding import generate
from ..measure.soups import LogitMixture
from .request import Answers, Request


def answers(bank: Bank, request: Request) -> Answers:
    """Draws from ``ref·Π (π_k/ref)^{weights_k}`` at every token; nothing to report."""
    mixture = LogitMixture(request.weights)
    return generate(bank, request.prompts, mixture, tokens=request.tokens, seed=request.seed), {}
