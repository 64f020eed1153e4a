"""Models and adapters from folders or names: safetensors only, no code that came with them.

Every mismatch is one line: vocabulary, base model, missing adapter, altered tied embeddings.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from toymdp import InstanceError, validators
from toymdp.files import read_json
from toymdp.validators import integer, token

from .backend import peft, quiet_peft, safetensors, torch, transformers
from .bank import REF, Bank

# of an adapter's settings: what changes more than factors, or imports a module that the file names
NOT_PLAIN = (
    "use_dora", "use_qalora", "use_bdlora", "lora_bias", "alora_invocation_tokens", "arrow_config",
    "trainable_token_indices", "megatron_config", "layer_replication", "modules_to_save",
)  # fmt: skip
SETTINGS = ("config.json", "generation_config.json", "tokenizer_config.json")
FLAGS = ("use_rslora", "fan_in_fan_out")
DTYPES = ("float32", "bfloat16", "float16", "float64")


def dtype_of(name: str) -> Any:
    """Return the torch dtype of an explicit name; InstanceError for any other word."""
    if name not in DTYPES:
        raise InstanceError.of("dtype", name, f"must be one of {DTYPES}", "name one")
    return getattr(torch, name)


def device_of(name: str) -> Any:
    """Return a torch device that exists here; InstanceError otherwise."""
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise InstanceError.of("device", name, f"not usable here ({reason})", "use cpu") from None
    return device


def load_model(
    model: str, *, dtype: str = "float32", device: str = "cpu", revision: str | None = None
) -> tuple[Any, Any]:
    """Load a causal language model and its tokenizer (None if the folder has none).

    model: a folder, or a hub name with an explicit revision. Raises InstanceError.
    """
    kind, place = dtype_of(dtype), device_of(device)
    folder = Path(model)
    if folder.is_dir():
        if not list(folder.glob("*.safetensors")):
            raise InstanceError.of("model", model, "holds no .safetensors file", "convert it first")
        for name in SETTINGS:  # transformers passes over a damaged one without a word
            if (folder / name).is_file():
                read_json(folder / name)
    elif revision is None:
        raise InstanceError.of(
            "model", model, "no such folder, and a name on a hub needs a revision",
            "check the path or give --revision",
        )  # fmt: skip
    options: dict[str, Any] = {"trust_remote_code": False, "revision": revision}
    if revision is None:
        options = {"trust_remote_code": False, "local_files_only": True}
    tokenizer = None
    try:
        base, about = transformers.AutoModelForCausalLM.from_pretrained(
            model, dtype=kind, use_safetensors=True, output_loading_info=True, **options
        )
        if not folder.is_dir() or (folder / "tokenizer_config.json").is_file():
            tokenizer = transformers.AutoTokenizer.from_pretrained(model, **options)
    except Exception as error:  # of a damaged folder transformers raises nearly everything
        raise InstanceError.of("model", model, _first_line(error), "check its files") from None
    if about["missing_keys"]:  # which transformers has filled with random numbers
        rule = f"its files lack {min(about['missing_keys'])}"
        raise InstanceError.of("model", model, rule, "save the whole model")
    if tokenizer is not None:
        width = base.get_output_embeddings().weight.shape[0]
        if len(tokenizer) > width:
            raise InstanceError.of(
                "vocabulary", f"{len(tokenizer)} tokens for {width} logits",
                "the tokenizer must fit the output layer", "use the model's own tokenizer",
            )  # fmt: skip
    return base.to(place), tokenizer


def load_bank(
    model: str,
    adapters: Mapping[str, str] | Sequence[str],
    *,
    bespoke: str | None = None,
    dtype: str = "float32",
    device: str = "cpu",
    revision: str | None = None,
    any_base: bool = False,
) -> Bank:
    """Load a base model and peft LoRA adapters from folders.

    adapters: name -> folder, or folders named by their last part. bespoke: folder of the adapter
    taken for π_w. any_base: load adapters that name another base model (shapes must still fit).

    Raises InstanceError with one line for each thing that does not fit.
    """
    if not isinstance(adapters, Mapping):
        adapters = {Path(a).name: a for a in adapters}
    folders = dict(adapters)
    if not folders:
        raise InstanceError.of("adapters", "none", "K ≥ 1 are needed", "give --adapter FOLDER")
    special = None
    if bespoke is not None:
        special = Path(bespoke).name
        if special in folders:
            raise InstanceError.of("bespoke", special, "is also a specialist", "rename a folder")
        folders[special] = bespoke
    if REF in folders:
        raise InstanceError.of("adapter", REF, "is the name of the reference", "rename the folder")
    base, tokenizer = load_model(model, dtype=dtype, device=device, revision=revision)
    wrapped: Any = None
    for name, folder in folders.items():
        held = _check_adapter(name, Path(folder), model, any_base)
        try:
            with quiet_peft():
                if wrapped is None:
                    wrapped = peft.PeftModel.from_pretrained(
                        base, folder, adapter_name=name, autocast_adapter_dtype=False
                    )
                else:
                    wrapped.load_adapter(folder, adapter_name=name, autocast_adapter_dtype=False)
        except Exception as error:  # of a damaged adapter peft raises nearly everything
            reason = f"does not fit the base model ({_first_line(error)})"
            raise InstanceError.of(f"adapter {name}", folder, reason, "use its base") from None
        used = peft.get_peft_model_state_dict(
            wrapped, adapter_name=name, save_embedding_layers=False
        )
        if len(used) != held:  # peft leaves the others out without a word
            rule = f"{held} factors are in its file, {len(used)} in the model that its settings ask for"
            raise InstanceError.of(f"adapter {name}", folder, rule, "save it anew")
    for part, weights in wrapped.named_parameters():
        if not torch.isfinite(weights).all():
            raise InstanceError.of("weights", part, f"not all finite in {dtype}", "save them anew")
    names, name = tuple(adapters), Path(model).name
    return frozen(Bank(wrapped, names, special, tokenizer, end_tokens(base), name=name))


def end_tokens(base: Any) -> tuple[int, ...]:
    """Token ids that end an answer, as the model's generation settings name them."""
    settings = base.generation_config
    ids = None if settings is None else settings.eos_token_id
    listed = [] if ids is None else ids if isinstance(ids, list | tuple) else [ids]
    width = base.get_output_embeddings().weight.shape[0]
    return tuple(token("eos_token_id", given, width) for given in listed)


def frozen(bank: Bank) -> Bank:
    """The same bank in eval mode with no parameter that asks for a gradient."""
    bank.model.eval()
    bank.model.requires_grad_(False)
    return bank


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), repr(error))


def _check_adapter(name: str, folder: Path, model: str, any_base: bool) -> int:
    """Refuse what is not a LoRA adapter in safetensors, or changes more than LoRA factors.

    Returns the number of factors in its file.
    """
    config_file, weights = folder / "adapter_config.json", folder / "adapter_model.safetensors"
    for path in (config_file, weights):
        if not path.is_file():
            raise InstanceError.of(
                f"adapter {name}", str(folder), f"has no {path.name}",
                "give a folder that peft saved with safetensors",
            )  # fmt: skip
    config = read_json(config_file)
    try:
        with safetensors.safe_open(weights, framework="pt") as file:
            keys = list(file.keys())
            ranks = [file.get_slice(k).get_shape()[:1] for k in keys if ".lora_A." in k]
    except Exception as error:  # safetensors raises a type of its own, and others
        raise InstanceError.of(
            f"adapter {name}", str(folder), f"cannot be read ({_first_line(error)})", "save it anew"
        ) from None
    odd = [key for key in NOT_PLAIN if config.get(key)]
    if config.get("peft_type") != "LORA" or config.get("bias") != "none" or odd:
        raise InstanceError.of(
            f"adapter {name}", odd or config.get("peft_type"), "must be plain LoRA without bias",
            "only LoRA factors can be scaled by λ",
        )  # fmt: skip
    for flag in FLAGS:
        if not isinstance(config.get(flag), bool | None):
            label = f"adapter {name}: {flag}"
            raise InstanceError.of(label, config[flag], "must be true or false", "correct it")
    validators.number(f"adapter {name}: lora_alpha", config.get("lora_alpha", 8))
    _check_ranks(name, config, [int(n) for shape in ranks for n in shape])
    full = [k for k in keys if ".lora_" not in k]
    if full:
        raise InstanceError.of(
            f"adapter {name}", full[0], "carries full weights (an altered tied embedding?)",
            "save it with save_embedding_layers=False and without modules_to_save",
        )  # fmt: skip
    trained_on = config.get("base_model_name_or_path")
    if trained_on is not None and not isinstance(trained_on, str):
        raise InstanceError.of(
            f"adapter {name}: base_model_name_or_path", trained_on, "must be a string", "quote it"
        )
    if trained_on and not any_base and Path(trained_on).name != Path(model).name:
        raise InstanceError.of(
            f"adapter {name}", trained_on, f"was trained on another base model than {model}",
            "load that model, or say --any-base",
        )  # fmt: skip
    return len(keys)


def _check_ranks(name: str, config: Mapping[str, Any], held: Sequence[int]) -> None:
    """Refuse a rank beyond that of the factors in the file: peft makes room for it first."""
    pattern = config.get("rank_pattern")
    asked = {"r": config.get("r"), **(pattern if isinstance(pattern, dict) else {})}
    for key, rank in asked.items():
        integer(f"adapter {name}: rank {key}", rank, 1, max(held, default=1))


def add_adapters(
    base: Any, names: Sequence[str], config: Any, *, bespoke: str | None = None,
    tokenizer: Any = None, eos: tuple[int, ...] = (), name: str = "bank",
) -> Bank:  # fmt: skip
    """Fresh adapters of one configuration on a base model that is in memory."""
    wrapped = None
    for adapter in (*names, *((bespoke,) if bespoke else ())):
        with quiet_peft():
            if wrapped is None:
                wrapped = peft.get_peft_model(
                    base, config, adapter_name=adapter, autocast_adapter_dtype=False
                )
            else:
                wrapped.add_adapter(adapter, config)
    return frozen(Bank(wrapped, tuple(names), bespoke, tokenizer, eos, name))


def save_adapter(bank: Bank, name: str, folder: Path, base_name: str, dtype: Any = None) -> None:
    """Write one adapter as peft reads it: LoRA factors only, never an embedding, safetensors.

    peft by itself would save a tied embedding with an adapter on the output layer, and with it a
    second, frozen copy of the reference. base_name: what the adapter says it was trained on.
    """
    state = peft.get_peft_model_state_dict(
        bank.model, adapter_name=name, save_embedding_layers=False
    )
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {k: v.detach().to(dtype or v.dtype).contiguous().cpu() for k, v in state.items()}
    safetensors.torch.save_file(tensors, folder / "adapter_model.safetensors")
    config = copy.deepcopy(bank.model.peft_config[name])
    config.base_model_name_or_path, config.inference_mode = base_name, True
    config.save_pretrained(str(folder))
