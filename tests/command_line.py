"""The command line inside this process: what it prints and the code it exits with."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from unittest.mock import patch

from bounds.cli import main


@dataclass(frozen=True)
class Done:
    """A finished command."""

    exit_code: int
    stdout: str
    stderr: str


def run(*arguments: object, columns: int = 200) -> Done:
    """Run ``soupcheck`` with these arguments."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with redirect_stdout(out), redirect_stderr(err), patch.dict("os.environ", COLUMNS=str(columns)):
        try:
            main([str(a) for a in arguments])
        except SystemExit as stop:
            code = int(stop.code or 0)
    return Done(code, out.getvalue(), err.getvalue())
