"""A causal language model in two steps, states and logits, both taken from its own forward pass.

What lies between the last state and the logits differs from one architecture to the next: a scale,
a soft cap, a projection, a bias. None of it is written a second time here. The states are what the
decoder returns; the logits are what the model's own forward makes of given states, its decoder
standing still. ``check_forward`` compares both steps with one plain pass, and refuses what differs.
"""

from __future__ import annotations

from typing import Any

from toymdp import InstanceError

from .backend import torch

Tensor = Any


class _Given:
    """The output of a decoder that was handed its states: whatever else a forward asks of it is None."""

    def __init__(self, states: Tensor):
        self.last_hidden_state = states

    def __getitem__(self, place: Any) -> Any:
        return (self.last_hidden_state,)[place]

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)


def states_of(base: Any, ids: Tensor, mask: Tensor | None = None) -> Tensor:
    """Last hidden states [B, n, d] of token ids [B, n], right-padded; mask [B, n], 1 on tokens."""
    out = base.get_decoder()(input_ids=ids, attention_mask=mask, use_cache=False)
    return out.last_hidden_state


def layers_of(base: Any) -> Any:
    """The decoder's layers in their order; None where they are no plain list."""
    count = getattr(base.config.get_text_config(), "num_hidden_layers", None)
    lists = [m for m in base.get_decoder().modules() if isinstance(m, torch.nn.ModuleList)]
    return next((layers for layers in lists if len(layers) == count), None)


def states_entering(
    base: Any, layer: int, ids: Tensor, mask: Tensor
) -> tuple[Tensor | None, Tensor]:
    """What layer ``layer`` ≥ 1 is given, and the last states, both [B, n, d], in one pass.

    The first is None where layers hand on something else than states.
    """
    handed: list[Any] = []
    before = layers_of(base)[layer - 1]
    hook = before.register_forward_hook(lambda module, given, out: handed.append(out))
    try:
        last = states_of(base, ids, mask)
    finally:
        hook.remove()
    plain = len(handed) == 1 and isinstance(handed[0], torch.Tensor) and handed[0].ndim == 3
    return handed[0] if plain else None, last


def states_from(base: Any, layer: int, entering: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
    """Last states [B, n, d] of a pass that begins at layer ``layer`` ≥ 1 with the states it is given.

    The decoder runs as it is, its earlier layers standing still: what it prepares for its layers
    (masks, positions) is its own.
    """
    still = layers_of(base)[:layer]
    for module in still:
        module.forward = lambda *given, **options: entering
    try:
        return states_of(base, ids, mask)
    finally:
        for module in still:
            del module.forward  # the instance's; the class has its own


def logits_of(base: Any, states: Tensor) -> Tensor:
    """The logits [N, A] that the model's own forward makes of states [N, d]."""
    decoder = base.get_decoder()
    ids = torch.zeros((1, len(states)), dtype=torch.long, device=states.device)
    decoder.forward = lambda *given, **options: _Given(states[None])
    try:
        return base(input_ids=ids, use_cache=False).logits[0]
    finally:
        del decoder.forward  # the instance's; the class has its own


@torch.no_grad()
def check_forward(base: Any, policy: str) -> None:
    """Compare the two steps with one plain forward pass. Raises InstanceError where they differ."""
    width = base.get_output_embeddings().weight.shape[0]
    device = next(base.parameters()).device
    ids = ((torch.arange(9, device=device) * 7 + 3) % width)[None]
    mask = torch.ones_like(ids)
    whole = base(input_ids=ids, attention_mask=mask, use_cache=False).logits[0]
    steps = logits_of(base, states_of(base, ids, mask)[0])
    if steps.shape == whole.shape:
        apart = float((steps - whole).abs().max())
        allowed = 8 * torch.finfo(whole.dtype).eps * (1.0 + float(whole.abs().max()))
        if apart <= allowed:
            return
        said = f"differ by up to {apart:.3g} from its own forward pass"
    else:
        said = f"have shape {tuple(steps.shape)} and not {tuple(whole.shape)}"
    raise InstanceError.of(
        f"architecture {type(base).__name__}", policy, f"logits from its last states {said}",
        "this architecture is not supported",
    )  # fmt: skip
