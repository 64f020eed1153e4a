"""A token MDP as a torch causal language model: a lookup table that goes through the bridge.

The state after t tokens is the one-hot vector of ``(t, s)``, times the scale of the instance's
features; the output layer holds ``log ref``; each policy is a LoRA adapter of full rank on that
layer, holding ``log π − log ref``. So every step that a Gemma bank takes (switching adapters, the
base model as reference, states, logits, generation) is taken on an instance whose every number the
toy side knows exactly.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from toymdp import InstanceError, Solution, TokenMDP
from toymdp.worlds.features import Tabular

from .backend import peft, torch, transformers
from .bank import Bank, peft_name
from .loading import add_adapters

Tensor = Any


class LookupConfig(transformers.PretrainedConfig):  # type: ignore[misc]  # transformers is not typed
    """Sizes of the table: vocabulary A, context length L, horizon T."""

    model_type = "soupcheck-lookup"

    def __init__(self, vocab_size: int = 2, order: int = 1, horizon: int = 1, **other: Any):
        self.vocab_size, self.order, self.horizon = vocab_size, order, horizon
        self.max_position_embeddings = order + horizon
        self.hidden_size = (horizon + 1) * vocab_size**order
        self.num_hidden_layers = 1
        self.use_cache = False  # the table reads the whole context
        super().__init__(**other)


class LookupStates(torch.nn.Module):
    """Token ids -> one-hot of (t, s), times ``scale`` [T+1, S]."""

    def __init__(self, config: LookupConfig):
        super().__init__()
        self.config = config
        shape = (config.horizon + 1, config.vocab_size**config.order)
        self.scale = torch.nn.Parameter(torch.ones(shape), requires_grad=False)

    def forward(self, input_ids: Tensor, **other: Any) -> Any:
        """Return ``last_hidden_state`` [B, n, d]; positions before the start context are zero."""
        A, L, T = self.config.vocab_size, self.config.order, self.config.horizon
        B, n = input_ids.shape
        where = {"device": input_ids.device}
        hidden = torch.zeros((B, n, self.config.hidden_size), dtype=self.scale.dtype, **where)
        for place in range(L - 1, n):
            t = min(place - L + 1, T)
            s = torch.zeros(B, dtype=torch.long, **where)
            for token in range(place - L + 1, place + 1):
                s = s * A + input_ids[:, token]
            hidden[torch.arange(B, **where), place, t * A**L + s] = self.scale[t, s]
        return SimpleNamespace(last_hidden_state=hidden)


class LookupLM(transformers.PreTrainedModel, transformers.GenerationMixin):  # type: ignore[misc]
    """The table as a causal language model; ``lm_head`` maps (t, s) to log-probabilities."""

    config_class = LookupConfig
    base_model_prefix = "states"

    def __init__(self, config: LookupConfig):
        super().__init__(config)
        self.states = LookupStates(config)
        self.lm_head = torch.nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_decoder(self) -> LookupStates:
        """Return the part that makes states."""
        return self.states

    def get_output_embeddings(self) -> Any:
        """Return the output layer."""
        return self.lm_head

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, **other: Any) -> Any:
        """Return logits [B, n, A]."""
        return transformers.modeling_outputs.CausalLMOutput(
            logits=self.lm_head(self.states(input_ids).last_hidden_state)
        )


def lookup_bank(sol: Solution) -> Bank:
    """Wrap a solved instance: specialists ``k0, k1, …`` and the bespoke policy ``user``.

    The instance needs a finite horizon and one-hot features per step (their scale may vary).
    Raises InstanceError otherwise.
    """
    mdp = sol.mdp
    features = mdp.features
    if mdp.horizon is None or not (isinstance(features, Tabular) and features.per_step):
        raise InstanceError.of(
            "instance", mdp.name or "unnamed", "a lookup table needs a finite horizon and per-step "
            "tabular features", "change these fields",
        )  # fmt: skip
    A, S, T = mdp.vocab_size, mdp.n_contexts, mdp.horizon
    config = LookupConfig(A, mdp.order, T, eos_token_id=mdp.eos, pad_token_id=0)
    model = LookupLM(config).to(torch.float64)
    scale = np.ones((T + 1, S))
    scale[1:] = features.scales(T, S)
    allowed = np.broadcast_to(mdp.reach.allowed, (T, S, A)) & mdp.reach.states[:T, :, None]
    with np.errstate(divide="ignore"):
        log_ref = np.broadcast_to(np.log(mdp.ref), (T, S, A))
    # a one-hot times −inf is NaN; the lowest float is what transformers itself masks with
    floor = np.finfo(np.float64).min / 4
    # what cannot be reached allows everything: tools that draw go on past an end, and want a law there
    weights = np.where(allowed, log_ref, np.where(mdp.reach.states[:T, :, None], floor, 0.0))
    names = [f"k{k}" for k in range(mdp.n_rewards)]
    with torch.no_grad():
        model.states.scale.copy_(torch.from_numpy(scale))
        model.lm_head.weight.zero_()
        model.lm_head.weight[:, : T * S] = _columns(weights, scale[:T])
    rank = A
    lora = peft.LoraConfig(r=rank, lora_alpha=rank, target_modules=["lm_head"], bias="none")
    bank = add_adapters(
        model, names, lora, bespoke="user", eos=() if mdp.eos is None else (mdp.eos,),
        name=mdp.name or "instance",
    )  # fmt: skip
    head = bank.base.lm_head
    # the next context of (s, a)
    ahead = (np.arange(S)[:, None] * A + np.arange(A)) % S
    values = [*zip(sol.Q, sol.V, strict=True), (sol.Q_w, sol.V_w)]
    for name, (Q, V) in zip((*names, "user"), values, strict=True):
        # log π/ref = (Q − V)/β, (2): no logarithm of a probability that underflowed
        ratio = np.where(allowed, (Q[:, ahead] - V[:T, :, None]) / mdp.beta, 0.0)
        down = torch.zeros((rank, config.hidden_size), dtype=torch.float64)
        down[:, : T * S] = _columns(ratio, scale[:T])
        key = peft_name(name)
        head.lora_A[key].weight.data = down
        head.lora_B[key].weight.data = torch.eye(rank, dtype=torch.float64)
    return bank


def _columns(table: np.ndarray[Any, Any], scale: np.ndarray[Any, Any]) -> Tensor:
    """[T, S, A] -> [A, T·S], each column divided by the scale of its one-hot state."""
    flat = table / np.where(scale > 0, scale, 1.0)[..., None]
    return torch.from_numpy(np.ascontiguousarray(flat.reshape(-1, table.shape[2]).T))


def state_paths(mdp: TokenMDP) -> dict[tuple[int, int], list[int]]:
    """For every reachable ``(t, s)`` one token sequence from the start that leads there.

    The sequence holds the L start tokens and then t tokens.
    """
    paths = {(0, mdp.start_context): list(mdp.start)}
    layer = dict(paths)
    for t in range(mdp.steps - 1):
        following: dict[tuple[int, int], list[int]] = {}
        for (_, s), path in layer.items():
            for a in np.flatnonzero(mdp.reach.allowed[s]):
                s2 = int((s * mdp.vocab_size + a) % mdp.n_contexts)
                if mdp.reach.states[t + 1, s2]:
                    following.setdefault((t + 1, s2), [*path, int(a)])
        paths.update(following)
        layer = following
    return paths
