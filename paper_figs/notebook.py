"""The house style in a notebook: figures at one scale and sharp, tables that fit the page."""

from __future__ import annotations

import matplotlib.pyplot as plt
import rich

DPI = 120  # at which a figure is shown: 7.5 pt text is then as large as the code beside it
COLUMNS = 98  # of a table: what fits beside the prompt of a page 1000 pixels wide


def notebook() -> None:
    """Set figures and tables up; to be called in the first cell of a notebook."""
    from matplotlib_inline.backend_inline import set_matplotlib_formats

    plt.style.use("paper_figs.style")
    plt.rcParams["figure.dpi"] = DPI
    set_matplotlib_formats("retina")  # type: ignore[no-untyped-call]  # twice the pixels, one size
    rich.reconfigure(width=COLUMNS)
