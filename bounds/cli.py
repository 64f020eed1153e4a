"""``soupcheck``: the command line. Commands of the rooms above come by entry points."""

from __future__ import annotations

import sys
from importlib.metadata import entry_points

import typer

from toymdp import InstanceError, SolverError
from toymdp.corpus import CorpusError

from .commands.claims import claims
from .commands.explain import explain
from .commands.solve import solve
from .commands.verify import verify

GROUP = "soupcheck.commands"


def build() -> typer.Typer:
    """Assemble the command line: our own commands, then those found by entry points."""
    app = typer.Typer(
        name="soupcheck",
        help="Put the theory of policy souping to the test, on language MDPs solved exactly.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    for command in (verify, solve, explain, claims):
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
        build()(args=arguments)
    except (InstanceError, SolverError, CorpusError) as error:
        print(f"soupcheck: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
