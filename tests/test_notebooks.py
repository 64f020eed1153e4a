"""The notebooks run from top to bottom without a warning, and are kept in git without outputs."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from traitlets.config import Config

from bounds import CLAIMS

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def run(notebook, folder):
    """Execute in a fresh kernel; raise for an error in a cell, or in what a widget shows."""
    where = {"metadata": {"path": str(folder)}}
    with TemporaryDirectory() as short:  # a socket's path has at most some hundred letters
        # not over ports: one that was free a moment ago may be another test's by now
        sockets = {"transport": "ipc", "connection_file": f"{short}/kernel.json"}
        # the limit is for a cell that hangs: the first run on a machine compiles the kernels
        NotebookClient(
            notebook, config=Config(KernelManager=Config(sockets)), timeout=900,
            kernel_name="python3", resources=where,
        ).execute()  # fmt: skip
    widgets = notebook.metadata.get("widgets", {})
    states = [entry["state"] for kind in widgets.values() for entry in kind["state"].values()]
    shown = [output for state in states for output in state.get("outputs", ())]
    shown += [output for cell in notebook.cells for output in cell.get("outputs", ())]
    for output in shown:
        assert output["output_type"] != "error", output
        assert output.get("name") != "stderr", output["text"]
    return notebook


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_the_list():
    assert [path.stem[:2] for path in NOTEBOOKS] == [
        "01",
        "02",
        "03",
        "04",
        "05",
        "06",
        "07",
        "08",
        "09",
    ]
    table = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert all(f"({path.name})" in table for path in NOTEBOOKS)


@each
def test_runs(path, tmp_path):
    done = run(nbformat.read(path, as_version=4), tmp_path)
    assert all(cell.execution_count for cell in code(done))
    figures = [o for cell in code(done) for o in cell.outputs if "image/png" in o.get("data", ())]
    assert len(figures) >= 3
    said = code(done)[-1].outputs[0]
    assert (said.get("text") or said.data["text/markdown"]).strip()


@each
def test_is_stripped(path):
    notebook = nbformat.read(path, as_version=4)
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code(notebook))
    assert all(not cell.metadata for cell in notebook.cells)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    marks = ["/wo" + "rk", "/ho" + "me", "/tm" + "p"]
    assert not any(mark in path.read_text(encoding="utf-8") for mark in marks)


@each
def test_opens_with_a_question_and_ends_with_what_was_seen(path):
    notebook = nbformat.read(path, as_version=4)
    opening, closing = notebook.cells[0], notebook.cells[-2:]
    assert re.match(r"# \d · ", opening.source)
    assert all(len(cell.source.splitlines()) <= 24 for cell in notebook.cells)
    (question,) = re.findall(r"^\*\*(.+?)\*\*", opening.source, flags=re.DOTALL | re.MULTILINE)
    assert question.endswith("?")
    claims = re.findall(r"`((?:ss|ex)\.[\w.-]+)`", opening.source)
    assert len(claims) >= 4
    every = "\n".join(cell.source for cell in notebook.cells)
    assert set(re.findall(r"[`\"]((?:ss|ex)\.[\w.-]*\w)[`\"]", every)) <= set(CLAIMS)
    assert [cell.cell_type for cell in closing] == ["markdown", "code"]
    assert closing[0].source == "## What was seen"


@each
def test_names_the_extras_it_needs(path):
    """On an index and in a checkout; they exist, and llm is among them where torch is imported."""
    notebook = nbformat.read(path, as_version=4)
    index, checkout = re.findall(r"\[([a-z,]+)\]\"`", notebook.cells[0].source)
    settings = tomllib.loads((FOLDER.parent / "pyproject.toml").read_text(encoding="utf-8"))
    assert index == checkout
    assert set(index.split(",")) <= set(settings["project"]["optional-dependencies"])
    source = "\n".join(cell.source for cell in code(notebook))
    assert ("llm" in index.split(",")) == ("import torch" in source or "llm_bridge" in source)


def test_the_first_uses_the_one_name_that_readers_are_taught():
    notebook = nbformat.read(NOTEBOOKS[0], as_version=4)
    source = "\n".join(cell.source for cell in code(notebook))
    imports = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Import | ast.ImportFrom)]
    names = {getattr(n, "module", None) or n.names[0].name for n in imports}
    assert names == {"matplotlib.pyplot", "numpy", "IPython.display", "soupcheck"}


@each
def test_looks_at_the_packages_from_outside(path):
    for cell in code(nbformat.read(path, as_version=4)):
        for node in ast.walk(ast.parse(cell.source)):
            names = [node.attr] if isinstance(node, ast.Attribute) else []
            if isinstance(node, ast.ImportFrom):
                names = [alias.name for alias in node.names]
            assert not any(name.startswith("_") for name in names), cell.source


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("1 / 0", CellExecutionError),
        ("from ipywidgets import interact\ninteract(lambda x: 1 / x, x=0)", AssertionError),
        ("import warnings\nwarnings.warn('look here')", AssertionError),
    ],
)
def test_what_fails_in_a_notebook_fails_here(source, error, tmp_path):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    with pytest.raises(error):
        run(notebook, tmp_path)
