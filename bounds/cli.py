"""``soupcheck``: the command line. Commands of the rooms above come by entry points.

Nothing slow is imported at the top: Ctrl-C may come at any moment, and only ``main`` can say so in
one line.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import typer

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
    "sweep": (
        "Check claims on a grid of families and files, into Parquet; go on where a run has ended."
    ),
    "certify": (
        "Prove in ball arithmetic that a witness breaks its claim: exit 0 PROVED, 1 NOT PROVED."
    ),
    "instance": (
        "Write an instance to a file: of a family, a classic, a stored witness, or your own text."
    ),
    "schema": (
        "Print the JSON Schema of a file format, which editors and other programs can check against."
    ),
    "ledger": (
        "Compare two ledgers (`ledger diff A B`): verdicts that turned, numbers that moved, rows gone."
    ),
    "experiment": (
        "Run one of the papers' experiments on worlds where every value is exact; no name: the list."
    ),
    "rests-on": "Show what a claim rests on: hypotheses, steps, lemmas; what mends it; what uses it.",
    "claims": "List claims: statement, source, status, when a refuted one is true, hypotheses, witnesses.",
}
LISTS = ("", "claims", "rests-on")  # what computes nothing


def build(wanted: str | None = None) -> typer.Typer:
    """Assemble the command line: our own commands, then those found by entry points.

    wanted: the one command that is going to run, which alone is then imported; None: all.
    """
    from importlib.metadata import entry_points

    import typer

    def options(
        version: bool = typer.Option(  # how typer is told
            False, "--version", callback=_print_version, is_eager=True,
            help="Print the version and exit.",
        ),
    ) -> None:  # fmt: skip
        """Put the theory of policy souping to the test, on language MDPs solved exactly."""

    app = typer.Typer(
        name="soupcheck",
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
        pretty_exceptions_enable=False,
    )
    app.callback()(options)
    for name, summary in COMMANDS.items():
        if wanted is None or wanted == name:
            function = name.replace("-", "_")
            module = import_module(f".commands.{function}", __package__)
            app.command(name)(getattr(module, function))
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

        import typer

        print(f"soupcheck {version('soupcheck')}")
        raise typer.Exit


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; bad input is one line on standard error and exit code 2."""
    try:
        from .terminal import Interrupts, prepare_streams, quiet_libraries, say
    except KeyboardInterrupt:  # of whose line that module is the home
        print("soupcheck: interrupted", file=sys.stderr)
        sys.exit(130)
    with Interrupts().watched() as interrupts:
        try:
            prepare_streams()
            quiet_libraries()
            code = _run(sys.argv[1:] if arguments is None else arguments)
            sys.stdout.flush()
        except KeyboardInterrupt:
            code = 130
        except Exception as error:
            # pressed: what a library, or who caught its error, made of the interrupt
            code = 130 if interrupts.pressed else _explained(error)
        if code == 130:
            say("interrupted")
    sys.exit(code)


def _explained(error: Exception) -> int:
    """Say in one line what was wrong and return 2. Raises the error if it is a bug of ours."""
    from toymdp.errors import ClaimError, CorpusError, InstanceError, OutputError, SolverError

    from .terminal import drop_output, say

    if isinstance(error, (ClaimError, InstanceError, SolverError, CorpusError, OutputError)):
        say(str(error))
    elif isinstance(error, BrokenPipeError):
        drop_output()  # the reader, such as head, has seen enough: nothing to say
    elif isinstance(error, OSError):
        # a stream that breaks has no name, and what is left for it must not break once more
        drop_output()
        reason = error.strerror or str(error)
        if error.filename is None:
            say(f"standard output: cannot be written ({reason}); send it elsewhere")
        else:
            say(f"{error.filename}: {reason}; check the path")
    elif isinstance(error, MemoryError):
        say(f"not enough memory ({str(error) or 'none left'}); give a smaller instance")
    else:
        raise error
    return 2


def _run(given: Sequence[str]) -> int:
    """Run the command and return its exit code. Raises what it raises."""
    import typer

    from toymdp.files import streams_kept

    from .terminal import say

    # the common parent of typer's usage errors, wherever typer keeps it
    usage_error: Any = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")
    wanted = _wanted(given)
    with _one_thread() if wanted in LISTS else nullcontext():
        run: Callable[..., Any] = build(wanted)
    try:
        with streams_kept():
            code = run(args=given, prog_name="soupcheck", standalone_mode=False)
    except usage_error as error:
        message = error.format_message()
        if message.strip():  # none where no argument was given: the help was shown
            say(message)
        return int(error.exit_code)
    except typer.Abort:
        return 130
    except SystemExit as stop:
        if isinstance(stop.__context__, OSError):  # a broken pipe, which typer makes an exit of
            raise stop.__context__ from None
        raise
    return code if isinstance(code, int) else 0
