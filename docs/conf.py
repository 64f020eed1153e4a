"""Sphinx: pages by hand in this folder, pages made from the package in ``generated``.

pip install -e ".[docs]" && python -m sphinx -W docs docs/_build
"""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from pages import claims, reference  # noqa: E402  # this folder is no package

project = "soupcheck"
version = release = metadata.version("soupcheck")
extensions = ["myst_parser"]
exclude_patterns = ["_build", "pages"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = f"soupcheck {release}"
html_static_path = ["static"]
html_css_files = ["soupcheck.css"]
html_extra_path = ["generated/extra"]
smartquotes = False  # two hyphens are an option
html_show_sphinx = html_copy_source = False


def write(out: Path) -> None:
    """Write the pages that are made from the package, and only those that have changed."""
    texts = {
        "formats.md": reference.formats(), "words.md": reference.words(),
        "command-line.md": reference.command_line(), "python.md": reference.python(),
        **{f"claims/{name}.md": text for name, text in claims.pages().items()},
        **{f"extra/generated/schemas/{name}": text for name, text in reference.schemas()},
    }  # fmt: skip
    for name, text in texts.items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
    for old in out.rglob("*"):
        if old.is_file() and old.relative_to(out).as_posix() not in texts:
            old.unlink()


write(HERE / "generated")
