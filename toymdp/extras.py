"""What brings an optional library: one command, right for this installation."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[1]


def install(extra: str, root: Path = ROOT) -> str:
    """The command that adds an extra: from the checkout that runs, in its tested versions, or by name.

    By name it works for what came as a wheel, too: the package is there already, and pip adds what
    its extra asks for.
    """
    if (root / "pyproject.toml").is_file():
        return f'pip install -c "{root / "constraints.txt"}" -e "{root}[{extra}]"'
    return f'pip install "soupcheck[{extra}]"'
