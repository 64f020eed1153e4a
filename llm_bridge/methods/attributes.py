"""Attribute words in the prompt of the reference, and the margin of a preference with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

import numpy as np

from toymdp.arrays import Array

from ..answers import answer_log_probs, tokenised
from ..backend import torch
from ..bank import REF, Bank
from ..preferences import Pair
from ..texts import Conversation, Prompt

TEMPLATE = "{prompt}\nAttributes: {attributes}\n"
QUESTION_TEMPLATE = "{question}\nAttributes: {attributes}\nA:"  # of prompts that end in "\nA:"


@overload
def with_attributes(prompt: str, attributes: Sequence[str]) -> str: ...
@overload
def with_attributes(prompt: Prompt, attributes: Sequence[str]) -> Prompt: ...
def with_attributes(prompt: Prompt, attributes: Sequence[str]) -> Prompt:
    """The prompt with a line of attribute words after the query; unchanged without words."""
    if not attributes:
        return prompt
    words = ", ".join(attributes)
    if isinstance(prompt, Conversation):
        return prompt.with_last(f"{prompt.turns[-1][1]}\nAttributes: {words}")
    if prompt.endswith("\nA:"):
        return QUESTION_TEMPLATE.format(question=prompt[:-3], attributes=words)
    return TEMPLATE.format(prompt=prompt, attributes=words)


@torch.no_grad()
def word_margins(bank: Bank, pair: Pair, subsets: Sequence[Sequence[str]]) -> Array:
    """``log π(y_w|x,A) − log π(y_l|x,A)`` under ref for each subset A, nats."""
    answers = [
        tokenised(bank, with_attributes(pair.prompt, words), text)
        for words in subsets
        for text in (pair.chosen, pair.rejected)
    ]
    with bank.using(REF):
        log_probs = answer_log_probs(bank, answers).double().cpu()
    return np.asarray(log_probs[::2] - log_probs[1::2])
