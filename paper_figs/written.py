"""A figure as files: PDF, PNG, the CSV that it is drawn from, and its caption for LaTeX."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from toymdp import InstanceError

from .cached_table import Row, write_csv
from .canvas import house_style
from .provenance import caption, metadata


@dataclass(frozen=True)
class Drawing:
    """What is drawn: the figure's module, where its rows are from, the command, and the rows.

    module: with its CAPTION, READING and ``draw``; ``seen``, where it has one, says what its rows show.
    """

    module: ModuleType
    made_of: str
    command: str
    rows: list[Row]

    @property
    def says(self) -> str:
        """What the figure shows, in a line."""
        return str(self.module.CAPTION)

    def caption(self, table: Path) -> str:
        """The figure's caption for LaTeX; table: the CSV that it is drawn from."""
        seen = getattr(self.module, "seen", None)
        reading = " ".join([self.module.READING, *([] if seen is None else [seen(self.rows)])])
        return caption(self.says, reading, self.made_of, self.command, self.rows, table)


def written(drawing: Drawing, out: Path, stem: str, *, width: float, font: str) -> tuple[Path, ...]:
    """Draw at this width (inches), write the four files ``out/stem.*``, and return their paths.

    Raises InstanceError where the folder cannot be written.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    # fontTools warns when an embedded font has no date, which matters to nobody here
    logging.getLogger("fontTools").setLevel(logging.ERROR)
    import matplotlib.pyplot as plt

    rows = drawing.rows
    pdf, png, table, told = (out / f"{stem}.{kind}" for kind in ("pdf", "png", "csv", "tex"))
    with house_style(font):
        figure = drawing.module.draw(rows, width)
        try:
            out.mkdir(parents=True, exist_ok=True)
            write_csv(rows, table)
            told.write_text(drawing.caption(table), encoding="ascii")
            figure.savefig(pdf, metadata=metadata(drawing.command, drawing.says, table))
            figure.savefig(png, dpi=200, pil_kwargs={"optimize": True})
        except OSError as error:
            rule = f"cannot be written ({error.strerror})"
            raise InstanceError.of("--out", str(out), rule, "name another") from None
        finally:
            plt.close(figure)
    return pdf, png, table, told
