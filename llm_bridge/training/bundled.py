"""The banks that come with the package: which specialists, whose user, and on which base model."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np

from toymdp import InstanceError
from toymdp.arrays import Array

from ..bank import Bank
from ..loading import load_bank
from . import default_bank, smollm_bank, smollm_model


@dataclass(frozen=True)
class Bundled:
    """Adapters in ``folder`` for the model in ``base``; a user who weighs their attributes.

    user: by attribute, in units of each one's standard deviation.
    """

    folder: Path
    base: Path
    user: dict[str, float]
    remedy: str

    @property
    def share(self) -> Array:
        """The user's weights [K] in the specialists' order."""
        return np.array([*self.user.values()])

    @property
    def w(self) -> str:
        """The user's weights as ``--w`` takes them."""
        return ",".join(f"{name}={value}" for name, value in self.user.items())

    def place(self, model: str | None) -> str:
        """The folder of its base model, or the one given for it."""
        return str(self.base) if model is None else model

    def checked(self, model: str | None) -> str:
        """The same. Raises InstanceError where no weights are there."""
        place = self.place(model)
        if not any(Path(place).glob("*.safetensors")):
            raise InstanceError.of("base model", place, "is not there", self.remedy)
        return place

    def load(
        self, model: str | None = None, *, dtype: str = "float32", device: str = "cpu"
    ) -> Bank:
        """The bank on its base model, or on the copy of it that is given.

        Raises InstanceError where base or adapters are not there, or the base is another model.
        """
        place = self.checked(model)
        adapters = {name: str(self.folder / name) for name in self.user}
        bespoke = f"{default_bank.USER}={self.folder / default_bank.USER}"
        return load_bank(place, adapters, bespoke=bespoke, dtype=dtype, device=device)


def bundled(name: str) -> Bundled:
    """A bank by the name that ``--bank`` takes. Raises InstanceError for any other word."""
    here = Path(str(files("llm_bridge")))
    fetch = "soupcheck llm fetch-smollm, or name its folder with --model"
    model = smollm_model.default_place()
    user = smollm_bank.USER_WEIGHTS
    banks = {
        "default": Bundled(
            default_bank.folder(), default_bank.folder() / default_bank.BASE,
            default_bank.USER_WEIGHTS, "rebuild it: soupcheck llm make-default",
        ),
        "smollm": Bundled(here / "smollm" / "layers", model, user, fetch),
        "smollm-output": Bundled(here / "smollm" / "output", model, user, fetch),
    }  # fmt: skip
    if name not in banks:
        raise InstanceError.of("--bank", name, "unknown", f"choose from {tuple(banks)}")
    return banks[name]
