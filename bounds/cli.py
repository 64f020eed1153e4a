"""``soupcheck``: the command line. Commands of the rooms above come by entry points."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from importlib import import_module
from importlib.metadata import entry_points
from typing import Annotated, Any

import typer

from toymdp.errors import ClaimError, CorpusError, InstanceError, OutputError, SolverError

GROUP = "soupcheck.commands"
COMPLETING = "_SOUPCHECK_COMPLETE"  # set by the shell that asks what could stand here
# a file each in bounds/commands, with the first line of its docstring: the list of commands is
# shown without importing any of them
COMMANDS = {
    "verify": "Check claims on files, on a family, on your own text, or on the bundled default.",
    "solve": (
        "Solve one instance: V* of every reward, λ*, J, the gap; with --tolerance, a bound on J."
    ),
    "explain": "Show each step's two sides here, the first that breaks, and what is true instead.",
    "search": (
        "Look for a token MDP that meets every hypothesis of CLAIM and breaks it; exit 1 if none."
    ),
    "certify": (
        "Prove in ball arithmetic that a witness breaks its claim: exit 0 PROVED, 1 NOT PROVED."
    ),
    "claims": "List every claim: source, status, hypotheses, stored witnesses.",
}
LISTS = ("", "claims")  # what computes nothing
# the common parent of typer's usage errors, wherever typer keeps it
_USAGE_ERROR: Any = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")


def build(wanted: str | None = None) -> typer.Typer:
    """Assemble the command line: our own commands, then those found by entry points.

    wanted: the one command that is going to run, which alone is then imported; None: all.
    """
    app = typer.Typer(
        name="soupcheck",
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
        pretty_exceptions_enable=False,
    )
    app.callback()(options)
    for name, summary in COMMANDS.items():
        if wanted is None or wanted == name:
            app.command(name)(getattr(import_module(f".commands.{name}", __package__), name))
        else:
            app.command(name, help=summary)(_not_wanted)
    if wanted in COMMANDS:
        return app
    for entry in sorted(entry_points(group=GROUP), key=lambda e: e.name):
        loaded = entry.load()
        if isinstance(loaded, typer.Typer):
            app.add_typer(loaded, name=entry.name)
        else:
            app.command(name=entry.name)(loaded)
    return app


def _not_wanted() -> None:
    raise AssertionError("a command that was not asked for runs")


def _wanted(arguments: Sequence[str]) -> str | None:
    """The command that is named, "" if none is; None where all of them must be known."""
    if COMPLETING in os.environ:
        return None
    return next((argument for argument in arguments if not argument.startswith("-")), "")


@contextmanager
def _one_thread() -> Iterator[None]:
    """Import NumPy without the threads of its linear algebra: starting them takes longer than a list.

    They are started when it is first imported, as many as the environment says then.
    """
    key = "OPENBLAS_NUM_THREADS"
    before = os.environ.get(key)
    os.environ[key] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[key]
        else:
            os.environ[key] = before


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"soupcheck {version('soupcheck')}")
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
    given = sys.argv[1:] if arguments is None else arguments
    wanted = _wanted(given)
    with _one_thread() if wanted in LISTS else nullcontext():
        run: Callable[..., Any] = build(wanted)
    try:
        code = run(args=given, prog_name="soupcheck", standalone_mode=False)
    except _USAGE_ERROR as error:
        message = " ".join(error.format_message().split())
        if message:  # none where no argument was given: the help was shown
            print(f"soupcheck: {message}", file=sys.stderr)
        sys.exit(error.exit_code)
    except typer.Abort:
        sys.exit(130)
    except (ClaimError, CorpusError, InstanceError, OutputError, SolverError) as error:
        print(f"soupcheck: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    sys.exit(code if isinstance(code, int) else 0)
