"""Sphinx: pages by hand in this folder, pages made from the package in ``generated``.

pip install -e ".[docs,notebooks,llm]" && python -m sphinx -W docs docs/_build

executes the notebooks (minutes, once for each state of the code); with ".[docs]" alone their pages
come without outputs: python -m sphinx -W -D nb_execution_mode=off docs docs/_build
"""

from __future__ import annotations

import sys
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from docutils.nodes import SkipNode, math, math_block
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.errors import ConfigError
from sphinx.writers.html5 import HTML5Translator

from bounds.report.mathml import mathml

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from pages import claims, links, notebooks, reference  # noqa: E402  # this folder is no package

project = "soupcheck"
copyright = "the soupcheck authors, MIT licence"
version = release = metadata.version("soupcheck")
extensions = ["myst_nb"]
# a build writes executed notebooks beside its folder, and the next one must not take them for pages
exclude_patterns = ["_build", "jupyter_execute", "pages"]
myst_heading_anchors = 3
myst_enable_extensions = ["dollarmath"]  # formulas of notebooks
html_theme = "furo"
html_title = f"soupcheck {release}"
html_static_path = ["static"]
html_css_files = ["soupcheck.css"]
html_extra_path = ["generated/extra"]
nb_execution_mode = "cache"
nb_execution_cache_path = str(HERE / "_build" / "executed" / notebooks.state_of_code())
nb_execution_raise_on_error = True
nb_output_stderr = "warn"
nb_render_markdown_format = "myst"  # with tables
nb_execution_timeout = 900  # for a cell that hangs; the first run on a machine compiles the kernels
nb_execution_in_temp = True
nb_ipywidgets_js = {}  # nothing is fetched; the cell before the sliders shows what they show
smartquotes = False  # two hyphens are an option
html_show_sphinx = html_copy_source = False


def write(out: Path) -> None:
    """Write the pages that are made from the package, and only those that have changed."""
    texts = {
        "formats.md": reference.formats(), "words.md": reference.words(),
        "families.md": reference.families(),
        "command-line.md": reference.command_line(), "python.md": reference.python(),
        **links.pages(),
        **{f"claims/{name}.md": text for name, text in claims.pages().items()},
        **{f"notebooks/{name}": text for name, text in notebooks.pages().items()},
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


def can_execute(_: Sphinx, config: Config) -> None:
    """Say what is missing before minutes are spent."""
    missing = [name for name in notebooks.NEEDS if find_spec(name) is None]
    if config.nb_execution_mode != "off" and missing:
        raise ConfigError(
            f"the notebooks need {', '.join(missing)}: pip install -c constraints.txt -e "
            '".[docs,notebooks,llm]", or build without their outputs: -D nb_execution_mode=off'
        )


def with_links(_: Sphinx, page: str, source: list[str]) -> None:
    """Lead the links of a page written by hand to the docs' own pages."""
    if "/" not in page:
        source[0] = links.linked(source[0], f"docs/{page}.md", f"docs/{page}.md")


def formula(translator: HTML5Translator, node: math | math_block) -> None:
    """What a browser draws by itself; Sphinx's own ways fetch a script or call LaTeX."""
    translator.body.append(mathml(node.astext()))
    raise SkipNode


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("config-inited", can_execute)
    app.connect("source-read", with_links)
    app.add_html_math_renderer("mathml", (formula, None), (formula, None))


html_math_renderer = "mathml"


write(HERE / "generated")
