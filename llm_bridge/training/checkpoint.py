"""Training that can be killed: weights, moments and the step in one safetensors file.

Batches are a function of the seed and the step, so a resumed run takes the steps that the killed
one would have taken.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toymdp import InstanceError

from ..backend import safetensors, torch

Tensor = Any


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

    Raises InstanceError if the file belongs to another run.
    """
    if not path.is_file():
        return 0
    with safetensors.safe_open(path, framework="pt") as file:
        meta = file.metadata() or {}
        if meta.get("run") != run:
            raise InstanceError.of(
                "checkpoint", str(path), "was written by a run with other settings",
                "delete it or name another folder",
            )  # fmt: skip
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  # not a dict
    state: dict[str, dict[str, Tensor]] = {}
    with torch.no_grad():
        for key, value in tensors.items():
            kind, _, name = key.partition("/")
            if kind == "weight":
                weights[name].copy_(value)
            else:
                state.setdefault(name, {})[kind] = value
    for name, moments in state.items():
        optimizer.state[weights[name]] = moments
    return int(meta["step"])
