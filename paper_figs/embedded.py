"""The figure class of the house: files that a conference takes, under whatever settings they are saved."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure


class EmbeddedFigure(Figure):
    """A figure whose fonts are embedded as TrueType: camera-ready checks refuse matplotlib's Type 3."""

    def savefig(self, fname: Any, **options: Any) -> None:
        """``Figure.savefig``; the kind of font is read when a file is written, not when it is drawn."""
        with mpl.rc_context({"pdf.fonttype": 42, "ps.fonttype": 42}):
            super().savefig(fname, **options)
