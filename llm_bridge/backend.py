"""torch, transformers and peft, or one line that says which extra brings them.

Every module here that touches tensors takes these names from this one, so that without the ``llm``
extra each import fails in the same words and ``soupcheck llm`` exits with them.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from toymdp import InstanceError
from toymdp.extras import install


class MissingExtra(ImportError, InstanceError):  # noqa: N818  # an outcome with a remedy
    """The ``llm`` extra is not installed."""


try:
    import filelock
    import peft
    import safetensors
    import safetensors.torch
    import tokenizers
    import torch
    import transformers
except ImportError as missing:
    raise MissingExtra(f"llm_bridge: no module named {missing.name!r}; {install('llm')}") from None

__all__ = [
    "MissingExtra", "filelock", "peft", "quiet_peft", "quiet_transformers", "safetensors",
    "tokenizers", "torch", "transformers",
]  # fmt: skip


@contextmanager
def quiet_peft() -> Iterator[None]:
    """Silence two warnings of peft: an attribute that transformers renamed, and tied output layers.

    The second is about merging or saving the embedding with the adapter, which is never done here.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*")
        warnings.filterwarnings("ignore", message=".*tie_word_embeddings=True.*")
        yield


def quiet_transformers() -> None:
    """Leave standard error to us: transformers draws bars while loading, and tables of what is lacking.

    What is lacking or does not fit is refused, in one line, where a model is loaded.
    """
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
