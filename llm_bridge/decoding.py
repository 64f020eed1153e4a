"""Explicit souping: logits of K + 1 policies mixed in ``generate``, one draw for all rows.

Every prompt fills K + 1 rows of one batch, each row under its adapter (peft's mixed-adapter
batch, which needs eval mode). A logits processor mixes the rows, draws a token with noise that they
share, and forces it in all of them, so that every policy reads the same answer. Where rows cannot be
told apart (``Bank.mixes_rows``), generation is the reference's and each specialist takes a pass of its
own at every token.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from toymdp import InstanceError

from .backend import torch, transformers
from .bank import REF, Bank, peft_name

Tensor = Any
# raw logits [K+1, B, A], ids so far [B, n] -> logits [B, A] to draw from
Mixture = Callable[[Tensor, Tensor], Tensor]


class Mixer(transformers.LogitsProcessor):  # type: ignore[misc]
    """Mix groups of K + 1 rows, draw one token a group, force it in each row of the group."""

    def __init__(self, mixture: Mixture, policies: int, seed: int, device: Any):
        self.mixture, self.policies = mixture, policies
        self.noise = torch.Generator(device=device).manual_seed(seed)
        self.failed: Exception | None = None

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores [B·P, A] with every token but the drawn one at −inf.

        What fails is remembered, and ``draw_rows`` ends with it: peft leaves its hooks behind where an
        error leaves ``generate``. So is NaN, which would be drawn as a token.
        """
        P, A = self.policies, scores.shape[1]
        z = scores.reshape(-1, P, A).transpose(0, 1)
        try:
            if bool(torch.isnan(scores).any()):
                raise InstanceError.of(
                    "logits while drawing", "NaN", "must be finite or −inf",
                    # softmax of attention is taken in float32, where the mask of a float64 overflows
                    "load with --dtype float32: with attention as in Gemma-2, transformers cannot pad in "
                    "float64",
                )  # fmt: skip
            logits = self.mixture(z.double(), input_ids[::P])
        except Exception as error:
            self.failed = error
            return torch.zeros_like(scores)
        # arg max of logits plus Gumbel noise, −log of an exponential, is a draw from their softmax
        gumbel = -torch.empty_like(logits).exponential_(generator=self.noise).log()
        token = (logits + gumbel).argmax(dim=1).repeat_interleave(P)
        forced = torch.full_like(scores, -torch.inf)
        forced[torch.arange(len(token), device=scores.device), token] = 0.0
        return forced

    def stop(self, input_ids: Tensor, scores: Any, **other: Any) -> Tensor:
        """Whether each row [B·P] is to end now: all, once something failed."""
        return torch.full((len(input_ids),), self.failed is not None, device=input_ids.device)


class Apart(transformers.LogitsProcessor):  # type: ignore[misc]
    """Mix what the reference says, which generates, with what each other policy says in its own pass.

    mask: [B, n] of the left-padded prompts. Each policy keeps its cache, where the model has one.
    """

    def __init__(self, bank: Bank, policies: Sequence[str], mixer: Mixer, mask: Tensor):
        self.bank, self.mixer, self.mask = bank, mixer, mask
        self.caches: dict[str, Any] = dict.fromkeys(policies)
        self.placed = "position_ids" in inspect.signature(bank.base.forward).parameters

    def _pass(self, name: str, ids: Tensor, mask: Tensor) -> Tensor:
        cache = self.caches[name]
        first = 0 if cache is None else ids.shape[1] - 1
        options: dict[str, Any] = {"past_key_values": cache, "use_cache": True}
        if self.placed:
            options["position_ids"] = (mask.cumsum(dim=1) - 1).clamp_min(0)[:, first:]
        with self.bank.using(name) as base:
            out = base(input_ids=ids[:, first:], attention_mask=mask, **options)
        self.caches[name] = getattr(out, "past_key_values", None)
        return out.logits[:, -1]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores [B, A] of the reference with every token but the drawn one at −inf."""
        new = input_ids.shape[1] - self.mask.shape[1]
        mask = torch.nn.functional.pad(self.mask, (0, new), value=1)
        rows = [scores, *(self._pass(name, input_ids, mask).to(scores) for name in self.caches)]
        forced = self.mixer(
            input_ids.repeat_interleave(len(rows), dim=0), torch.stack(rows, dim=1).flatten(0, 1)
        )
        return forced[:: len(rows)]


def generate(
    bank: Bank,
    prompts: Sequence[Sequence[int]],
    mixture: Mixture,
    *,
    tokens: int,
    seed: int,
    single: Any = None,
    policies: Sequence[str] | None = None,
) -> list[list[int]]:
    """Draw one answer for each prompt (token ids) with the rows ref, specialists 1..K.

    policies: other rows, ref first. single: a model that is one policy by itself (a soup in weight
    space); then the mixture sees that one row alone. See draw_rows.
    """
    sizes: dict[str, Any] = {"tokens": tokens, "seed": seed}
    if single is not None:
        return draw_rows(bank, single, [[prompt] for prompt in prompts], mixture, **sizes)
    _, *others = policies or (REF, *bank.names)
    if not bank.mixes_rows or not others:
        rows = [[prompt] for prompt in prompts]
        with bank.using(REF) as base:
            return draw_rows(bank, base, rows, mixture, apart=others, **sizes)
    names = ["__base__", *map(peft_name, others)]
    rows = [[prompt] * len(names) for prompt in prompts]
    return draw_rows(bank, bank.model, rows, mixture, adapter_names=names * len(prompts), **sizes)


def draw_rows(
    bank: Bank,
    model: Any,
    rows: Sequence[Sequence[Sequence[int]]],
    mixture: Mixture,
    *,
    tokens: int,
    seed: int,
    apart: Sequence[str] = (),
    **options: Any,
) -> list[list[int]]:
    """Draw one answer for each group of P prompts, mixed token by token.

    rows: [B][P] token ids; a group's rows may differ in their prompts. Answers end with the end token
    or after ``tokens``. apart: policies whose logits at the model's tokens are taken in passes of their
    own.
    Raises InstanceError for prompts longer than the context less ``tokens``, in training mode, or for NaN.
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
    mixer = Mixer(mixture, P + len(apart), seed, bank.device)
    draws = Apart(bank, apart, mixer, mask.to(bank.device)) if apart else mixer
    config = transformers.GenerationConfig(
        max_new_tokens=tokens, do_sample=False, eos_token_id=list(bank.ends) or None,
        pad_token_id=0, use_cache=getattr(bank.config, "use_cache", True),
    )  # fmt: skip
    with torch.no_grad():
        out = model.generate(
            input_ids=ids.to(bank.device), attention_mask=mask.to(bank.device),
            generation_config=config,
            logits_processor=transformers.LogitsProcessorList([draws]),
            stopping_criteria=transformers.StoppingCriteriaList([mixer.stop]), **options,
        )  # fmt: skip
    if mixer.failed is not None:
        raise mixer.failed
    answers = []
    for answer in out[::P, n:].tolist():
        ends = [i for i, token in enumerate(answer) if token in bank.ends]
        answers.append(answer[: ends[0] + 1] if ends else answer)
    return answers


def single_row(z: Tensor, ids: Tensor) -> Tensor:
    """The mixture of a single row: its logits unchanged."""
    return z[0]
