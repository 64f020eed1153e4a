"""A figure as files: PDF, PNG, the CSV that it is drawn from, and its caption for LaTeX."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from toymdp import InstanceError

from .cached_table import Row, write_csv
from .canvas import house_style
from .provenance import caption, metadata

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Drawing:
    """What is drawn: the figure's name, what it shows, where its rows are from, and what draws them."""

    name: str
    says: str
    of: Sequence[str]
    rows: list[Row]
    draw: Callable[[list[Row], float], Figure]


def written(drawing: Drawing, out: Path, stem: str, *, width: float, font: str) -> tuple[Path, ...]:
    """Draw at this width (inches), write the four files ``out/stem.*``, and return their paths.

    Raises InstanceError where the folder cannot be written.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    # fontTools warns when an embedded font has no date, which matters to nobody here
    logging.getLogger("fontTools").setLevel(logging.ERROR)
    import matplotlib.pyplot as plt

    name, says, rows = drawing.name, drawing.says, drawing.rows
    pdf, png, table, told = (out / f"{stem}.{kind}" for kind in ("pdf", "png", "csv", "tex"))
    with house_style(font):
        figure = drawing.draw(rows, width)
        try:
            out.mkdir(parents=True, exist_ok=True)
            write_csv(rows, table)
            told.write_text(caption(name, says, drawing.of, rows, table), encoding="ascii")
            figure.savefig(pdf, metadata=metadata(name, says, table))
            figure.savefig(png, dpi=200, pil_kwargs={"optimize": True})
        except OSError as error:
            rule = f"cannot be written ({error.strerror})"
            raise InstanceError.of("--out", str(out), rule, "name another") from None
        finally:
            plt.close(figure)
    return pdf, png, table, told
