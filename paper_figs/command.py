"""``soupcheck figures``: PDF, PNG and the CSV behind each."""

from __future__ import annotations

import csv
from importlib import import_module
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated, Any

import typer

from toymdp import InstanceError

FIGURES = {"tightness": "true gap against the printed and the sharp bound"}


def figures(
    name: Annotated[str | None, typer.Argument(help="A figure's name, or 'all'.")] = None,
    out: Annotated[Path, typer.Option("--out", help="Folder to write to.")] = Path("figures"),
    listed: Annotated[bool, typer.Option("--list", help="List the figures.")] = False,
) -> None:
    """Draw figures for papers."""
    if listed or name is None:
        for key, caption in FIGURES.items():
            typer.echo(f"{key:12} {caption}")
        return
    if name != "all" and name not in FIGURES:
        raise InstanceError.of("figure", name, "unknown", f"choose from {[*FIGURES, 'all']}")
    for key in FIGURES if name == "all" else (name,):
        for path in make(key, out):
            typer.echo(path)


def make(name: str, out: Path) -> list[Path]:
    """Compute and draw one figure; return the files written."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    module = import_module(f"paper_figs.{name}")
    rows: list[dict[str, Any]] = module.compute()
    out.mkdir(parents=True, exist_ok=True)
    table = out / f"{name}.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    with as_file(files("paper_figs") / "style.mplstyle") as style, plt.style.context(style):
        figure = module.draw(rows)
        paths = [out / f"{name}.pdf", out / f"{name}.png"]
        # without dates two runs write the same bytes
        figure.savefig(paths[0], metadata={"CreationDate": None})
        figure.savefig(paths[1], dpi=200)
        plt.close(figure)
    return [*paths, table]
