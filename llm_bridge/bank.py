"""A reference model with K specialists and perhaps a bespoke policy, as LoRA adapters on it.

Row 0 is always ``ref`` (all adapters off), rows 1..K the specialists in the order given, row K+1
the bespoke adapter where there is one. Nothing is ever merged into the base weights: with tied
embeddings a merge into the output layer would change the embedding, and with it the reference.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from toymdp import InstanceError

from .backend import peft, torch

Tensor = Any  # torch.Tensor
REF = "ref"


@dataclass(frozen=True, eq=False)
class Bank:
    """Policies that share one base model.

    model: a ``peft.PeftModel`` in eval mode, all parameters frozen. names: the K specialists.
    bespoke: adapter taken for π_w, or None. tokenizer: None for models of token ids only.
    eos: token ids that end an answer. name: what reports call it.
    """

    model: Any
    names: tuple[str, ...]
    bespoke: str | None = None
    tokenizer: Any = None
    eos: tuple[int, ...] = ()
    name: str = "bank"
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def policies(self) -> tuple[str, ...]:
        """``ref``, the specialists, and the bespoke adapter last where there is one."""
        return (REF, *self.names, *((self.bespoke,) if self.bespoke else ()))

    @property
    def base(self) -> Any:
        """The causal language model under the adapters."""
        return self.model.get_base_model()

    @property
    def config(self) -> Any:
        """The base model's configuration; its text part where it also sees images."""
        return self.base.config.get_text_config()

    @cached_property
    def device(self) -> Any:
        """Where the weights are."""
        return next(self.model.parameters()).device

    @property
    def vocab_size(self) -> int:
        """Width of the output layer A."""
        head = self.base.get_output_embeddings()
        return int(getattr(head, "base_layer", head).weight.shape[0])

    @property
    def context(self) -> int:
        """Longest sequence the model was made for, in tokens."""
        return int(getattr(self.config, "max_position_embeddings", 2**31 - 1))

    @cached_property
    def head_only(self) -> bool:
        """Whether every adapter changes the output layer only, so that all share one state."""
        head = self.base.get_output_embeddings()
        layers = [m for m in self.model.modules() if isinstance(m, peft.tuners.lora.LoraLayer)]
        return all(m is head for m in layers)

    @contextmanager
    def using(self, policy: str | Sequence[str]) -> Iterator[Any]:
        """Switch to one policy (several names: their adapters add up) and hand out the base model.

        peft turns ``requires_grad`` on again whenever an adapter is set or adapters are enabled;
        what was frozen before is frozen after.
        """
        tuner = self.model.base_model
        grads = {n: p.requires_grad for n, p in self.model.named_parameters()}
        before = list(tuner.active_adapters)
        try:
            if policy == REF:
                tuner.disable_adapter_layers()
            else:
                tuner.set_adapter([policy] if isinstance(policy, str) else list(policy), True)
            yield self.base
        finally:
            tuner.enable_adapter_layers()
            tuner.set_adapter(before, True)
            for n, p in self.model.named_parameters():
                p.requires_grad_(grads[n])

    @torch.no_grad()
    def hidden(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        """Last hidden states of every policy, ``psi(s)`` after the final norm: [P, B, n, d].

        ids: [B, n] token ids, right-padded. mask: [B, n], 1 on tokens. Raises InstanceError for
        sequences longer than the context.
        """
        self.check_length(int(ids.shape[1]))
        states = []
        for policy in self.policies[:1] if self.head_only else self.policies:
            with self.using(policy) as base:
                out = base.get_decoder()(input_ids=ids, attention_mask=mask, use_cache=False)
                states.append(out.last_hidden_state)
        if self.head_only:
            return states[0].expand(len(self.policies), *states[0].shape)
        return torch.stack(states)

    @torch.no_grad()
    def logits(self, hidden: Tensor) -> Tensor:
        """Raw logits [P, N, A] of every policy from its states [P, N, d], in the model's dtype.

        Raises InstanceError if one is NaN or +inf; −inf forbids a token.
        """
        cap = getattr(self.config, "final_logit_softcapping", None)
        head, rows = self.base.get_output_embeddings(), []
        # a layer that peft has not wrapped is every policy's: to switch would cost more than to apply
        plain = type(head) is torch.nn.Linear
        for row, policy in zip(hidden, self.policies, strict=True):
            with nullcontext() if plain else self.using(policy):
                z = head(row)
            z = torch.tanh(z / cap) * cap if cap is not None else z
            if bool(torch.isnan(z).any()) or bool((z == torch.inf).any()):
                raise InstanceError.of(
                    f"logits of {policy}", "NaN or +inf", "must be finite or −inf",
                    "load with another dtype (float16 overflows) or retrain the adapter",
                )  # fmt: skip
            rows.append(z)
        return torch.stack(rows)

    def check_length(self, n: int) -> None:
        """Raise InstanceError if a sequence of n tokens does not fit the context."""
        if n > self.context:
            raise InstanceError.of(
                "length of a prompt with its answer", f"{n} tokens",
                f"must fit the model's context of {self.context}", "shorten it or its answers",
            )  # fmt: skip

    def encode(self, text: str, *, start: bool = True) -> list[int]:
        """Token ids of a text, after the model's start token if ``start``; nothing is appended."""
        if self.tokenizer is None:
            raise InstanceError.of("tokenizer", None, "is needed to read text", "load one")
        ids = list(self.tokenizer.encode(text, add_special_tokens=False))
        bos = self.tokenizer.bos_token_id
        return [bos, *ids] if start and bos is not None else ids


def pad(rows: Sequence[Sequence[int]], device: Any = "cpu") -> tuple[Tensor, Tensor]:
    """Right-pad id lists with 0; return ids and mask [B, n]."""
    n = max(map(len, rows))
    ids = torch.zeros((len(rows), n), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.as_tensor(row)
        mask[i, : len(row)] = 1
    return ids.to(device), mask.to(device)
