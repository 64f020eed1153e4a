"""Which base model an adapter was trained on, told by content: settings and a hash of all tensors.

The last part of a path says nothing: trainers call every folder ``final``. An adapter of ours carries
a record of its base; for others the folder or hub name that they give is looked at, if it is here.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from toymdp import InstanceError
from toymdp.files import read_json

from .backend import safetensors, torch, transformers

RECORD = "base_content.json"
FORMAT = "soupcheck-base/1"
# settings that say how a model is stored or run, not which function it is
VOLATILE = {
    "_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version", "use_cache",
    "name_or_path",
}  # fmt: skip


def folder_of(model: str, revision: str | None = None) -> Path | None:
    """Return the folder of a model: the one named, or a hub name's in the local cache; None if absent."""
    if Path(model).is_dir():
        return Path(model)
    try:
        file = transformers.utils.cached_file(
            model, "config.json", revision=revision, local_files_only=True
        )
    except (OSError, ValueError):  # no such name, or nothing of it in the cache
        return None
    return None if file is None else Path(file).parent


def tensors_hash(folder: Path) -> str:
    """SHA-256 of every tensor by name: its shape, and its values as float32 where it holds floats.

    The same weights in other shards, or saved again in a wider type, have the same hash.
    """
    places: dict[str, Path] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safetensors.safe_open(path, framework="pt") as file:
            places |= dict.fromkeys(file.keys(), path)
    digest = hashlib.sha256()
    for name in sorted(places):
        with safetensors.safe_open(places[name], framework="pt") as file:
            tensor = file.get_tensor(name)
        values = tensor.float() if tensor.is_floating_point() else tensor
        digest.update(f"{name} {tuple(tensor.shape)} ".encode())
        digest.update(values.contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def content_of(folder: Path) -> dict[str, Any]:
    """What identifies a base model in a folder: its settings and the hash of its tensors."""
    settings = {k: v for k, v in read_json(folder / "config.json").items() if k not in VOLATILE}
    return {"format": FORMAT, "config": settings, "tensors": tensors_hash(folder)}


def difference(one: dict[str, Any], other: dict[str, Any]) -> str | None:
    """How two contents differ, in words; None where they do not.

    Settings that only one of them names are defaults of another version, and no difference.
    """
    mine, theirs = one.get("config"), other.get("config")
    if isinstance(mine, dict) and isinstance(theirs, dict):
        for key in sorted(mine.keys() & theirs.keys()):
            if mine[key] != theirs[key]:
                return f"its {key} is {mine[key]!r:.60} there and {theirs[key]!r:.60} here"
    if one.get("tensors") != other.get("tensors"):
        return "its weights are others"
    return None


class BaseModel:
    """The base model that adapters are checked against; its content is read once, if at all."""

    def __init__(self, model: str, revision: str | None):
        self.model, self.revision = model, revision
        self.folder = folder_of(model, revision)
        self._content: dict[str, Any] | None = None

    def content(self) -> dict[str, Any] | None:
        """Its content; None if its files are not at hand."""
        if self._content is None and self.folder is not None:
            self._content = content_of(self.folder)
        return self._content

    def check(self, label: str, adapter: Path, named: Any) -> None:
        """Raise InstanceError unless the adapter in a folder was trained on this very model.

        named: what its settings call the base.
        """
        remedy = "load that base, or say --any-base"
        if named is not None and not isinstance(named, str):
            raise InstanceError.of(
                f"{label}: base_model_name_or_path", named, "must be a string", "quote it"
            )
        here = f"the base model {self.model}"
        if (adapter / RECORD).is_file():
            record = read_json(adapter / RECORD)
            if record.get("format") != FORMAT:
                raise InstanceError.of(
                    f"{label}: {RECORD}",
                    record.get("format"),
                    f"must be {FORMAT}",
                    "delete the file",
                )
            content = self.content()
            apart = "no files to compare" if content is None else difference(record, content)
            if apart is not None:
                rule = f"was trained on another base model than {self.model}: {apart}"
                raise InstanceError.of(label, named or RECORD, rule, remedy)
            return
        if not named:
            rule = f"does not say that it was trained on {here}"
            raise InstanceError.of(label, str(adapter), rule, "say --any-base if it was")
        if named == self.model and not Path(named).is_dir():
            return  # the same name on the hub
        there = folder_of(named)
        if there is None or not (there / "config.json").is_file():
            rule = f"its base is not here to be compared with {here}"
            raise InstanceError.of(label, named, rule, "say --any-base if they are the same model")
        if self.folder is not None and there.resolve() == self.folder.resolve():
            return
        content = self.content()
        apart = "no files to compare" if content is None else difference(content_of(there), content)
        if apart is not None:
            rule = f"was trained on another base model than {self.model}: {apart}"
            raise InstanceError.of(label, named, rule, remedy)
