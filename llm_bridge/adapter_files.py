"""Folders of LoRA adapters: what they are called, and what must stand in them before peft reads them.

Only factors can be scaled by λ. What an adapter changes beside them (biases, magnitudes, the base
weights themselves at initialisation) is refused here, with the setting or the tensor named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from toymdp import InstanceError, validators
from toymdp.files import read_json
from toymdp.validators import integer

from .backend import safetensors
from .base_content import BaseModel

# of an adapter's settings: what changes more than factors, or imports a module that the file names
NOT_PLAIN = (
    "use_dora", "use_qalora", "use_bdlora", "lora_bias", "alora_invocation_tokens", "arrow_config",
    "trainable_token_indices", "megatron_config", "layer_replication", "modules_to_save",
    "velora_config", "monteclora_config", "kasa_config",
)  # fmt: skip
# initialisations that leave the base weights as they are; PiSSA, OLoRA, CorDA, LoftQ and LoRA-GA
# subtract from them what they put into the factors
LEAVES_THE_BASE = (None, True, False, "gaussian", "orthogonal", "eva")
FLAGS = ("use_rslora", "fan_in_fan_out")


def named_folders(
    given: Mapping[str, str] | Sequence[str], last: str | None = None
) -> dict[str, str]:
    """Name -> folder of adapters given by name, as folders or as ``NAME=FOLDER``; ``last`` behind them.

    A folder alone is called by the shortest end of its path that tells it from the others:
    ``helpful/checkpoint-500`` and ``harmless/checkpoint-500``. Raises InstanceError for a name or a
    folder given twice.
    """
    pairs: list[tuple[str | None, str]] = (
        [*given.items()] if isinstance(given, Mapping) else [_split(text) for text in given]
    )
    pairs += [] if last is None else [_split(last)]
    places = [Path(folder).resolve() for _, folder in pairs]
    open_places = [place for (name, _), place in zip(pairs, places, strict=True) if name is None]
    names: dict[str, str] = {}
    for (name, folder), place in zip(pairs, places, strict=True):
        if places.count(place) > 1:
            raise InstanceError.of("adapter", folder, "is given twice", "drop one")
        called = name if name is not None else _shortest(place, open_places)
        if called in names:
            raise InstanceError.of(
                "adapter", called, "is the name of two", "say --adapter NAME=FOLDER"
            )
        names[called] = folder
    return names


def _split(text: str) -> tuple[str | None, str]:
    """``NAME=FOLDER`` in its parts; the name is None where the whole is a folder's path."""
    name, sign, folder = text.partition("=")
    if not sign or Path(text).is_dir() or "/" in name:
        return None, text
    if not name.strip() or not folder:
        raise InstanceError.of("--adapter", text, "must be FOLDER or NAME=FOLDER", "complete it")
    return name.strip(), folder


def _shortest(place: Path, others: Sequence[Path]) -> str:
    parts = place.parts
    for n in range(1, len(parts)):
        if sum(other.parts[-n:] == parts[-n:] for other in others) == 1:
            return "/".join(parts[-n:])
    return str(place)


def check_adapter(label: str, folder: Path, base: BaseModel, any_base: bool) -> None:
    """Refuse what is not a LoRA adapter in safetensors, or changes more than LoRA factors.

    any_base: accept adapters of another base model.
    """
    config_file, weights = folder / "adapter_config.json", folder / "adapter_model.safetensors"
    for path in (config_file, weights):
        if not path.is_file():
            raise InstanceError.of(
                label, str(folder), f"has no {path.name}",
                "give a folder that peft saved with safetensors",
            )  # fmt: skip
    config = read_json(config_file)
    try:
        with safetensors.safe_open(weights, framework="pt") as file:
            keys = list(file.keys())
            ranks = [file.get_slice(k).get_shape()[:1] for k in keys if ".lora_A." in k]
    except Exception as error:  # safetensors raises a type of its own, and others
        reason = f"cannot be read ({first_line(error)})"
        raise InstanceError.of(label, str(folder), reason, "save it anew") from None
    odd = [key for key in NOT_PLAIN if config.get(key)]
    if config.get("peft_type") != "LORA" or config.get("bias") != "none" or odd:
        raise InstanceError.of(
            label, odd or config.get("peft_type"), "must be plain LoRA without bias",
            "only LoRA factors can be scaled by λ",
        )  # fmt: skip
    begun = config.get("init_lora_weights")
    if not isinstance(begun, str | bool | None) or begun not in LEAVES_THE_BASE:
        raise InstanceError.of(
            f"{label}: init_lora_weights", begun, "changed the base weights: its factors are relative "
            "to others than the reference's", "save it with path_initial_model_for_weight_conversion",
        )  # fmt: skip
    for flag in FLAGS:
        if not isinstance(config.get(flag), bool | None):
            raise InstanceError.of(
                f"{label}: {flag}", config[flag], "must be true or false", "correct it"
            )
    validators.number(f"{label}: lora_alpha", config.get("lora_alpha", 8))
    _check_ranks(label, config, [int(n) for shape in ranks for n in shape])
    if not any_base:
        base.check(label, folder, config.get("base_model_name_or_path"))


def _check_ranks(label: str, config: Mapping[str, Any], held: Sequence[int]) -> None:
    """Refuse a rank beyond that of the factors in the file: peft makes room for it first."""
    pattern = config.get("rank_pattern")
    asked = {"r": config.get("r"), **(pattern if isinstance(pattern, dict) else {})}
    for key, rank in asked.items():
        integer(f"{label}: rank {key}", rank, 1, max(held, default=1))


def first_line(error: Exception) -> str:
    """The first line of an error's text that says something."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), repr(error))
