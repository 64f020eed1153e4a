"""The methods of ``soupcheck llm soup``, one row each.

A row names its module instead of importing it: the command line lists the methods without torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from ..bank import Bank
    from .request import Answers, Request

Need = Literal["lambda", "pairs", "attributes"]  # options; λ may be learnt from pairs


@dataclass(frozen=True)
class Method:
    """A way to answer for a user.

    module: file of this folder whose ``answers(bank, request)`` does it. needs: options without
    which it cannot.
    """

    name: str
    module: str
    needs: tuple[Need, ...]

    def answers(self, bank: Bank, request: Request) -> Answers:
        """Answers to the request's prompts, and what the method reports."""
        module = import_module(f"{__package__}.{self.module}")
        answers: Answers = module.answers(bank, request)
        return answers


_ROWS = (
    Method("explicit", "explicit", ("lambda",)),  # logits of ref and specialists, mixed
    Method("weight-space", "weight_space", ("lambda",)),  # adapters scaled and added up
    Method("implicit", "implicit", ("lambda",)),  # tokens of ref, accepted or rejected
    Method("p-soups", "p_soups", ("lambda",)),  # parameters of the adapters averaged
    Method("pad", "pad", ("lambda",)),  # likeliest tokens of ref, tilted by a token reward
    Method("pad-sf", "pad_sf", ("pairs",)),  # the same, weighted by a scorer on the state
    Method("exact", "exact", ("pairs", "attributes")),  # attribute words in the prompt
    Method("drift", "drift", ("pairs", "attributes")),  # ref tilted by the words' scores
)
METHODS = {method.name: method for method in _ROWS}
