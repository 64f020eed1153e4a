"""A reference model with K specialists and perhaps a bespoke policy, as LoRA adapters on it.

Row 0 is always ``ref`` (all adapters off), rows 1..K the specialists in the order given, row K+1
the bespoke adapter where there is one. Nothing is merged into the base weights for good: with tied
embeddings a merge into the output layer would change the embedding, and with it the reference
(see llm_bridge.folding for what is, for the length of a pass).
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from toymdp import InstanceError

from .backend import peft, torch
from .folding import Folding
from .forward import logits_of, states_of
from .texts import Prompt, Texts

Tensor = Any  # torch.Tensor
REF = "ref"
BYTES = 2**28  # of logits held at once on a CPU
SHARE, MOST = 16, 2**32  # and on a GPU: one part in 16 of what is free, at most these bytes


def peft_name(name: str) -> str:
    """What peft calls an adapter: its name, or an alias where torch or peft could not keep that.

    Names become keys of module dictionaries, which allow no dots and no words that those have as
    methods, and parts of parameter names, where ``0`` or ``lm_head`` could mean a layer.
    """
    plain = re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", name) and "lora" not in name
    if (
        plain
        and not hasattr(torch.nn.ModuleDict, name)
        and not hasattr(torch.nn.ParameterDict, name)
    ):
        return name
    return f"adapter_{hashlib.sha256(name.encode()).hexdigest()[:12]}"


@dataclass(frozen=True, eq=False)
class Bank:
    """Policies that share one base model.

    model: a ``peft.PeftModel`` in eval mode, all parameters frozen. names: the K specialists.
    bespoke: adapter taken for π_w, or None. tokenizer: None for models of token ids only.
    eos: token ids that end an answer, as the model's settings name them. name: what reports call it.
    chat: see ``Texts``. length: most tokens of a prompt with its answer that are taken from data (None:
    the context); truncate: cut longer answers there, instead of refusing them.
    """

    model: Any
    names: tuple[str, ...]
    bespoke: str | None = None
    tokenizer: Any = None
    eos: tuple[int, ...] = ()
    name: str = "bank"
    chat: bool | None = None
    length: int | None = None
    truncate: bool = False
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

    @property
    def width(self) -> int:
        """Length d of a state."""
        head = self.base.get_output_embeddings()
        return int(getattr(head, "base_layer", head).weight.shape[1])

    @property
    def limit(self) -> int:
        """Most tokens of a prompt with its answer that are taken from data."""
        return self.context if self.length is None else min(self.context, self.length)

    @cached_property
    def texts(self) -> Texts:
        """How prompts and answers become token ids."""
        return Texts(self.tokenizer, self.chat, self.eos)

    @cached_property
    def ends(self) -> tuple[int, ...]:
        """Every token id that ends an answer."""
        return self.eos if self.tokenizer is None else self.texts.ends

    @cached_property
    def lora_layers(self) -> list[Any]:
        """Modules that carry LoRA factors."""
        return [m for m in self.model.modules() if isinstance(m, peft.tuners.lora.LoraLayer)]

    def factors(self, name: str) -> dict[str, Any]:
        """The factors of one adapter by parameter name."""
        key = f".{peft_name(name)}."
        return {n: p for n, p in self.model.named_parameters() if ".lora_" in n and key in n}

    @cached_property
    def _layers_after_states(self) -> list[Any]:
        inside = set(self.base.get_decoder().modules())
        return [layer for layer in self.lora_layers if layer not in inside]

    @property
    def head_only(self) -> bool:
        """Whether every adapter changes only what comes after the states, so that all share them."""
        return len(self._layers_after_states) == len(self.lora_layers)

    @cached_property
    def mixes_rows(self) -> bool:
        """Whether the rows of one batch can each be under an adapter of their own.

        peft tells rows apart by the first axis of what a layer is given. A mixture of experts hands its
        layers tokens of all rows, others flatten them, and layers of another kind cannot do it at all.
        """
        kinds = (peft.tuners.lora.Linear, peft.tuners.lora.Embedding)
        if not all(isinstance(layer, kinds) for layer in self.lora_layers):
            return False
        seen: dict[Any, set[int]] = {}

        def look(layer: Any, given: tuple[Any, ...]) -> None:
            seen.setdefault(layer, set()).add(int(given[0].shape[0]))

        hooks = [layer.register_forward_pre_hook(look) for layer in self.lora_layers]
        try:
            with torch.no_grad():
                self.base(input_ids=torch.zeros((3, 5), dtype=torch.long, device=self.device))
        finally:
            for hook in hooks:
                hook.remove()
        return all(seen.get(layer) == {3} for layer in self.lora_layers)

    @cached_property
    def _folding(self) -> Folding:
        return Folding(self.model, self.lora_layers)

    @contextmanager
    def using(self, policy: str | Sequence[str], *, folded: bool = False) -> Iterator[Any]:
        """Switch to one policy (several names: their adapters add up) and hand out the base model.

        peft's own switches walk every module twice and turn ``requires_grad`` on. These are the two
        attributes that a LoRA layer's forward looks at; nothing else is touched. folded: passes of many
        tokens follow, for which the adapters are added to the weights where that can be.
        """
        layers, tuner = self.lora_layers, self.model.base_model
        names = [peft_name(name) for name in ([policy] if isinstance(policy, str) else policy)]
        before = [(layer._active_adapter, layer._disable_adapters) for layer in layers]
        active = tuner.active_adapter
        off = policy == REF
        try:
            for layer in layers:
                layer._disable_adapters = off
                if not off:
                    layer._active_adapter = names
            if not off:
                tuner.active_adapter = names
            with self._folding.put_away():  # an outer policy's
                if folded and not off:
                    with self._folding.folded(names):
                        yield self.base
                else:
                    yield self.base
        finally:
            for layer, (adapters, disabled) in zip(layers, before, strict=True):
                layer._active_adapter, layer._disable_adapters = adapters, disabled
            tuner.active_adapter = active

    @torch.no_grad()
    def hidden(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        """Last hidden states of every policy, ``ψ(s)`` after the final norm: [P, B, n, d].

        ids: [B, n] token ids, right-padded. mask: [B, n], 1 on tokens. Raises InstanceError for
        sequences longer than the context.
        """
        self.check_length(int(ids.shape[1]))
        states = []
        for policy in self.policies[:1] if self.head_only else self.policies:
            with self.using(policy, folded=True) as base:
                states.append(states_of(base, ids, mask))
        if self.head_only:
            return states[0].expand(len(self.policies), *states[0].shape)
        return torch.stack(states)

    @torch.no_grad()
    def logits(self, hidden: Tensor) -> Tensor:
        """Raw logits [P, N, A] of every policy from its states [P, N, d], by the model's own forward.

        Raises InstanceError if one is NaN or +inf; −inf forbids a token.
        """
        if not self._layers_after_states:  # what no adapter has touched is every policy's
            flat = logits_of(self.base, hidden.flatten(0, 1))
            every = flat.reshape(*hidden.shape[:2], flat.shape[1])
        else:
            rows = []
            for states, policy in zip(hidden, self.policies, strict=True):
                with self.using(policy):
                    rows.append(logits_of(self.base, states))
            every = torch.stack(rows)
        for largest, policy in zip(every.amax(dim=(1, 2)).tolist(), self.policies, strict=True):
            if not largest < math.inf:  # nor is NaN, which a maximum passes on
                raise InstanceError.of(
                    f"logits of {policy}", "NaN or +inf", "must be finite or −inf",
                    "load with another dtype (float16 overflows) or retrain the adapter",
                )  # fmt: skip
        return every

    def states_at_once(self, rows: int) -> int:
        """How many states' logits, ``rows`` times each, fit a fixed number of bytes: at least one."""
        room = BYTES
        if self.device.type == "cuda":
            room = min(torch.cuda.mem_get_info(self.device)[0] // SHARE, MOST)
        return max(1, room // (8 * rows * self.vocab_size))

    @property
    def at_once(self) -> int:
        """How many answers go through the model together: a GPU is kept busy by more."""
        return 64 if self.device.type == "cuda" else 16

    def check_length(self, n: int, most: int | None = None) -> None:
        """Raise InstanceError if a sequence of n tokens does not fit ``most``, or the context."""
        most = self.context if most is None else most
        if n > most:
            whose = "the model's context" if most == self.context else "--max-length"
            raise InstanceError.of(
                "length of a prompt with its answer", f"{n} tokens",
                f"must fit {whose} of {most}", "shorten it or its answers",
            )  # fmt: skip

    def encode(self, prompt: Prompt) -> list[int]:
        """Token ids of a prompt after the tokenizer's own start tokens; nothing is appended."""
        return self.texts.prompt(prompt)


def pad(rows: Sequence[Sequence[int]], device: Any = "cpu") -> tuple[Tensor, Tensor]:
    """Right-pad id lists with 0; return ids and mask [B, n]."""
    n = max(map(len, rows))
    ids = torch.zeros((len(rows), n), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.as_tensor(row)
        mask[i, : len(row)] = 1
    return ids.to(device), mask.to(device)
