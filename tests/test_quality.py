"""Style and types are tests like the others."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    "command", [["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"]]
)
def test_tools_have_nothing_to_say(command):
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_speaks_of_a_machine():
    """No path of a home or work folder, no registry host, in what the repository ships."""
    marks = ["/wo" + "rk/", "/ho" + "me/", "/ro" + "ot/", "pypi." + "org", "/tm" + "p/"]
    for path in ROOT.rglob("*"):
        hidden = any(part.startswith(".") for part in path.relative_to(ROOT).parts)
        kinds = {".py", ".md", ".toml", ".json", ".txt", ".mplstyle", ".csv"}
        if path.is_file() and path.suffix in kinds and not hidden:
            content = path.read_text(encoding="utf-8")
            assert not any(mark in content for mark in marks), path


CLAIM = """
from bounds import Claim, Facts, Sides

def sides(facts: Facts) -> Sides:
    return Sides(0.0, 1.0, 1.0)

Claim("a.b", "me", "x", status={status!r}, kind={kind!r}, at="instance", sides=sides, reason="y")
"""


@pytest.mark.parametrize(
    ("status", "kind", "error"),
    [("proved", "equality", False), ("proven", "equality", True), ("proved", "equal", True)],
)
def test_a_typo_in_a_status_passes_neither_mypy_nor_the_door(tmp_path, status, kind, error):
    source = CLAIM.format(status=status, kind=kind)
    path = tmp_path / "theirs.py"
    path.write_text(source, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", str(path)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ("arg-type" in done.stdout) is error, done.stdout
    assert (done.returncode != 0) is error
    if error:
        with pytest.raises(ValueError, match="must be one of"):
            exec(compile(source, "theirs", "exec"), {})
    else:
        exec(compile(source, "theirs", "exec"), {})
