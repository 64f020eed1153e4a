"""``soupcheck``: the command line. Commands of the rooms above come by entry points."""

from __future__ import annotations

import sys
from importlib.metadata import entry_points
from typing import Annotated, Any

import typer

from toymdp import InstanceError, SolverError
from toymdp.families.corpus import CorpusError

from .commands.certify import certify
from .commands.claims import claims
from .commands.explain import explain
from .commands.search import search
from .commands.solve import solve
from .commands.verify import verify
from .records.output import OutputError, versions

GROUP = "soupcheck.commands"
# the common parent of typer's usage errors, wherever typer keeps it
_USAGE_ERROR: Any = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")


def build() -> typer.Typer:
    """Assemble the command line: our own commands, then those found by entry points."""
    app = typer.Typer(
        name="soupcheck",
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
        pretty_exceptions_enable=False,
    )
    app.callback()(options)
    for command in (verify, solve, explain, search, certify, claims):
        app.command()(command)
    for entry in sorted(entry_points(group=GROUP), key=lambda e: e.name):
        addition = entry.load()
        if isinstance(addition, typer.Typer):
            app.add_typer(addition, name=entry.name)
        else:
            app.command(name=entry.name)(addition)
    return app


def _print_version(asked: bool) -> None:
    if asked:
        print(f"soupcheck {versions()['soupcheck']}")
        raise typer.Exit


def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Put the theory of policy souping to the test, on language MDPs solved exactly."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; bad input is one line on standard error and exit code 2."""
    try:
        code = build()(args=arguments, prog_name="soupcheck", standalone_mode=False)
    except _USAGE_ERROR as error:
        message = " ".join(error.format_message().split())
        if message:  # none where no argument was given: the help was shown
            print(f"soupcheck: {message}", file=sys.stderr)
        sys.exit(error.exit_code)
    except typer.Abort:
        sys.exit(130)
    except (InstanceError, SolverError, CorpusError, OutputError) as error:
        print(f"soupcheck: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    sys.exit(code if isinstance(code, int) else 0)
