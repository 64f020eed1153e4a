"""Explicit souping: logits of K + 1 policies mixed in ``generate``, one draw for all rows.

Every prompt fills K + 1 rows of one batch, each row under its adapter (peft's mixed-adapter
batch, which needs eval mode). A logits processor mixes the rows, draws a token with noise that they
share, and forces it in all of them, so that every policy reads the same answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from toymdp import InstanceError

from .backend import torch, transformers
from .bank import Bank

Tensor = Any
# raw logits [K+1, B, A], ids so far [B, n] -> logits [B, A] to draw from
Mixture = Callable[[Tensor, Tensor], Tensor]


class Mixer(transformers.LogitsProcessor):  # type: ignore[misc]
    """Mix groups of K + 1 rows, draw one token a group, force it in each row of the group."""

    def __init__(self, mixture: Mixture, policies: int, seed: int, device: Any):
        self.mixture, self.policies = mixture, policies
        self.noise = torch.Generator(device=device).manual_seed(seed)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores [B·P, A] with every token but the drawn one at −inf."""
        P, A = self.policies, scores.shape[1]
        z = scores.reshape(-1, P, A).transpose(0, 1)
        logits = self.mixture(z.double(), input_ids[::P])
        # arg max of logits plus Gumbel noise, −log of an exponential, is a draw from their softmax
        gumbel = -torch.empty_like(logits).exponential_(generator=self.noise).log()
        token = (logits + gumbel).argmax(dim=1).repeat_interleave(P)
        forced = torch.full_like(scores, -torch.inf)
        forced[torch.arange(len(token), device=scores.device), token] = 0.0
        return forced


def generate(
    bank: Bank,
    prompts: Sequence[Sequence[int]],
    mixture: Mixture,
    *,
    tokens: int,
    seed: int,
    single: Any = None,
) -> list[list[int]]:
    """Draw one answer for each prompt (token ids) with the rows ref, specialists 1..K.

    single: a model that is one policy by itself (a soup in weight space); then the mixture sees that
    one row alone. See draw_rows.
    """
    names = ["__base__", *bank.names] if single is None else ["__base__"]
    rows = [[prompt] * len(names) for prompt in prompts]
    options = {} if single is not None else {"adapter_names": names * len(prompts)}
    return draw_rows(bank, single or bank.model, rows, mixture, tokens=tokens, seed=seed, **options)


def draw_rows(
    bank: Bank,
    model: Any,
    rows: Sequence[Sequence[Sequence[int]]],
    mixture: Mixture,
    *,
    tokens: int,
    seed: int,
    **options: Any,
) -> list[list[int]]:
    """Draw one answer for each group of P prompts, mixed token by token.

    rows: [B][P] token ids; a group's rows may differ in their prompts. Answers end with the end token
    or after ``tokens``.
    Raises InstanceError for prompts longer than the context less ``tokens``, or in training mode.
    """
    if bank.model.training:
        raise InstanceError.of(
            "model", "training mode", "a mixed-adapter batch needs eval mode", "call eval()"
        )
    P, flat = len(rows[0]), [prompt for group in rows for prompt in group]
    n = max(map(len, flat))
    bank.check_length(n + tokens)
    ids = torch.zeros((len(flat), n), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for i, prompt in enumerate(flat):  # left-padded: generation goes on at the right
        ids[i, n - len(prompt) :] = torch.as_tensor(prompt)
        mask[i, n - len(prompt) :] = 1
    mixer = Mixer(mixture, P, seed, bank.device)
    config = transformers.GenerationConfig(
        max_new_tokens=tokens, do_sample=False, eos_token_id=list(bank.eos) or None,
        pad_token_id=0, use_cache=getattr(bank.config, "use_cache", True),
    )  # fmt: skip
    with torch.no_grad():
        out = model.generate(
            input_ids=ids.to(bank.device), attention_mask=mask.to(bank.device),
            generation_config=config,
            logits_processor=transformers.LogitsProcessorList([mixer]), **options,
        )  # fmt: skip
    answers = []
    for answer in out[::P, n:].tolist():
        ends = [i for i, token in enumerate(answer) if token in bank.eos]
        answers.append(answer[: ends[0] + 1] if ends else answer)
    return answers


def single_row(z: Tensor, ids: Tensor) -> Tensor:
    """The mixture of a single row: its logits unchanged."""
    return z[0]
