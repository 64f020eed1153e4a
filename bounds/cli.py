"""``soupcheck``: the command line. Commands of the rooms above come by entry points."""

from __future__ import annotations

import sys
from importlib.metadata import entry_points
from typing import Any

import typer

from toymdp import InstanceError, SolverError
from toymdp.families.corpus import CorpusError

from .commands.certify import certify
from .commands.claims import claims
from .commands.explain import explain
from .commands.search import search
from .commands.solve import solve
from .commands.verify import verify
from .records.output import OutputError

GROUP = "soupcheck.commands"
# the common parent of typer's usage errors, wherever typer keeps it
_USAGE_ERROR: Any = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")


def build() -> typer.Typer:
    """Assemble the command line: our own commands, then those found by entry points."""
    app = typer.Typer(
        name="soupcheck",
        help="Put the theory of policy souping to the test, on language MDPs solved exactly.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    for command in (verify, solve, explain, search, certify, claims):
        app.command()(command)
    for entry in sorted(entry_points(group=GROUP), key=lambda e: e.name):
        found = entry.load()
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=entry.name)
        else:
            app.command(name=entry.name)(found)
    return app


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; bad input is one line on standard error and exit code 2."""
    try:
        code = build()(args=arguments, standalone_mode=False)
    except _USAGE_ERROR as error:
        print(f"soupcheck: {' '.join(error.format_message().split())}", file=sys.stderr)
        sys.exit(error.exit_code)
    except typer.Abort:
        sys.exit(130)
    except (InstanceError, SolverError, CorpusError, OutputError) as error:
        print(f"soupcheck: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    sys.exit(code if isinstance(code, int) else 0)
