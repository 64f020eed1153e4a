"""The notebooks as pages: their text linked to the claims it names, their outputs made by the build."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from pathlib import Path

import nbformat

from .links import linked
from .text import page

FOLDER = Path(__file__).parents[2] / "notebooks"
PACKAGES = ("toymdp", "bounds", "llm_bridge", "paper_figs")
NEEDS = ("ipywidgets", "torch", "transformers", "peft")  # of the extras notebooks and llm


def state_of_code() -> str:
    """A name for the code that notebooks run through: outputs of other code are not shown."""
    digest = hashlib.sha256()
    for package in PACKAGES:
        for path in sorted(Path(str(files(package))).rglob("*.py")):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def pages() -> dict[str, str]:
    """File name -> notebook without outputs; ``index.md``, which lists them."""
    paths = sorted(FOLDER.glob("*.ipynb"))
    made = {path.name: _linked(path) for path in paths}
    table = _text((FOLDER / "README.md").read_text(encoding="utf-8"))
    listed = "\n".join(path.stem for path in paths)
    made["index.md"] = page(table.strip(), f"```{{toctree}}\n:hidden:\n\n{listed}\n```")
    return made


def _linked(path: Path) -> str:
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = _text(cell.source)
        elif cell.source.startswith("interact("):
            cell.metadata["tags"] = ["remove-output"]  # sliders need a kernel to answer them
    return nbformat.writes(notebook) + "\n"


def _text(text: str) -> str:
    return linked(text, "notebooks/README.md", "docs/generated/notebooks/index.md")
