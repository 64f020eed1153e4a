"""``soupcheck figures``: PDF, PNG, the CSV behind each, and its caption for LaTeX."""

from __future__ import annotations

import json
import re
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from inspect import Parameter, signature
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import typer

from bounds.records.loading import files_of, load_token_mdp
from bounds.records.output import OutputFile
from bounds.records.store import Store
from bounds.report.console import progress_bar, tables_console, warm_up
from bounds.runs.generations import generations
from bounds.runs.progress import OnProgress, silent
from bounds.terminal import say
from toymdp import InstanceError

from .cached_table import Row, cache_key, load, store
from .canvas import FONTS, WIDTHS
from .provenance import in_words
from .written import Drawing, written

# one module each, with its CAPTION
FIGURES = (
    "tightness", "violation", "natural", "waterfall", "rungs", "ladder", "disagreement",
    "lemma1", "desirability", "landscape", "delta", "bases", "adaptation", "ranking", "losses",
    "labels", "topics", "implicit", "linearity",
)  # fmt: skip


@dataclass(frozen=True)
class Made:
    """One figure as written: what it shows, its files, how long its table took, whether it was cached."""

    name: str
    says: str
    paths: tuple[Path, ...]
    rows: int
    cached: bool
    seconds: float
    key: str


def figures(
    name: Annotated[str | None, typer.Argument(help="A figure's name, or 'all'.")] = None,
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[FILE]...", help="Instances of yours, for the figures of soupcheck.plot."
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Folder to write to.")] = Path("figures"),
    listed: Annotated[bool, typer.Option("--list", help="List the figures.")] = False,
    width: Annotated[str, typer.Option(help=f"One of {', '.join(WIDTHS)}.")] = "icml-column",
    font: Annotated[str, typer.Option(help=f"One of {', '.join(FONTS)}.")] = "sans",
    quick: Annotated[bool, typer.Option("--quick", help="Few instances: a look, no result.")] = (
        False
    ),
    cache: Annotated[
        Path | None, typer.Option("--cache", help="Folder of computed tables (default: yours).")
    ] = None,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Compute anew and store nothing.")
    ] = False,
    swept: Annotated[
        Path | None, typer.Option("--from", help="Of a sweep's folder, not of own instances.")
    ] = None,
    json_path: Annotated[
        str | None, typer.Option("--json", help="What was written, JSON Lines to PATH or '-'.")
    ] = None,
) -> None:
    """Draw figures for papers: PDF, PNG, the CSV behind each, and its caption for LaTeX.

    Of your own instances: ladder, landscape, tightness and waterfall, as ``soupcheck.plot`` draws them.
    """
    chosen = _chosen(name, listed)
    odd = [
        option
        for option, given in (("all", name == "all"), ("--quick", quick), ("--from", swept))
        if given
    ]
    if files and odd:
        raise InstanceError(
            f"{odd[0]}: is of stored figures, not of files; leave one of the two out"
        )
    if width not in WIDTHS:
        raise InstanceError.of("--width", width, "unknown", f"choose from {', '.join(WIDTHS)}")
    if font not in FONTS:
        raise InstanceError.of("--font", font, "unknown", f"choose from {', '.join(FONTS)}")
    console = tables_console(json_path)
    output = OutputFile(json_path)
    if listed or name is None:
        captions = {key: str(_module(key).CAPTION) for key in FIGURES}
        for key, caption in captions.items():
            console.print(f"{key:13} {caption}", highlight=False)
        console.print("Of your own instances: soupcheck figures NAME FILE...", highlight=False)
        with output:
            output.write(_line({"name": k, "caption": c}) for k, c in captions.items())
        return
    folder = None if no_cache or files else cache or _default_cache()
    with output:
        for key in chosen:
            with progress_bar() as on_progress:
                if files:
                    made = make_own(key, files, out, width=WIDTHS[width], font=font)
                else:
                    made = make(
                        key, out, width=WIDTHS[width], font=font, cache=folder, on_progress=on_progress,
                        parameters=_module(key).QUICK if quick else {}, swept=swept,
                    )  # fmt: skip
            for path in made.paths:
                console.print(str(path), highlight=False, soft_wrap=True)
            output.write([_line({
                "name": made.name, "files": [str(p) for p in made.paths], "rows": made.rows,
                "cached": made.cached, "seconds": round(made.seconds, 3), "key": made.key,
                "caption": made.says, "width_in": WIDTHS[width], "font": font, "quick": quick,
            })])  # fmt: skip


def _chosen(name: str | None, listed: bool) -> tuple[str, ...]:
    if name is not None and name != "all" and name not in FIGURES:
        raise InstanceError.of(
            "figure", name, "unknown", f"choose from {', '.join([*FIGURES, 'all'])}"
        )
    return tuple(FIGURES) if name in (None, "all") or listed else (str(name),)


def _module(name: str) -> ModuleType:
    return import_module(f"paper_figs.{name}")


def _line(record: Mapping[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=False)


def _default_cache() -> Path | None:
    """The user's cache folder; None, and a line that says so, where it cannot be written."""
    folder = _cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        say(f"{folder}: tables are not kept ({error.strerror}); name a folder with --cache")
        return None
    return folder


def _cache_folder() -> Path:
    from platformdirs import user_cache_path

    return Path(user_cache_path("soupcheck", appauthor=False)) / "figures"


def settings(module: ModuleType, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """A figure's parameters: its defaults, replaced where ``parameters`` names others.

    Raises InstanceError for a parameter that the figure does not have.
    """
    defaults = {
        key: p.default
        for key, p in signature(module.compute).parameters.items()
        if p.kind is Parameter.KEYWORD_ONLY
    }
    for key in parameters:
        if key not in defaults:
            raise InstanceError.of(key, parameters[key], "no such parameter", f"{sorted(defaults)}")
    return {**defaults, **parameters}


def tabulate(
    name: str,
    parameters: Mapping[str, Any],
    cache: Path | None,
    on_progress: OnProgress = silent,
    swept: Path | None = None,
) -> tuple[list[Row], bool, str]:
    """Return a figure's table, whether it came from the cache folder, and its key."""
    module = _module(name)
    if swept is not None:
        return _of_sweep(module, name, swept), False, ""
    used = settings(module, parameters)
    key = cache_key(module, used)
    stored = None if cache is None else load(cache, name, key)
    if stored is not None:
        return stored, True, key
    warm_up()
    rows: list[Row] = module.compute(on_progress, **used)
    if cache is not None:
        try:
            store(cache, name, key, rows)
        except OSError as error:
            rule = f"cannot be written ({error.strerror})"
            raise InstanceError.of("--cache", str(cache), rule, "name another") from None
    return rows, False, key


def _of_sweep(module: ModuleType, name: str, folder: Path) -> list[Row]:
    """The figure's table from a sweep's rows. Raises InstanceError where it takes none, or has none."""
    if not hasattr(module, "from_parts"):
        takers = [figure for figure in FIGURES if hasattr(_module(figure), "from_parts")]
        raise InstanceError.of("--from", name, "is no figure of a sweep", f"choose from {takers}")
    store = Store(folder)
    tasks = [task for each in generations(store, store.plan()) for task in each]
    rows: list[Row] = module.from_parts(store.rows(tasks))
    if not rows:
        raise InstanceError.of("--from", str(folder), f"has no row that {name} shows", "sweep more")
    return rows


def make(
    name: str, out: Path, *, width: float = WIDTHS["icml-column"], font: str = "sans",
    cache: Path | None = None, on_progress: OnProgress = silent,
    parameters: Mapping[str, Any] | None = None, swept: Path | None = None,
) -> Made:  # fmt: skip
    """Compute (or fetch) one table, draw it at this width (inches), and write the four files.

    font: one of FONTS. Raises InstanceError where a folder cannot be written.
    """
    began = time.perf_counter()
    rows, cached, key = tabulate(name, parameters or {}, cache, on_progress, swept)
    seconds = time.perf_counter() - began
    module = _module(name)
    quick = bool(parameters) and parameters == module.QUICK
    command = f"soupcheck figures {name}{' --quick' * quick}"
    made_of = in_words(module.MADE_OF, settings(module, parameters or {}), quick=quick)
    if swept is not None:
        command += f" --from {swept.name}"
        made_of = (
            "Drawn of instances of a sweep, a fair sample by their hashes where there are many."
        )
    drawing = Drawing(module, made_of, command, rows)
    paths = written(drawing, out, name, width=width, font=font)
    return Made(name, drawing.says, paths, len(rows), cached, seconds, key)


def make_own(name: str, files: Sequence[Path], out: Path, *, width: float, font: str) -> Made:
    """The same of instance or witness files, and folders of them, as ``soupcheck.plot`` draws it.

    Raises InstanceError for a figure that is not drawn of given instances, or not of these.
    """
    from .plot import OWN

    if name not in OWN:
        rule = "is not drawn of given instances"
        raise InstanceError.of("figure", name, rule, f"choose from {', '.join(OWN)}")
    began, own = time.perf_counter(), OWN[name]
    paths = [file for path in files for file in files_of(path)]
    if own.alone and len(paths) > 1:
        rule = f"{name} is drawn of one instance"
        raise InstanceError.of("files", len(paths), rule, "name one at a time")
    instances = []
    for path in paths:
        mdp, _ = load_token_mdp(path, f"figures {name}")
        instances.append(mdp if mdp.name else mdp.replace(name=path.stem))
    warm_up()
    rows = own.rows(instances)
    names = [path.name.encode("ascii", "backslashreplace").decode() for path in paths]
    few = names if len(names) < 4 else [names[0], "...", names[-1]]
    command = f"soupcheck figures {name} {' '.join(few)}"
    drawing = Drawing(own.figure, f"Drawn of {', '.join(few)}.", command, rows)
    stem = f"{name}-{re.sub(r'[^A-Za-z0-9.-]+', '-', paths[0].stem)}"
    stem += f"-and-{len(paths) - 1}-more" if len(paths) > 1 else ""
    seconds = time.perf_counter() - began
    drawn = written(drawing, out, stem, width=width, font=font)
    return Made(name, drawing.says, drawn, len(rows), False, seconds, "")
