"""One adapter from its folder onto a base model: every factor from its file, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toymdp import InstanceError

from .adapter_files import first_line
from .backend import peft, quiet_peft, torch
from .bank import peft_name

UNREAD = -49152.0  # of a factor before it is read; exact in every dtype


def with_adapter(base: Any, wrapped: Any, name: str, folder: Path) -> Any:
    """Put one adapter on the base model, every factor from its file.

    Before they are read the factors hold a number that no training gives: what the file lacks keeps it,
    whatever keys peft renames.
    """
    label, key = f"adapter {name}", peft_name(name)
    try:
        with quiet_peft():
            config = peft.PeftConfig.from_pretrained(str(folder))
            config.init_lora_weights, config.eva_config = True, None  # all factors are read
            config.inference_mode = True
            if wrapped is None:
                wrapped = peft.PeftModelForCausalLM(
                    base, config, adapter_name=key, autocast_adapter_dtype=False
                )
            else:
                wrapped.add_adapter(key, config, autocast_adapter_dtype=False)
            mine = {
                n: p for n, p in wrapped.named_parameters() if f".{key}." in n and ".lora_" in n
            }
            for factor in mine.values():
                factor.data.fill_(UNREAD)
            mapping = getattr(base, "_checkpoint_conversion_mapping", {})
            tensors = peft.load_peft_weights(str(folder), device="cpu", key_mapping=mapping)
            held = {k: tensors.pop(k) for k in [*tensors] if ".lora_" not in k}
            result = peft.set_peft_model_state_dict(wrapped, tensors, adapter_name=key)
            asked = peft.get_peft_model_state_dict(
                wrapped, adapter_name=key, save_embedding_layers=False
            )
    except Exception as error:  # of a damaged adapter peft raises nearly everything
        reason = f"does not fit the base model ({first_line(error)})"
        raise InstanceError.of(label, str(folder), reason, "use its base") from None
    missing = sorted(n for n, factor in mine.items() if bool((factor == UNREAD).all()))
    left = sorted(result.unexpected_keys) or sorted(
        set(tensors) - set(asked) if set(tensors) & set(asked) else ()
    )
    for keys, rule in ((missing, "are in the model and not in its file"),
                       (left, "are in its file and not in the model")):  # fmt: skip
        if keys:
            said = f"{len(keys)} of its factors {rule} ({', '.join(keys[:2])}{', …' * (len(keys) > 2)})"
            raise InstanceError.of(
                label, str(folder), said, "save it anew, from its own base model"
            )
    _compare_base_weights(label, base, held)
    return wrapped


def _compare_base_weights(label: str, base: Any, held: Mapping[str, Any]) -> None:
    """Refuse base weights saved with an adapter unless they are the base model's own.

    peft saves the output layer with an adapter on it; what it saved is compared and not loaded.
    """
    own = {
        name.replace(".base_layer", ""): p
        for name, p in base.named_parameters(remove_duplicate=False)
    }
    for key, tensor in held.items():
        name = key.removeprefix("base_model.model.").replace(".base_layer", "")
        weight, same = own.get(name), False
        if weight is not None and weight.shape == tensor.shape:
            ours, theirs = weight.detach().cpu(), tensor.cpu()
            # equal in the coarser of the two types: one may have been saved in another
            pairs = ((ours.to(theirs.dtype), theirs), (ours, theirs.to(ours.dtype)))
            same = any(torch.equal(*pair) for pair in pairs)
        if not same:
            raise InstanceError.of(
                label, key, "carries full weights that are not the base model's (altered in training?)",
                "only LoRA factors can be scaled by λ",
            )  # fmt: skip
