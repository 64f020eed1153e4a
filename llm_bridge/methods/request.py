"""What is asked of a method of ``soupcheck llm soup``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bounds.runs.progress import OnProgress, silent

from ..preferences import Pair

Tensor = Any


@dataclass(frozen=True, eq=False)
class Request:
    """Prompts to answer, and what the methods need of the user (each its own part of it).

    prompts: token ids. texts: the same prompts as text, for methods that add words to them.
    tokens: longest answer. weights: ``λβ/β'`` [K], float64, where the method needs λ. pairs, beta:
    the user's comparisons and β, where it learns from them. words: attributes, of which ``budget``
    go into a prompt. cap: trials a token of implicit souping.
    """

    prompts: Sequence[Sequence[int]]
    tokens: int
    seed: int
    texts: Sequence[str] = ()
    weights: Tensor = None
    pairs: Sequence[Pair] = ()
    beta: float = 1.0
    words: tuple[str, ...] = ()
    budget: int = 2
    cap: int = 64
    on_progress: OnProgress = silent


Answers = tuple[
    list[list[int]], dict[str, Any]
]  # token ids of each answer; what the method reports
