"""Training that can be killed: weights, moments and the step in one safetensors file.

Batches are a function of the seed and the step, so a resumed run takes the steps that the killed
one would have taken.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toymdp import InstanceError

from ..backend import safetensors, torch

Tensor = Any
MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # what AdamW keeps of each weight


def save_state(
    path: Path, weights: Mapping[str, Tensor], optimizer: Any, step: int, run: str
) -> None:
    """Write weights and AdamW's moments; the file is replaced only when it is whole.

    run: what is being trained with which settings; another run refuses the file.
    """
    names = {id(p): name for name, p in weights.items()}
    tensors = {f"weight/{name}": p.detach().contiguous() for name, p in weights.items()}
    for group in optimizer.param_groups:
        for p in group["params"]:
            for key, value in optimizer.state.get(p, {}).items():
                tensors[f"{key}/{names[id(p)]}"] = torch.as_tensor(value).contiguous()
    partial = path.with_suffix(".partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    safetensors.torch.save_file(tensors, partial, metadata={"step": str(step), "run": run})
    os.replace(partial, path)


def load_state(path: Path, weights: Mapping[str, Tensor], optimizer: Any, run: str) -> int:
    """Restore what ``save_state`` wrote and return its step; 0 where there is no file.

    Raises InstanceError if the file belongs to another run, or is none of ours.
    """
    if not path.is_file():
        return 0
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            meta = file.metadata() or {}
            ours = meta.get("run") == run
            keys = list(file.keys()) if ours else []
            tensors = {key: file.get_tensor(key) for key in keys}
    except Exception as error:  # safetensors raises a type of its own, and others
        reason = f"cannot be read ({error})"
        raise InstanceError.of("checkpoint", str(path), reason, "delete it to start anew") from None
    if not ours:
        raise InstanceError.of(
            "checkpoint", str(path), "was written by a run with other settings",
            "delete it or name another folder",
        )  # fmt: skip
    kept: dict[str, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        kind, _, name = key.partition("/")
        fits = name in weights and value.shape == (() if kind == "step" else weights[name].shape)
        if kind not in ("weight", *MOMENTS) or not fits:
            rule = f"its {key} {tuple(value.shape)} fits no weight"
            raise InstanceError.of("checkpoint", str(path), rule, "delete it to start anew")
        kept.setdefault(kind, {})[name] = value
    moved = {frozenset(kept.get(kind, {})) for kind in MOMENTS}  # all of the same weights
    step = meta.get("step", "")
    whole = set(kept.get("weight", {})) == set(weights) and len(moved) == 1
    if not whole or not re.fullmatch("[0-9]{1,9}", step):
        raise InstanceError.of("checkpoint", str(path), "is not whole", "delete it to start anew")
    with torch.no_grad():
        for name, value in kept["weight"].items():
            weights[name].copy_(value)
    for name in next(iter(moved)):
        optimizer.state[weights[name]] = {kind: kept[kind][name] for kind in MOMENTS}
    return int(step)
