"""Models and adapters from folders or names: safetensors only, no code that came with them.

Every mismatch is one line: vocabulary, base model, missing or left-over factors, altered base weights,
an architecture whose logits are not understood.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from toymdp import InstanceError
from toymdp.files import read_json, write_whole
from toymdp.validators import token

from .adapter_files import check_adapter, first_line, named_folders
from .adapter_loading import with_adapter
from .backend import peft, quiet_peft, safetensors, torch, transformers
from .bank import REF, Bank, peft_name
from .base_content import RECORD, BaseModel
from .forward import check_forward, logits_of, states_of

SETTINGS = ("config.json", "generation_config.json", "tokenizer_config.json")
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
        raise InstanceError.of("model", model, first_line(error), "check its files") from None
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
    if kind is torch.float64 and hasattr(base, "set_experts_implementation"):
        base.set_experts_implementation("eager")  # grouped products know no doubles
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
    chat: bool | None = None,
) -> Bank:
    """Load a base model and peft LoRA adapters from folders.

    adapters: name -> folder, or folders and ``NAME=FOLDER`` (see ``named_folders``). bespoke: the same
    for the adapter taken for π_w. any_base: load adapters of another base model (shapes must still
    fit). chat: whether prompts go through the tokenizer's chat template (None: those that are turns).

    Raises InstanceError with one line for each thing that does not fit.
    """
    if not adapters:
        raise InstanceError.of("adapters", "none", "K ≥ 1 are needed", "give --adapter FOLDER")
    folders = named_folders(adapters, bespoke)
    if REF in folders:
        raise InstanceError.of("adapter", REF, "is the name of the reference", "name another")
    base, tokenizer = load_model(model, dtype=dtype, device=device, revision=revision)
    trained_on, before = BaseModel(model, revision), _probe(base)
    wrapped: Any = None
    for name, folder in folders.items():
        check_adapter(f"adapter {name}", Path(folder), trained_on, any_base)
        wrapped = with_adapter(base, wrapped, name, Path(folder))
    for part, weights in wrapped.named_parameters():
        if not torch.isfinite(weights).all():
            raise InstanceError.of("weights", part, f"not all finite in {dtype}", "save them anew")
    names = tuple(folders)
    special = None if bespoke is None else names[-1]
    bank = frozen(Bank(
        wrapped, names if bespoke is None else names[:-1], special, tokenizer,
        end_tokens(base), name=Path(model).name, chat=chat,
    ))  # fmt: skip
    for policy in bank.policies:
        with bank.using(policy) as under:
            if policy == REF and not torch.equal(_probe(under), before):
                raise InstanceError.of(
                    "adapters", model, "changed what the base model says without them",
                    "load them one by one to see which",
                )  # fmt: skip
            check_forward(under, policy)
    return bank


@torch.no_grad()
def _probe(base: Any) -> Any:
    """What the base model says of a few tokens: [3, A] logits."""
    base.eval()
    ids = torch.tensor([[0, 1, 2]], device=next(base.parameters()).device)
    return logits_of(base, states_of(base, ids)[0])


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


def add_adapters(
    base: Any, names: Sequence[str], config: Any, *, bespoke: str | None = None,
    tokenizer: Any = None, eos: tuple[int, ...] = (), name: str = "bank", seed: int = 0,
) -> Bank:  # fmt: skip
    """Fresh adapters of one configuration on a base model that is in memory, at least in float32.

    seed: of the factors that peft draws, so that a training begins where it began before.
    Raises InstanceError where peft leaves out a layer that the configuration asks for.
    """
    torch.manual_seed(seed)
    wrapped = None
    targets = {*config.target_modules, *(config.target_parameters or ())}
    try:
        for adapter in map(peft_name, (*names, *((bespoke,) if bespoke else ()))):
            with quiet_peft():
                if wrapped is None:
                    wrapped = peft.get_peft_model(base, config, adapter_name=adapter)
                else:
                    wrapped.add_adapter(adapter, config)
    except (ValueError, AttributeError) as error:  # what peft says of layers it cannot adapt
        raise InstanceError.of(
            "adapter on",
            type(base).__name__,
            f"peft cannot ({first_line(error)})",
            "--target output",
        ) from None
    _check_targets(wrapped, targets)
    bank = frozen(Bank(wrapped, tuple(names), bespoke, tokenizer, eos, name))
    with bank.using(REF) as under:
        check_forward(under, REF)
    return bank


def _check_targets(wrapped: Any, targets: set[str]) -> None:
    """Refuse a model on which peft has passed over full names of layers or weights.

    It renames targets of some mixtures of experts by the last part of their names, shared and dense
    layers included.
    """
    held = {
        f"{name.removeprefix('base_model.model.')}{suffix}"
        for name, layer in wrapped.named_modules()
        if isinstance(layer, peft.tuners.lora.LoraLayer)
        for suffix in ("", f".{getattr(layer, 'parameter_name', '')}")
    }
    held |= {name.replace(".base_layer", "") for name in held}
    left = sorted(target for target in targets if "." in target and target not in held)
    if left:
        rule = f"peft passes over {len(left)} of its layers ({left[0]})"
        raise InstanceError.of(
            "--target", f"all {len(targets)} layers", rule, "say --target output"
        )


def save_adapter(
    bank: Bank, name: str, folder: Path, base_name: str, dtype: Any = None,
    *, record: Mapping[str, Any] | None = None,
) -> None:  # fmt: skip
    """Write one adapter as peft reads it: LoRA factors only, never an embedding, safetensors.

    peft by itself would save a tied embedding with an adapter on the output layer, and with it a
    second, frozen copy of the reference. base_name: what the adapter says it was trained on. record:
    the content of that base (``base_content.content_of``), by which it is known wherever it lies.
    """
    state = peft.get_peft_model_state_dict(
        bank.model, adapter_name=peft_name(name), save_embedding_layers=False
    )
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {k: v.detach().to(dtype or v.dtype).contiguous().cpu() for k, v in state.items()}
    safetensors.torch.save_file(tensors, folder / "adapter_model.safetensors")
    config = copy.deepcopy(bank.model.peft_config[peft_name(name)])
    config.base_model_name_or_path, config.inference_mode = base_name, True
    if not isinstance(
        config.target_modules, str
    ):  # peft makes a set of them, whose order is chance
        config.target_modules = sorted(config.target_modules)
    config.save_pretrained(str(folder))
    if record is not None:
        write_whole(folder / RECORD, (json.dumps(record, sort_keys=True) + "\n").encode())
